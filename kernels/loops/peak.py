"""
Fused multiply-adds and nothing else: enough sums that none waits for itself, all of them in registers.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.vectors import filled, numbered, scaled, total

STEPS: Final = 1024
"""How often a round goes over all sums; some microseconds."""

WIDTHS: Final = (4, 8, 16)


def multiply_add(rounds: int, *, lanes: int, sums: int, factor: float = 0.5, addend: float = 1.0) -> float:
    """
    Let `sums` (12 or 24) registers of `lanes` (4, 8 or 16) float32, filled with 0, 1, 2 … at first, be each times
    `factor` plus `addend`, 1024 times a round; the sum of all lanes, which is 2 for each with the default figures.

    Raises `ValueError` where there are no such registers, or fewer than 0 rounds.
    """
    if (lanes, sums) not in _LOOPS:
        raise ValueError(f"there is no loop over {sums} sums of {lanes} lanes: lanes are 4, 8 or 16, sums 12 or 24")
    if rounds < 0:
        raise ValueError("there are no fewer than 0 rounds")
    return float(_LOOPS[lanes, sums](rounds * STEPS, np.float32(factor), np.float32(addend)))


def operations(rounds: int, *, lanes: int, sums: int) -> int:
    """Floating point operations of so many rounds; a fused multiply-add is two."""
    return 2 * rounds * STEPS * lanes * sums


def _chains(lanes: int, count: int) -> Callable[..., Any]:
    """The loop over so many registers, which have to be constants of it."""

    @loop
    def chains(steps: int, factor: Any, addend: Any) -> Any:
        sums = numbered(lanes, count)
        factors = filled(factor, lanes)
        addends = filled(addend, lanes)
        for _ in range(steps):
            sums = scaled(sums, factors, addends)
        return total(sums)

    return chains


_LOOPS: Final = {(lanes, count): _chains(lanes, count) for lanes in WIDTHS for count in (12, 24)}
