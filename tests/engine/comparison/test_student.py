"""Student's t against printed tables, and numbers that only look random."""

from collections import Counter

import pytest

from engram_diagnose.engine.comparison.chance import Chance
from engram_diagnose.engine.comparison.student import normal_quantile, t_below, t_quantile


@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 10, 2.2281), (0.95, 5, 2.0150), (0.995, 30, 2.7500),
     (0.9995, 14, 4.1405), (0.975, 2.5, 3.5747)],
)  # fmt: skip
def test_the_quantiles_are_those_of_the_tables(probability: float, freedom: float, value: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(value, abs=2e-4)
    assert t_below(value, freedom) == pytest.approx(probability, abs=1e-5)


def test_with_many_degrees_of_freedom_it_is_the_normal_distribution() -> None:
    assert normal_quantile(0.95) == pytest.approx(1.644854, abs=1e-5)


@pytest.mark.parametrize(("probability", "freedom"), [(1.0, 5), (0.4, 5), (0.9, 0)])
def test_no_quantile_beyond_the_distribution(probability: float, freedom: float) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        t_quantile(probability, freedom)


def test_the_same_seed_draws_the_same_and_all_about_as_often() -> None:
    first, second = Chance(1), Chance(1)
    drawn = [first.below(7) for _ in range(7000)]
    assert drawn == [second.below(7) for _ in range(7000)]
    assert all(850 < count < 1150 for count in Counter(drawn).values())
    assert set(drawn) == set(range(7))
