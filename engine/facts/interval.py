"""
Arithmetic and comparison of intervals.

A figure is known to lie in [low, high]; a result is an interval that holds what every choice inside the operands leads
to. None is *unknown*: an operand is, the divisor may be zero, or the figures leave the real numbers.
"""

import math
from collections.abc import Callable
from typing import Final

from engram_diagnose.engine.facts.fact import Interval
from engram_diagnose.engine.facts.truth import Truth

Maybe = Interval | None


def _checked(low: float, high: float) -> Maybe:
    """None where the ends are not numbers (∞ − ∞, 0 · ∞)."""
    return (low, high) if low <= high else None


def add(a: Interval, b: Interval) -> Maybe:
    """A + b"""
    return _checked(a[0] + b[0], a[1] + b[1])


def subtract(a: Interval, b: Interval) -> Maybe:
    """A − b"""
    return _checked(a[0] - b[1], a[1] - b[0])


def multiply(a: Interval, b: Interval) -> Maybe:
    """A · b"""
    products = (a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1])
    return None if any(map(math.isnan, products)) else (min(products), max(products))


def divide(a: Interval, b: Interval) -> Maybe:
    """A / b; unknown when b may be zero."""
    if b[0] <= 0 <= b[1]:
        return None
    quotients = (a[0] / b[0], a[0] / b[1], a[1] / b[0], a[1] / b[1])
    return None if any(map(math.isnan, quotients)) else (min(quotients), max(quotients))


def negative(a: Interval) -> Interval:
    """−a"""
    return -a[1], -a[0]


def minimum(*items: Interval) -> Maybe:
    """The least of several."""
    return min(a[0] for a in items), min(a[1] for a in items)


def maximum(*items: Interval) -> Maybe:
    """The greatest of several."""
    return max(a[0] for a in items), max(a[1] for a in items)


def absolute(a: Interval) -> Maybe:
    """|a|"""
    if a[0] >= 0:
        return a
    return negative(a) if a[1] <= 0 else (0.0, max(-a[0], a[1]))


def clamp(a: Interval, low: Interval, high: Interval) -> Maybe:
    """min(max(a, low), high); unknown when the bounds cross."""
    if low[1] > high[0]:
        return None
    return min(max(a[0], low[0]), high[0]), min(max(a[1], low[1]), high[1])


def log10(a: Interval) -> Maybe:
    """The decimal logarithm; unknown when a may not be above zero."""
    return (math.log10(a[0]), math.log10(a[1])) if a[0] > 0 else None


def _rounding(rounded: Callable[[float], float]) -> Callable[[Interval], Maybe]:
    def apply(a: Interval) -> Maybe:
        return (float(rounded(a[0])), float(rounded(a[1]))) if math.isfinite(a[0]) and math.isfinite(a[1]) else None

    return apply


ceil: Final = _rounding(math.ceil)
floor: Final = _rounding(math.floor)


def next_pow2(a: Interval) -> Maybe:
    """The least power of two that is not below a; unknown outside 1..2^53."""
    if not 1 <= a[0] <= a[1] <= 2**53:
        return None
    return tuple(float(1 << (math.ceil(end) - 1).bit_length()) for end in a)  # type: ignore[return-value]


FUNCTIONS: Final[dict[str, Callable[..., Maybe]]] = {
    "min": minimum, "max": maximum, "abs": absolute, "clamp": clamp,
    "log10": log10, "ceil": ceil, "floor": floor, "next_pow2": next_pow2,
}  # fmt: skip
OPERATORS: Final[dict[str, Callable[[Interval, Interval], Maybe]]] = {
    "+": add, "-": subtract, "*": multiply, "/": divide,
}  # fmt: skip


def greater(a: Interval, b: Interval) -> Truth:
    """A > b"""
    if a[0] > b[1]:
        return Truth.TRUE
    return Truth.FALSE if a[1] <= b[0] else Truth.UNKNOWN


def greater_or_equal(a: Interval, b: Interval) -> Truth:
    """A ≥ b"""
    if a[0] >= b[1]:
        return Truth.TRUE
    return Truth.FALSE if a[1] < b[0] else Truth.UNKNOWN


def equal(a: Interval, b: Interval) -> Truth:
    """A = b: true only of two equal points, false only of intervals that do not meet."""
    if a[1] < b[0] or b[1] < a[0]:
        return Truth.FALSE
    return Truth.TRUE if a[0] == a[1] == b[0] == b[1] else Truth.UNKNOWN


COMPARISONS: Final[dict[str, Callable[[Interval, Interval], Truth]]] = {
    ">": greater,
    ">=": greater_or_equal,
    "<": lambda a, b: greater(b, a),
    "<=": lambda a, b: greater_or_equal(b, a),
    "==": equal,
    "!=": lambda a, b: ~equal(a, b),
}


def total(items: list[Interval]) -> Maybe:
    """The sum of several, rounded once, whatever their order; unknown when it leaves the floats."""
    try:
        return _checked(math.fsum(sorted(a[0] for a in items)), math.fsum(sorted(a[1] for a in items)))
    except (OverflowError, ValueError):  # fsum raises where + would give an infinity, or NaN for ∞ − ∞
        return None


def fold(function: str, values: list[Maybe]) -> Maybe:
    """
    The `sum`, `min` or `max` of figures, some of which may be unknown.

    With one unknown, a sum is unknown; the greatest is at least the greatest known, the least at most the least.
    """
    figures = [value for value in values if value is not None]
    if not figures:
        return None
    complete = len(figures) == len(values)
    if function == "sum":
        return total(figures) if complete else None
    extreme = maximum(*figures) if function == "max" else minimum(*figures)
    if complete or extreme is None:
        return extreme
    return (extreme[0], math.inf) if function == "max" else (-math.inf, extreme[1])
