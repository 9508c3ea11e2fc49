"""Reading PromQL's subset."""

import contextlib
from pathlib import Path

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.expression import (
    Aggregation,
    Binary,
    Call,
    Matcher,
    Matching,
    Negation,
    Number,
    Selector,
    kind_of,
    longest_range_ms,
    selectors_in,
)
from engram_diagnose.collectors.prometheus.lexer import format_duration
from engram_diagnose.collectors.prometheus.promql import (
    PromqlError,
    parse,
    parse_counter,
    unsupported,
    with_window,
)

LINES = (Path(__file__).parent / "expressions.txt").read_text().splitlines()
EXPRESSIONS = [line for line in LINES if not line.startswith("#")]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_every_expression_of_the_subset_is_read_by_us_and_by_the_reference_parser(
    text: str,
) -> None:
    assert unsupported(text) is None
    promql_parser.parse(text)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("x", Selector("x")),
        ("x{}", Selector("x")),
        ('{__name__="x"}', Selector("x")),
        ("a:b:c", Selector("a:b:c")),
        ("sum", Selector("sum")),
        ("by + rate", Binary("+", Selector("by"), Selector("rate"))),
        ('x{a="b",}', Selector("x", (Matcher("a", "=", "b"),))),
        ("x{a='b'}", Selector("x", (Matcher("a", "=", "b"),))),
        (r"x{a=`b\d`}", Selector("x", (Matcher("a", "=", r"b\d"),))),
        (r'x{a="\"\\\n\u00e9\x41\101"}', Selector("x", (Matcher("a", "=", '"\\\néAA'),))),
        ("x[1h30m] offset 5m", Selector("x", (), 5_400_000, 300_000)),
        ("x offset -5m", Selector("x", (), 0, -300_000)),
        ("x[90]", Selector("x", (), 90_000)),
        ("x # a comment", Selector("x")),
        ("-1", Number(-1)),
        ("--1", Number(1)),
        ("0x1F", Number(31)),
        (".5e1", Number(5)),
        ("+x", Selector("x")),
        ("-x", Negation(Selector("x"))),
        ("SUM BY (a, b,) (x)", Aggregation("sum", Selector("x"), ("a", "b"))),
        ("sum(x) without ()", Aggregation("sum", Selector("x"), (), without=True)),
        ("rate(x[5m])", Call("rate", (Selector("x", (), 300_000),))),
        ("x / on(a) y", Binary("/", Selector("x"), Selector("y"), Matching(True, ("a",)))),
        (
            "x * ignoring(a) group_left(b) y",
            Binary("*", Selector("x"), Selector("y"), Matching(False, ("a",), "left", ("b",))),
        ),
        ("x > bool 1", Binary(">", Selector("x"), Number(1), as_bool=True)),
    ],
)
def test_text_becomes_the_tree_it_says(text: str, tree: object) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a / b * c", "(a / b) * c"),
        ("-a * b", "(-a) * b"),
        ("a + b > c - d", "(a + b) > (c - d)"),
        ("a > b > c", "(a > b) > c"),
    ],
)
def test_operators_bind_as_in_prometheus(text: str, same: str) -> None:
    assert parse(text) == parse(same)


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("", 0, "found the end"),
        ("sum(", 4, "found the end"),
        ("rate(x)", 0, "expected a range of samples"),
        ("abs(1)", 0, "expected a vector"),
        ("sum(x[5m])", 9, "sum of a range of samples"),
        ("topk(3, x)", 0, "topk is not supported"),
        ("a or b", 2, "or is not supported"),
        ("a ^ 2", 2, "^ is not supported"),
        ("x[5m:1m]", 4, "a subquery"),
        ("(a)[5m]", 3, "a subquery"),
        ("abs(a,)", 6, "found ')'"),
        ("x @ 5", 2, "@ is not supported"),
        ("rate(x[5m]) offset 5m", 12, "an offset of something computed"),
        ("x offset 5m[5m]", 11, "directly behind the selector"),
        ("x[0s]", 2, "a range of nothing"),
        ("x[5min]", 3, "expected ]"),
        ("x[1s1m]", 2, "is not a duration"),
        ("x[200y]", 2, "is not a duration"),
        ("x[1e9999]", 2, "is not a duration"),
        ("x[$span]", 2, "$window"),
        ("x{a=b}", 4, "a string in quotes"),
        ('x{a="b}', 4, "a string that does not end"),
        (r'x{a="\q"}', 5, "no escape"),
        (r'x{a="\ud800"}', 5, "no escape"),
        ('x{a=~"("}', 5, "a group that does not end"),
        ('x{a:b="c"}', 2, "a label name"),
        ('{a="b"}', 0, "does not name one metric"),
        ('{__name__=~"a|b"}', 0, "does not name one metric"),
        ('{__name__=""}', 0, "does not name one metric"),
        ("1 > 2", 2, "needs bool"),
        ("a + bool b", 2, "bool belongs to a comparison"),
        ("a + on(b) 1", 2, "join two vectors"),
        ("a[5m] + b", 6, "of a range of samples"),
        ("-a[5m]", 0, "a range of samples"),
        ("a / on(x) group_left(x) b", 24, "both on"),
        ("1e999", 0, "too large"),
        ("0x" + "f" * 300, 0, "too large"),
        ('"text"', 0, "a metric, a function"),
        ("a b", 2, "after the expression"),
        ("ü", 0, "means nothing"),
    ],
)
def test_what_is_outside_of_the_subset_is_refused_with_its_place(text: str, position: int, said: str) -> None:
    with pytest.raises(PromqlError) as caught:
        parse(text)
    assert caught.value.position == position
    assert said in str(caught.value)
    assert f"character {position + 1}" in str(caught.value)


