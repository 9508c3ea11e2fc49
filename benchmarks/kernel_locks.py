"""
Sharded locks, ours against those of C: seconds of an operation on one thread, and from one to the next on all.
"""

import ctypes
from functools import partial

import numpy as np
import numpy.typing as npt
from contending import figures, in_c, judged, line, of_all, pairs_of
from outcome import Outcome

from engram_diagnose.kernels.loops.gate import Span
from engram_diagnose.kernels.loops.locks import count_for, new_locks
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.locks import KEYS, SKEWS, Skew, numbers_of_shards
from engram_diagnose.kernels.measure.together import Gate, at_once

NAME = "locks"
WINDOW_SECONDS = 0.004
DRAWN_EACH = 1 << 16
_POINTER, _WHOLE = ctypes.c_void_p, ctypes.c_int64
_TAKES = (_POINTER, _WHOLE, _POINTER, _POINTER, _WHOLE, _POINTER, _WHOLE, _WHOLE, _WHOLE)

Keys = list[npt.NDArray[np.int32]]


def outcomes(*, quick: bool) -> list[Outcome]:
    """The fewest and the most shards."""
    return judged(NAME, partial(_outcomes, rounds=4 if quick else 30))


def _outcomes(bench: Bench, *, rounds: int) -> list[Outcome]:
    return [
        _compared(bench, skew, threads, shards, rounds=rounds)
        for skew in SKEWS
        for threads in sorted({1, len(bench.cpus)})
        for shards in sorted({1, numbers_of_shards(len(bench.cpus))[-1]})
    ]


def _compared(bench: Bench, skew: Skew, threads: int, shards: int, *, rounds: int) -> Outcome:
    keys = np.array_split(skew.draw(DRAWN_EACH * threads), threads)
    counts = np.zeros(KEYS, np.int64)
    sides = [partial(side, bench, keys, counts, shards) for side in (_ours, _theirs)]
    what = f"{skew.word}, {shards} shard{'s' * (shards > 1)}, {threads} thread{'s' * (threads > 1)}"
    return line(NAME, what, "C", pairs_of(figures(sides, rounds)))


def _ours(bench: Bench, keys: Keys, counts: npt.NDArray[np.int64], shards: int) -> float:
    locks, patience = new_locks(shards), bench.limits["meeting_seconds"]

    def count(number: int, gate: Gate) -> Span:
        return count_for(locks, counts, keys[number], gate, len(keys),
                         gate_seconds=patience, window_seconds=WINDOW_SECONDS)  # fmt: skip

    return of_all(at_once(bench.pool, range(len(keys)), count))


def _theirs(bench: Bench, keys: Keys, counts: npt.NDArray[np.int64], shards: int) -> float:
    locks, counting = new_locks(shards), in_c("locks", "count_for", *_TAKES)
    patience, window = int(bench.limits["meeting_seconds"] * 1e9), int(WINDOW_SECONDS * 1e9)

    def count(number: int, gate: Gate) -> Span:
        row = keys[number]
        return counting(locks.ctypes.data, shards, counts.ctypes.data, row.ctypes.data, len(row),
                        gate.ctypes.data, len(keys), patience, window)  # fmt: skip

    return of_all(at_once(bench.pool, range(len(keys)), count))
