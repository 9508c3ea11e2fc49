"""Matchers are added to every selector of a text, to nothing else, and whatever the value is."""

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.expression import Matcher, selectors_in
from engram_diagnose.collectors.prometheus.lexer import PromqlError
from engram_diagnose.collectors.prometheus.merging import promql_of
from engram_diagnose.collectors.prometheus.promql import parse
from engram_diagnose.collectors.prometheus.selectors import is_single, narrowed, pinned

HERE = {"instance": "a:7432"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", 'x{instance="a:7432"}'),
        ("x{}", 'x{instance="a:7432"}'),
        ('x{a="b"}', 'x{a="b",instance="a:7432"}'),
        ('x{a="b", }', 'x{a="b", instance="a:7432"}'),
        ('{__name__="x"}', '{__name__="x",instance="a:7432"}'),
        ("x[5m]", 'x{instance="a:7432"}[5m]'),
        ("rate(x[$window])", 'rate(x{instance="a:7432"}[$window])'),
        ("x offset 5m", 'x{instance="a:7432"} offset 5m'),
        ("sum by (le, instance) (x)", 'sum by (le, instance) (x{instance="a:7432"})'),
        ("sum(x) without (le)", 'sum(x{instance="a:7432"}) without (le)'),
        ("topk(3, x)", 'topk(3, x{instance="a:7432"})'),
        ("SUM BY (le) (x)", 'SUM BY (le) (x{instance="a:7432"})'),
        ("a and on (le) b", 'a{instance="a:7432"} and on (le) b{instance="a:7432"}'),
        (
            "a / ignoring (b) group_left (c) d",
            'a{instance="a:7432"} / ignoring (b) group_left (c) d{instance="a:7432"}',
        ),
        ("a == bool b", 'a{instance="a:7432"} == bool b{instance="a:7432"}'),
        ("avg_over_time((a / b)[5m:1m])", 'avg_over_time((a{instance="a:7432"} / b{instance="a:7432"})[5m:1m])'),
        ("1 + Inf", "1 + Inf"),
        ("time()", "time()"),
        ('a # x\n{b="#c"}', 'a # x\n{b="#c",instance="a:7432"}'),
    ],
)
def test_each_selector_is_narrowed_and_nothing_else_is_touched(text: str, expected: str) -> None:
    assert narrowed(text, HERE) == expected
    promql_parser.parse(expected.replace("$window", "5m"))


def test_a_matcher_on_the_same_label_is_kept() -> None:
    assert narrowed('x{instance=~"a.*"}', HERE) == 'x{instance=~"a.*",instance="a:7432"}'


def test_narrowing_twice_is_narrowing_once() -> None:
    once = narrowed("rate(x[5m]) / y", HERE)
    assert narrowed(once, HERE) == once


def test_no_matchers_leave_the_text_alone() -> None:
    assert narrowed("sum(rate(x[5m])) / y{}", {}) == "sum(rate(x[5m])) / y{}"


@pytest.mark.parametrize("text", ["sum(x", "x}", 'x{a="b}', "(x]", "x £ y"])
def test_a_text_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(PromqlError):
        narrowed(text, HERE)


@pytest.mark.parametrize("label", ["", "a-b", "1a", 'a="b",c'])
def test_a_label_name_that_is_none_is_refused(label: str) -> None:
    with pytest.raises(PromqlError, match="no label name"):
        narrowed("x", {label: "v"})


@given(st.text())
def test_whatever_a_value_holds_it_stays_one_value(value: str) -> None:
    text = narrowed('sum by (le) (rate(x_bucket{a="b"}[5m])) / y', {"space": value})
    for selector in selectors_in(parse(text)):
        assert Matcher("space", "=", value) in selector.matchers
    tree = promql_parser.parse(text)
    assert isinstance(tree, promql_parser.BinaryExpr)
    assert [matcher.value for matcher in tree.rhs.matchers.matchers] == [value]


def test_a_lone_surrogate_becomes_a_character_that_can_be_sent() -> None:
    narrowed("x", {"space": "a\ud800"}).encode()


def test_only_selectors_that_carry_the_label_are_pinned() -> None:
    share = parse("sum by (space) (x) / ignoring (space) group_left () sum(x)")
    assert promql_of(pinned(share, [Matcher("space", "=", "a")])) == (
        'sum by (space) (x{space="a"}) / ignoring (space) group_left () sum(x)'
    )


def test_labels_taken_out_by_an_aggregation_are_not_pinned_below_it() -> None:
    assert promql_of(pinned(parse("sum without (space) (x)"), [Matcher("space", "=", "a")])) == (
        "sum without (space) (x)"
    )


@pytest.mark.parametrize(
    ("text", "single"),
    [
        ("sum(x)", True),
        ("1 - sum(x) / sum(y)", True),
        ("histogram_quantile(0.99, sum by (le) (x))", True),
        ("histogram_quantile(0.99, sum by (le, a) (x))", False),
        ("histogram_quantile(0.99, x)", False),
        ("clamp_max(sum(x), 1)", True),
        ("x", False),
        ("sum by (a) (x)", False),
        ("sum without (a) (x)", False),
        ("-max(x)", True),
    ],
)
def test_what_gives_one_figure_is_told(text: str, single: bool) -> None:
    assert is_single(parse(text)) is single
