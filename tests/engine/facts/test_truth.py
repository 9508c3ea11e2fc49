"""Kleene's three values: what is unknown decides nothing, and nothing is decided by guessing."""

from itertools import product

import pytest

from engram_diagnose.engine.facts.truth import Truth, at_least, conjunction, disjunction

T, U, F = Truth.TRUE, Truth.UNKNOWN, Truth.FALSE


@pytest.mark.parametrize(
    ("a", "b", "both", "either"),
    [
        (T, T, T, T), (T, U, U, T), (T, F, F, T),
        (U, T, U, T), (U, U, U, U), (U, F, F, U),
        (F, T, F, T), (F, U, F, U), (F, F, F, F),
    ],
)  # fmt: skip
def test_the_tables_of_kleene(a: Truth, b: Truth, both: Truth, either: Truth) -> None:
    assert conjunction((a, b)) is both
    assert disjunction((a, b)) is either


def test_the_opposite_of_unknown_is_unknown() -> None:
    assert (~T, ~U, ~F) == (F, U, T)


def test_the_excluded_middle_does_not_hold() -> None:
    assert disjunction((U, ~U)) is U
    assert conjunction((U, ~U)) is U


def test_nothing_at_all_is_true_of_all_and_of_none() -> None:
    assert conjunction(()) is T
    assert disjunction(()) is F
    assert at_least(0, ()) is T
    assert at_least(1, ()) is F


def test_a_truth_is_not_a_bool() -> None:
    """`if truth:` would take unknown for one of the others."""
    with pytest.raises(TypeError, match="three values"):
        bool(T)


@pytest.mark.parametrize("truths", list(product(Truth, repeat=3)))
@pytest.mark.parametrize("count", range(5))
def test_at_least_is_what_every_way_to_settle_the_unknown_agrees_on(count: int, truths: tuple[Truth, ...]) -> None:
    settled = {
        sum(truth is T for truth in choice) >= count
        for choice in product(*([truth] if truth is not U else [T, F] for truth in truths))
    }
    expected = U if len(settled) == 2 else T if settled == {True} else F
    assert at_least(count, truths) is expected
