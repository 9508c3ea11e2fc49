"""
A number that two threads raise in turns: the time from core to core and back.

It moves from cache line to cache line as it goes up. How far a line is from two cores depends on where the entry of its
address lies in the directory of the caches: one line alone reads up to a third high or low, and another one each time.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.atomics import load_atomic, nanoseconds, store_atomic
from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.gate import Span, arrive, checked_gate, nanoseconds_of

_STRIDE: Final = 16
"""Items of int64 from line to line: 128 bytes."""
_TURNS: Final = 64
"""Round trips on one line, and from one look at the clock to the next."""
_LOOKS: Final = 1024
"""So often a spin looks at a line for each look at the clock: a partner that lost its CPU may never answer."""


def new_lines(count: int) -> npt.NDArray[np.int64]:
    """So many lines for the number, all 0, and one on which the thread that began says that it has ended."""
    if count < 1:
        raise ValueError("there is one line at least")
    room = np.zeros((count + 2) * _STRIDE, np.int64)
    skipped = -room.ctypes.data % (_STRIDE * 8) // 8
    return room[skipped : skipped + (count + 1) * _STRIDE]


def ping_for(
    lines: npt.NDArray[np.int64],
    gate: npt.NDArray[np.int64],
    *,
    gate_seconds: float,
    window_seconds: float,
) -> Span:
    """
    Begin: write 1 to a line, wait for the answer 2, write 3, for `window_seconds`; the round trips, and their time.

    The other thread runs `pong_for` on the same two arrays; `lines` are those of `new_lines`, or zeroed again.
    """
    _check(lines, gate)
    waits, window = nanoseconds_of(gate_seconds, "gate_seconds"), nanoseconds_of(window_seconds, "window_seconds")
    count, taken = _ping(lines, gate, waits, window)
    return Span(count, taken / 1e9)


def pong_for(
    lines: npt.NDArray[np.int64],
    gate: npt.NDArray[np.int64],
    *,
    gate_seconds: float,
    window_seconds: float,
) -> Span:
    """Answer what `ping_for` writes, until it says that it has ended, for both of its times at the longest."""
    _check(lines, gate)
    waits, window = nanoseconds_of(gate_seconds, "gate_seconds"), nanoseconds_of(window_seconds, "window_seconds")
    count, taken = _pong(lines, gate, waits, waits + window)
    return Span(count, taken / 1e9)


def _check(lines: npt.NDArray[np.int64], gate: npt.NDArray[np.int64]) -> None:
    checked_gate(gate, 2)
    if lines.dtype != np.int64 or lines.ndim != 1 or len(lines) < 2 * _STRIDE or len(lines) % _STRIDE:
        raise ValueError(f"lines are a row of int64, {_STRIDE} for each and as many for the end")
    if not lines.flags.c_contiguous or not lines.flags.aligned or not lines.flags.writeable:
        raise ValueError("lines are contiguous, aligned and writeable: atomic access takes whole items alone")


@loop
def _ping(lines: Any, gate: Any, patience: Any, window: Any) -> Any:
    if not arrive(gate, 2, patience):
        return 0, 0
    start = nanoseconds()
    now, count, answered = start, 0, True
    while answered and now - start < window:
        at = _line_of(lines, count)
        for _ in range(_TURNS):
            store_atomic(lines, at, 2 * count + 1)
            answered = _says(lines, at, 2 * count + 2, start + window)
            if not answered:
                break
            count += 1
        now = nanoseconds()
    store_atomic(lines, len(lines) - _STRIDE, 1)
    return count, now - start


@loop
def _pong(lines: Any, gate: Any, patience: Any, window: Any) -> Any:
    if not arrive(gate, 2, patience):
        return 0, 0
    start = nanoseconds()
    count, at = 0, 0
    while _says(lines, at, 2 * count + 1, start + window):
        store_atomic(lines, at, 2 * count + 2)
        count += 1
        if count % _TURNS == 0:
            at = _line_of(lines, count)
    return count, nanoseconds() - start


@loop
def _line_of(lines: Any, count: Any) -> Any:
    """Where the number is after so many round trips."""
    return count // _TURNS % (len(lines) // _STRIDE - 1) * _STRIDE


@loop
def _says(lines: Any, at: Any, wanted: Any, until: Any) -> Any:
    """Whether a line says what is wanted before the clock does `until`, or the other thread that it has ended."""
    looks = 0
    while load_atomic(lines, at) != wanted:
        looks += 1
        if looks % _LOOKS == 0 and (load_atomic(lines, len(lines) - _STRIDE) or nanoseconds() > until):
            return False
    return True
