"""
The floating point peak of a core: our chains of fused multiply-adds against the same in C.
"""

import ctypes

from outcome import Outcome
from pairs import paired, speed
from reference_c import NoReferenceError, function, library

from engram_diagnose.kernels.loops.peak import STEPS, WIDTHS, multiply_add, operations
from engram_diagnose.kernels.loops.vectors import lanes_here

NAME = "peak"
SUMS = 12
ROUNDS = 60
"""Two milliseconds, about."""


def outcomes(*, quick: bool) -> list[Outcome]:
    """A line for each width of register that this CPU has."""
    try:
        reference = library(NAME)
    except NoReferenceError as error:
        return [Outcome(NAME, f"nothing to compare with: {error}", 0.0, unit="n")]
    return [_line(reference, lanes, 5 if quick else 61) for lanes in WIDTHS if lanes <= lanes_here()]


def _line(reference: ctypes.CDLL, lanes: int, pairs: int) -> Outcome:
    chains = function(f"peak_{lanes}", reference, [ctypes.c_size_t, ctypes.c_float, ctypes.c_float], ctypes.c_float)
    both = paired(
        lambda: multiply_add(ROUNDS, lanes=lanes, sums=SUMS), lambda: chains(ROUNDS * STEPS, 0.5, 1.0), pairs=pairs
    )
    done = float(operations(ROUNDS, lanes=lanes, sums=SUMS))
    return speed(
        NAME, f"multiply-adds in registers of {lanes} floats", "gcc", both, work=done, floor=0.98, bar=1.02
    )  # fmt: skip
