"""A Prometheus that lies about types: what cannot be right is unknown with its reason, and never a figure."""

import json
from typing import Any

import pytest

from engram_diagnose.collectors.prometheus.facts import facts_of_series
from engram_diagnose.collectors.prometheus.series import SeriesError, store_of_matrix
from engram_diagnose.engine.facts.fact import Fact, Reason
from engram_diagnose.rulebase import load_rules

CATALOGUE = load_rules().catalogue
GUIDE = CATALOGUE.dialects["guide"]
HISTOGRAM = "engram_memory_operation_duration_seconds"


def answer(*series: dict[str, Any], kind: str = "matrix", status: str = "success") -> str:
    return json.dumps({"status": status, "data": {"resultType": kind, "result": list(series)}})


def grown(name: str, step: float = 10.0, **labels: str) -> dict[str, Any]:
    values = [[15 * n, str(step * n)] for n in range(1, 21)]
    return {"metric": {"__name__": name, "operation": "recall", "memory_space": "a", **labels}, "values": values}


def facts(body: str, *wanted: str) -> dict[str, Fact]:
    found = facts_of_series(store_of_matrix(body), dialect=GUIDE, catalogue=CATALOGUE, wanted=wanted, at=300.0,
                            host="h", default_window=300)  # fmt: skip
    return {fact.name: fact for fact in found if "hops" not in str(fact.scope)}


def test_a_histogram_without_bounds_has_no_quantile() -> None:
    fact = facts(answer(grown(f"{HISTOGRAM}_bucket")), "op.latency.p99")["op.latency.p99"]
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.SOURCE_ABSENT


def test_a_histogram_without_its_infinite_bucket_has_no_quantile() -> None:
    body = answer(grown(f"{HISTOGRAM}_bucket", le="0.1"), grown(f"{HISTOGRAM}_bucket", le="0.5"))
    fact = facts(body, "op.latency.p99")["op.latency.p99"]
    assert fact.unknown is not None
    assert (fact.unknown.reason, "+Inf" in fact.unknown.detail) == (Reason.NAN, True)


def test_a_bound_that_is_no_figure_is_left_out() -> None:
    body = answer(*(grown(f"{HISTOGRAM}_bucket", step, le=le) for le, step in (("0.1", 9), ("fast", 3), ("+Inf", 10))))
    fact = facts(body, "op.latency.p50")["op.latency.p50"]
    assert fact.known
    assert fact.value is not None


def test_a_counter_that_only_falls_says_that_it_was_reset() -> None:
    falling = grown("engram_store_operations_total")
    falling["values"] = [[15 * n, str(1000 - 10 * n)] for n in range(1, 21)]
    fact = facts(answer(falling), "store.rate")["store.rate"]
    assert "counter reset in the window" in fact.quality


LIES = {
    "times in quotes": [["15", "1"]],
    "figures without quotes": [[15, 1.5]],
    "a figure in words": [[15, "many"]],
    "null": [[15, None]],
    "three parts": [[15, "1", "2"]],
    "no pairs": ["15"],
    "an object": [{"time": 15}],
    "backwards": [[30, "1"], [15, "2"]],
    "the same time twice": [[15, "1"], [15, "2"]],
    "a time beyond all calendars": [[1e300, "1"]],
    "hidden digits": [[15, "1_000"]],
    "other digits": [[15, "１"]],
}


@pytest.mark.parametrize("values", LIES.values(), ids=LIES.keys())
def test_samples_that_are_none_refuse_the_answer_and_show_what_was_there(values: list[Any]) -> None:
    with pytest.raises(SeriesError) as refused:
        store_of_matrix(answer({"metric": {"__name__": "x"}, "values": values}))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "5", '"x"', "{", "[" * 100_000, "<html>", "\x00", answer(kind="vector"), answer(status="error"),
     '{"status":"success"}', '{"status":"success","data":{"resultType":"matrix","result":5}}',
     answer({"metric": ["x"], "values": []}), answer({"metric": {"__name__": 5}, "values": []}), answer({"values": []}),
     answer(grown("x"), grown("x")), answer({"metric": {"__name__": "x"}, "values": 5}),
     answer({"metric": {"__name__": "x"}, "histograms": 5}),
     answer({"metric": {"__name__": "x"}, "histograms": [[1]]})],
)  # fmt: skip
def test_no_answer_but_a_matrix_is_one(body: str) -> None:
    with pytest.raises(SeriesError) as refused:
        store_of_matrix(body)
    assert str(refused.value).isprintable()


def test_half_a_character_in_a_label_costs_nothing_but_itself() -> None:
    body = answer(grown("x")).replace('"recall"', r'"re\ud83dcall"')
    (series,) = store_of_matrix(body).named("x")
    assert dict(series.labels)["operation"] == "re\ufffdcall"
