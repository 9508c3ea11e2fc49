"""Interval arithmetic: a result holds every figure that the operands may stand for, or is unknown."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.facts import interval
from engram_diagnose.engine.facts.fact import Interval, point
from engram_diagnose.engine.facts.truth import Truth

FLOATS = st.floats(allow_nan=False)
FIGURES = FLOATS | st.sampled_from([-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0])


@st.composite
def inside(draw: st.DrawFn, figures: st.SearchStrategy[float] = FIGURES) -> tuple[Interval, float]:
    """An interval and a figure that lies in it."""
    low, middle, high = sorted(draw(st.tuples(figures, figures, figures)))
    return (low, high), middle


INSIDE = inside()


def holds(result: interval.Maybe, figure: float) -> bool:
    return result is None or math.isnan(figure) or result[0] <= figure <= result[1]


POINTS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan,
}
SINGLE: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "log10": lambda a: math.log10(a) if a > 0 else math.nan,
    "ceil": lambda a: float(math.ceil(a)) if math.isfinite(a) else math.nan,
    "floor": lambda a: float(math.floor(a)) if math.isfinite(a) else math.nan,
    "next_pow2": lambda a: float(2 ** math.ceil(math.log2(a))) if 1 <= a <= 2**40 else math.nan,
}


@pytest.mark.parametrize("operator", POINTS)
@given(a=INSIDE, b=INSIDE)
def test_a_result_holds_the_result_of_every_choice(
    operator: str, a: tuple[Interval, float], b: tuple[Interval, float]
) -> None:
    assert holds(interval.OPERATORS[operator](a[0], b[0]), POINTS[operator](a[1], b[1]))


@pytest.mark.parametrize("function", SINGLE)
@given(a=INSIDE | inside(st.floats(1, 2.0**40)))
def test_a_function_of_one_holds_the_result_of_every_choice(function: str, a: tuple[Interval, float]) -> None:
    assert holds(interval.FUNCTIONS[function](a[0]), SINGLE[function](a[1]))


@given(a=INSIDE)
def test_the_opposite_holds_every_opposite(a: tuple[Interval, float]) -> None:
    assert holds(interval.negative(a[0]), -a[1])


@given(items=st.lists(INSIDE, min_size=1, max_size=5))
def test_the_least_and_the_greatest_hold_those_of_every_choice(items: list[tuple[Interval, float]]) -> None:
    figures = [figure for _, figure in items]
    assert holds(interval.minimum(*(one for one, _ in items)), min(figures))
    assert holds(interval.maximum(*(one for one, _ in items)), max(figures))


@given(a=INSIDE, low=INSIDE, high=INSIDE)
def test_clamping_holds_every_clamped_choice(
    a: tuple[Interval, float], low: tuple[Interval, float], high: tuple[Interval, float]
) -> None:
    assert holds(interval.clamp(a[0], low[0], high[0]), min(max(a[1], low[1]), high[1]))


@given(items=st.lists(INSIDE, max_size=5), function=st.sampled_from(["sum", "min", "max"]), gap=st.booleans())
def test_a_fold_holds_that_of_every_choice(items: list[tuple[Interval, float]], function: str, gap: bool) -> None:
    """An unknown among the figures may be any: only what holds whatever it is may be said."""
    values: list[interval.Maybe] = [one for one, _ in items]
    folded = interval.fold(function, [*values, None] if gap else values)
    if not items:
        assert folded is None
        return
    figures = [figure for _, figure in items]
    for unknown in [-math.inf, -1.0, 0.0, 1e300, math.inf] if gap else [None]:
        every = figures if unknown is None else [*figures, unknown]
        assert holds(folded, {"sum": _sum, "min": min, "max": max}[function](every))


def _sum(figures: list[float]) -> float:
    """Exact sums are rounded once; plain ones may stray beyond an end that was rounded once."""
    try:
        return math.fsum(figures)
    except (OverflowError, ValueError):
        return math.nan


@given(items=st.lists(INSIDE, min_size=1, max_size=6), seed=st.integers(0, 99))
def test_the_order_of_the_figures_does_not_change_a_sum(items: list[tuple[Interval, float]], seed: int) -> None:
    values: list[interval.Maybe] = [one for one, _ in items]
    shuffled = random.Random(seed).sample(values, len(values))
    assert interval.fold("sum", values) == interval.fold("sum", shuffled)


@pytest.mark.parametrize("operator", interval.COMPARISONS)
@given(a=INSIDE, b=INSIDE)
def test_a_decided_comparison_holds_of_every_choice(
    operator: str, a: tuple[Interval, float], b: tuple[Interval, float]
) -> None:
    truth = interval.COMPARISONS[operator](a[0], b[0])
    of_points = interval.COMPARISONS[operator](point(a[1]), point(b[1]))
    assert of_points is not Truth.UNKNOWN
    assert truth in (of_points, Truth.UNKNOWN)


@given(a=FLOATS, b=FLOATS)
def test_points_compare_as_numbers_do(a: float, b: float) -> None:
    expected = {">": a > b, ">=": a >= b, "<": a < b, "<=": a <= b, "==": a == b, "!=": a != b}
    for operator, truth in expected.items():
        assert interval.COMPARISONS[operator](point(a), point(b)) is (Truth.TRUE if truth else Truth.FALSE)


@pytest.mark.parametrize(
    ("a", "expected"),
    [((1.0, 2.9), Truth.TRUE), ((2.0, 3.0), Truth.UNKNOWN), ((2.0, 9.0), Truth.UNKNOWN), ((3.0, 9.0), Truth.FALSE)],
)
def test_a_bucket_across_the_limit_decides_nothing(a: Interval, expected: Truth) -> None:
    assert interval.COMPARISONS["<"](a, point(3.0)) is expected


def test_dividing_by_what_may_be_zero_is_unknown() -> None:
    assert interval.divide(point(1.0), (0.0, 2.0)) is None
    assert interval.divide(point(1.0), (-1.0, 1.0)) is None
    assert interval.divide(point(0.0), point(0.0)) is None
    assert interval.divide(point(1.0), point(-0.0)) is None
    assert interval.divide(point(6.0), (2.0, 3.0)) == (2.0, 3.0)


def test_infinities_that_cancel_are_unknown() -> None:
    endless = point(math.inf)
    assert interval.subtract(endless, endless) is None
    assert interval.multiply(endless, point(0.0)) is None
    assert interval.divide(endless, endless) is None
    assert interval.fold("sum", [endless, point(-math.inf)]) is None


def test_a_sum_beyond_all_floats_is_unknown() -> None:
    assert interval.fold("sum", [point(1.7e308), point(1.7e308)]) is None


def test_crossed_clamp_bounds_are_unknown() -> None:
    assert interval.clamp(point(1.0), point(3.0), point(2.0)) is None
    assert interval.clamp(point(1.0), (0.0, 2.5), point(2.0)) is None
    assert interval.clamp(point(9.0), point(1.0), point(2.0)) == point(2.0)


@pytest.mark.parametrize(
    ("figure", "expected"), [(1, 1), (1.5, 2), (2, 2), (3, 4), (64, 64), (65, 128), (2**53, 2**53)]
)
def test_the_next_power_of_two(figure: float, expected: float) -> None:
    assert interval.next_pow2(point(float(figure))) == point(float(expected))


@pytest.mark.parametrize("figure", [0.0, 0.99, -4.0, 2.0**53 + 2, math.inf])
def test_no_power_of_two_outside_the_range(figure: float) -> None:
    assert interval.next_pow2(point(figure)) is None


def test_logarithms_need_what_is_above_zero() -> None:
    assert interval.log10((0.0, 10.0)) is None
    assert interval.log10(point(-1.0)) is None
    assert interval.log10((1.0, 1000.0)) == (0.0, 3.0)
