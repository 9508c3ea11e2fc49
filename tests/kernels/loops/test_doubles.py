"""Vectors of float64, each operation by itself: a loop that uses all of them may hide that one is wrong."""

from typing import Any

import numpy as np

from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.doubles import (
    ALIGNMENT,
    LANES,
    added,
    all_lanes,
    end_of_stores,
    load,
    multiplied,
    store_past_caches,
    total,
)
from engram_diagnose.kernels.measure.memory import buffer


@loop
def _combined(target: Any, left: Any, right: Any, value: Any) -> None:
    store_past_caches(target, 0, load(left, 1))
    store_past_caches(target, LANES, added(load(left, 0), load(right, 0)))
    store_past_caches(target, 2 * LANES, multiplied(load(left, 0), load(right, 0)))
    store_past_caches(target, 3 * LANES, all_lanes(value))
    end_of_stores()


@loop
def _total(array: Any) -> Any:
    return total(load(array, 0))


def test_each_operation_does_in_all_lanes_what_its_name_says() -> None:
    target = buffer(4 * ALIGNMENT).of(np.float64)
    left, right = np.arange(1.0, LANES + 2), np.arange(1.0, LANES + 2) ** 2
    _combined(target, left, right, 7.5)
    one, other = left[:LANES], right[:LANES]
    assert np.array_equal(target, np.concatenate([left[1:], one + other, one * other, np.full(LANES, 7.5)]))


def test_the_total_is_of_all_lanes() -> None:
    assert _total(2.0 ** np.arange(LANES)) == 2**LANES - 1


def test_a_vector_has_as_many_lanes_as_some_register() -> None:
    assert LANES in (2, 4, 8)
    assert ALIGNMENT == 8 * LANES
