"""
Functions over a range of samples, as Prometheus defines them.

Each takes the samples of one series in a window and gives a figure, or None where Prometheus gives
no result.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from engram_diagnose.collectors.prometheus.series import Series

RESET: Final = "counter reset in the window"

Notes = frozenset[str]
NO_NOTES: Final[Notes] = frozenset()
_RESET: Final = frozenset({RESET})


@dataclass(frozen=True, slots=True)
class Semantics:
    """
    Where versions of Prometheus differ.

    `left_open`: a range, or the look-back, does not hold the sample at its very start (since 3.0).
    `zero_first`: a rate is kept from extrapolating below zero before, rather than after, it is kept
    to half a scrape (until 2.x).
    """

    left_open: bool = True
    zero_first: bool = False
    lookback_ms: int = 300_000


PROMETHEUS_3: Final = Semantics()
PROMETHEUS_2: Final = Semantics(left_open=False, zero_first=True)
SCRAPES: Final = Semantics(left_open=False)
"""For scrapes of our own: the window runs from the first to the last one, both of which count."""


def semantics_of(version: str) -> Semantics:
    """What a server of this version (`2.42.0`) does; the newest where the version says nothing."""
    major = version.strip().removeprefix("v").partition(".")[0]
    return PROMETHEUS_2 if major in ("0", "1", "2") else PROMETHEUS_3


class Span(NamedTuple):
    """The samples [first, beyond) of a series, which are at least one, and the window in ms that they lie in."""

    series: Series
    first: int
    beyond: int
    start: int
    end: int

    @property
    def values(self) -> Sequence[float]:
        return self.series.values[self.first : self.beyond]

    @property
    def times(self) -> Sequence[int]:
        return self.series.times[self.first : self.beyond]


Result = tuple[float, Notes] | None
RangeFunction = Callable[[Span, Semantics], Result]


def divide(left: float, right: float) -> float:
    """IEEE division, which Python refuses for a zero."""
    if right:
        return left / right
    if left == 0 or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def total(values: Sequence[float]) -> float:
    """The sum, exact where it is finite, so that no order of the series changes it."""
    try:
        return math.fsum(values)
    except (
        OverflowError,
        ValueError,
    ):  # infinities of both signs, or a sum beyond the largest float
        return sum(values)


def mean(values: Sequence[float]) -> float:
    """The mean; of huge figures too, whose sum would overflow."""
    summed = total(values)
    if math.isinf(summed) and all(map(math.isfinite, values)):
        return total([value / len(values) for value in values])
    return summed / len(values)


def lowest(values: Iterable[float]) -> float:
    """The minimum, in which NaN counts only if there is nothing else."""
    return min((value for value in values if not math.isnan(value)), default=math.nan)


def highest(values: Iterable[float]) -> float:
    """The maximum, in which NaN counts only if there is nothing else."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)


# Rates


def _resets_in(span: Span) -> list[int]:
    """Indexes of the samples in the window that are lower than the one before, which is in the window too."""
    resets = span.series.resets()
    return [index for index in resets if span.first < index < span.beyond] if resets else []


def _extrapolated(span: Span, semantics: Semantics, *, counter: bool) -> Result:
    """
    The change over the whole window, from the change between its first and last sample.

    It is extended to the window's ends, but by no more than half a scrape where samples are missing
    there, and a counter by no more than takes it to zero (`extrapolatedRate` of Prometheus).
    """
    if span.beyond - span.first < 2:
        return None
    times, values = span.series.times, span.series.values
    first, last = span.first, span.beyond - 1
    resets = _resets_in(span) if counter else []
    change = values[last] - values[first]
    for index in resets:
        change += values[index - 1]
    sampled = (times[last] - times[first]) / 1000
    spacing = sampled / (last - first)
    zero = math.inf
    if counter and change > 0 and values[first] >= 0:
        zero = sampled * (values[first] / change)
    before = _before((times[first] - span.start) / 1000, spacing, zero, semantics)
    after = _reach((span.end - times[last]) / 1000, spacing)
    return change * ((sampled + before + after) / sampled), _RESET if resets else NO_NOTES


def _before(gap: float, spacing: float, zero: float, semantics: Semantics) -> float:
    return _reach(min(gap, zero), spacing) if semantics.zero_first else min(_reach(gap, spacing), zero)


def _reach(gap: float, spacing: float) -> float:
    """Seconds to extrapolate over: the gap, or half a scrape when it is longer than a scrape and a bit."""
    return gap if gap < spacing * 1.1 else spacing / 2


def _increase(span: Span, semantics: Semantics) -> Result:
    return _extrapolated(span, semantics, counter=True)


def _delta(span: Span, semantics: Semantics) -> Result:
    return _extrapolated(span, semantics, counter=False)


def _rate(span: Span, semantics: Semantics) -> Result:
    increase = _extrapolated(span, semantics, counter=True)
    return increase and (increase[0] / ((span.end - span.start) / 1000), increase[1])


def _irate(span: Span, _: Semantics) -> Result:
    if span.beyond - span.first < 2:
        return None
    (before, after), (start, end) = span.values[-2:], span.times[-2:]
    reset = after < before
    return (after if reset else after - before) / ((end - start) / 1000), _RESET if reset else NO_NOTES


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """The least-squares slope of values over times, per unit of time; NaN when it cannot be told."""
    if all(value == values[0] for value in values):
        return 0.0 if math.isfinite(values[0]) else math.nan
    middle, centre = mean(times), mean(values)
    spread = total([(time - middle) ** 2 for time in times])
    return divide(total([(t - middle) * (v - centre) for t, v in zip(times, values, strict=True)]), spread)


def _deriv(span: Span, _: Semantics) -> Result:
    if span.beyond - span.first < 2:
        return None
    start = span.times[0]
    return slope([(time - start) / 1000 for time in span.times], span.values), NO_NOTES


# Over time


def _changes(span: Span, _: Semantics) -> Result:
    pairs = pairwise(span.values)
    return float(sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairs)), NO_NOTES


def _resets(span: Span, _: Semantics) -> Result:
    return float(len(_resets_in(span))), NO_NOTES


def _over_time(aggregate: Callable[[Sequence[float]], float]) -> RangeFunction:
    return lambda span, _: (aggregate(span.values), NO_NOTES)


RANGE_FUNCTIONS: Final[dict[str, RangeFunction]] = {
    "rate": _rate,
    "increase": _increase,
    "irate": _irate,
    "delta": _delta,
    "deriv": _deriv,
    "changes": _changes,
    "resets": _resets,
    "avg_over_time": _over_time(mean),
    "min_over_time": _over_time(lowest),
    "max_over_time": _over_time(highest),
    "sum_over_time": _over_time(total),
    "last_over_time": _over_time(lambda values: values[-1]),
    "count_over_time": _over_time(lambda values: float(len(values))),
}
