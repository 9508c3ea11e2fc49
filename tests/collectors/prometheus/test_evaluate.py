"""The evaluator against recorded answers of the real query engines, and case by case."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.evaluate import EvaluationError, Evaluator
from engram_diagnose.collectors.prometheus.functions import (
    PROMETHEUS_2,
    PROMETHEUS_3,
    RESET,
    SCRAPES,
    Semantics,
    semantics_of,
)
from engram_diagnose.collectors.prometheus.labels import Labels, labels_of
from engram_diagnose.collectors.prometheus.promql import PromqlError, parse
from engram_diagnose.collectors.prometheus.series import Series, SeriesStore, store_of

RECORDED = json.loads((Path(__file__).parent / "recorded-answers.json").read_text())
START = RECORDED["start"]


def series(labels: dict[str, str], samples: list[tuple[float, float]]) -> Series:
    """A series of samples at seconds."""
    times = [round(time * 1000) for time, _ in samples]
    return Series(labels_of(labels.items()), times, [value for _, value in samples])


def one(name: str, *samples: tuple[float, float], **labels: str) -> SeriesStore:
    return store_of([series({"__name__": name, **labels}, list(samples))])


def value(store: SeriesStore, text: str, at: float, semantics: Semantics = PROMETHEUS_3) -> float | None:
    """The only value of an expression; None when there is none."""
    result = Evaluator(store, semantics).at(parse(text), round(at * 1000))
    assert len(result) <= 1
    return result[0].value if result else None


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right)) or math.isclose(left, right, rel_tol=1e-9)


def recorded_store() -> SeriesStore:
    return store_of(
        Series(
            labels_of(entry["labels"].items()),
            [START + time for time, _ in entry["samples"]],
            [float(text) for _, text in entry["samples"]],
            [START + time for time in entry["stale"]],
        )
        for entry in RECORDED["series"]
    )


def answers(text: str, at: int, semantics: Semantics) -> dict[Labels, float] | str:
    try:
        vector = Evaluator(recorded_store(), semantics).at(parse(text), at)
    except (EvaluationError, PromqlError):
        return "error"
    return {sample.labels: sample.value for sample in vector}


@pytest.mark.parametrize("case", RECORDED["answers"], ids=lambda case: str(case["query"]))
@pytest.mark.parametrize(("version", "semantics"), [("2.42", PROMETHEUS_2), ("3.5", PROMETHEUS_3)])
def test_every_recorded_answer_of_the_real_engines_is_given_again(
    case: dict[str, Any], version: str, semantics: Semantics
) -> None:
    """Random expressions over random series with resets, gaps, NaN, stale markers and odd buckets."""
    recorded = case["3.5"] if case[version] == "same" else case[version]
    ours = answers(case["query"], START + case["at"], semantics)
    if recorded == "error" or ours == "error":
        assert ours == recorded
        return
    assert isinstance(ours, dict)
    theirs = {tuple(map(tuple, labels)): float(text) for labels, text in recorded}
    assert ours.keys() == theirs.keys()
    assert [labels for labels in ours if not same(ours[labels], theirs[labels])] == []


COUNTER = one("c", *((15 * step, 10.0 * step) for step in range(41)))


def test_a_steady_counter_has_its_rate_whatever_the_window() -> None:
    for window in ("1m", "5m", "90s"):
        assert same(value(COUNTER, f"rate(c[{window}])", 600) or 0, 10 / 15)


def test_a_reset_adds_what_was_counted_before_it_and_is_noted() -> None:
    store = one("c", (0, 100), (15, 110), (30, 4), (45, 10))
    vector = Evaluator(store, SCRAPES).at(parse("increase(c[45s])"), 45_000)
    assert same(vector[0].value, 10 + 4 + 6)
    assert vector[0].notes == {RESET}
    summed = Evaluator(store, SCRAPES).at(parse("sum(increase(c[45s])) / 2"), 45_000)
    assert summed[0].notes == {RESET}


def test_one_sample_gives_no_rate() -> None:
    assert value(one("c", (0, 1)), "rate(c[5m])", 10) is None


def test_a_young_counter_is_not_extrapolated_below_zero() -> None:
    store = one("c", (100, 1), (110, 11))
    assert same(value(store, "increase(c[60s])", 110) or 0, 11)


def test_a_sample_at_the_very_start_of_a_range_counts_in_prometheus_2_alone() -> None:
    assert value(COUNTER, "count_over_time(c[1m])", 600, PROMETHEUS_2) == 5
    assert value(COUNTER, "count_over_time(c[1m])", 600, PROMETHEUS_3) == 4


def test_an_instant_selector_looks_back_five_minutes_and_no_further() -> None:
    store = one("g", (0, 7))
    assert value(store, "g", 299.999) == 7
    assert value(store, "g", 300) is None
    assert value(store, "g", 300, PROMETHEUS_2) == 7
    assert value(store, "g", -1) is None


def test_a_stale_marker_ends_a_series_for_instant_selectors_but_not_for_ranges() -> None:
    gone = Series(labels_of([("__name__", "g")]), [0, 10_000], [1.0, 2.0], stale=[20_000])
    assert value(store_of([gone]), "g", 19) == 2
    assert value(store_of([gone]), "g", 20) is None
    assert value(store_of([gone]), "sum_over_time(g[1m])", 20) == 3


def test_two_scrapes_give_the_plain_difference() -> None:
    store = one("c", (1000.25, 50), (1030.25, 110))
    assert same(value(store, "rate(c[30s])", 1030.25, SCRAPES) or 0, 2)


def test_versions_choose_their_semantics() -> None:
    assert semantics_of("2.53.1") == PROMETHEUS_2
    assert semantics_of("v2.24.0") == PROMETHEUS_2
    assert semantics_of("3.5.0") == PROMETHEUS_3
    assert semantics_of("") == PROMETHEUS_3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g / 0", math.inf),
        ("-g / 0", -math.inf),
        ("g * 0 / 0", math.nan),
        ("g > 3", 4.0),
        ("g > 4", None),
        ("3 < g", 4.0),
        ("g > bool 4", 0.0),
        ("clamp_min(g, 5)", 5.0),
        ("clamp_max(g, NaN)", math.nan),
        ("abs(-g)", 4.0),
        ("time()", 10.0),
        ("2 * 3 > bool 5", 1.0),
        ("count(g)", 1.0),
        ("changes(g[1m])", 1.0),
        ("resets(g[1m])", 0.0),
        ("deriv(g[1m])", 0.4),
        ("delta(g[20s])", 8.0),
        ("no_such + g", None),
    ],
)
def test_operators_and_functions(text: str, expected: float | None) -> None:
    found = value(one("g", (0, 0), (10, 4)), text, 10)
    assert found is expected or (found is not None and expected is not None and same(found, expected))


def test_nan_counts_in_a_minimum_only_when_there_is_nothing_else() -> None:
    store = one("g", (0, math.nan), (1, 3), (2, math.nan))
    assert value(store, "min_over_time(g[10s])", 5) == 3
    assert value(store, "max_over_time(g[10s])", 5) == 3
    assert math.isnan(value(store, "avg_over_time(g[10s])", 5) or 0)
    assert math.isnan(value(store, "max_over_time(g[1s])", 2) or 0)


def test_huge_figures_and_infinities_have_an_average() -> None:
    assert value(one("g", (0, 1.5e308), (1, 1.5e308)), "avg_over_time(g[9s])", 1) == 1.5e308
    assert value(one("g", (0, 1.5e308), (1, 1.5e308)), "sum_over_time(g[9s])", 1) == math.inf
    both = one("g", (0, math.inf), (1, -math.inf))
    assert math.isnan(value(both, "sum_over_time(g[9s])", 1) or 0)


PAIRS = store_of(
    [
        series({"__name__": "a", "op": "x", "n": "1"}, [(0, 1)]),
        series({"__name__": "a", "op": "x", "n": "2"}, [(0, 2)]),
        series({"__name__": "b", "op": "x"}, [(0, 10)]),
        series({"__name__": "b", "op": "y"}, [(0, 20)]),
    ]
)


def test_an_ambiguous_join_is_an_error_that_names_the_labels() -> None:
    for text in ("a / on(op) b", "b / on(op) a", "b / on() group_left a"):
        with pytest.raises(EvaluationError, match="aggregate them first"):
            value(PAIRS, text, 1)


def test_a_group_takes_the_labels_it_is_told_to() -> None:
    found = Evaluator(PAIRS).at(parse("a / on(op) group_left b"), 1000)
    assert [(sample.labels, sample.value) for sample in found] == [
        ((("n", "1"), ("op", "x")), 0.1),
        ((("n", "2"), ("op", "x")), 0.2),
    ]


def test_results_come_in_the_order_of_their_labels() -> None:
    found = Evaluator(PAIRS).at(parse("sum by (op) (b)"), 1000)
    assert [sample.labels for sample in found] == [(("op", "x"),), (("op", "y"),)]


TEXTS = st.recursive(
    st.sampled_from(["a", "b", "g", "1", "NaN", "time()", 'a{op=~"x.*"}', "rate(a[5s])",
                     "lat_bucket", "deriv(g[9s])"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "/", "> bool", "> on(op)", "* on(op) group_left"]),
                  inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda text: f"sum by (op) ({text})"),
        inner.map(lambda text: f"-({text})"),
        inner.map(lambda text: f"histogram_quantile(0.9, {text})"),
        inner.map(lambda text: f"clamp_max({text}, 1)"),
    ),
    max_leaves=6,
)  # fmt: skip
FIGURES = st.floats() | st.sampled_from([0.0, 1.0, math.nan, math.inf])
BOUNDS = st.sampled_from(["0.1", "0.10", "1", "+Inf", "junk", "", "-3"])


@given(
    TEXTS,
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "g", "lat_bucket"]), st.sampled_from("xy"), BOUNDS,
                  st.dictionaries(st.integers(0, 20), FIGURES, max_size=5)),
        max_size=8,
    ),
)  # fmt: skip
def test_no_samples_make_the_evaluator_raise_anything_but_our_error(
    text: str, drawn: list[tuple[str, str, str, dict[int, float]]]
) -> None:
    found = {
        labels_of([("__name__", name), ("op", op), ("le", bound)]): sorted(samples.items())
        for name, op, bound, samples in drawn
    }
    store = store_of(series(dict(labels), samples) for labels, samples in found.items())
    with contextlib.suppress(EvaluationError, PromqlError):
        vector = Evaluator(store).at(parse(text), 10_000)
        assert all(isinstance(sample.value, float) for sample in vector)
