"""Raw series from the API's JSON and from scrapes."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.labels import label, labels_of, printed
from engram_diagnose.collectors.prometheus.series import (
    SeriesError,
    SeriesStore,
    store_of_matrix,
    store_of_scrapes,
)


def matrix(*result: dict[str, Any], **more: Any) -> str:
    data = {"resultType": "matrix", "result": list(result)}
    return json.dumps({"status": "success", "data": data, **more})


def item(name: str, times: list[float], **labels: str) -> dict[str, Any]:
    metric = {"__name__": name, **labels}
    return {"metric": metric, "values": [[time, str(10 * i)] for i, time in enumerate(times)]}


def test_a_matrix_becomes_series_by_name() -> None:
    store = store_of_matrix(matrix(item("x", [1.5, 2.5], a="b"), item("y", [1.123])))
    (found,) = store.named("x")
    assert found.labels == (("__name__", "x"), ("a", "b"))
    assert (found.times, found.values) == ([1500, 2500], [0.0, 10.0])
    assert store.named("z") == ()
    assert len(store) == 2


def test_warnings_infos_and_native_histograms_that_cannot_be_read_become_quality() -> None:
    native = {"metric": {"__name__": "h"}, "histograms": [[1, {"count": "3"}]]}
    store = store_of_matrix(matrix(native, warnings=["slow"], infos=["not a counter\n"]))
    assert store.quality[:2] == ("slow", "not a counter ")
    assert "1 series of native histograms could not be read" in store.quality[2]
    assert len(store) == 0


HOSTILE = ['"', "\\", "\n", "😀", "<b>&amp;</b>", "a\u2028b", "\x1b[31m", "{}", "'", "[red]", "é"]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_label_values_survive(value: str) -> None:
    store = store_of_matrix(matrix(item("x", [1], a=value)))
    assert label(store.named("x")[0].labels, "a") == value


def test_lone_surrogates_are_replaced_so_that_everything_can_be_printed() -> None:
    body = matrix(item("x", [1], a="B")).replace('"B"', r'"\ud800\ud83d\ude00"')
    value = label(store_of_matrix(body).named("x")[0].labels, "a")
    assert value == "�😀"
    value.encode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("<html>", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no object"),
        ('{"status":"error","error":"too many samples"}', "too many samples"),
        ('{"status":"success","data":{"resultType":"vector","result":[]}}', "ask for a range"),
        (matrix({"values": []}), "no metric"),
        (matrix({"metric": {"a": 1}, "values": []}), "is not text"),
        (matrix({"metric": {}, "values": 5}), "no list of values"),
        (matrix({"metric": {}, "values": [[1, 2]]}), "is not a sample"),
        (matrix({"metric": {}, "values": [[1, "1_0"]]}), "is not a sample"),
        (matrix({"metric": {}, "values": [[float("nan"), "1"]]}), "is not a sample"),
        (matrix({"metric": {}, "values": [[1e300, "1"]]}), "is not a sample"),
        (matrix({"metric": {}, "values": [[True, "1"]]}), "is not a sample"),
        (matrix(item("x", [2, 1])), "order of time"),
        (matrix(item("x", [1]), item("x", [2])), "twice"),
    ],
)
def test_anything_but_a_matrix_is_an_error_that_says_what_it_is(body: str | bytes, said: str) -> None:
    with pytest.raises(SeriesError, match=said):
        store_of_matrix(body)


def stale_of(store: SeriesStore, name: str) -> list[int]:
    return store.named(name)[0].stale


def test_a_scrape_that_lacks_a_series_ends_it() -> None:
    up = item("up", [1, 2, 3, 4, 5], instance="i", job="j")
    gap = item("gap", [1, 2, 4, 5], instance="i", job="j")
    ends = item("ends", [2, 3], instance="i", job="j", a="b")
    other = item("other", [1], instance="elsewhere", job="j")
    own = item("own", [1.7, 2.9], instance="i", job="j")
    store = store_of_matrix(matrix(up, gap, ends, other, own))
    assert stale_of(store, "gap") == [3000]
    assert stale_of(store, "ends") == [4000]
    assert stale_of(store, "other") == []
    assert stale_of(store, "own") == [], "timestamps of its own: scrapes do not end it"
    assert store.named("gap")[0].latest(3500) is None
    assert store.named("gap")[0].latest(4500) == 2


def test_two_scrapes_become_series_of_two_samples() -> None:
    store = store_of_scrapes([(100.0, "a 1\nb 2\nb 3\nlost 9"), (130.5, b"a 5\nb 4\n!junk\n")])
    (a,) = store.named("a")
    assert (a.times, a.values) == ([100_000, 130_500], [1.0, 5.0])
    assert stale_of(store, "lost") == [130_500]
    assert any("repeat" in note for note in store.quality)
    assert any("!junk" in note for note in store.quality)


def test_timestamps_in_a_scrape_count() -> None:
    store = store_of_scrapes([(100.0, "a 1 90000"), (130.0, "a 1 90000"), (160.0, "a 2 150000")])
    assert store.named("a")[0].times == [90_000, 150_000]
    assert stale_of(store, "a") == []


def test_scrapes_out_of_order_are_refused() -> None:
    with pytest.raises(SeriesError, match="order of time"):
        store_of_scrapes([(2.0, "a 1"), (1.0, "a 1")])


def test_labels_are_printed_as_the_selector_that_picks_them() -> None:
    labels = labels_of([("__name__", "x"), ("b", '"\n'), ("a", "1")])
    assert printed(labels) == r'x{a="1",b="\"\n"}'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NEARLY = st.builds(
    lambda metric, values, more: {
        "status": "success",
        "data": {"resultType": "matrix", "result": [{"metric": metric, "values": values}, more]},
    },
    st.dictionaries(st.text(), st.text()) | JSON,
    st.lists(st.tuples(st.floats() | st.integers(), st.text() | st.just("1"))) | JSON,
    JSON,
)


@given(st.one_of(st.binary(), st.text(), (JSON | NEARLY).map(json.dumps)))
def test_no_answer_raises_anything_but_our_error(body: str | bytes) -> None:
    with contextlib.suppress(SeriesError):
        store_of_matrix(body)


@given(st.lists(st.one_of(st.binary(), st.text()), max_size=3))
def test_no_scrapes_raise(texts: list[str | bytes]) -> None:
    store_of_scrapes([(float(index), text) for index, text in enumerate(texts)])
