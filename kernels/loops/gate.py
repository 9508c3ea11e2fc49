"""
The gate at which threads wait until all are there, and what each did from then on.

A gate of Python's lets its threads through one by one, as each gets the GIL: the first has done its work before the
last begins. So loops that are to meet each other spin here, where no GIL is needed. Nothing can interrupt a jitted
spin: each ends with the clock, and so do the loops that follow, whose windows are short for the same reason.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.atomics import atomic_add, load_atomic, nanoseconds, pause
from engram_diagnose.kernels.loops.compiled import loop

LONGEST_SECONDS: Final = 2.0
"""No gate and no window lasts longer: Ctrl-C is answered once the loop has ended."""
_LOOKS: Final = 64
"""So often a spin looks at the gate for each look at the clock."""


@dataclass(frozen=True, slots=True)
class Span:
    """How often a thread did something after the gate, and the seconds until it had; 0 and 0 if it gave up there."""

    count: int
    seconds: float


@loop
def arrive(gate: Any, threads: Any, patience: Any) -> Any:
    """Wait, in a loop, until so many threads came to `gate[0]`, for `patience` nanoseconds; whether they did."""
    atomic_add(gate, 0, 1)
    until = nanoseconds() + patience
    looks = 0
    while load_atomic(gate, 0) < threads:
        looks += 1
        if looks % _LOOKS == 0 and nanoseconds() > until:
            return False
        pause()
    return True


def new_gate() -> npt.NDArray[np.int64]:
    """A gate for one run, closed: an array that shares its cache lines with nothing."""
    return np.zeros(64, np.int64)[24:40]


def checked_gate(gate: npt.NDArray[np.int64], threads: int) -> None:
    """Raises `ValueError` for what is no gate that is open to so many."""
    if gate.dtype != np.int64 or gate.ndim != 1 or not len(gate) or not gate.flags.c_contiguous:
        raise ValueError("a gate is an array of int64, as new_gate() makes it")
    if threads < 1:
        raise ValueError(f"one thread at least passes a gate, not {threads}")


def nanoseconds_of(seconds: float, what: str) -> int:
    """A bounded time for a loop; raises `ValueError` for one that is negative, or too long to wait for."""
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"{what} is 0 to {LONGEST_SECONDS} seconds, not {seconds}: a loop cannot be interrupted")
    return int(seconds * 1e9)
