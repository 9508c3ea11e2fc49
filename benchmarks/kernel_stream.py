"""
Memory bandwidth: our loops beside the same in C, on the same arrays.

Judged on one thread; what all of them reach together is shown beside it.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import reference_c
from outcome import Outcome
from pairs import Pairs, paired, speed

from engram_diagnose.kernels.loops import stream as loops
from engram_diagnose.kernels.measure.memory import buffer
from engram_diagnose.kernels.measure.threads import Pool

PLAIN: Final = 0.95
PAST_CACHES: Final = 1.0
READ: Final = 0.98

ARRAY: Final = 128 << 20
"""Bytes of each array: more than the caches of one core, and no more time than a few seconds for all pairs."""
LEVELS: Final = {"L1": 16 << 10, "L2": 128 << 10}
"""Inside these caches of any server's CPU since 2012."""
_AGAIN: Final = 1 << 30
"""Bytes read from them in one go: milliseconds, beside which the call takes nothing."""
_FACTOR: Final = 3.0
_POINTER, _SIZE, _DOUBLE = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_double

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Side:
    """One of STREAM's loops on some arrays: what it is called, the bytes that it counts, our loop and the one in C."""

    what: str
    counted: int
    floor: float
    ours: Call
    theirs: Call


def outcomes(*, quick: bool) -> list[Outcome]:
    """Every loop on one thread, reading from the caches, and every loop on all threads."""
    # gcc makes a call of memcpy of a loop that copies: what is compared is the loop.
    c = reference_c.library("stream", "-fno-tree-loop-distribute-patterns")
    pairs = 7 if quick else 31
    with Pool(sorted(os.sched_getaffinity(0))) as pool:
        own = partial(pool.run_on, [0])
        one: list[Side] = own([lambda: [*_sides(c, _arrays(ARRAY)), *_levels(c)]])[0]
        found = [_line(own([partial(paired, side.ours, side.theirs, pairs=pairs)])[0], side) for side in one]
        del one
        share = ARRAY // len(pool) // 4096 * 4096
        each: list[list[Side]] = pool.run(*[lambda: _sides(c, _arrays(share))] * len(pool))
        found += [_of_all(pool, sides, pairs) for sides in zip(*each, strict=True)]
    return found


def _line(found: Pairs, side: Side) -> Outcome:
    return speed("stream", f"{side.what}, B/s", "C", found, work=side.counted, unit="B", floor=side.floor)


def _of_all(pool: Pool, sides: Sequence[Side], pairs: int) -> Outcome:
    ours, theirs = [side.ours for side in sides], [side.theirs for side in sides]
    found = paired(lambda: pool.run(*ours), lambda: pool.run(*theirs), pairs=pairs)
    counted = sum(side.counted for side in sides)
    return speed("stream", f"{sides[0].what}, {len(pool)} threads, B/s", "C", found, work=counted, unit="B")


def _arrays(size: int) -> tuple[loops.Array, ...]:
    whole = buffer(3 * size, byte=0x3F).of(np.float64)
    return tuple(whole[number * size // 8 : (number + 1) * size // 8] for number in range(3))


def _sides(c: ctypes.CDLL, arrays: tuple[loops.Array, ...]) -> list[Side]:
    a, b, d = arrays
    count = len(a)
    at = [array.ctypes.data for array in arrays]
    two, three = [_POINTER] * 2, [_POINTER] * 3

    def of(name: str, takes: list[Any], *given: Any) -> Call:
        return partial(reference_c.function(name, c, [*takes, _SIZE]), *given, count)

    return [
        Side("copy", 16 * count, PLAIN, partial(loops.copy, a, b), of("copy", two, *at[:2])),
        Side("scale", 16 * count, PLAIN, partial(loops.scale, a, b, _FACTOR),
             of("scale", [*two, _DOUBLE], *at[:2], _FACTOR)),
        Side("add", 24 * count, PLAIN, partial(loops.add, a, b, d), of("add", three, *at)),
        Side("triad", 24 * count, PLAIN, partial(loops.triad, a, b, d, _FACTOR),
             of("triad", [*three, _DOUBLE], *at, _FACTOR)),
        Side("triad past caches", 24 * count, PAST_CACHES, partial(loops.triad_past_caches, a, b, d, _FACTOR),
             of("triad_past_caches", [*three, _DOUBLE], *at, _FACTOR)),
        _read(c, "read", a, 1),
    ]  # fmt: skip


def _levels(c: ctypes.CDLL) -> list[Side]:
    array = buffer(max(LEVELS.values()), byte=0x3F).of(np.float64)
    return [_read(c, f"read from {name}", array[: size // 8], _AGAIN // size) for name, size in LEVELS.items()]


def _read(c: ctypes.CDLL, what: str, array: loops.Array, rounds: int) -> Side:
    in_c = reference_c.function("read_all", c, [_POINTER, _SIZE, _SIZE], _DOUBLE)
    return Side(
        what,
        8 * len(array) * rounds,
        READ,
        partial(loops.read, array, loops.Windows(rounds=rounds)),
        partial(in_c, array.ctypes.data, len(array), rounds),
    )
