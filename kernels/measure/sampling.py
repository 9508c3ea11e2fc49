"""
Repeats of one work, timed: how often it is done follows from how long it takes, never how large it is.
"""

import math
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Better, Measurement, Stability, quantile

Work = Callable[[int], object]
"""
Does something so many times; what it gives is kept until the clock was read, so that no work is optimised away.

Where it gives a `Took`, that counts instead of the time until it returned.
"""

_MOST_ROUNDS: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Took:
    """The seconds that a work has timed itself, such as without the time until its threads have woken up."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Repeats:
    """Seconds of one round, by repeat, and what disturbed them."""

    seconds: tuple[float, ...]
    rounds: int
    switches: int
    steal: float


def repeats_of(work: Work, bench: Bench, *, seconds: float = 0.0, repeats: int = 0) -> Repeats:
    """
    Time `work` so many times, each for at least a share of `seconds` (0: as long, and as often, as the limits say).

    The first round compiles and touches memory, and is not counted.
    """
    count = repeats or int(bench.limits["repeats"])
    least = (seconds or bench.limits["figure_seconds"]) / count
    rounds = rounds_for(work, least)
    before, taken = Disturbance.now(), []
    for _ in range(count):
        bench.check()
        taken.append(_timed(work, rounds) / rounds)
    after = Disturbance.now()
    return Repeats(tuple(taken), rounds, after.switches - before.switches, after.steal_since(before))


def in_turns(works: Sequence[Work], bench: Bench, *, seconds: float = 0.0, repeats: int = 0) -> list[Repeats]:
    """
    Time several works that are to be compared, repeat by repeat: what slows the host for a moment slows them all.

    Each takes about `seconds` in all, and is done as often as the first, whatever it takes; what disturbed is said of
    all of them.
    """
    count = repeats or int(bench.limits["repeats"])
    rounds = rounds_for(works[0], (seconds or bench.limits["figure_seconds"]) / count)
    for work in works:
        _timed(work, 1)
    before, taken = Disturbance.now(), []
    for _ in range(count):
        bench.check()
        taken.append([_timed(work, rounds) / rounds for work in works])
    after = Disturbance.now()
    switches, steal = after.switches - before.switches, after.steal_since(before)
    return [Repeats(tuple(each), rounds, switches, steal) for each in zip(*taken, strict=True)]


def rounds_for(work: Work, seconds: float) -> int:
    """How many rounds take about so long."""
    _timed(work, 1)
    rounds, taken = 1, _timed(work, 1)
    while taken < seconds / 2 and rounds < _MOST_ROUNDS:
        rounds = min(_MOST_ROUNDS, max(rounds * 2, int(rounds * 0.9 * seconds / max(taken, 1e-9))))
        taken = _timed(work, rounds)
    return rounds


def measured(
    name: str,
    unit: str,
    work: Work,
    bench: Bench,
    *,
    figure: Callable[[float], float],
    better: Better,
    labels: Mapping[str, str] | None = None,
    threads: int = 1,
    seconds: float = 0.0,
    repeats: int = 0,
    notes: tuple[str, ...] = (),
) -> Measurement:
    """Time `work`; `figure` makes the figure of the seconds that one round takes."""
    found = repeats_of(work, bench, seconds=seconds, repeats=repeats)
    values = tuple(figure(each) for each in found.seconds)
    return of_values(name, unit, values, bench, better=better, labels=labels, threads=threads,
                     switches=found.switches, steal=found.steal, notes=notes)  # fmt: skip


def of_values(
    name: str,
    unit: str,
    values: tuple[float, ...],
    bench: Bench,
    *,
    better: Better,
    labels: Mapping[str, str] | None = None,
    threads: int = 1,
    switches: int = 0,
    steal: float = 0.0,
    notes: tuple[str, ...] = (),
) -> Measurement:
    """A measurement of figures that were timed otherwise, with its stability by the limits."""
    stability = stability_of(values, steal, bench.limits)
    return Measurement(name, unit, values, better, stability, dict(labels or {}), threads, switches, steal, notes)


def stability_of(values: tuple[float, ...], steal: float, limits: Mapping[str, float]) -> Stability:
    """By how far the quartiles lie apart, and what the hypervisor took."""
    middle, apart = quantile(values, 0.5), quantile(values, 0.75) - quantile(values, 0.25)
    spread = apart / abs(middle) if middle else math.inf if apart else 0.0
    if spread > limits["spread_unstable"] or steal > limits["steal_unstable"]:
        return "unstable"
    return "noisy" if spread > limits["spread_noisy"] or steal > limits["steal_noisy"] else "stable"


def _timed(work: Work, rounds: int) -> float:
    start = time.perf_counter()
    kept = work(rounds)
    taken = time.perf_counter() - start
    return kept.seconds if isinstance(kept, Took) else taken


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What others have taken of the CPU so far."""

    switches: int
    steal: float
    wall: float

    @classmethod
    def now(cls) -> "Disturbance":
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return cls(usage.ru_nivcsw, stolen_seconds(), time.perf_counter())

    def steal_since(self, before: "Disturbance") -> float:
        """The share of all CPUs' time that the hypervisor took."""
        wall = (self.wall - before.wall) * (os.cpu_count() or 1)
        return max(0.0, self.steal - before.steal) / wall if wall > 0 else 0.0


def stolen_seconds(path: str = "/proc/stat") -> float:
    """What the hypervisor took of all CPUs since the start, in seconds; 0 where the kernel does not say."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            cells = file.readline().split()
    except OSError:
        return 0.0
    known = len(cells) > 8 and cells[0] == "cpu" and cells[8].isdigit()
    return int(cells[8]) / os.sysconf("SC_CLK_TCK") if known else 0.0
