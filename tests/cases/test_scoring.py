"""Scores: what counts as right, and that confidences are taken at their word."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases.made import LIMITS, WAL, judged, label

from engram_diagnose.cases.proportion import Proportion
from engram_diagnose.cases.scoring import brier, calibration_curve, restated, score
from engram_diagnose.engine.facts.scales import Calibration

SAID = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)
OTHER, THIRD, FOURTH = "a.first", "a.third", "a.fourth"


def test_what_was_planted_counts_at_the_rank_at_which_one_of_its_rules_stands() -> None:
    cases = [
        judged(label("one"), [(WAL, 0.9)]),
        judged(label("two"), [(OTHER, 0.9), (WAL, 0.8)]),
        judged(label("far"), [(OTHER, 0.9), (THIRD, 0.8), (FOURTH, 0.7), (WAL, 0.6)]),
        judged(label("none"), [(OTHER, 0.9)]),
    ]
    found = score(cases, LIMITS)
    assert found.first == Proportion(1, 4)
    assert found.among_first == Proportion(2, 4)
    assert [miss.case for miss in found.misses] == ["two", "far", "none"]


def test_a_cause_that_is_true_besides_takes_no_rank_from_what_was_planted() -> None:
    found = score([judged(label(besides=(OTHER,)), [(OTHER, 0.97), (WAL, 0.9)])], LIMITS)
    assert (found.first, found.misses) == (Proportion(1, 1), ())


def test_of_two_faults_both_must_stand_among_the_first() -> None:
    both = label("both", causes=((WAL, "x"), ("y",)), families=("log", "simd"))
    found = score([judged(both, [("y", 0.9), (OTHER, 0.5), ("x", 0.4)]), judged(both, [("y", 0.9), (WAL, 0.5)]),
                   judged(both, [(WAL, 0.9), ("x", 0.5)])], LIMITS)  # fmt: skip
    assert found.both == Proportion(2, 3)
    assert found.first.whole == 0


def test_a_healthy_server_may_raise_a_suspicion_and_no_more() -> None:
    well = label("well", causes=(), besides=("known.of-old",))
    quiet = [judged(well, [(OTHER, 0.5)], state="met"), judged(well, [("known.of-old", 0.99)]), judged(well)]
    found = score([*quiet, judged(well, [(OTHER, 0.51)])], LIMITS)
    assert found.quiet == Proportion(3, 4)
    assert found.misses[0].first == (f"{OTHER} 51%",)


@pytest.mark.parametrize("visible", ["no", "untold"])
def test_what_cannot_be_seen_must_be_admitted_and_never_called_healthy(visible: str) -> None:
    veiled = label("veiled", visible=visible)  # type: ignore[arg-type]  # one of the words
    assert score([judged(veiled, not_testable=[WAL])], LIMITS).admitted == Proportion(1, 1)
    assert score([judged(veiled, [(WAL, 0.3)])], LIMITS).admitted == Proportion(1, 1)
    assert score([judged(veiled)], LIMITS).admitted == Proportion(0, 1)
    healthy = score([judged(veiled, not_testable=[WAL], state="met")], LIMITS)
    assert (healthy.admitted, healthy.called_healthy) == (Proportion(0, 1), Proportion(1, 1))
    assert healthy.first.whole == 0


def test_a_sure_cause_that_is_wrong_is_counted_wherever_it_stands() -> None:
    found = score([judged(label(besides=(THIRD,)), [(WAL, 0.99), (OTHER, 0.91), (THIRD, 0.99), (FOURTH, 0.9)]),
                   judged(label("well", causes=()), [(OTHER, 0.97)])], LIMITS)  # fmt: skip
    assert found.false_sure == Proportion(2, 3)


def test_a_masked_cause_that_was_planted_is_told_as_such() -> None:
    found = score([judged(label(), [(OTHER, 0.9)], masked=[WAL])], LIMITS)
    assert found.misses[0].fate == "masked"


@given(said=SAID, bins=st.integers(1, 20))
def test_the_parts_of_the_brier_score_add_up_to_it(said: list[tuple[float, bool]], bins: int) -> None:
    found = brier(said, calibration_curve(said, bins=bins))
    assert found is not None
    assert found.score == pytest.approx(found.reliability - found.resolution + found.uncertainty + found.within)
    assert found.score == pytest.approx(math.fsum((share - right) ** 2 for share, right in said) / len(said))


@given(said=st.lists(st.tuples(st.sampled_from([0.05, 0.15, 0.95]), st.booleans()), min_size=1, max_size=60))
def test_bins_of_one_confidence_each_hide_nothing(said: list[tuple[float, bool]]) -> None:
    found = brier(said, calibration_curve(said, bins=10))
    assert found is not None
    assert found.within == pytest.approx(0, abs=1e-9)


@given(said=SAID, bins=st.integers(1, 20))
def test_every_confidence_falls_into_one_bin_that_holds_it(said: list[tuple[float, bool]], bins: int) -> None:
    curve = calibration_curve(said, bins=bins)
    assert sum(one.right.whole for one in curve) == len(said)
    assert sum(one.right.part for one in curve) == sum(right for _, right in said)
    assert all(one.low - 1e-9 <= one.said <= one.high + 1e-9 for one in curve)


def test_nothing_concluded_is_no_score_of_confidence() -> None:
    found = score([judged(label())], LIMITS)
    assert (found.brier, found.curve, found.false_sure.share) == (None, (), None)


@given(shares=st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6), slope=st.floats(0.1, 3),
       intercept=st.floats(-3, 3))  # fmt: skip
def test_stating_confidences_anew_never_moves_a_rank(shares: list[float], slope: float, intercept: float) -> None:
    one = judged(label(), [(f"rule.{number}", share) for number, share in enumerate(shares)])
    again = restated([one], Calibration(intercept, slope, 1, "lab"))[0]
    assert [named.rule for named in again.named] == [named.rule for named in one.named]
    assert [named.weighed for named in again.named] == shares
