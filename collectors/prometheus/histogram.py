"""
Quantiles of classic histograms: Prometheus's figure, and the bucket that is all it really knows.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from operator import itemgetter
from typing import Final, NamedTuple

NO_OBSERVATIONS: Final = "no observations in the window"
BEYOND_LAST: Final = "beyond the last bucket"
NOT_MONOTONIC: Final = "the buckets were not cumulative"
NO_INFINITE_BUCKET: Final = "no +Inf bucket"

NO_NOTES: Final = frozenset[str]()

_TOLERANCE: Final = 1e-12
"""
Relative difference below which two counts are the same sum in another order (Prometheus uses this
figure).
"""


class Bucket(NamedTuple):
    """
    Where a quantile lies: between `low` and `high`, where an open end does not count itself.

    A bucket holds what is above its lower and not above its upper bound, so `low` is open, except
    in the first one, which starts at 0 for figures that are not negative.
    """

    low: float
    high: float
    open_low: bool = True
    open_high: bool = False

    def scaled(self, factor: float) -> "Bucket":
        """The bucket of the quantile times `factor`; a negative one turns it round."""
        low, high = self.low * factor, self.high * factor
        if factor < 0:
            return Bucket(high, low, self.open_high, self.open_low)
        return Bucket(low, high, self.open_low, self.open_high)

    def interval(self) -> tuple[float, float]:
        """The closed interval of the floats in the bucket."""
        low = math.nextafter(self.low, math.inf) if self.open_low else self.low
        high = math.nextafter(self.high, -math.inf) if self.open_high else self.high
        return low, high


class Quantile(NamedTuple):
    """The interpolated figure, its bucket where there is one, and what is to be said of it."""

    value: float
    bucket: Bucket | None = None
    notes: frozenset[str] = NO_NOTES


class Cumulative(NamedTuple):
    """Counts by ascending upper bound, none lower than the one before, and what is to be said of them."""

    bounds: list[float]
    counts: list[float]
    notes: frozenset[str] = NO_NOTES

    def quantile(self, q: float) -> Quantile:
        """
        The quantile `q`.

        Linear inside the bucket, from 0 in the first one; the last finite bound when the quantile lies
        in the +Inf bucket; NaN without observations, without a +Inf bucket, or with that one alone
        (`bucketQuantile` of Prometheus).
        """
        if math.isnan(q) or not 0 <= q <= 1:
            return Quantile(math.nan if math.isnan(q) else math.copysign(math.inf, q))
        if not self.bounds or self.bounds[-1] != math.inf or len(self.bounds) < 2:
            return Quantile(math.nan, None, frozenset({NO_INFINITE_BUCKET}))
        total = self.counts[-1]
        if total == 0 or math.isnan(total):
            return Quantile(math.nan, None, self.notes | {NO_OBSERVATIONS})
        return _located(q * total, self.bounds, self.counts, self.notes)


def quantile(q: float, counts: Iterable[tuple[float, float]]) -> Quantile:
    """The quantile `q` of cumulative counts by upper bound, in any order."""
    return cumulated(counts).quantile(q)


def cumulated(counts: Iterable[tuple[float, float]]) -> Cumulative:
    """
    Cumulative counts by upper bound, in any order, put in order.

    Counts of one bound add up, and counts that fall are raised to the highest before them.
    """
    bounds, cumulative = _merged(counts)
    if not bounds:
        return Cumulative(bounds, cumulative)
    return Cumulative(bounds, cumulative, frozenset({NOT_MONOTONIC}) if _raise_falling(cumulative) else NO_NOTES)


def _merged(counts: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    bounds: list[float] = []
    cumulative: list[float] = []
    for bound, count in sorted(counts, key=itemgetter(0)):
        if bounds and bounds[-1] == bound:
            cumulative[-1] += count
        elif not math.isnan(bound):
            bounds.append(bound)
            cumulative.append(count)
    return bounds, cumulative


def _raise_falling(cumulative: list[float]) -> bool:
    """Makes the counts rise, in place; whether that took more than rounding."""
    highest, forced = cumulative[0], False
    for index, count in enumerate(cumulative):
        if count > highest and not math.isclose(count, highest, rel_tol=_TOLERANCE):
            highest = count
            continue
        forced |= count < highest and not math.isclose(count, highest, rel_tol=_TOLERANCE)
        cumulative[index] = highest
    return forced


def _located(rank: float, bounds: list[float], cumulative: list[float], notes: frozenset[str]) -> Quantile:
    last = len(bounds) - 1
    index = last if math.isnan(rank) else bisect_left(cumulative, rank, 0, last)
    if index == last:
        bucket = Bucket(bounds[last - 1], math.inf)
        return Quantile(bounds[last - 1], bucket, notes | {BEYOND_LAST})
    high = bounds[index]
    if index == 0 and high <= 0:
        return Quantile(high, Bucket(-math.inf, high, open_low=False), notes)
    low, before = (bounds[index - 1], cumulative[index - 1]) if index else (0.0, 0.0)
    count = cumulative[index] - before
    share = (rank - before) / count if count else math.nan
    return Quantile(low + (high - low) * share, Bucket(low, high, open_low=index > 0), notes)
