"""
Student's t: how much wider an interval must be for being drawn from few samples.
"""

import math
from functools import lru_cache
from typing import Final

_STEPS: Final = 200


@lru_cache(maxsize=1024)
def t_quantile(probability: float, freedom: float) -> float:
    """
    The value that t with `freedom` degrees stays below with this probability (0.5 to 1, both excluded).

    By bisection, to 1e-10 of the value. Raises `ValueError` outside that range.
    """
    if not (0.5 <= probability < 1 and freedom > 0):
        raise ValueError(f"no quantile {probability} of t with {freedom} degrees of freedom")
    high = 1.0
    while t_below(high, freedom) < probability:
        high *= 2
    low = 0.0
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_below(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def t_below(value: float, freedom: float) -> float:
    """The probability that t stays below a value of at least 0."""
    return 1 - _beta_share(freedom / (freedom + value * value), freedom / 2, 0.5) / 2


def _beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Numerical Recipes, 6.4)."""
    if x <= 0 or x >= 1:
        return min(1.0, max(0.0, x))
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(1 - x, b, a)
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    found = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return found


def normal_quantile(probability: float) -> float:
    """The value that a standard normal variable stays below with this probability (0.5 to 1)."""
    return t_quantile(probability, 1e9)
