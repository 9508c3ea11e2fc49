"""
What a durable write costs in the server's data directory: the floor under every write-ahead log there.

Each way of writing is tried in turn, again and again, so that a slow moment of the disk meets all of them. Entries are
of one page, of bytes that no file system can compress. The file is cut to nothing between two turns: a log that
overwrites old segments can be faster than the preallocated one here, whose blocks are written for the first time.
"""

import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Stability, Unmeasured, quantile
from engram_diagnose.kernels.measure.probe_file import NoProbeError, ProbeFile, with_probe_file
from engram_diagnose.kernels.measure.sampling import Disturbance, stability_of

ENTRY: Final = 4096
"""Bytes of a write: a page, as direct writes need it, and about what a vector of 768 floats takes with its header."""

TRIALS: Final = 3
"""Flushes that are not counted, from which follows how many are."""

_FEWEST: Final = 16
"""A way that flushes smaller groups gets the bytes of groups of so many: most of its cost is the flush."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to make writes durable: `writes` entries, then `flush`, which is None where writing does it, or nothing."""

    name: str
    writes: int = 1
    flush: Callable[[int], None] | None = None
    allocated: bool = False
    direct: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def durable(self) -> bool:
        """Whether what was written outlives the host's end."""
        return self.direct or self.flush is not None

    @property
    def size(self) -> int:
        """Bytes from one flush to the next."""
        return self.writes * ENTRY


WAYS: Final = (
    Way("wal.write"),
    Way("wal.append_fsync", flush=os.fsync),
    Way("wal.preallocated", flush=os.fdatasync, allocated=True),
    Way("wal.direct_dsync", allocated=True, direct=True),
    *(Way("wal.group", writes, os.fdatasync, labels={"group": str(writes)}) for writes in (8, 64, 512)),
)


_LIKE_GROUPS: Final = "wal.append_fsync"
"""The way that groups are written in, one by one: of many writes the time says little about the flush."""


def wal(bench: Bench) -> list[Outcome]:
    """Measure every way in `bench.folder`, in seconds from the first write to its flush: median and 99th percentile."""
    if not bench.folder:
        return [Unmeasured("wal", "no folder was named to write in", "give the server's data directory: --data-dir")]
    bench.say(f"durable writes in {bench.folder}")
    before = Disturbance.now()
    try:
        taken = with_probe_file(bench.folder, bench.limits, lambda file: _by_way(file, bench))
    except NoProbeError as error:
        return [Unmeasured("wal", str(error), error.get_by)]
    after = Disturbance.now()
    singles = {
        way.name: quantile(one.flat, 0.5)
        for way, one in zip(WAYS, taken, strict=True)
        if one.flat and way.durable and way.writes == 1
    }
    probed = _Probed(bench.limits, after.switches - before.switches, after.steal_since(before), singles)
    found = [outcome for way, one in zip(WAYS, taken, strict=True) for outcome in _outcomes(way, one, probed)]
    return found + _group_gains(found)


def _group_gains(found: list[Outcome]) -> list[Outcome]:
    """How many times the records a second there are in groups, over one by one, where both were measured."""
    middles = [one for one in found if isinstance(one, Measurement) and one.labels.get("quantile") == "p50"]
    single = next((one for one in middles if one.name == _LIKE_GROUPS), None)
    groups = [one for one in middles if one.name == "wal.group"] if single else []
    return [_group_gain(single, group) for group in groups if single]


def _group_gain(single: Measurement, group: Measurement) -> Measurement:
    """The ratio within each repeat: both ways took their turns in it."""
    size = group.labels["group"]
    values = tuple(int(size) * one / other for one, other in zip(single.values, group.values, strict=False))
    worse: Stability = max((single.stability, group.stability), key=("stable", "noisy", "unstable").index)
    return Measurement("wal.group_gain", "", values, "higher", worse, {"group": size}, 1, group.switches, group.steal)


@dataclass(frozen=True, slots=True)
class _Probed:
    """What all ways have in common: what disturbed them, and the seconds of single durable writes by way."""

    limits: Mapping[str, float]
    switches: int
    steal: float
    singles: Mapping[str, float]

    def unflushed(self, way: Way) -> float | None:
        """Seconds that are too few for a flush, None where they are not; a group is judged by single writes."""
        judged = way.name if way.writes == 1 else _LIKE_GROUPS
        seconds = self.singles.get(judged)
        return seconds if seconds is not None and seconds < self.limits["wal_least_flush"] else None


