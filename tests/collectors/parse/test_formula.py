"""Arithmetic over counts gives what Python gives, and refuses what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.parse.formula import FormulaError, NoValueError, parse_formula

VARIABLES = frozenset({"seconds", "smt", "width"})
NAMES = {"a.x": 3.0, "a.y": 7.0, "b.z": 0.5}
TEXTS = st.recursive(
    st.sampled_from(["a.x", "a.y", "b.z", "2", "64", "0.25"]),
    lambda parts: (
        st.builds("({} {} {})".format, parts, st.sampled_from("+-*/"), parts) | st.builds("-{}".format, parts)
    ),
    max_leaves=12,
)


@given(TEXTS)
def test_it_computes_what_python_computes(text: str) -> None:
    python = text.replace("a.x", "3.0").replace("a.y", "7.0").replace("b.z", "0.5")
    try:
        expected = eval(python)  # the obvious reference, of a text made above
    except ZeroDivisionError:
        with pytest.raises(NoValueError):
            parse_formula(text).evaluate(NAMES, {})
        return
    assert parse_formula(text).evaluate(NAMES, {}) == pytest.approx(expected)


def test_multiplication_comes_before_addition_and_operations_are_taken_from_the_left() -> None:
    assert parse_formula("2 + 3 * 4 - 1").evaluate({}, {}) == 13
    assert parse_formula("64 / 4 / 2 - 3 - 2").evaluate({}, {}) == 3


def test_counts_over_seconds_use_the_seconds_of_their_own_group() -> None:
    formula = parse_formula("64 * (a.x / seconds + b.z / seconds)")
    assert formula.evaluate(NAMES, {"a": 3.0, "b": 0.5}) == 128


def test_a_division_by_a_count_that_is_zero_says_which() -> None:
    with pytest.raises(NoValueError, match=r"a\.x and b\.z is zero"):
        parse_formula("1 / (a.x + b.z)").evaluate({"a.x": 0.0, "b.z": 0.0}, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing at column 1"),
        ("a.x +", "missing at column 6"),
        ("(a.x", "column 1 is not closed"),
        ("a.x a.y", "'a.y' at column 5"),
        ("__import__('os')", "column 12"),
        ("a.x ** 2", "missing at column 6"),
        ("a.x % 2", "cannot read it from column"),
        ("(" * 40 + "1" + ")" * 40, "more than 20 brackets"),
        ("-" * 40 + "1", "more than 20 brackets"),
        ("1" + "+1" * 200, "more than 200 parts"),
    ],
)
def test_what_is_no_formula_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert said in str(caught.value)


@given(st.text(max_size=300))
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    try:
        formula = parse_formula(text)
        formula.evaluate(dict.fromkeys(formula.names, 2.0), {})
    except (FormulaError, NoValueError, KeyError, StopIteration):
        return


@pytest.mark.parametrize("text", ["a.x / b.z", "a.x + b.z", "(a.x - b.z) / a.y", "a.x / (2 * seconds)", "2 / seconds"])
def test_counts_taken_at_different_times_are_not_put_together(text: str) -> None:
    assert list(parse_formula(text).mixed_ratios(VARIABLES))


@pytest.mark.parametrize(
    "text", ["a.x / a.y", "a.x / a.y * (b.z / b.w)", "64 * (a.x + a.y) / seconds", "1 - a.x / (width * a.y)"]
)
def test_ratios_of_one_group_may_be(text: str) -> None:
    assert not list(parse_formula(text).mixed_ratios(VARIABLES))
