"""Flushes to stable storage, from traced fsync and fdatasync calls."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_trace import CALLS, COLLECTOR, FLUSHES, TIMES
from engram_diagnose.collectors.capture.tracepoints import calls_per_second, watched_seconds
from engram_diagnose.collectors.parse.figures import Between, Found, Missing, UnparsedError, number
from engram_diagnose.collectors.parse.tool_answers import facts_of_answer, tool_answer
from engram_diagnose.engine.facts.fact import Fact, Reason

_RATE: Final = ("io.fsync_rate",)
_TIMED: Final = ("io.fsync_p99", "io.fsync_wait_share")

FLUSH_FACTS: Final = frozenset({*_RATE, *_TIMED})
"""The names of the facts that tracing flushes gives."""

_GET_BY: Final = {
    Reason.NO_TOOL: "install perf (package linux-perf) and collect again as root",
    Reason.PARANOID: "collect as root, or with CAP_PERFMON and readable tracefs",
    Reason.SECCOMP: "collect on the host instead of in the container",
    Reason.TOO_EXPENSIVE: "read the server's own flush histogram, or the device's flush times in /proc/diskstats",
}


@dataclass(frozen=True, slots=True)
class Flushes:
    """
    The flush calls of one window; all times in seconds.

    `took` has the calls that began and ended in it by what they took, `still` what those took at least that lasted
    beyond it; `busy` is the time in flushes of each thread that makes any.
    """

    window: float
    took: Mapping[float, int]
    still: tuple[float, ...]
    busy: Mapping[int, float]


def facts_of_flushes(answers: Iterable[Answer]) -> list[Fact]:
    """The facts of `FLUSH_FACTS`, each known, or unknown with its reason."""
    mine = [answer for answer in answers if answer.collector == COLLECTOR]
    return [
        *facts_of_answer(tool_answer(mine, CALLS), _RATE, _rate, _GET_BY),
        *facts_of_answer(tool_answer(mine, TIMES), _TIMED, _timed, _GET_BY),
    ]


def _rate(text: str) -> Mapping[str, Found]:
    rate = calls_per_second(text, FLUSHES)
    return {"io.fsync_rate": Missing(Reason.NOT_COUNTED, "perf stat did not count it") if rate is None else rate}


def _timed(text: str) -> Mapping[str, Found]:
    flushes = parse_flushes(text)
    return {"io.fsync_p99": p99(flushes), "io.fsync_wait_share": wait_share(flushes)}


_LINE: Final = re.compile(
    r"(thread|took|open) ([0-9]{1,16}(?:\.[0-9]{1,6})?) ([0-9]{1,16}(?:\.[0-9]{1,6})?)(?: ([0-9.]{1,24}))?"
)


def parse_flushes(text: str) -> Flushes:
    """
    The calls from `# watched 2 s`, `thread TID CALLS µs`, `took µs CALLS` and `open TID µs`; raises `UnparsedError`.
    """
    window = watched_seconds(text)
    if window <= 0:
        raise UnparsedError("it does not say how long it watched")
    took: dict[float, int] = {}
    still: list[float] = []
    busy: dict[int, float] = {}
    for line in text.splitlines()[1:]:
        row = _LINE.fullmatch(line)
        if row is None:
            raise UnparsedError(f"{line[:40]!r} is not a line of flush times")
        kind, first, second, third = row.groups()
        if kind == "took":
            took[number(first) * 1e-6] = took.get(number(first) * 1e-6, 0) + int(number(second))
            continue
        spent = number(third or "0") if kind == "thread" else number(second)
        busy[int(number(first))] = busy.get(int(number(first)), 0.0) + spent * 1e-6
        if kind == "open":
            still.append(spent * 1e-6)
    return Flushes(window, took, tuple(sorted(still)), busy)


def p99(flushes: Flushes) -> Found:
    """
    The nearest-rank 99th percentile of at least 100 calls.

    Of the calls that reach beyond the window those count that took longer than it even so: a stall must not be missed
    because it lasts. Where the rank falls on one of them, only the least it can be is known.
    """
    ended = sum(flushes.took.values())
    if ended + len(flushes.still) < _FOR_P99:
        return Missing(Reason.TOO_FEW_SAMPLES, f"{ended} flushes were traced; a 99th percentile wants {_FOR_P99}")
    usual = _at_rank(_rank(ended), flushes.took)
    longer = [time for time in flushes.still if time > usual]
    counts = dict(flushes.took)
    for time in longer:
        counts[time] = counts.get(time, 0) + 1
    found = _at_rank(_rank(ended + len(longer)), counts)
    return Between(found, math.inf) if longer and found >= min(longer) else found


_FOR_P99: Final = 100
"""Of fewer calls, none lies beyond the 99th percentile: the figure would be the longest that happened to be seen."""


def _rank(calls: int) -> int:
    return -(-99 * calls // 100)


def _at_rank(rank: int, counts: Mapping[float, int]) -> float:
    passed = 0
    for time in sorted(counts):
        passed += counts[time]
        if passed >= rank:
            return time
    return max(counts, default=0.0)


def wait_share(flushes: Flushes) -> Found:
    """Time in flush calls over the time of the threads that make them."""
    if not flushes.busy:
        return Missing(Reason.TOO_FEW_SAMPLES, "no flush was seen while they were traced")
    return min(1.0, sum(flushes.busy.values()) / (len(flushes.busy) * flushes.window))