@dataclass(slots=True)
class Taken:
    """Seconds of each flush of a way, by repeat, and why it could not go on, empty where it could."""

    repeats: list[list[float]] = field(default_factory=list)
    error: str = ""

    @property
    def flat(self) -> list[float]:
        """All flushes in the order of time."""
        return [seconds for repeat in self.repeats for seconds in repeat]


@dataclass(frozen=True, slots=True)
class _Clock:
    """When all is over, and how long one way may write at a time, so that a slow one leaves the others their turns."""

    until: float
    turn: float

    @classmethod
    def started(cls, limits: Mapping[str, float]) -> "_Clock":
        longest = limits["wal_longest"]
        return cls(time.perf_counter() + longest, longest / len(WAYS) / limits["repeats"])

    @property
    def over(self) -> bool:
        return time.perf_counter() >= self.until


def _by_way(file: ProbeFile, bench: Bench) -> list[Taken]:
    """Try each way so often as the limits say, or until the time is over."""
    clock = _Clock.started(bench.limits)
    taken = [Taken() for _ in WAYS]
    entry = entry_page()
    with _direct(file) as direct:
        opened = [direct if way.direct else file.file for way in WAYS]
        sides = list(zip(WAYS, taken, opened, strict=True))
        flushes = [_tried(way, one, to, entry, bench, clock) for way, one, to in sides]
        for _ in range(int(bench.limits["repeats"])):
            for (way, one, to), count in zip(sides, flushes, strict=True):
                bench.check()
                if not one.error and not clock.over:
                    _turn(way, one, to, entry, count, clock)
    return taken


def _tried(way: Way, taken: Taken, to: int, entry: mmap.mmap, bench: Bench, clock: _Clock) -> int:
    """How often a way flushes in each repeat, by what it takes; what was tried is not counted."""
    bench.check()
    if clock.over:
        return 1
    _turn(way, taken, to, entry, TRIALS, clock)
    seconds = quantile(taken.flat, 0.5) if taken.flat else clock.turn
    taken.repeats.clear()
    return flushes_by(way, seconds, bench.limits)


