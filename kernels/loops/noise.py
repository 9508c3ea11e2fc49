"""
Loops that do nothing but show how fast a CPU runs, and when it was taken away.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engram_diagnose.kernels.loops.atomics import nanoseconds, ticks
from engram_diagnose.kernels.loops.compiled import loop

OPERATIONS: Final = 2
"""Instructions of a step of `chain` that wait for one another: an addition and an exclusive or, a cycle each."""

LONGEST_WATCH: Final = 1_000_000_000
"""Nanoseconds: a jitted loop cannot be interrupted, so that none may take longer."""

_MOST_STEPS: Final = 1 << 32
_READS: Final = 256
"""Readings of the counter, 10 to 30 ns each, between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """
    Of readings of a counter in a row, those that came late.

    `count` of them, `total` ticks in all, of which the `longest` took so many; all readings took `span`.
    """

    count: int
    total: int
    longest: int
    span: int


def chain(steps: int, *, start: int = 1, by: int = 0x9E3779B97F4A7C15) -> tuple[int, int]:
    """
    `value = (value + by) ^ by` so many times, modulo 2^64: the last value, and the nanoseconds that it took.

    Each instruction needs the result of the one before it, so that the time tells the frequency. `by` comes from
    outside and lies in a register: some CPUs add constants without taking a cycle. Raises `ValueError` for a number of
    steps that is negative, or so large that the loop would take seconds.
    """
    if not 0 <= steps <= _MOST_STEPS:
        raise ValueError(f"a chain has 0 to {_MOST_STEPS} steps, not {steps}")
    for name, value in (("start", start), ("by", by)):
        if not 0 <= value < 1 << 64:
            raise ValueError(f"{name} of a chain does not fit into 64 bits: {value}")
    value, taken = _chain(np.uint64(steps), np.uint64(start), np.uint64(by))
    return int(value), int(taken)


@loop
def _chain(steps: Any, start: Any, by: Any) -> Any:
    value = start
    begun = nanoseconds()
    for _ in range(steps):
        value = (value + by) ^ by
    return value, nanoseconds() - begun


def clocks() -> tuple[int, int]:
    """The counter of `watch` and the monotonic clock (nanoseconds) at one moment; the counter is 0 where none is."""
    counted, clock = _clocks()
    return int(counted), int(clock)


@loop
def _clocks() -> Any:
    """The reading of the counter whose neighbours lie closest together: an interruption between both is not in it."""
    best = np.int64(1) << np.int64(62)
    counted = clock = np.int64(0)
    for _ in range(8):
        before = ticks()
        between = nanoseconds()
        after = ticks()
        if after - before < best:
            best = after - before
            counted, clock = before + best // 2, between
    return counted, clock


def gaps_in(readings: Any, *, least: int) -> Gaps:
    """
    The gaps between neighbours of `readings` (int64, one dimension, one at least) that are `least` ticks or more.

    What `watch` does with readings that it does not keep.
    """
    if not isinstance(readings, np.ndarray) or readings.dtype != np.int64 or readings.ndim != 1:
        raise ValueError("readings: a flat array of int64 is needed")
    if not len(readings):
        raise ValueError("readings: there is none")
    return Gaps(*(int(figure) for figure in _gaps_in(readings, least)))


@loop
def _late(found: Any, before: Any, now: Any, least: Any) -> Any:
    """Gaps so far (count, total, longest), and the one of two neighbours."""
    count, total, longest = found
    gap = now - before
    if gap >= least:
        return count + 1, total + gap, max(longest, gap)
    return count, total, longest


@loop
def _gaps_in(readings: Any, least: Any) -> Any:
    found = (np.int64(0), np.int64(0), np.int64(0))
    for index in range(1, len(readings)):
        found = _late(found, readings[index - 1], readings[index], least)
    return found[0], found[1], found[2], readings[-1] - readings[0]


def watch(long: int, *, least: int) -> Gaps:
    """
    Read the counter for `long` nanoseconds without a pause: the gaps of at least `least` ticks are when others ran.

    Raises `ValueError` for a time that is not positive, or over a second.
    """
    if not 0 < long <= LONGEST_WATCH:
        raise ValueError(f"a watch takes 1 to {LONGEST_WATCH} ns, not {long}")
    return Gaps(*(int(figure) for figure in _watch(long, least)))


@loop
def _watch(long: Any, least: Any) -> Any:
    found = (np.int64(0), np.int64(0), np.int64(0))
    end = nanoseconds() + long
    first = before = ticks()
    while nanoseconds() < end:
        for _ in range(_READS):
            now = ticks()
            found = _late(found, before, now, least)
            before = now
    return found[0], found[1], found[2], before - first
