"""Expressions: what binds to what, what a number is, and that nothing but our own error comes out."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.language.expression import (
    Aggregated,
    Arithmetic,
    Between,
    Call,
    Comparison,
    Contains,
    Expression,
    Member,
    Named,
    Negative,
    Number,
    Reference,
    Text,
    references,
    walk,
)
from engram_diagnose.engine.language.parser import Names, parse_condition, parse_reference, parse_value
from engram_diagnose.engine.language.tokens import ExpressionError, tokenize


def written(node: Expression) -> str:
    """A tree with every operation in parentheses."""
    match node:
        case Number(value, kind=kind):
            return f"{value:g}" if kind == "number" else str(bool(value)).lower()
        case Text(value):
            return repr(value)
        case Reference():
            return str(node)
        case Named(name):
            return name
        case Negative(operand):
            return f"-{written(operand)}"
        case Arithmetic(operator, left, right) | Comparison(operator, left, right):
            return f"({written(left)} {operator} {written(right)})"
        case Call(function, arguments):
            return f"{function}({', '.join(map(written, arguments))})"
        case Aggregated(function, dimension, body):
            return f"{function}({dimension}, {written(body)})"
        case Between(operand, low, high):
            return f"({written(operand)} between {written(low)} and {written(high)})"
        case Member(operand, choices):
            return f"({written(operand)} in {', '.join(map(written, choices))})"
        case Contains(operand, part):
            return f"({written(operand)} contains {written(part)})"
    raise AssertionError(node)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a.b + a.c * a.d", "(a.b + (a.c * a.d))"),
        ("a.b - a.c - a.d", "((a.b - a.c) - a.d)"),
        ("a.b / a.c / a.d", "((a.b / a.c) / a.d)"),
        ("(a.b + a.c) * a.d", "((a.b + a.c) * a.d)"),
        ("-a.b * 2", "(-a.b * 2)"),
        ("--2", "2"),
        ("2 * -3", "(2 * -3)"),
        ("min(a.b, 2 * a.c)", "min(a.b, (2 * a.c))"),
        ("max(device, a.b) + 1", "(max(device, a.b) + 1)"),
        ("max(a.b, a.c)", "max(a.b, a.c)"),
    ],
)
def test_operators_bind_as_in_arithmetic(text: str, tree: str) -> None:
    assert written(parse_value(text)) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a.b > 5ms", "(a.b > 0.005)"),
        ("5ms <= a.b + a.c", "(0.005 <= (a.b + a.c))"),
        ("a.b between 10% and 2 * a.c", "(a.b between 0.1 and (2 * a.c))"),
        ("a.b in [1, 2, a.c]", "(a.b in 1, 2, a.c)"),
        ('a.b contains "x"', "(a.b contains 'x')"),
        ("a.b == 'it''s' ", None),
        ("a.b", "a.b"),
        ("a.b == true", "(a.b == true)"),
        ("any(node, a.b > 3)", "any(node, (a.b > 3))"),
        ("a.b{space=x, operation=store} > 1", "(a.b{operation=store, space=x} > 1)"),
        ('a.b{space="my, own"} > 1', "(a.b{space=my, own} > 1)"),
        ("a.b > 1 for 90s", "(a.b@min_90s > 1)"),
        ("a.b > 1 for 120s", "(a.b@min_2m > 1)"),
        ("a.b < 1 for 1h", "(a.b@max_1h < 1)"),
        ("1 > a.b for 1h", "(1 > a.b@max_1h)"),
        ("a.b > target.a.b for 3m", "(a.b@min_3m > target.a.b)"),
    ],
)
def test_conditions_read_as_they_are_said(text: str, tree: str | None) -> None:
    if tree is None:
        with pytest.raises(ExpressionError):
            parse_condition(text)
    else:
        assert written(parse_condition(text)) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        (".5", 0.5),
        ("1_000", 1000.0),
        ("70 %", 0.7),
        ("64 MiB", 2.0**26),
        ("20 GB/s", 2e10),
        ("30/min", 0.5),
    ],
)
def test_a_figure_is_what_it_looks_like(text: str, value: float) -> None:
    number = parse_value(text)
    assert isinstance(number, Number)
    assert number.value == value


def test_a_unit_does_not_swallow_the_name_behind_it() -> None:
    with pytest.raises(ExpressionError, match="does not belong here"):
        parse_value("5 msx")


def test_names_stand_for_what_they_were_given() -> None:
    body = parse_value("a.b / a.c")
    number = parse_value("5ms")
    assert isinstance(number, Number)
    names = Names({"limit": number}, {"ratio": body})
    test = parse_condition("ratio > $limit", names)
    assert isinstance(test, Comparison)
    assert test.left == Named("ratio", body)
    assert isinstance(test.right, Number)
    assert test.right.parameter == "limit"


def test_equal_tests_are_equal_wherever_they_stand() -> None:
    assert parse_condition("a.b  >  5 ms") == parse_condition("a.b > 5ms")
    assert hash(parse_condition("a.b > 5ms")) == hash(parse_condition("   a.b>5ms"))


def test_walking_goes_in_reading_order() -> None:
    tree = parse_condition("min(a.b, a.c) + a.d > a.e * a.f")
    assert [reference.name for reference in references(tree)] == ["a.b", "a.c", "a.d", "a.e", "a.f"]
    assert next(iter(walk(tree))) is tree


@pytest.mark.parametrize(
    ("text", "start", "end", "message"),
    [
        ("a.b >", 4, 5, "ends too early"),
        ("", 0, 1, "ends too early"),
        ("a.b > > 1", 6, 7, "expected a value"),
        ("a.b & a.c", 4, 5, "does not belong here"),
        ("(a.b", 4, 5, "expected '\\)' at the end"),
        ("a.b{operation=} > 1", 14, 15, "needs a value"),
        ("a.b{operation=x, operation=y} > 1", 17, 26, "stands twice"),
        ("a.b{planet=x} > 1", 0, 13, "is not a scope"),
        ("a.b > 1 for 1.5s", 12, 16, "whole seconds"),
        ("a.b > 1 for 90d", 12, 15, "whole seconds"),
        ("a.b > 1 for 5", 12, 13, "takes a duration"),
        ("a.b == 1 for 5m", 13, 15, "`for` needs a comparison"),
        ("a.b + a.c > 1 for 5m", 0, 13, "one fact on one side"),
        ("a.b@avg_5m > 1 for 5m", 0, 10, "do not go together"),
        ('a.b == "x', 7, 8, "does not belong here"),
        ("abs()", 4, 5, "expected a value"),
        ("nothing(a.b)", 0, 7, "unknown function"),
        ("a.b > between", 6, 13, "expected a value"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, start: int, end: int, message: str) -> None:
    with pytest.raises(ExpressionError, match=message) as raised:
        parse_condition(text)
    assert (raised.value.start, raised.value.end) == (start, end)


@pytest.mark.parametrize("text", ["(" * 30 + "a.b" + ")" * 30, "abs(" * 30 + "a.b" + ")" * 30, "1 + " * 200 + "1"])
def test_depth_and_length_are_limited(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"nested deeper|more than 256 tokens"):
        parse_value(text)


@pytest.mark.parametrize("text", ["5", "a.b > 1", "a.b + 1", "'a.b'", "$a"])
def test_a_reference_is_a_name_and_nothing_else(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_reference(text)


PIECES = st.sampled_from(
    """
    a.b a.b@avg_5m { } operation = x 5 ms % ( ) [ ] , + - * / > <= == between and in contains for 3m $p "t" min any
    device true
    """.split()  # noqa: SIM905 -- a list of them takes a line for each
)
TEXTS = st.one_of(st.text(max_size=60), *(st.lists(PIECES, max_size=20).map(glue.join) for glue in ("", " ")))


@given(TEXTS, st.sampled_from([parse_condition, parse_value, parse_reference]))
def test_any_text_is_an_expression_or_our_error(text: str, parse: Callable[[str], Expression]) -> None:
    try:
        tree = parse(text)
    except ExpressionError as error:
        start, end, most = error.start, error.end, len(text) + 1
    else:
        start, end, most = *tree.span, len(text)
    assert 0 <= start <= end <= most


@given(st.text(max_size=80))
def test_tokens_cover_the_text_but_for_spaces(text: str) -> None:
    try:
        tokens = tokenize(text)
    except ExpressionError:
        return
    position = 0
    for token in tokens:
        assert text[position : token.start].strip() == ""
        assert text[token.start : token.end] == token.text
        position = token.end
    assert text[position:].strip() == ""
