"""
Prometheus' text format 0.0.4, and as much of OpenMetrics as servers send instead of it.

`line := name ["{" label="value", … "}"] value [timestamp] ["#" exemplar]`. Reading never fails: a
line that cannot be read is counted and shown.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engram_diagnose.collectors.prometheus.labels import NAME, Labels, labels_of, parse_float

_SHOWN: Final = 3
_EXCERPT: Final = 80
_MAX_SECONDS: Final = 2**53 / 1000
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}")

_LINE: Final = re.compile(
    r"""
    (?P<series>[a-zA-Z_:][a-zA-Z0-9_:]*+ (?:[ \t]*+\{(?:[^"{}]|"(?:[^"\\]|\\.)*+")*+\})?+) [ \t]*+
    (?<=[ \t}]) (?P<value>[^ \t]++)
    (?:[ \t]++(?P<time>[-+0-9.eE]++))?+
    [ \t]*+ (?:\#[ \t]*+\{.*+)?+
    """,
    re.VERBOSE | re.DOTALL,
)
_LABEL: Final = re.compile(
    r"""
    [ \t]*+ (?P<name>[a-zA-Z_][a-zA-Z0-9_]*+)
    [ \t]*+ = [ \t]*+ "(?P<value>(?:[^"\\]|\\.)*+)"
    [ \t]*+ (?:,[ \t]*+|$)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLAIN: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([^"\\]+)"')
_ESCAPE: Final = re.compile(r'\\([\\n"])')
_TYPE: Final = re.compile(r"#[ \t]+TYPE[ \t]+([^ \t]+)[ \t]+([a-z]+)[ \t]*")


class TextSample(NamedTuple):
    """One line; `time` in ms where the line bears one, which few servers do."""

    labels: Labels
    value: float
    time: int | None


@dataclass(slots=True)
class Exposition:
    """What one scrape said. `types` holds the `# TYPE` of each family, `junk` the number of unreadable lines."""

    samples: list[TextSample] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    junk: int = 0
    examples: list[str] = field(default_factory=list)
    repeated: int = 0

    @property
    def quality(self) -> list[str]:
        """One sentence for each kind of fault; none for a clean scrape."""
        notes = []
        if self.junk:
            notes.append(f"{self.junk} lines could not be read, such as {'; '.join(self.examples)}")
        if self.repeated:
            notes.append(f"{self.repeated} lines repeat a series; the first one counts")
        return notes


def parse_exposition(text: str | bytes) -> Exposition:
    """Every readable sample of a scrape, in its order. Raises nothing."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    lines = text.removeprefix("\ufeff").split("\n")
    open_metrics = any(line.startswith("# EOF") for line in lines[-3:])
    exposition = Exposition()
    seen: set[Labels] = set()
    known = _Known()
    samples = exposition.samples
    for number, line in enumerate(lines, 1):
        line = line.strip(" \t\r")
        if line[:1] == "#":
            _note_type(line, exposition)
            continue
        sample = known.sample(line)
        if sample is not None and sample.labels not in seen:
            seen.add(sample.labels)
            samples.append(sample)
        elif line:
            _read_line(line, number, exposition, seen, open_metrics=open_metrics)
    return exposition


class _Known:
    """
    Labels that were read before: those of a series up to its last one, which a histogram repeats for each bucket.

    Reads what servers nearly always write, `name{a="b",le="1"} 5`, and leaves every other line to `_sample_of`, with
    the same result.
    """

    def __init__(self) -> None:
        self._beginnings: dict[str, Labels] = {}
        self._pairs: dict[str, tuple[str, str] | None] = {}

    def sample(self, line: str) -> TextSample | None:
        series, brace, text = line.partition("} ")
        if not brace or not line.isascii():
            return None
        cut = (series.rfind('",') + 1 or series.find("{")) + 1
        beginning, last = series[:cut], series[cut:]
        pair = self._pairs[last] if last in self._pairs else self._pair(last)
        labels = self._beginnings.get(beginning) or self._beginning(beginning)
        value = parse_float(text)
        if pair is None or not labels or value is None:
            return None
        at = bisect_left(labels, pair)
        if (at and labels[at - 1][0] == pair[0]) or (at < len(labels) and labels[at][0] == pair[0]):
            return None
        return TextSample((*labels[:at], pair, *labels[at:]), value, None)

    def _pair(self, text: str) -> tuple[str, str] | None:
        match = _PLAIN.fullmatch(text)
        pair = self._pairs[text] = (match[1], match[2]) if match else None
        return pair

    def _beginning(self, text: str) -> Labels:
        """The labels in `name{` or `name{a="b",`; none where it is neither, and may not be gone on from."""
        whole = text[:-1] + ("}" if text[-1:] == "," else "")
        match = _LINE.fullmatch(whole + " 0") if text[-1:] in ("{", ",") else None
        labels = _labels_of(match["series"]) if match else None
        self._beginnings[text] = labels or ()
        return labels or ()


def _note_type(line: str, exposition: Exposition) -> None:
    match = _TYPE.fullmatch(line)
    if match is not None:
        exposition.types.setdefault(*match.groups())


def _read_line(line: str, number: int, exposition: Exposition, seen: set[Labels], *, open_metrics: bool) -> None:
    sample = _sample_of(line, open_metrics=open_metrics)
    if sample is None:
        exposition.junk += 1
        if len(exposition.examples) < _SHOWN:
            exposition.examples.append(f"line {number}: {_excerpt(line)}")
    elif sample.labels in seen:
        exposition.repeated += 1
    else:
        seen.add(sample.labels)
        exposition.samples.append(sample)


def _sample_of(line: str, *, open_metrics: bool) -> TextSample | None:
    match = _LINE.fullmatch(line)
    if match is None or (not line.isascii() and _undecodable(line)):
        return None
    labels = _labels_of(match["series"])
    value = parse_float(match["value"])
    time = _milliseconds(match["time"], open_metrics=open_metrics) if match["time"] else None
    if labels is None or value is None or (match["time"] and time is None):
        return None
    return TextSample(labels, value, time)


def _undecodable(line: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in line)


def _labels_of(series: str) -> Labels | None:
    """The labels of `name{…}`; None where the braces hold something else."""
    name, brace, body = series.partition("{")
    name = name.rstrip(" \t")
    if not brace:
        return ((NAME, name),)
    pairs = {NAME: name}
    body = body[:-1].strip(" \t")
    at = 0
    while at < len(body):
        match = _LABEL.match(body, at)
        if match is None or match["name"] in pairs:
            return None
        pairs[match["name"]] = _unescaped(match["value"])
        at = match.end()
    return labels_of(pairs.items())


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], value)


def _milliseconds(text: str, *, open_metrics: bool) -> int | None:
    """Whole milliseconds in the text format, seconds in OpenMetrics."""
    if not open_metrics:
        return int(text) if _INTEGER.fullmatch(text) else None
    seconds = parse_float(text)
    return round(seconds * 1000) if seconds is not None and abs(seconds) < _MAX_SECONDS else None


def _excerpt(line: str) -> str:
    text = line[:_EXCERPT].encode("utf-8", "backslashreplace").decode()
    return "".join(character if character.isprintable() else " " for character in text)
