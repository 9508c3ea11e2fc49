"""
Quantiles of native histograms.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.prometheus.histogram import NO_OBSERVATIONS, Bucket, Quantile
from engram_diagnose.collectors.prometheus.native import Native, Range, bound

BEYOND_COUNT: Final = "some observations are in no bucket (NaN)"


@dataclass(frozen=True, slots=True)
class _Counted:
    low: float
    high: float
    count: float


def _ascending(one: Native) -> Iterator[_Counted]:
    """The populated buckets from the lowest to the highest."""
    for (low, high), count in sorted(one.custom.items()):
        yield _Counted(low, high, count)
    schema = one.schema or 0
    for index in sorted(one.negative, reverse=True):
        yield _Counted(-bound(index, schema), -_beginning(one, index, schema), one.negative[index])
    if one.zero_count:
        yield _Counted(-one.zero_threshold, one.zero_threshold, one.zero_count)
    for index in sorted(one.positive):
        yield _Counted(_beginning(one, index, schema), bound(index, schema), one.positive[index])


def _beginning(one: Native, index: int, schema: int) -> float:
    """Where a bucket begins, away from zero: behind the zero bucket."""
    begin = bound(index - 1, schema)
    return max(begin, one.zero_threshold) if bound(index, schema) > one.zero_threshold else begin


def native_quantile(q: float, one: Native, *, exponential: bool) -> Quantile:
    """
    The quantile `q`, and the bucket it lies in.

    Inside the bucket it is interpolated along the logarithm (`exponential`, since 3.0) or in a straight line, as in
    the zero bucket and in buckets with bounds of their own always.
    """
    if math.isnan(q) or not 0 <= q <= 1:
        return Quantile(math.nan if math.isnan(q) else math.copysign(math.inf, q))
    buckets = [bucket for bucket in _ascending(one) if bucket.count]
    if one.count == 0 or math.isnan(one.count) or not buckets:
        return Quantile(math.nan, None, frozenset({NO_OBSERVATIONS}))
    upward = not exponential or math.isnan(one.sum) or q < 0.5
    rank = (q if upward else 1 - q) * one.count
    bucket, count = _reached(rank, buckets if upward else buckets[::-1])
    count = min(count, one.count)
    if count < rank:
        return _beyond(one, bucket, exponential=exponential)
    share = (rank - (count - bucket.count) if upward else count - rank) / bucket.count
    return _inside(one, bucket, share, exponential=exponential)


def _reached(rank: float, buckets: list[_Counted]) -> tuple[_Counted, float]:
    """The bucket in which the rank is reached, or the last one, and the count up to and with it."""
    count = 0.0
    for bucket in buckets:
        count += bucket.count
        if count >= rank:
            break
    return bucket, count


def _beyond(one: Native, bucket: _Counted, *, exponential: bool) -> Quantile:
    """The rank lies behind all buckets: among observations that are NaN."""
    lost = exponential and math.isnan(one.sum)
    return Quantile(math.nan if lost else bucket.high, None, frozenset({BEYOND_COUNT}))


def _inside(one: Native, bucket: _Counted, share: float, *, exponential: bool) -> Quantile:
    low, high = bucket.low, bucket.high
    if one.custom:
        if low == -math.inf:
            if high <= 0:
                return Quantile(high, Bucket(low, high, open_low=False))
            low = 0.0
        elif high == math.inf:
            return Quantile(low, Bucket(low, high))
    elif low < 0 < high:
        low, high = _one_sided(one, low, high)
    if one.custom or not exponential or low <= 0 <= high:
        value = low + (high - low) * share
    elif low > 0:
        near, far = math.log2(low), math.log2(high)
        value = 2.0 ** (near + (far - near) * share)
    else:
        near, far = math.log2(-high), math.log2(-low)
        value = -(2.0 ** (near + (far - near) * (1 - share)))
    closed = low <= 0 <= high and not one.custom
    return Quantile(value, Bucket(low, high, open_low=not closed and low >= 0, open_high=high < 0))


def _one_sided(one: Native, low: float, high: float) -> Range:
    """The zero bucket of a histogram that has figures on one side of it alone."""
    if one.positive and not one.negative:
        return 0.0, high
    if one.negative and not one.positive:
        return low, 0.0
    return low, high
