"""
Counters that threads add to, each to its own: what it costs when they lie on one cache line, and when they do not.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.atomics import atomic_add, compare_exchange, load_atomic, nanoseconds
from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.gate import Span, arrive, checked_gate, nanoseconds_of

BATCH: Final = 512
"""Additions from one look at the clock to the next, whose 25 ns would be half an addition."""
_MOST_FLOAT: Final = (1 << 24) - BATCH
"""A float32 counts no further than 2^24 in ones: beyond it, an addition of one is lost in the rounding."""


def add_for(
    counters: npt.NDArray[np.int64],
    which: int,
    gate: npt.NDArray[np.int64],
    threads: int,
    *,
    gate_seconds: float,
    window_seconds: float,
) -> Span:
    """
    Add 1 to `counters[which]` atomically, for `window_seconds` after `threads` threads came to the gate.

    Other threads may add to the same one, and none of what was added is lost.
    """
    _check(counters, np.int64, which)
    checked_gate(gate, threads)
    waits, window = nanoseconds_of(gate_seconds, "gate_seconds"), nanoseconds_of(window_seconds, "window_seconds")
    count, taken = _add(counters, which, gate, threads, waits, window)
    return Span(count, taken / 1e9)


def float_add_for(
    counters: npt.NDArray[np.float32],
    which: int,
    gate: npt.NDArray[np.int64],
    threads: int,
    *,
    gate_seconds: float,
    window_seconds: float,
) -> Span:
    """
    As `add_for`, on float32: no CPU adds to one atomically, so that each addition reads it, adds, and puts the sum
    there if nobody came between, else begins anew. `AtomicF32` is made like this.

    It ends after 2^24 additions, the last that a float32 counts.
    """
    _check(counters, np.float32, which)
    checked_gate(gate, threads)
    waits, window = nanoseconds_of(gate_seconds, "gate_seconds"), nanoseconds_of(window_seconds, "window_seconds")
    count, taken = _float_add(counters.view(np.int32), which, gate, threads, waits, window)
    return Span(count, taken / 1e9)


def _check(counters: npt.NDArray[Any], kind: Any, which: int) -> None:
    if counters.dtype != kind or counters.ndim != 1:
        raise ValueError(f"counters are a row of {np.dtype(kind)}, not {counters.ndim}-dimensional {counters.dtype}")
    if not counters.flags.c_contiguous or not counters.flags.aligned or not counters.flags.writeable:
        raise ValueError("counters are contiguous, aligned and writeable: atomic access takes whole items alone")
    if not 0 <= which < len(counters):
        raise ValueError(f"there are {len(counters)} counters: none has the number {which}")


@loop
def _add(counters: Any, which: Any, gate: Any, threads: Any, patience: Any, window: Any) -> Any:
    if not arrive(gate, threads, patience):
        return 0, 0
    start = nanoseconds()
    now, count = start, 0
    while now - start < window:
        for _ in range(BATCH):
            atomic_add(counters, which, 1)
        count += BATCH
        now = nanoseconds()
    return count, now - start


@loop
def _float_add(bits: Any, which: Any, gate: Any, threads: Any, patience: Any, window: Any) -> Any:
    if not arrive(gate, threads, patience):
        return 0, 0
    start = nanoseconds()
    now, count = start, 0
    while now - start < window and count < _MOST_FLOAT:
        for _ in range(BATCH):
            seen = load_atomic(bits, which)
            while True:
                raised = np.int32(seen).view(np.float32) + np.float32(1)
                found = compare_exchange(bits, which, seen, np.float32(raised).view(np.int32))
                if found == seen:
                    break
                seen = found
        count += BATCH
        now = nanoseconds()
    return count, now - start
