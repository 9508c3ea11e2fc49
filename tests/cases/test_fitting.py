"""Fits: they follow the cases, are held towards the designers' figures, and refuse what they cannot rest on."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases.made import LIMITS, corpus, judged, label

from engram_diagnose.cases.fitting import DESIGNED, Line, NoFitError, Observation, fit_cases, fitted, loss, observations
from engram_diagnose.cases.split import side_of

SPREADS = {"intercept_spread": 1.0, "slope_spread": 0.5}
SEEN = st.lists(st.builds(Observation, st.floats(-8, 8), st.booleans(), st.floats(0.1, 1)), max_size=40)


def test_without_cases_the_designers_figures_stand() -> None:
    line = fitted([], **SPREADS)
    assert (line.intercept, line.slope) == pytest.approx((0, 1))


@settings(deadline=None)
@given(seen=SEEN)
def test_no_line_near_or_far_does_better_than_the_fitted_one(seen: list[Observation]) -> None:
    try:
        line = fitted(seen, **SPREADS)
    except NoFitError:
        return
    best = loss(line, seen, **SPREADS)
    around = [Line(line.intercept + a / 10, line.slope + b / 10) for a in range(-30, 31, 3) for b in range(-30, 31, 3)]
    assert all(loss(other, seen, **SPREADS) >= best - 1e-9 for other in around)


def test_conclusions_that_are_right_half_as_often_as_they_are_called_come_down_to_that() -> None:
    fit = fit_cases(corpus(400, right=0.5, said=0.95), LIMITS)
    assert fit.line(0.95) == pytest.approx(0.5, abs=0.1)
    assert fit.helps
    assert fit.after[1].brier is not None
    assert fit.after[1].brier.score < 0.28


def test_confidences_that_are_kept_are_left_nearly_as_they_are() -> None:
    fit = fit_cases(corpus(400, right=0.9, said=0.9), LIMITS)
    assert fit.line(0.9) == pytest.approx(0.9, abs=0.03)


def test_few_cases_move_it_less_than_many() -> None:
    few, many = (fitted(observations(corpus(count, right=0.2)), **SPREADS) for count in (5, 500))
    assert abs(few(0.95) - 0.95) < abs(many(0.95) - 0.95)


def test_a_fit_never_sees_a_case_that_is_held_out() -> None:
    cases = corpus(400, right=0.5)
    fit = fit_cases(cases, LIMITS)
    assert {side_of(one.label, share=LIMITS["held_out"]) for one in fit.train} == {"train"}
    assert {side_of(one.label, share=LIMITS["held_out"]) for one in fit.held_out} == {"held-out"}
    assert len(fit.train) + len(fit.held_out) == len(cases)
    held = {id(one) for one in fit.held_out}
    others = [one if id(one) not in held else judged(one.label, [("a.wrong", 0.5)]) for one in cases]
    assert fit_cases(others, LIMITS).line == fit.line


def test_conclusions_of_one_case_weigh_as_much_as_the_one_of_another() -> None:
    loud = judged(label("loud"), [(f"rule.{number}", 0.9) for number in range(9)])
    assert math.fsum(one.weight for one in observations([loud])) == pytest.approx(1)


def test_what_is_neither_right_nor_wrong_moves_nothing() -> None:
    assert observations([judged(label(besides=("rule.x",)), [("rule.x", 0.99)])]) == []


def test_too_few_cases_are_refused_with_how_many_are_needed() -> None:
    with pytest.raises(NoFitError, match=r"cases to fit on hold a conclusion, \d+ are needed"):
        fit_cases(corpus(20, right=0.5), LIMITS)


def test_cases_of_few_families_are_refused() -> None:
    cases = [judged(label(f"case-{n}"), [("rule.x", 0.9)]) for n in range(200)]
    with pytest.raises(NoFitError, match=r"of 1 fault families \(log\)"):
        fit_cases(cases, LIMITS)


def test_a_fit_that_nothing_can_test_is_refused() -> None:
    families = ("log", "tiers", "simd", "locks", "disk", "index search")
    cases = [judged(label(f"case-{n}", families=(families[n % 6],)), [("rule.x", 0.9)]) for n in range(200)]
    with pytest.raises(NoFitError, match="no case is held out"):
        fit_cases(cases, LIMITS)


def test_surer_conclusions_that_are_right_less_often_are_no_fit() -> None:
    seen = [Observation(4.0, right=False, weight=1.0), Observation(-4.0, right=True, weight=1.0)] * 50
    with pytest.raises(NoFitError, match="right less often"):
        fitted(seen, **SPREADS)


def test_the_designers_line_changes_nothing() -> None:
    assert DESIGNED(0.37) == pytest.approx(0.37)
