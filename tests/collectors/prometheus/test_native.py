"""Native histograms: the answers of Prometheus 3.5, and laws that hold for all."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.evaluate import Evaluator
from engram_diagnose.collectors.prometheus.facts import facts_of_series, needed_selectors
from engram_diagnose.collectors.prometheus.labels import labels_of
from engram_diagnose.collectors.prometheus.merging import promql_of
from engram_diagnose.collectors.prometheus.native import (
    Native,
    NotAlikeError,
    at_schema,
    parse_native,
    plus,
    was_reset,
    widened,
)
from engram_diagnose.collectors.prometheus.native_quantile import native_quantile
from engram_diagnose.collectors.prometheus.nativised import of_native
from engram_diagnose.collectors.prometheus.promql import parse
from engram_diagnose.collectors.prometheus.series import SeriesStore, store_of_matrix
from engram_diagnose.collectors.telemetry import promised_series
from engram_diagnose.rulebase import load_rules

RECORDED = json.loads((Path(__file__).parent / "recorded-native.json").read_text())
"""Series and answers of the query engine of Prometheus 3.5; the series named `own…` have bounds of their own."""
CATALOGUE = load_rules().catalogue
GUIDE = CATALOGUE.dialects["guide"]


def recorded_store() -> SeriesStore:
    return store_of_matrix(json.dumps(RECORDED["matrix"]))


@pytest.mark.parametrize("case", RECORDED["answers"], ids=lambda case: f"{case['expr']} at {case['at']}")
def test_every_recorded_answer_is_given_again(case: dict[str, Any]) -> None:
    ours = {sample.labels: sample.value for sample in Evaluator(recorded_store()).at(parse(case["expr"]), case["at"])}
    theirs = {labels_of(labels.items()): float(text) for labels, text in case["result"]}
    assert ours.keys() == theirs.keys()
    assert {labels: (ours[labels], theirs[labels]) for labels in ours if not _equal(ours[labels], theirs[labels])} == {}


def _equal(ours: float, theirs: float) -> bool:
    return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-15) or (math.isnan(ours) and math.isnan(theirs))


# Reading


COUNTS = st.dictionaries(st.integers(-40, 40), st.integers(1, 1000).map(float), max_size=6)
NATIVES = st.builds(
    lambda schema, zero, positive, negative: Native(
        zero + sum(positive.values()) + sum(negative.values()), 1.0,
        schema if positive or negative else None, 1e-30 if zero else 0.0, zero, positive, negative,
    ),
    st.integers(-4, 8), st.integers(0, 50).map(float), COUNTS, COUNTS,
)  # fmt: skip


def written(one: Native) -> dict[str, Any]:
    """The histogram as the API writes it."""
    base = 2.0 ** (2.0 ** -(one.schema or 0))
    buckets: list[list[Any]] = [[1, str(-(base**i)), str(-(base ** (i - 1))), str(n)] for i, n in one.negative.items()]
    if one.zero_count:
        buckets.append([3, str(-one.zero_threshold), str(one.zero_threshold), str(one.zero_count)])
    buckets += [[0, str(base ** (i - 1)), str(base**i), str(n)] for i, n in one.positive.items()]
    return {"count": str(one.count), "sum": str(one.sum), "buckets": buckets}


def in_range(one: Native) -> bool:
    return all(abs(index) * 2.0 ** -(one.schema or 0) < 900 for index in (*one.positive, *one.negative))


@given(NATIVES.filter(in_range))
def test_what_was_written_is_read_again(one: Native) -> None:
    assert parse_native(written(one)) == one


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["0", "1", "-1", "+Inf", "NaN", "x", "2"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["count", "sum", "buckets"]), inner),
)
FIGURES = st.sampled_from(["0", "-0", "1", "-1", "0.5", "2", "4", "1e308", "+Inf", "-Inf", "NaN", "1e-320", "x"])
BUCKETS = st.lists(st.tuples(st.integers(0, 3), FIGURES, FIGURES, FIGURES).map(list), max_size=5)
HOSTILE = st.one_of(ODD, st.fixed_dictionaries({"count": FIGURES, "sum": FIGURES, "buckets": BUCKETS}))


@given(st.lists(HOSTILE, max_size=4))
def test_no_histogram_makes_reading_or_evaluating_raise(values: list[Any]) -> None:
    histograms = [[10.0 * number, value] for number, value in enumerate(values, 1)]
    item = {"metric": {"__name__": "h"}, "histograms": histograms}
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [item]}})
    store = store_of_matrix(body)
    for text in ("histogram_quantile(0.5, rate(h[1m]))", "histogram_count(h)", "histogram_quantile(0.9, sum(h))"):
        Evaluator(store).at(parse(text), 41_000)


# Laws


@given(NATIVES, NATIVES)
def test_counts_are_kept_when_histograms_are_added_and_taken_away(one: Native, other: Native) -> None:
    both = plus(one, other)
    assert both.count == one.count + other.count
    inside = both.zero_count + sum(both.positive.values()) + sum(both.negative.values())
    assert inside == pytest.approx(both.count)
    assert plus(both, other, sign=-1).count == one.count


@given(NATIVES, NATIVES)
def test_what_only_grows_was_not_reset_and_what_shrinks_was(one: Native, other: Native) -> None:
    if (one.schema or 0) == (other.schema or 0) and one.zero_count and other.zero_count:
        assert not was_reset(one, plus(one, other))
    assert was_reset(plus(one, other), one) == bool(other.count)


@given(NATIVES, st.integers(-4, 8), st.floats(1e-12, 1e6))
def test_coarser_buckets_and_broader_zeroes_hold_the_same_counts(one: Native, schema: int, threshold: float) -> None:
    assert sum(at_schema(one, schema).positive.values()) == pytest.approx(sum(one.positive.values()))
    wide = widened(one, max(threshold, one.zero_threshold))
    inside = wide.zero_count + sum(wide.positive.values()) + sum(wide.negative.values())
    assert inside == pytest.approx(one.count)


@given(NATIVES.filter(in_range), st.floats(0, 1), st.booleans())
def test_a_quantile_lies_in_its_bucket(one: Native, q: float, exponential: bool) -> None:
    found = native_quantile(q, one, exponential=exponential)
    if found.bucket is None:
        assert not one.count or found.notes
    else:
        slack = 1e-9 * max(abs(found.bucket.low), abs(found.bucket.high))
        assert found.bucket.low - slack <= found.value <= found.bucket.high + slack


def test_buckets_of_two_kinds_do_not_fit_together() -> None:
    with pytest.raises(NotAlikeError):
        plus(Native(1, 1, 0, positive={1: 1.0}), Native(1, 1, custom={(0.0, 0.3): 1.0}))


# In the place of classic histograms


@pytest.mark.parametrize(
    ("classic", "native"),
    [
        ("histogram_quantile(0.99, sum by (le, operation) (rate(x_bucket[5m])))",
         "histogram_quantile(0.99, sum by (operation) (rate(x[5m])))"),
        ("sum(rate(x_sum[5m])) / sum(rate(x_count[5m]))",
         "sum(histogram_sum(rate(x[5m]))) / sum(histogram_count(rate(x[5m])))"),
        ("rate(x_bucket{le=\"0.1\"}[5m])", None),
        ("sum by (le) (rate(x_bucket[5m]))", None),
        ("deriv(x_count[5m])", None),
        ("rate(x_total[5m])", None),
        ("x", None),
    ],
)  # fmt: skip
def test_what_reads_a_classic_histogram_is_said_of_the_native_one(classic: str, native: str | None) -> None:
    found = of_native(parse(classic))
    assert (None if found is None else promql_of(found)) == native


def test_a_server_with_native_histograms_alone_has_its_latencies_known() -> None:
    name = "engram_memory_operation_duration_seconds"
    histograms = [[10 * n, {"count": str(10 * n), "sum": str(0.02 * n), "buckets": [[0, "0.001953125", "0.00390625",
                  str(10 * n)]]}] for n in range(1, 32)]  # fmt: skip
    metric = {"__name__": name, "operation": "recall", "memory_space": "default"}
    body = {
        "status": "success",
        "data": {"resultType": "matrix", "result": [{"metric": metric, "histograms": histograms}]},
    }
    store = store_of_matrix(json.dumps(body))
    wanted = ["op.latency.p99", "op.latency.mean"]
    assert name in needed_selectors(wanted, dialect=GUIDE, catalogue=CATALOGUE, default_window=300).metrics
    facts = facts_of_series(store, dialect=GUIDE, catalogue=CATALOGUE, wanted=wanted, at=310.0, host="h",
                            default_window=300)  # fmt: skip
    known = {fact.name: fact for fact in facts if fact.known and str(fact.scope).count("operation=recall")}
    p99 = known["op.latency.p99"]
    assert isinstance(p99.value, tuple)
    assert p99.value == pytest.approx((0.001953125, 0.00390625))
    assert "_bucket" not in p99.source
    assert known["op.latency.mean"].value == pytest.approx((0.002, 0.002))
    assert not {f"{name}_bucket", f"{name}_count", f"{name}_sum"} & set(promised_series(GUIDE, store).absent)
