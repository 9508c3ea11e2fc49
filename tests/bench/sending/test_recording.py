"""Notes that become figures a great many at once, against adding one after the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.sending.sent import RECALL

from engram_diagnose.bench.sending import recording
from engram_diagnose.bench.sending.histogram import Histogram, bucket_of, buckets_of
from engram_diagnose.bench.sending.recording import Lane
from engram_diagnose.bench.sending.task import Second

TIMES = st.lists(st.integers(-1000, 2**50), max_size=100)
NS = 1_000_000_000


def one_by_one(times: list[int]) -> Histogram:
    histogram = Histogram()
    for one in times:
        histogram.add(one)
    return histogram


@given(st.lists(st.integers(0, 2**50), min_size=1, max_size=100))
def test_many_times_find_their_buckets_as_each_does(times: list[int]) -> None:
    assert buckets_of(np.array(times, np.int64)).tolist() == [bucket_of(one) for one in times]


@given(TIMES, TIMES)
def test_adding_many_is_adding_each(some: list[int], more: list[int]) -> None:
    histogram = Histogram()
    histogram.add_all(np.array(some, np.int64))
    histogram.add_all(np.array(more, np.int64))
    assert histogram == one_by_one(some + more)


@given(TIMES)
def test_packing_loses_nothing(times: list[int]) -> None:
    histogram = one_by_one(times)
    assert Histogram.unpacked(histogram.packed()) == histogram
    assert Histogram.unpacked(b"") == Histogram()


@given(st.lists(st.tuples(st.integers(0, 5 * NS), st.integers(0, NS), st.integers(0, NS), st.booleans()), max_size=60),
       st.integers(1, 20))  # fmt: skip
def test_figures_do_not_depend_on_how_often_notes_are_taken_over(
    requests: list[tuple[int, int, int, bool]], every: int
) -> None:
    often, once = Lane(RECALL, 0), Lane(RECALL, 0)
    seconds: dict[str, dict[int, Second]] = {"often": {}, "once": {}}
    for place, (due, waited, served, good) in enumerate(requests):
        for lane in (often, once):
            lane.note_sent(due)
            lane.note_lag(waited)
            if good:
                lane.note_done(due)
                lane.note_start(due + waited)
                lane.note_end(due + waited + served)
        if place % every == 0:
            often.take_over(seconds["often"], start=0, end=3 * NS)
    often.take_over(seconds["often"], start=0, end=3 * NS)
    once.take_over(seconds["once"], start=0, end=3 * NS)
    assert often.told == once.told
    assert once.told.response == one_by_one([waited + served for _, waited, served, good in requests if good])
    assert once.told.service == one_by_one([served for _, _, served, good in requests if good])
    assert {place: (one.sent, one.ok, one.times) for place, one in seconds["often"].items()} == {
        place: (one.sent, one.ok, one.times) for place, one in seconds["once"].items()
    }


def test_notes_are_taken_over_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_MANY", 3)
    lane = Lane(RECALL, 0)
    assert not lane.is_full
    for due in range(3):
        lane.note_sent(due)
    assert lane.is_full
    lane.take_over({}, start=0, end=NS)
    assert not lane.is_full
    assert lane.sent == 3