def test_nesting_and_length_are_limited() -> None:
    for text in ("(" * 500 + "x", "-" * 1000 + "x", "abs(" * 500, "+".join("x" * 500)):
        with pytest.raises(PromqlError, match="64"):
            parse(text)
    with pytest.raises(PromqlError, match="tokens"):
        parse("1 " * 3000)
    with pytest.raises(PromqlError, match="characters"):
        parse(" " * 100_000)


def test_the_window_is_filled_in_before_reading() -> None:
    assert with_window("rate(x[$window])", 300) == "rate(x[5m])"
    assert with_window("rate(x[$window])", 5430) == "rate(x[1h30m30s])"
    assert with_window("rate(x[$window])", 1.5) == "rate(x[1500ms])"
    assert longest_range_ms(parse(with_window("rate(x[$window]) / y", 90))) == 90_000


def test_unsupported_says_why_at_the_place_in_the_original_text() -> None:
    assert unsupported("rate(x[$window]) / rate(y[$window])") is None
    assert unsupported("rate(x[$window]) or y") is not None
    assert "character 18: " in str(unsupported("rate(x[$window]) or y"))
    assert "no figure" in str(unsupported("x[$window]"))


def test_a_counter_is_a_plain_selector() -> None:
    assert parse_counter('x_total{a="b"}') == Selector("x_total", (Matcher("a", "=", "b"),))
    assert unsupported("x_total", counter=True) is None
    for text in ("rate(x[5m])", "x[5m]", "x offset 5m", "1"):
        assert "plain selector" in str(unsupported(text, counter=True))


def test_kinds_and_selectors_are_told_from_the_tree() -> None:
    assert kind_of(parse("time() - 1")) == "scalar"
    assert kind_of(parse("time() - x")) == "vector"
    assert kind_of(parse("x[5m]")) == "matrix"
    names = [selector.name for selector in selectors_in(parse("a / on(x) sum(-b) + rate(c[5m])"))]
    assert names == ["a", "b", "c"]


@given(st.floats(min_value=0.001, max_value=1e7))
def test_a_duration_that_we_write_is_read_back(seconds: float) -> None:
    selector = parse(f"x[{format_duration(seconds)}]")
    assert isinstance(selector, Selector)
    assert abs(selector.range_ms - seconds * 1000) <= 0.5


WORDS = st.sampled_from(
    "x sum rate by without on ignoring group_left bool offset time abs histogram_quantile "  # noqa: SIM905
    '( ( ) ) { } [ ] , , = =~ != + - * / > == 1 0.5 5m [5m] "a" "(" `b` $window # Inf @ : % or'.split()
)


@given(st.one_of(st.text(), st.lists(WORDS, max_size=40).map(" ".join)))
def test_no_text_raises_anything_but_our_error(text: str) -> None:
    said = unsupported(text)
    assert said is None or said.startswith("character ")
    with contextlib.suppress(PromqlError):
        assert kind_of(parse(text)) in ("scalar", "vector", "matrix")


@given(st.lists(WORDS, max_size=25).map(" ".join))
def test_whatever_we_accept_the_reference_parser_accepts(text: str) -> None:
    try:
        parse(text)
    except PromqlError:
        return
    promql_parser.parse(text)
