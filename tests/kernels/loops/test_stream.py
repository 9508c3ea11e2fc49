"""STREAM's loops against the formulas in numpy, and what they refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.kernels.loops.doubles import ALIGNMENT, LANES
from engram_diagnose.kernels.loops.stream import Windows, add, copy, read, scale, triad, triad_past_caches
from engram_diagnose.kernels.measure.memory import buffer

Array = npt.NDArray[np.float64]
Loop = Callable[[Array, Array, Array, Windows], None]

LOOPS: dict[str, Loop] = {
    "copy": lambda target, left, right, over: copy(target, left, over),
    "scale": lambda target, left, right, over: scale(target, left, 3.0, over),
    "add": lambda target, left, right, over: add(target, left, right, over),
    "triad": lambda target, left, right, over: triad(target, left, right, 3.0, over),
    "triad_past_caches": lambda target, left, right, over: triad_past_caches(target, left, right, 3.0, over),
}
FORMULAS: dict[str, Callable[[Array, Array], Array]] = {
    "copy": lambda left, right: left,
    "scale": lambda left, right: 3.0 * left,
    "add": lambda left, right: left + right,
    "triad": lambda left, right: left + 3.0 * right,
    "triad_past_caches": lambda left, right: left + 3.0 * right,
}


def arrays(length: int) -> tuple[Array, Array, Array]:
    """A target that no formula gives, and two arrays of whole numbers; all aligned to a page."""
    room = -(-length // 512) * 512
    whole = buffer(3 * 8 * room).of(np.float64)
    parts = [whole[number * room : number * room + length] for number in range(3)]
    parts[0].fill(-1)
    parts[1][:] = np.arange(length)
    parts[2][:] = np.arange(length)[::-1]
    return parts[0], parts[1], parts[2]


def touched(length: int, windows: Windows) -> npt.NDArray[np.bool_]:
    """The items that windows go over, one by one."""
    found = np.zeros(length, bool)
    size = windows.length or length
    for number in range(windows.first, windows.first + windows.rounds):
        start = number % (length // size) * size
        found[start : start + size] = True
    return found


@pytest.mark.parametrize("name", LOOPS)
@given(vectors=st.integers(1, 40), size=st.integers(1, 40), first=st.integers(0, 90), rounds=st.integers(0, 90))
def test_a_loop_writes_its_formula_into_its_windows_and_nowhere_else(
    name: str, vectors: int, size: int, first: int, rounds: int
) -> None:
    length, windows = vectors * LANES, Windows(min(size, vectors) * LANES, first, rounds)
    target, left, right = arrays(length)
    LOOPS[name](target, left, right, windows)
    assert np.array_equal(target, np.where(touched(length, windows), FORMULAS[name](left, right), -1))


@pytest.mark.parametrize("name", [name for name in LOOPS if name != "triad_past_caches"])
@given(length=st.integers(1, 200))
def test_a_plain_loop_goes_over_arrays_of_any_length(name: str, length: int) -> None:
    target, left, right = arrays(length)
    LOOPS[name](target, left, right, Windows())
    assert np.array_equal(target, FORMULAS[name](left, right))


@given(length=st.integers(1, 600), size=st.integers(1, 600), first=st.integers(0, 9), rounds=st.integers(0, 9))
def test_reading_gives_the_sum_over_its_windows(length: int, size: int, first: int, rounds: int) -> None:
    array = arrays(length)[1]
    windows = Windows(min(size, length), first, rounds)
    slow = 0.0
    for number in range(first, first + rounds):
        start = number % (length // windows.length) * windows.length
        slow += float(sum(array[start : start + windows.length]))
    assert read(array, windows) == slow


def test_reading_adds_up_in_another_order_than_one_by_one_and_no_worse() -> None:
    array = np.random.default_rng(1).normal(size=100_000)
    assert read(array) == pytest.approx(np.sum(array), rel=1e-12)


def test_reading_what_is_not_a_number_gives_no_number() -> None:
    array = np.ones(1000)
    array[777] = np.nan
    assert np.isnan(read(array))
    array[777] = np.inf
    assert read(array) == np.inf


def test_stores_past_the_caches_refuse_a_target_that_is_not_aligned_instead_of_ending_the_process() -> None:
    target, left, right = arrays(64 * LANES)
    with pytest.raises(ValueError, match=f"target must be aligned to {ALIGNMENT} bytes"):
        triad_past_caches(target[1 : 1 + LANES], left[:LANES], right[:LANES], 3.0)
    with pytest.raises(ValueError, match="whole vectors"):
        triad_past_caches(target, left, right, 3.0, Windows(LANES + 1))


def test_stores_past_the_caches_read_what_is_not_aligned() -> None:
    target, left, right = arrays(65 * LANES)
    triad_past_caches(target[: 64 * LANES], left[1 : 1 + 64 * LANES], right[3 : 3 + 64 * LANES], 3.0)
    assert np.array_equal(target[: 64 * LANES], (left[1:] + 3.0 * np.append(right[3:], [0, 0]))[: 64 * LANES])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros(8, np.float32), "source must be a flat array of float64"),
        (np.zeros((2, 4)), "source must be a flat array of float64"),
        ([0.0] * 8, "source must be a flat array of float64"),
        (np.zeros(16)[::2], "source must be contiguous"),
        (np.zeros(65, np.uint8)[1:].view(np.float64), "source must be contiguous and aligned"),
        (np.zeros(9), "source has 9 items, target has 8"),
    ],
)
def test_what_no_loop_can_go_over_is_refused_by_name(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        copy(np.zeros(8), wrong)


def test_arrays_that_overlap_are_refused() -> None:
    whole = np.zeros(12)
    with pytest.raises(ValueError, match="right and target overlap"):
        add(whole[:8], np.zeros(8), whole[4:])


def test_a_target_that_cannot_be_written_is_refused() -> None:
    target = np.zeros(8)
    target.flags.writeable = False
    with pytest.raises(ValueError, match="target must be writable"):
        copy(target, np.ones(8))


@pytest.mark.parametrize("windows", [Windows(9), Windows(-1), Windows(4, -1), Windows(4, 0, -1)])
def test_windows_that_an_array_has_not_are_refused(windows: Windows) -> None:
    with pytest.raises(ValueError, match="window"):
        read(np.zeros(8), windows)


def test_an_empty_array_has_no_window() -> None:
    with pytest.raises(ValueError, match="no window"):
        read(np.zeros(0))
