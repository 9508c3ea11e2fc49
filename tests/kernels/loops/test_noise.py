"""The chain and the watch against plain Python."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.kernels.loops.noise import LONGEST_WATCH, Gaps, chain, clocks, gaps_in, watch

MASK = (1 << 64) - 1


def plain_chain(steps: int, start: int, by: int) -> int:
    value = start
    for _ in range(steps):
        value = ((value + by) & MASK) ^ by
    return value


@given(st.integers(0, 300), st.integers(0, MASK), st.integers(0, MASK))
def test_a_chain_ends_where_plain_python_ends(steps: int, start: int, by: int) -> None:
    value, taken = chain(steps, start=start, by=by)
    assert value == plain_chain(steps, start, by)
    assert taken >= 0


@pytest.mark.parametrize(("steps", "options"), [(-1, {}), (1 << 33, {}), (1, {"by": -1}), (1, {"start": 1 << 64})])
def test_a_chain_that_would_not_fit_is_refused(steps: int, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="chain"):
        chain(steps, **options)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=60), st.integers(0, 1 << 40))
def test_gaps_are_the_differences_of_neighbours_that_are_large_enough(steps: list[int], least: int) -> None:
    readings = np.cumsum(np.array(steps, np.int64))
    apart = np.diff(readings)
    late = apart[apart >= least]
    longest = int(late.max()) if len(late) else 0
    span = int(readings[-1] - readings[0])
    assert gaps_in(readings, least=least) == Gaps(len(late), int(late.sum()), longest, span)


@pytest.mark.parametrize(
    ("readings", "wrong"),
    [
        (np.zeros(3), "int64"),
        (np.zeros((2, 2), np.int64), "flat"),
        (np.zeros(0, np.int64), "none"),
        ([1, 2], "array"),
    ],
)
def test_readings_of_another_kind_are_refused(readings: Any, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        gaps_in(readings, least=1)


@pytest.mark.skipif(not clocks()[0], reason="this CPU has no counter that programs may read")
def test_a_watch_accounts_for_every_tick_where_each_counts_as_a_gap() -> None:
    found = watch(2_000_000, least=0)
    assert found.count > 0
    assert found.total == found.span > 0
    assert found.longest <= found.span


def test_a_watch_finds_no_gap_longer_than_itself() -> None:
    found = watch(1_000_000, least=1 << 62)
    assert (found.count, found.total, found.longest) == (0, 0, 0)


@pytest.mark.parametrize("long", [0, -1, LONGEST_WATCH + 1])
def test_a_watch_that_nobody_could_end_is_refused(long: int) -> None:
    with pytest.raises(ValueError, match="watch"):
        watch(long, least=1)


def test_the_clocks_go_forward() -> None:
    first, second = clocks(), clocks()
    assert first[1] <= second[1]
    assert first[0] <= second[0]
