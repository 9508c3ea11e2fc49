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

from engram_diagnose.collectors.prometheus.native import (
    EMPTY,
    Native,
    NotAlikeError,
    at_schema,
    coarser,
    plus,
    was_reset,
)
from engram_diagnose.collectors.prometheus.series import NativeSeries, Series

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
    to half a scrape (until 2.x). `exponential`: native histograms as since 3.0, with quantiles interpolated along the
    logarithm within a bucket.
    """

    left_open: bool = True
    zero_first: bool = False
    exponential: bool = True
    lookback_ms: int = 300_000


PROMETHEUS_3: Final = Semantics()
PROMETHEUS_2: Final = Semantics(left_open=False, zero_first=True, exponential=False)
SCRAPES: Final = Semantics(left_open=False)
"""For scrapes of our own: the window runs from the first to the last one, both of which count."""


def semantics_of(version: str) -> Semantics:
    """What a server of this version (`2.42.0`) does; the newest where the version says nothing."""
    major = version.strip().removeprefix("v").partition(".")[0]
    return PROMETHEUS_2 if major in ("0", "1", "2") else PROMETHEUS_3


class Seen(NamedTuple):
    """
    Which samples [first, beyond) of a series, at least one, lie in a window from `start` to `end` (ms).

    Series that were scraped together have one list of times, and share this. In seconds: `sampled` from the first
    sample to the last, `spacing` between two, `gap` before the first, and how far a change is extended, unless a
    counter would fall below zero, `before` the first and `after` the last. These are 0 for a single sample.
    """

    first: int
    beyond: int
    start: int
    end: int
    sampled: float
    spacing: float
    gap: float
    before: float
    after: float


def seen_in(times: Sequence[int], first: int, beyond: int, *, start: int, end: int) -> Seen:
    """The samples [first, beyond) of these times, in the window from `start` to `end`."""
    last = beyond - 1
    if last <= first:
        return Seen(first, beyond, start, end, 0.0, 0.0, 0.0, 0.0, 0.0)
    sampled = (times[last] - times[first]) / 1000
    spacing = sampled / (last - first)
    gap = (times[first] - start) / 1000
    after = _reach((end - times[last]) / 1000, spacing)
    return Seen(first, beyond, start, end, sampled, spacing, gap, _reach(gap, spacing), after)


class Span(NamedTuple):
    """The samples of a series that a window holds."""

    series: Series
    seen: Seen

    @property
    def values(self) -> Sequence[float]:
        return self.series.values[self.seen.first : self.seen.beyond]

    @property
    def times(self) -> Sequence[int]:
        return self.series.times[self.seen.first : self.seen.beyond]


class NativeSpan(NamedTuple):
    """The same of native histograms."""

    series: NativeSeries
    seen: Seen

    @property
    def histograms(self) -> Sequence[Native]:
        return self.series.histograms[self.seen.first : self.seen.beyond]


Result = tuple[float, Notes] | None
RangeFunction = Callable[[Span, Semantics], Result]
NativeResult = tuple[Native, Notes] | None
NativeFunction = Callable[[NativeSpan, Semantics], NativeResult]


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
    return [index for index in resets if span.seen.first < index < span.seen.beyond] if resets else []


def _extrapolated(span: Span, semantics: Semantics, *, counter: bool) -> Result:
    """
    The change over the whole window, from the change between its first and last sample.

    It is extended to the window's ends, but by no more than half a scrape where samples are missing
    there, and a counter by no more than takes it to zero (`extrapolatedRate` of Prometheus).
    """
    seen, values = span.seen, span.series.values
    first, last = seen.first, seen.beyond - 1
    if last <= first:
        return None
    resets = _resets_in(span) if counter else []
    change = values[last] - values[first]
    for index in resets:
        change += values[index - 1]
    zero = math.inf
    if counter and change > 0 and values[first] >= 0:
        zero = seen.sampled * (values[first] / change)
    return change * _stretch(seen, zero, semantics), _RESET if resets else NO_NOTES


def _stretch(seen: Seen, zero: float, semantics: Semantics) -> float:
    """What the change between first and last sample is multiplied by; `zero` seconds before the first it was zero."""
    before = seen.before
    if semantics.zero_first:
        before = _reach(zero, seen.spacing) if zero < seen.gap else before
    elif zero < before:
        before = zero
    return (seen.sampled + before + seen.after) / seen.sampled


def _reach(gap: float, spacing: float) -> float:
    """Seconds to extrapolate over: the gap, or half a scrape when it is longer than a scrape and a bit."""
    return gap if gap < spacing * 1.1 else spacing / 2


def _increase(span: Span, semantics: Semantics) -> Result:
    return _extrapolated(span, semantics, counter=True)


def _delta(span: Span, semantics: Semantics) -> Result:
    return _extrapolated(span, semantics, counter=False)


def _rate(span: Span, semantics: Semantics) -> Result:
    increase = _extrapolated(span, semantics, counter=True)
    return increase and (increase[0] / ((span.seen.end - span.seen.start) / 1000), increase[1])


def _irate(span: Span, _: Semantics) -> Result:
    if span.seen.beyond - span.seen.first < 2:
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
    if span.seen.beyond - span.seen.first < 2:
        return None
    values, start = span.values, span.times[0]
    if all(value == values[0] for value in values):
        return (0.0 if math.isfinite(values[0]) else math.nan), NO_NOTES
    seconds = [(time - start) / 1000 for time in span.times]
    # Of the plain sums, as Prometheus has it: of a small change of a large figure few digits are left, but the same.
    over, up = _compensated(seconds), _compensated(values)
    along = _compensated([x * y for x, y in zip(seconds, values, strict=True)]) - over * up / len(values)
    return divide(along, _compensated([x * x for x in seconds]) - over * over / len(values)), NO_NOTES


def _compensated(values: Iterable[float]) -> float:
    """The sum by the method of Kahan and Neumaier, which Prometheus uses."""
    summed = lost = 0.0
    for value in values:
        after = summed + value
        larger, smaller = (summed, value) if abs(summed) >= abs(value) else (value, summed)
        lost += (larger - after) + smaller
        summed = after
    return summed + lost


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


# Native histograms


def _native_change(
    span: NativeSpan, semantics: Semantics, *, counter: bool = True, seconds: float = 1.0
) -> NativeResult:
    """
    The change of a histogram over the whole window, extrapolated as a figure's is, divided by `seconds`.

    None where none can be told.
    """
    if span.seen.beyond - span.seen.first < 2:
        return None
    points = span.histograms
    resets = [counter and was_reset(before, after) for before, after in pairwise(points)]
    first = points[0]
    if resets[0] and semantics.exponential:  # since 3.0 what was before a reset does not decide on the resolution
        first, resets[0] = EMPTY, False
    seen = [first, *(points[1:] if counter else points[-1:])]
    try:
        change = plus(at_schema(points[-1], coarser(*seen)), first, sign=-1)
        for before, reset in zip(points, resets, strict=False):
            change = plus(change, before) if reset else change
    except NotAlikeError:
        return None
    # One factor, as Prometheus has it: rounded twice, a quantile on the edge of a bucket falls into its neighbour.
    factor = _stretch(span.seen, math.inf, semantics) / seconds
    return change.scaled(factor), _RESET if first is EMPTY or any(resets) else NO_NOTES


NATIVE_FUNCTIONS: Final[dict[str, NativeFunction]] = {
    "rate": lambda span, semantics: _native_change(span, semantics, seconds=(span.seen.end - span.seen.start) / 1000),
    "increase": _native_change,
    "delta": lambda span, semantics: _native_change(span, semantics, counter=False),
    "last_over_time": lambda span, _: (span.histograms[-1], NO_NOTES),
}
"""Those that are needed to read a latency from native histograms; others give nothing for them."""
