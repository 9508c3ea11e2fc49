"""Predictions learn from what became of earlier ones, and no faster than the evidence allows."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engram_diagnose.engine.advice.learning import Learned, adjusted, learned
from engram_diagnose.engine.advice.record import Prediction, Realised, Verdict
from engram_diagnose.engine.facts.scope import INSTANCE, scope_of

RULE = "storage.wal-write-amplification"
STORES = scope_of({"operation": "store"})
PREDICTED = Prediction("op.latency.p99", STORES, "ms", "lower", 0.1, 0.02, 0.04, RULE)

figures = st.floats(1e-6, 1e6)
ratios = st.floats(-5, 5)
spreads = st.floats(0, 3)


def realised(after: float, *, application: int = 0, at: float = 0.0, verdict: Verdict = "improved") -> Realised:
    """Of a figure that was 100 and was predicted to fall to 40 to 60."""
    return Realised(application, at, "a", "op.latency.p99", STORES, RULE, verdict, 100.0, after, -1.0, 1.0, 40.0, 60.0)


def cases(*afters: float) -> list[Realised]:
    return [realised(after, application=number) for number, after in enumerate(afters, 1)]


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    measured, better = draw(figures), draw(st.sampled_from(["lower", "higher"]))
    one, two = sorted((draw(figures), draw(figures)))
    assume(two <= measured if better == "lower" else one >= measured)
    return Prediction("x", INSTANCE, "", better, measured, one, two, RULE)


def test_the_ratio_is_the_median_of_realised_over_predicted_effect() -> None:
    assert learned(RULE, cases(50, 75, 100)) == Learned(RULE, 0.5, 0.5, 3)


def test_fewer_cases_than_asked_for_teach_nothing() -> None:
    assert learned(RULE, cases(50, 75), least=3) is None
    assert learned(RULE, cases(50, 75, 100), least=3) is not None
    assert learned(RULE, []) is None


@pytest.mark.parametrize("verdict", ["not comparable", "inconclusive"])
def test_what_could_not_be_told_does_not_count(verdict: Verdict) -> None:
    assert learned(RULE, [realised(50, verdict=verdict)]) is None


@pytest.mark.parametrize(
    "item",
    [
        replace(realised(50), predicted_low=None),
        replace(realised(50), after=None),
        replace(realised(50), before=None),
        replace(realised(50), predicted_low=100.0, predicted_high=100.0),  # nothing was predicted to change
        replace(realised(50), rule="another"),
        replace(realised(50), after=float("inf")),
    ],
)
def test_a_case_without_a_yardstick_does_not_count(item: Realised) -> None:
    assert learned(RULE, [item]) is None


def test_the_figures_of_one_application_are_one_case() -> None:
    other = replace(realised(90, application=1), scope=INSTANCE)
    found = learned(RULE, [realised(50, application=1), other, *cases(75, 75)[1:]])
    assert found is not None
    assert found.cases == 2


def test_a_figure_that_was_verified_again_counts_as_it_was_found_last() -> None:
    late, early = realised(50, application=1, at=2.0), realised(100, application=1, at=1.0)
    assert learned(RULE, [late, early]) == Learned(RULE, 1.0, 0.0, 1)


def test_half_of_the_predicted_effect_is_predicted_when_half_came_true() -> None:
    found = adjusted(PREDICTED, Learned(RULE, 0.5, 0.0, 3))
    assert (found.low, found.high) == pytest.approx((0.06, 0.07))
    assert replace(found, low=PREDICTED.low, high=PREDICTED.high) == PREDICTED


def test_the_spread_widens_the_interval() -> None:
    found = adjusted(PREDICTED, Learned(RULE, 0.5, 0.25, 3))
    assert (found.low, found.high) == pytest.approx((0.1 - 0.08 * 0.75, 0.1 - 0.06 * 0.25))


def test_a_past_that_made_it_worse_predicts_that_again() -> None:
    assert adjusted(PREDICTED, Learned(RULE, -0.5, 0.0, 3)).high == pytest.approx(0.14)


@given(predictions())
def test_predictions_that_came_true_change_nothing(prediction: Prediction) -> None:
    assert adjusted(prediction, Learned(RULE, 1.0, 0.0, 3)) == prediction


@given(predictions(), st.floats(0, 5), spreads)
def test_no_prediction_turns_to_the_worse_unless_the_past_did(
    prediction: Prediction, ratio: float, spread: float
) -> None:
    found = adjusted(prediction, Learned(RULE, ratio, spread, 3))
    assert found.high <= prediction.measured if prediction.better == "lower" else found.low >= prediction.measured


@given(predictions(), ratios, spreads)
def test_the_interval_is_one_and_stays_above_nought(prediction: Prediction, ratio: float, spread: float) -> None:
    found = adjusted(prediction, Learned(RULE, ratio, spread, 3))
    assert 0 <= found.low <= found.high


@given(predictions(), st.floats(0, 1), spreads, st.floats(0, 1))
def test_more_spread_never_narrows(prediction: Prediction, ratio: float, spread: float, more: float) -> None:
    narrow = adjusted(prediction, Learned(RULE, ratio, spread, 3))
    wide = adjusted(prediction, Learned(RULE, ratio, spread + more, 3))
    assert wide.low <= narrow.low * (1 + 1e-9)
    assert wide.high >= narrow.high * (1 - 1e-9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_the_order_of_the_cases_does_not_matter(afters: list[float]) -> None:
    listed = cases(*afters)
    shuffled = listed[::-1]
    assert learned(RULE, listed) == learned(RULE, shuffled)


@given(st.lists(figures, min_size=1, max_size=9))
def test_the_ratio_lies_among_the_cases(afters: list[float]) -> None:
    found = learned(RULE, cases(*afters))
    assert found is not None
    effects = [(after - 100) / -50 for after in afters]
    assert min(effects) <= found.ratio <= max(effects)
    assert found.spread >= 0


@given(st.floats(), st.floats(), st.floats(), st.floats())
def test_no_figures_make_it_fail(before: float, after: float, low: float, high: float) -> None:
    item = replace(realised(1), before=before, after=after, predicted_low=low, predicted_high=high)
    lesson = learned(RULE, [item])
    if lesson is not None:
        adjusted(PREDICTED, lesson)
