"""The fast reader of a matrix finds what the slow one finds, or leaves the answer to it."""

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.columns import read_matrix
from engram_diagnose.collectors.prometheus.labels import Labels
from engram_diagnose.collectors.prometheus.series import SeriesError, SeriesStore, _decoded, _store_of_any

Found = dict[Labels, tuple[list[int], list[bytes]]]


def answer(*series: list[Any]) -> str:
    result = [{"metric": {"__name__": "x", "n": str(n)}, "values": values} for n, values in enumerate(series)]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def bits(value: float) -> bytes:
    """What tells figures apart that compare as equal, -0 from 0, and makes all NaN one."""
    return struct.pack("d", math.nan if math.isnan(value) else value)


def fast(body: str) -> Found | None:
    matrix = read_matrix(body)
    if matrix is None:
        return None
    return {one.labels: (one.times, [bits(value) for value in one.values]) for one in matrix.series if one.times}


def slow(body: str) -> Found:
    store: SeriesStore = _store_of_any(_decoded(body))
    return {one.labels: (one.times, [bits(value) for value in one.values]) for one in store.named("x")}


FIGURES = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(
        ["NaN", "+Inf", "-Inf", "-0", "0", "1e+06", "1e-05", "5e-324", "1.7976931348623157e+308", ".5", "01"]
    ),
)
NONSENSE = st.one_of(
    st.text(), st.sampled_from([" 1", "1 ", "1,2", "", "1_0", "１", "[1]", "null", "1\n", "\t1", '1"2', "1\\"])
)
TIMES = st.lists(st.integers(-(2**40), 2**40).map(lambda time: time / 1000), unique=True).map(sorted)


@st.composite
def series(draw: st.DrawFn, figures: st.SearchStrategy[str] = FIGURES) -> list[Any]:
    return [[time, draw(figures)] for time in draw(TIMES)]


@given(st.lists(series(), max_size=4))
def test_every_figure_is_read_to_the_last_bit(values: list[list[Any]]) -> None:
    body = answer(*values)
    assert fast(body) == slow(body)


@given(st.lists(series(FIGURES | NONSENSE), max_size=3))
def test_whatever_the_fast_reader_takes_the_slow_one_takes_too(values: list[list[Any]]) -> None:
    body = answer(*values)
    found = fast(body)
    if found is not None:
        assert found == slow(body)


@pytest.mark.parametrize("text", ["1,2", " 1", "1 ", "", "1_0", "１", '1"', "[1]", "1\t", "null", "true"])
def test_what_is_no_figure_is_left_to_the_slow_reader_which_says_so(text: str) -> None:
    body = answer([[1, "1"], [2, text], [3, "3"]])
    assert read_matrix(body) is None
    with pytest.raises(SeriesError, match="is not a sample"):
        _store_of_any(_decoded(body))


@pytest.mark.parametrize("values", [[[1, "1"], ["2", "2"]], [[1, 2.5]], [[1, "1", "2"]], [[2, "1"], [1, "2"]],
                                    [[1e300, "1"]], [[1, None]], ["15"], [{"time": 1}]])  # fmt: skip
def test_a_frame_that_is_no_list_of_times_is_left_to_the_slow_reader(values: list[Any]) -> None:
    assert read_matrix(answer(values)) is None


def test_series_that_were_scraped_together_share_one_list_of_times() -> None:
    matrix = read_matrix(answer([[1, "1"], [2, "2"]], [[1, "3"], [2, "NaN"]], [[1, "3"], [3, "4"]]))
    assert matrix is not None
    one, other, third = (found.times for found in matrix.series)
    assert one is other
    assert third == [1000, 3000]