def flushes_by(way: Way, seconds: float, limits: Mapping[str, float]) -> int:
    """
    How often a way flushes in each repeat, where one flush takes so long: at least once.

    So often that its share of the time is used up; more often, if that is not enough for a 99th percentile and takes no
    longer than its share of the longest time; never more than its share of the bytes.
    """
    repeats = limits["repeats"]
    usual = limits["wal_seconds"] / len(WAYS) / seconds
    longest = limits["wal_longest"] / len(WAYS) / seconds
    wanted = max(usual, min(limits["wal_tail_writes"], longest))
    weight = max(way.writes, _FEWEST) / sum(max(each.writes, _FEWEST) for each in WAYS)
    most = limits["wal_most_written"] * weight / way.size - TRIALS
    # Rounded up, so that nine repeats of eleven do not miss a hundred by one, and only then held to the limits.
    by_time = -int(-min(wanted, most) // repeats)
    return max(1, min(by_time, int(most // repeats), int(limits["wal_most_file"] // way.size)))


def _turn(way: Way, taken: Taken, to: int, entry: mmap.mmap, flushes: int, clock: _Clock) -> None:
    """A repeat of one way; a file system that refuses it ends it, and no other."""
    try:
        if to < 0:
            raise OSError(-to, os.strerror(-to))
        cut(way, to, flushes)
        taken.repeats.append(timed(way, to, entry, flushes, min(clock.until, time.perf_counter() + clock.turn)))
    except OSError as error:
        taken.error = error.strerror or str(error)


def cut(way: Way, to: int, flushes: int) -> None:
    """Make the file what the way starts from: empty, or allocated and not written. Raises `OSError`."""
    os.ftruncate(to, 0)
    if way.allocated:
        os.posix_fallocate(to, 0, flushes * way.size)
    os.fsync(to)


def timed(way: Way, to: int, entry: mmap.mmap, flushes: int, until: float) -> list[float]:
    """Seconds of each flush, one at least, until `until` on the performance counter's clock; raises `OSError`."""
    taken: list[float] = []
    at = 0
    end = 0.0
    while len(taken) < flushes and end < until:
        start = time.perf_counter()
        for _ in range(way.writes):
            at += os.pwrite(to, entry, at)
        if way.flush is not None:
            way.flush(to)
        end = time.perf_counter()
        taken.append(end - start)
    return taken


def entry_page() -> mmap.mmap:
    """A page of random bytes at the start of a page of memory, which direct writes need."""
    entry = mmap.mmap(-1, ENTRY)
    entry[:] = os.urandom(ENTRY)
    return entry


@contextmanager
def _direct(file: ProbeFile) -> Iterator[int]:
    """The file opened for direct, durable writes; the negative number of the error where that cannot be."""
    try:
        opened = file.again(os.O_DIRECT | os.O_DSYNC)
    except OSError as error:
        opened = -(error.errno or 1)
    try:
        yield opened
    finally:
        if opened >= 0:
            os.close(opened)


def _outcomes(way: Way, taken: Taken, probed: _Probed) -> list[Outcome]:
    if not taken.flat:
        return [_not_measured(way, taken, probed.limits)]
    middles = tuple(quantile(repeat, 0.5) for repeat in taken.repeats if repeat)
    tails = tails_of(taken.flat, probed.limits)
    return [
        _measurement(way, "p50", middles, taken, probed),
        _measurement(way, "p99", tails, taken, probed) if tails else _too_few(way, taken, probed.limits),
    ]


def tails_of(seconds: list[float], limits: Mapping[str, float]) -> tuple[float, ...]:
    """The 99th percentile of each run of enough flushes, of which there are as many as repeats at most."""
    least = int(limits["wal_tail_writes"])
    runs = min(len(seconds) // least, int(limits["repeats"]))
    edges = [len(seconds) * edge // runs for edge in range(runs + 1)] if runs else []
    return tuple(quantile(seconds[low:high], 0.99) for low, high in pairwise(edges))


def _measurement(way: Way, quantile_name: str, values: tuple[float, ...], taken: Taken, probed: _Probed) -> Measurement:
    labels = {**way.labels, "quantile": quantile_name}
    notes = _notes(way, taken, probed)
    stability = _stability(values, len(taken.flat), probed)
    return Measurement(way.name, "s", values, "lower", stability, labels, 1, probed.switches, probed.steal, notes)


def _stability(values: tuple[float, ...], flushes: int, probed: _Probed) -> Stability:
    """As of other figures, with spreads that are usual for a disk."""
    limits = probed.limits
    spreads = {"spread_noisy": limits["wal_spread_noisy"], "spread_unstable": limits["wal_spread_unstable"]}
    found = stability_of(values, probed.steal, {**limits, **spreads})
    if len(values) >= _LEAST_VALUES or found != "stable":
        return found
    # One or two figures lie close together whatever they are of.
    return "noisy" if flushes >= limits["wal_tail_writes"] else "unstable"


_LEAST_VALUES: Final = 3
"""Figures that quartiles say something of."""


def _notes(way: Way, taken: Taken, probed: _Probed) -> tuple[str, ...]:
    limits = probed.limits
    each = f"writes of {ENTRY >> 10} KiB" if way.writes == 1 else f"groups of {way.writes} writes of {ENTRY >> 10} KiB"
    notes = [f"{each}: {len(taken.flat)}"]
    if not way.durable:
        notes.append("not durable: what writing costs without a flush")
    elif (seconds := probed.unflushed(way)) is not None:
        notes.append(
            f"nothing was flushed to a disk: a write took {seconds * 1e6:.1f} µs, a flush takes "
            f"{limits['wal_least_flush'] * 1e6:.0f} µs and more; the folder lies in memory, or something below answers "
            "before it has written"
        )
    if taken.error:
        notes.append(f"ended early: {taken.error.lower()}")
    elif len(taken.repeats) < limits["repeats"]:
        notes.append(f"{len(taken.repeats)} of {limits['repeats']:.0f} repeats: the disk is slow, and time was over")
    return tuple(notes)


def _not_measured(way: Way, taken: Taken, limits: Mapping[str, float]) -> Unmeasured:
    if not taken.error:
        reason = f"the disk is too slow: other ways of writing took the {limits['wal_longest']:g} s there are"
        return Unmeasured(way.name, reason, "measure while the server is idle", way.labels)
    what = "direct writes" if way.direct else "writes"
    reason = f"the file system refuses {what}: {taken.error.lower()}"
    return Unmeasured(way.name, reason, "name a folder on the disk of the server's log", way.labels)


def _too_few(way: Way, taken: Taken, limits: Mapping[str, float]) -> Unmeasured:
    least = limits["wal_tail_writes"]
    reason = f"{len(taken.flat)} flushes fit into the time and bytes there are; a 99th percentile needs {least:.0f}"
    return Unmeasured(way.name, reason, "measure while the disk is idle", {**way.labels, "quantile": "p99"})
