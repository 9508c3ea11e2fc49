"""
How many bytes of memory, and of each level of cache, a second: of one thread, and of one on each CPU.

    stream.copy, .scale, .add, .triad, .triad_past_caches    B/s by threads ("one", "all"), of memory
    stream.read                                              B/s by threads and level ("L1" … "memory")

Each thread has arrays of its own, which it touched first, so that they lie on its node.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops import stream as loops
from engram_diagnose.kernels.loops.doubles import ALIGNMENT
from engram_diagnose.kernels.loops.gate import arrive, nanoseconds_of, new_gate
from engram_diagnose.kernels.loops.stream import Windows
from engram_diagnose.kernels.measure.bench import Bench, Cache
from engram_diagnose.kernels.measure.latency import shown
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.memory import Buffer, buffer
from engram_diagnose.kernels.measure.plateaus import MEMORY
from engram_diagnose.kernels.measure.sampling import Took, measured

ONE: Final = "one"
ALL: Final = "all"

_MORE_MEMORY: Final = "give this program more memory"

_ITEM: Final = 8
_FACTOR: Final = 3.0
PATTERN: Final = 0x3F
"""
Each byte of the arrays: a small number as float64. Not 0: some CPUs do not write zeros back over zeros.
"""
_UNIT: Final = 8 * ALIGNMENT
"""Sizes are multiples of it, so that loops have no rest that they do item by item."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One of STREAM's loops: how many arrays it goes over, and the loop."""

    name: str
    arrays: int
    run: Callable[[Sequence[loops.Array], Windows], object]


READ: Final = Operation("stream.read", 1, lambda on, over: loops.read(on[0], over))
OPERATIONS: Final = (
    Operation("stream.copy", 2, lambda on, over: loops.copy(on[0], on[1], over)),
    Operation("stream.scale", 2, lambda on, over: loops.scale(on[0], on[1], _FACTOR, over)),
    Operation("stream.add", 3, lambda on, over: loops.add(on[0], on[1], on[2], over)),
    Operation("stream.triad", 3, lambda on, over: loops.triad(on[0], on[1], on[2], _FACTOR, over)),
    Operation(
        "stream.triad_past_caches", 3, lambda on, over: loops.triad_past_caches(on[0], on[1], on[2], _FACTOR, over)
    ),
    READ,
)
_ARRAYS: Final = 3


