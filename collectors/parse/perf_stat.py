"""
What `perf stat` prints for programs to read, of every version: a JSON object a line (-j), or fields between semicolons.

    {"counter-value" : "20190.000000", "unit" : "", "event" : "context-switches", "event-runtime" : 653921413,
     "pcnt-running" : 100.00, "metric-value" : 30.881186, "metric-unit" : "K/sec"}
    20190;;context-switches;653921413;100.00;30.881;K/sec

Metrics come as numbers, as texts or not at all, and are passed over: ratios are computed from counts. A locale with
decimal commas makes the JSON none, names of threads are not escaped, and some builds end with `, }`. What cannot be
told for certain is not read: it is better to miss a count than to make one up.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

_MOST_CHARACTERS: Final = 4 << 20
_MOST_LINE: Final = 4096
_FIELD: Final = r'"%s"\s*:\s*(?:"([^"]*)"|([-+0-9.,]+))\s*(?=[,}]|$)'
_NEEDED: Final = {key: re.compile(_FIELD % key) for key in ("counter-value", "event", "event-runtime", "pcnt-running")}
_KEY: Final = re.compile(r'"([a-z-]+)"\s*:')
_MODIFIER: Final = re.compile(r":[ukhpPGHSDIWeb]{1,8}$")
_NUMBER: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,9})?")
_WITH_COMMA: Final = re.compile(r"([0-9]{1,20}),([0-9]{2}|[0-9]{6})")
"""Two decimals has a share and six has a count; with three it might be the thousands."""


class Counted(Enum):
    """Whether there is a count, and why not; the value is how perf says it."""

    YES = ""
    NOT_SUPPORTED = "<not supported>"
    NOT_COUNTED = "<not counted>"


@dataclass(frozen=True, slots=True)
class Count:
    """
    One line. `value` is 0 unless it was counted; perf has scaled it up where the counter shared its place.

    `running` is the share of the time for which the counter ran, 0 to 1; perf states 1 for what was never counted.
    """

    event: str
    state: Counted
    value: float
    running: float


@dataclass(frozen=True, slots=True)
class Counts:
    """The lines of one run in their order, and where those stand (`line 3`) that could not be read."""

    lines: tuple[Count, ...]
    unread: tuple[str, ...]

    def of(self, event: str) -> tuple[Count, ...]:
        """Those of one event, whatever of user or kernel it was confined to."""
        return tuple(count for count in self.lines if count.event == event)


def parse_counts(text: str) -> Counts:
    """What a run of `perf stat -j` or `perf stat -x';'` printed; never raises."""
    found: list[Count] = []
    unread: list[str] = []
    for number, line in enumerate(text[:_MOST_CHARACTERS].splitlines(), start=1):
        if _says_nothing(line):
            continue
        count = _count(line) if len(line) <= _MOST_LINE else None
        if count is None:
            unread.append(f"line {number}")
        else:
            found.append(count)
    if len(text) > _MOST_CHARACTERS:
        unread.append("the rest")
    return Counts(tuple(found), tuple(unread))


def _says_nothing(line: str) -> bool:
    """Blank lines, comments, and the second line of an event with several metrics."""
    text = line.strip()
    return not text or text.startswith("#") or (text.startswith('{"metric-value"') and '"event"' not in text)


def _count(line: str) -> Count | None:
    fields = _json_fields(line) if line.lstrip().startswith("{") else _csv_fields(line)
    return None if fields is None else _made(*fields)


def _csv_fields(line: str) -> tuple[str, str, str] | None:
    """`value;unit;event;runtime;share;metric;unit`, of which the last two may be missing."""
    fields = line.split(";")
    if len(fields) < 5 or not re.fullmatch(r"[0-9]{1,20}", fields[3].strip()):
        return None
    return fields[0].strip(), fields[2].strip(), fields[4].strip()


def _json_fields(line: str) -> tuple[str, str, str] | None:
    """Value, event and share of a line; None where a key is missing or stands there twice."""
    pairs = _strict_pairs(line)
    if pairs is None:
        return _loose_fields(line)
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        return None
    values = dict(pairs)
    if not isinstance(values.get("event"), str):
        return None
    texts = [values.get(key) for key in ("counter-value", "event", "pcnt-running")]
    known = [str(text) for text in texts if isinstance(text, str | int | float) and not isinstance(text, bool)]
    return (known[0], known[1], known[2]) if len(known) == 3 else None


def _strict_pairs(line: str) -> list[tuple[str, object]] | None:
    """The keys and values of a line that is a JSON object, perhaps but for a comma too many; None for another."""
    for text in (line, re.sub(r",\s*}\s*$", "}", line)):
        try:
            pairs = json.loads(text, object_pairs_hook=list)
        except (ValueError, RecursionError):
            continue
        if isinstance(pairs, list) and all(isinstance(pair, tuple) for pair in pairs):
            return pairs
    return None


def _loose_fields(line: str) -> tuple[str, str, str] | None:
    """The same of a line that is broken elsewhere, if each key stands in it once and it was printed to its end."""
    if not line.rstrip().endswith("}"):
        return None
    keys = _KEY.findall(line)
    found = {key: pattern.findall(line) for key, pattern in _NEEDED.items()}
    if any(len(matches) != 1 or keys.count(key) != 1 for key, matches in found.items()):
        return None
    text = {key: matches[0][0] or matches[0][1].rstrip(",") for key, matches in found.items()}
    return text["counter-value"], text["event"], text["pcnt-running"]


def _made(value: str, event: str, share: str) -> Count | None:
    name = _MODIFIER.sub("", event)
    running = _number(share)
    if not name or running is None or running > 100.5:
        return None
    for state in (Counted.NOT_SUPPORTED, Counted.NOT_COUNTED):
        if value == state.value:
            return Count(name, state, 0.0, min(1.0, running / 100))
    number = _number(value)
    return None if number is None else Count(name, Counted.YES, number, min(1.0, running / 100))


def _number(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        return float(text)
    comma = _WITH_COMMA.fullmatch(text)
    return float(f"{comma[1]}.{comma[2]}") if comma else None


def matched(counts: Counts, asked: Sequence[str], *, summed: bool) -> Iterator[Count | None]:
    """
    For each name that perf was asked for, its line; None where there is none, or it cannot be told which.

    A name that was asked for twice is printed twice, in that order. With `summed`, all lines of a name are devices of
    one kind and are added up, if there is one for each time that it was asked for, or one for them all.
    """
    by_name: dict[str, list[Count]] = {}
    for count in counts.lines:
        by_name.setdefault(count.event, []).append(count)
    times = Counter(asked)
    if summed:
        sums = {name: _sum(lines) for name, lines in by_name.items() if len(lines) in (1, times[name])}
        yield from map(sums.get, asked)
        return
    printed = {name: iter(lines) for name, lines in by_name.items() if len(lines) == times[name]}
    yield from (next(printed[name]) if name in printed else None for name in asked)


def _sum(lines: Sequence[Count]) -> Count:
    missing = next((count for count in lines if count.state is not Counted.YES), None)
    if missing is not None:
        return missing
    return Count(lines[0].event, Counted.YES, sum(count.value for count in lines), min(c.running for c in lines))
