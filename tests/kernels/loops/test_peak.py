"""Chains of multiply-adds: they compute, all of them, so that what is counted was done."""

import numpy as np
import pytest

from engram_diagnose.kernels.loops.peak import STEPS, multiply_add, operations

SHAPES = [(lanes, sums) for lanes in (4, 8, 16) for sums in (12, 24)]


def plain(rounds: int, lanes: int, sums: int, factor: float, addend: float) -> float:
    """Each chain step by step."""
    chains = np.arange(sums, dtype=np.float64)
    for _ in range(rounds * STEPS):
        chains = chains * factor + addend
    return float(chains.sum()) * lanes


@pytest.mark.parametrize(("lanes", "sums"), SHAPES)
@pytest.mark.parametrize(
    ("rounds", "factor", "addend"), [(0, 0.5, 1.0), (1, 0.5, 1.0), (1, 1.0, 3.0), (2, 0.999, 0.25)]
)
def test_every_chain_is_multiplied_and_added_to(
    lanes: int, sums: int, rounds: int, factor: float, addend: float
) -> None:
    found = multiply_add(rounds, lanes=lanes, sums=sums, factor=factor, addend=addend)
    assert found == pytest.approx(plain(rounds, lanes, sums, factor, addend), rel=1e-3)


def test_a_multiply_add_is_two_operations_for_each_lane() -> None:
    assert operations(3, lanes=8, sums=12) == 3 * STEPS * 12 * 8 * 2


@pytest.mark.parametrize(
    ("rounds", "lanes", "sums", "complaint"),
    [(1, 5, 12, "5 lanes"), (1, 8, 13, "13 sums"), (-1, 8, 12, "fewer than 0 rounds")],
)
def test_what_there_is_no_loop_for_is_refused(rounds: int, lanes: int, sums: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        multiply_add(rounds, lanes=lanes, sums=sums)
