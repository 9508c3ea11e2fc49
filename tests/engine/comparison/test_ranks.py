"""The Mann-Whitney test is exact: it counts what a reference counts by hand."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.comparison import ranks
from engram_diagnose.engine.comparison.ranks import mann_whitney

few = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=5)
figures = st.lists(st.floats(0, 1e6), min_size=1, max_size=9)


def by_hand(before: list[float], after: list[float]) -> float:
    """Deal the values out in every way; the share whose rank sum is as far from its mean."""
    values = [*before, *after]
    rank = {value: sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values}
    mean = len(before) * (len(values) + 1) / 2
    far = abs(sum(rank[value] for value in before) - mean)
    deals = [sum(rank[values[at]] for at in deal) for deal in combinations(range(len(values)), len(before))]
    return sum(abs(one - mean) >= far - 1e-9 for one in deals) / len(deals)


@given(before=few, after=few)
def test_it_counts_what_dealing_out_by_hand_counts_ties_included(before: list[float], after: list[float]) -> None:
    assert mann_whitney(before, after) == pytest.approx(by_hand(before, after))


@given(before=figures, after=figures)
def test_which_side_is_first_does_not_matter(before: list[float], after: list[float]) -> None:
    assert mann_whitney(before, after) == pytest.approx(mann_whitney(after, before))


@given(before=figures, after=figures)
def test_it_is_a_probability(before: list[float], after: list[float]) -> None:
    assert 0 < mann_whitney(before, after) <= 1


def test_eight_runs_that_are_all_better_happen_by_chance_in_two_of_12870_ways() -> None:
    assert mann_whitney(range(8), range(10, 18)) == pytest.approx(2 / 12870)


def test_equal_runs_and_no_runs_tell_nothing() -> None:
    assert mann_whitney([1.0] * 8, [1.0] * 8) == 1
    assert mann_whitney([1.0] * 8, []) == 1


@pytest.mark.parametrize("shift", [0.0, 3.0, 8.0])
def test_the_approximation_beyond_sixty_runs_is_near_the_exact_figure(
    shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = [float(7 * n % 31) for n in range(30)], [float(5 * n % 31) + shift for n in range(30)]
    exact = mann_whitney(before, after)
    monkeypatch.setattr(ranks, "EXACT", 0)
    assert mann_whitney(before, after) == pytest.approx(exact, abs=0.005)