@dataclass(slots=True)
class Walk:
    """A thread's arrays, gone over window by window: a run goes on where the last one stopped."""

    arrays: tuple[loops.Array, ...]
    window: int
    at: int = 0

    def run(self, operation: Operation, rounds: int) -> None:
        """Go over so many windows."""
        operation.run(self.arrays, Windows(self.window // _ITEM, self.at, rounds))
        self.at = (self.at + rounds) % (len(self.arrays[0]) // (self.window // _ITEM))


@dataclass(frozen=True, slots=True)
class Arrays:
    """The walks of so many threads, over arrays of `size` bytes each, and what to know of what they give."""

    who: str
    walks: tuple[Walk, ...]
    size: int
    notes: tuple[str, ...]


def stream(bench: Bench) -> list[Outcome]:
    """All operations on memory, and reading from each level of cache, by all threads and by one."""
    if len(bench.pool) == 1:
        found = _by(bench, ONE)
        return found + [replace(one, labels={**one.labels, "threads": ALL}) for one in found]
    # All first: together they place the pages faster, which is slow where the hypervisor has to find them.
    return _by(bench, ALL) + _by(bench, ONE)


def wanted_size(bench: Bench, threads: int) -> int:
    """Bytes of each array of each thread, if memory did not matter; 0 where no cache is claimed."""
    if not bench.caches:
        return 0
    last = bench.caches[-1]
    caches = math.ceil(len(bench.cpus) / last.sharers) if threads > 1 else 1
    return int(bench.limits["stream_caches"]) * last.size * caches // threads


def level_size(cache: Cache, threads: int, limits: Mapping[str, float], *, below: Cache | None = None) -> int:
    """
    Bytes that each thread reads so that all of them are in the middle of a level.

    A few times the level `below` is enough, and safer: a guest may have far less of a cache than is claimed.
    """
    share = int(cache.size * limits["level_share"]) // min(cache.sharers, threads)
    enough = share if below is None else min(share, int(below.size * limits["level_above"]))
    return enough // _UNIT * _UNIT


def _by(bench: Bench, who: str) -> list[Outcome]:
    threads = 1 if who == ONE else len(bench.pool)
    bench.say(f"memory bandwidth of {who if who == ONE else threads} thread{'s' if threads > 1 else ''}")
    allowed = bench.memory // _ARRAYS // threads
    wanted = wanted_size(bench, threads)
    size = (min(wanted, allowed) if wanted else allowed) // _UNIT * _UNIT
    if size < _UNIT:
        reason = f"its buffers may take {shown(bench.memory)} in all"
        return [Unmeasured(one.name, reason, _MORE_MEMORY, _labels(one, who, MEMORY)) for one in OPERATIONS]
    arrays = _arrays(bench, who, threads, size, _of_size(bench, size, wanted))
    of_memory = _of_memory(bench, arrays)
    read = next((one for one in of_memory if one.name == READ.name and isinstance(one, Measurement)), None)
    return of_memory + [_of_level(bench, arrays, number, read) for number in range(len(bench.caches))]


def _of_size(bench: Bench, size: int, wanted: int) -> tuple[str, ...]:
    if not wanted:
        return (f"no cache is claimed: arrays of {shown(size)} may lie in one",)
    if size >= wanted // _UNIT * _UNIT:
        return ()
    last = bench.caches[-1]
    return (
        f"L{last.level} is claimed to be {shown(last.size)}: arrays should have {shown(wanted)}, and memory allows "
        f"{shown(size)}, so that part of them may be found in it",
    )


def _arrays(bench: Bench, who: str, threads: int, size: int, notes: tuple[str, ...]) -> Arrays:
    """Arrays that each thread touched first."""
    # One buffer a thread: how its pages are is read from the kernel once, not for each array.
    buffers: list[Buffer] = bench.pool.run(*[partial(buffer, _ARRAYS * size, byte=PATTERN)] * threads)
    share = min((one.huge for one in buffers if one.huge is not None), default=1.0)
    if round(share, 2) < 1:
        notes += (f"{share:.0%} of the arrays lie on huge pages: small ones cost 5 to 15 %",)
    window = min(int(bench.limits["stream_window"]), size) // _UNIT * _UNIT
    return Arrays(who, tuple(Walk(_thirds(one), window) for one in buffers), size, notes)


def _thirds(memory: Buffer) -> tuple[loops.Array, ...]:
    whole = memory.of(np.float64)
    length = len(whole) // _ARRAYS
    return tuple(whole[number * length : (number + 1) * length] for number in range(_ARRAYS))


def _of_memory(bench: Bench, arrays: Arrays) -> list[Outcome]:
    inner = bench.caches[-2] if len(bench.caches) > 1 else None
    if inner is not None and inner.size > arrays.size * bench.limits["level_share"]:
        reason = f"memory allows arrays of {shown(arrays.size)}, most of which L{inner.level} holds"
        return [Unmeasured(one.name, reason, _MORE_MEMORY, _labels(one, arrays.who, MEMORY)) for one in OPERATIONS]
    return [_of(bench, one, arrays.walks, _labels(one, arrays.who, MEMORY), arrays.notes) for one in OPERATIONS]


def _of_level(bench: Bench, arrays: Arrays, number: int, memory: Measurement | None) -> Outcome:
    """Reading from a level of cache; `memory` is reading from memory, where that was measured."""
    cache, threads = bench.caches[number], len(arrays.walks)
    labels = _labels(READ, arrays.who, f"L{cache.level}")
    below = bench.caches[number - 1] if number else None
    size = level_size(cache, threads, bench.limits, below=below)
    if size < _UNIT or (below is not None and size <= below.size):
        reason = f"what a thread may take of it is {shown(size)}, which is inside the level below"
        return Unmeasured(READ.name, reason, "", labels)
    if size > arrays.size:
        reason = f"{shown(size)} of it are needed, and memory allows {shown(arrays.size)}"
        return Unmeasured(READ.name, reason, _MORE_MEMORY, labels)
    window = min(int(bench.limits["stream_window"]) // _UNIT * _UNIT, size)
    walks = tuple(Walk((walk.arrays[0][: size // _ITEM],), window) for walk in arrays.walks)
    bench.pool.run(*[partial(walk.run, READ, size // window) for walk in walks])  # now they are where they belong
    found = _of(bench, READ, walks, labels, (f"{shown(size)} of each thread, {shown(cache.size)} are claimed",))
    if memory is None or found.attained > memory.quartiles[1]:
        return found
    slow = f"no faster than memory: this process does not have the {shown(cache.size)} that are claimed"
    return replace(found, notes=(*found.notes, slow))


def _of(
    bench: Bench, operation: Operation, walks: tuple[Walk, ...], labels: Mapping[str, str], notes: tuple[str, ...]
) -> Measurement:
    counted = operation.arrays * walks[0].window * len(walks)
    take = partial(measured, operation.name, "B/s", bench=bench, figure=lambda seconds: counted / seconds,
                   better="higher", labels=labels, threads=len(walks), notes=notes,
                   seconds=bench.limits["stream_seconds"])  # fmt: skip
    if len(walks) == 1:
        found: Measurement = bench.pool.run(partial(take, partial(walks[0].run, operation)))[0]
        return found
    return take(partial(together, bench, operation, walks))


def together(
    bench: Bench, operation: Operation, walks: Sequence[Walk], rounds: int, *, threads: Sequence[int] = ()
) -> Took:
    """
    Go over so many windows of each walk, on as many threads of the pool (the first, where none are named).

    What it took is from when the first began until the last has ended.
    """
    gate, patience = new_gate(), nanoseconds_of(bench.limits["meeting_seconds"], "the wait at the gate")
    calls = [partial(_after_gate, gate, len(walks), patience, partial(walk.run, operation, rounds)) for walk in walks]
    spans: list[tuple[float, float]] = bench.pool.run_on(threads or range(len(walks)), calls)
    return Took(max(end for _, end in spans) - min(start for start, _ in spans))


def _after_gate(
    gate: npt.NDArray[np.int64], threads: int, patience: int, run: Callable[[], None]
) -> tuple[float, float]:
    arrive(gate, threads, patience)  # who waits in vain begins nonetheless
    start = time.perf_counter()
    run()
    return start, time.perf_counter()


def _labels(operation: Operation, who: str, level: str) -> dict[str, str]:
    return {"threads": who, **({"level": level} if operation is READ else {})}
