"""The pointer chase: one cycle through all lines, whoever writes which of its links."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.kernels.loops.latency import LINE, Cycle
from engram_diagnose.kernels.measure.memory import buffer


def a_cycle(lines: int, parts: int = 1) -> Cycle:
    cycle = Cycle(buffer(lines * LINE).of(np.uint64))
    for part in range(parts):
        cycle.lay(part=part, parts=parts)
    return cycle


def followed(cycle: Cycle) -> list[int]:
    """The slots by plain Python, from slot 0, as many as there are lines."""
    slots = [0]
    for _ in range(cycle.lines - 1):
        slots.append(int(cycle.slots[slots[-1]]))
    return slots


@given(lines=st.integers(1, 300), parts=st.integers(1, 5))
def test_the_links_lead_once_through_every_line_and_back(lines: int, parts: int) -> None:
    cycle = a_cycle(lines, parts)
    slots = followed(cycle)
    assert sorted(slots) == list(range(0, 8 * lines, 8))
    assert cycle.slots[slots[-1]] == 0


@given(lines=st.integers(1, 300), hops=st.integers(0, 700))
def test_a_chase_ends_where_following_the_links_one_by_one_does(lines: int, hops: int) -> None:
    cycle = a_cycle(lines)
    assert cycle.chase(0, hops) == followed(cycle)[hops % lines]


def test_a_chase_that_goes_on_has_followed_as_many_links_as_one_without_a_stop() -> None:
    cycle = a_cycle(1000)
    assert cycle.chase(cycle.chase(0, 123), 456) == cycle.chase(0, 579)


def test_the_order_is_none_that_a_prefetcher_could_guess() -> None:
    slots = np.array(followed(a_cycle(4096)), dtype=np.int64)
    strides, counts = np.unique(np.diff(slots), return_counts=True)
    assert len(strides) > 1000
    assert counts.max() < 16


def test_all_links_but_the_first_of_a_line_are_left_alone() -> None:
    cycle = a_cycle(100)
    assert not cycle.slots.reshape(100, 8)[:, 1:].any()


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        (np.zeros(16, np.int64), "uint64"),
        (np.zeros((2, 8), np.uint64), "flat"),
        ([0] * 8, "uint64"),
        (buffer(128).of(np.uint64)[1:9], "aligned"),
        (buffer(256).of(np.uint64)[::2], "contiguous"),
        (buffer(128).of(np.uint64)[:12], "whole lines"),
        (buffer(128).of(np.uint64)[:0], "whole lines"),
    ],
)
def test_memory_that_holds_no_cycle_is_refused(slots: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cycle(slots)


@pytest.mark.parametrize(("at", "hops"), [(-8, 1), (80, 1), (4, 1), (0, -1)])
def test_a_chase_from_outside_is_refused(at: int, hops: int) -> None:
    with pytest.raises(ValueError, match="cannot begin"):
        a_cycle(10).chase(at, hops)


@pytest.mark.parametrize(("part", "parts"), [(1, 1), (-1, 2), (0, 0)])
def test_a_share_of_the_links_that_there_is_not_is_refused(part: int, parts: int) -> None:
    with pytest.raises(ValueError, match="no part"):
        a_cycle(10).lay(part=part, parts=parts)
