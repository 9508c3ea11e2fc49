"""A regression is a limit crossed, and more than noise."""

from dataclasses import replace

import pytest

from engram_diagnose.engine.comparison.effect import Effect
from engram_diagnose.engine.comparison.policy import Sense
from engram_diagnose.engine.comparison.regression import judge

WORSE = Effect("worse", 10.0, 13.0, 3.0, 2.0, 4.0, least=1.0)
FELL = Effect("worse", 0.9, 0.6, -0.3, -0.4, -0.2, least=0.01)


@pytest.mark.parametrize(
    ("effect", "sense", "limit", "state"),
    [
        (WORSE, "rise", 0.2, "regressed"),
        (WORSE, "rise", 0.3, "held"),
        (WORSE, "rise", 0.5, "held"),
        (replace(WORSE, low=-1.0, high=7.0, verdict="inconclusive"), "rise", 0.2, "inconclusive"),
        (replace(WORSE, verdict="not comparable"), "rise", 0.2, "not comparable"),
        (replace(WORSE, verdict="inconclusive"), "rise", 0.2, "inconclusive"),
        (FELL, "fall", 0.15, "regressed"),
        (FELL, "fall", 0.5, "held"),
        (FELL, "below", 0.7, "regressed"),
        (replace(FELL, before=0.65), "below", 0.7, "held"),
        (replace(FELL, after=0.75), "below", 0.7, "held"),
        (replace(WORSE, before=1.5, after=2.5), "above", 2.0, "regressed"),
        (replace(WORSE, before=2.2, after=2.5), "above", 2.0, "held"),
        (replace(WORSE, low=None, high=None, verdict="inconclusive"), "rise", 0.2, "inconclusive"),
        (replace(WORSE, before=None), "rise", 0.2, "not comparable"),
    ],
)
def test_what_an_effect_comes_to_under_a_limit(effect: Effect, sense: Sense, limit: float, state: str) -> None:
    assert judge(effect, sense=sense, limit=limit).state == state


def test_the_bound_is_the_figure_at_which_it_counts() -> None:
    assert judge(WORSE, sense="rise", limit=0.2).bound == pytest.approx(12)
    assert judge(WORSE, sense="fall", limit=0.2).bound == pytest.approx(8)
    assert judge(WORSE, sense="above", limit=2.0).bound == 2
