"""What a comparison of one figure promises, whatever the figures are."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engram_diagnose.engine.comparison.effect import Effect, compare
from engram_diagnose.engine.comparison.policy import Least
from engram_diagnose.engine.comparison.samples import Form, Samples

LEAST = Least(runs=8, windows=10, independent=2, apart=2)
figure = st.floats(0.001, 1000)
runs = st.lists(figure, min_size=8, max_size=14).map(lambda found: Samples(tuple(found), "runs"))
windows = st.lists(figure, min_size=10, max_size=30).map(lambda found: Samples(tuple(found), "windows"))
sides = st.one_of(st.tuples(runs, runs), st.tuples(windows, windows))
OTHER = {"improved": "worse", "worse": "improved"}


def effect(
    before: Samples, after: Samples, *, better: str = "lower", share: float = 0.05, ratio: bool = False
) -> Effect:
    assert better in ("lower", "higher")
    return compare(before, after, better="lower" if better == "lower" else "higher", share=share, least=0.0, level=0.95,
                   fewest=LEAST, ratio=ratio)  # fmt: skip


def moved(side: Samples, by: float) -> Samples:
    return Samples(tuple(value + by for value in side.values), side.form)


@given(both=sides)
@settings(max_examples=60)
def test_swapping_the_sides_turns_the_verdict_round_for_ratios_too(both: tuple[Samples, Samples]) -> None:
    there, back = effect(*both, ratio=True), effect(both[1], both[0], ratio=True)
    assert back.verdict == OTHER.get(there.verdict, there.verdict)
    assert there.outside_noise == back.outside_noise


@given(both=sides)
@settings(max_examples=60)
def test_the_interval_of_a_ratio_never_falls_below_nothing(both: tuple[Samples, Samples]) -> None:
    found = effect(*both, ratio=True)
    assert found.low is not None
    assert found.high is not None
    assert found.before is not None
    assert -found.before <= found.low <= found.high


def test_a_ratio_is_told_where_the_noise_grows_with_the_figure() -> None:
    before = Samples(tuple(0.01 * (1 + 9 * (7 * n % 12) / 11) for n in range(12)))
    after = Samples(tuple(value / 400 for value in before.values))
    assert effect(before, after, ratio=True).verdict == "improved"


@given(both=sides)
@settings(max_examples=60)
def test_swapping_the_sides_turns_the_verdict_round(both: tuple[Samples, Samples]) -> None:
    there, back = effect(*both), effect(both[1], both[0])
    assert back.verdict == OTHER.get(there.verdict, there.verdict)
    assert there.low is not None
    assert back.high is not None
    assert there.low == pytest.approx(-back.high)
    assert there.p == back.p


@given(both=sides)
@settings(max_examples=60)
def test_what_is_better_turns_the_verdict_round(both: tuple[Samples, Samples]) -> None:
    lower, higher = effect(*both), effect(*both, better="higher")
    assert higher.verdict == OTHER.get(lower.verdict, lower.verdict)
    assert (higher.low, higher.high) == (lower.low, lower.high)


@given(both=sides, factor=st.sampled_from([0.001, 1024.0, 1e6]))
@settings(max_examples=60)
def test_the_unit_does_not_matter(both: tuple[Samples, Samples], factor: float) -> None:
    scaled = [Samples(tuple(value * factor for value in side.values), side.form) for side in both]
    first, second = effect(*both), effect(*scaled)
    assert first.change is not None
    assert first.low is not None
    assert second.change == pytest.approx(first.change * factor, abs=1e-9 * factor)
    assert second.low == pytest.approx(first.low * factor, abs=1e-6 * factor)


@given(both=sides, further=st.floats(0.5, 200))
@settings(max_examples=60)
def test_a_loss_that_grows_stays_a_loss(both: tuple[Samples, Samples], further: float) -> None:
    before, after = both[0], moved(both[1], 5000)
    assume(effect(before, after, share=0.0).verdict == "worse")
    assert effect(before, moved(after, further), share=0.0).verdict == "worse"


@given(both=sides)
@settings(max_examples=60)
def test_the_interval_is_about_what_was_measured_and_the_same_each_time(both: tuple[Samples, Samples]) -> None:
    found = effect(*both)
    assert found.low is not None
    assert found.high is not None
    assert found.change is not None
    assert found.low <= found.change <= found.high
    assert effect(*both) == found


@pytest.mark.parametrize(("form", "count", "lacking"), [("runs", 3, 5), ("windows", 4, 6)])
def test_too_few_samples_are_inconclusive_and_say_how_many_more(form: Form, count: int, lacking: int) -> None:
    few = Samples(tuple(float(n) for n in range(count)), form)
    found = effect(few, moved(few, 1000))
    assert (found.verdict, found.needed, found.low) == ("inconclusive", lacking, None)
    assert found.change == 1000


def test_one_run_a_side_never_gives_an_alarm_however_far_apart() -> None:
    assert effect(Samples((1.0,), "runs"), Samples((1000.0,), "runs")).verdict == "inconclusive"


def test_windows_that_all_follow_one_trend_are_worth_too_little() -> None:
    rising = Samples(tuple(float(n) for n in range(30)))
    found = effect(rising, moved(rising, 12))
    assert found.verdict == "inconclusive"
    assert "like their neighbours" in found.note
    assert found.needed > 0


def test_sides_that_never_came_near_each_other_differ_however_alike_neighbours_are() -> None:
    rising = Samples(tuple(float(n) for n in range(10, 40)))
    assert effect(rising, moved(rising, 100)).verdict == "worse"
    assert effect(moved(rising, 100), rising).verdict == "improved"


def test_a_change_below_what_counts_is_no_change() -> None:
    before = Samples(tuple(100 + n % 3 / 100 for n in range(20)))
    assert effect(before, moved(before, 2)).verdict == "no change"
    assert effect(before, moved(before, -20)).verdict == "improved"


def test_a_wide_interval_asks_for_as_many_more_as_would_narrow_it() -> None:
    before = Samples(tuple(float(50 + 31 * n % 47) for n in range(12)))
    found = effect(before, moved(before, 3), share=0.10)
    assert found.verdict == "inconclusive"
    assert found.needed > 12


def test_runs_and_windows_are_not_held_against_each_other() -> None:
    found = effect(Samples((1.0,) * 10, "runs"), Samples((2.0,) * 10, "windows"))
    assert (found.verdict, found.note) == ("inconclusive", "runs cannot be held against windows")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_sample_is_a_finite_figure(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Samples((1.0, bad))


def test_stretches_must_add_up() -> None:
    assert Samples((1.0, 2.0, 3.0), "windows", (2, 1)).stretches == ((1.0, 2.0), (3.0,))
    with pytest.raises(ValueError, match="stretches"):
        Samples((1.0, 2.0, 3.0), "windows", (2, 2))
