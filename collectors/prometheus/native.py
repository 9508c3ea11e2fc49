"""
Native histograms: buckets whose bounds are powers of a base, or, since 3.0, bounds of the exporter's own.

As the HTTP API writes one, its empty buckets left out (the first figure of a bucket says which of its ends count):

    {"count": "42", "sum": "3.4", "buckets": [[3, "-0.25", "0.25", "3"], [0, "0.25", "0.5", "39"]]}

The arithmetic follows Prometheus' `FloatHistogram`. What the answer does not say, it cannot follow: the resolution
and the breadth of the zero bucket of a histogram in which these are empty.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, TypeVar

from engram_diagnose.collectors.prometheus.labels import parse_float

SCHEMAS: Final = range(-4, 9)
"""Resolutions: with schema s, each power of two is divided into 2^s buckets."""

_CLOSED: Final = 3
"""Both ends of a bucket count: only those of the zero bucket do."""

_LARGEST: Final = math.nextafter(math.inf, 0)
_NEAR: Final = 1e-6
"""By how much a bound, in buckets, may miss a whole number: it was printed and read again."""

_ROUNDED: Final = 1 + 1e-12
"""A bound that is computed and one that was printed are the same when they differ by less."""

NOT_ALIKE: Final = "the buckets of the native histograms do not fit together"

Key = TypeVar("Key")
Counts = Mapping[int, float]
Range = tuple[float, float]


class NotAlikeError(ValueError):
    """Two histograms whose buckets cannot be brought to one."""


@dataclass(frozen=True, slots=True)
class Native:
    """
    One native histogram.

    `schema` is None where no bucket tells it; it then fits any. `positive` and `negative` hold the populated buckets
    by index: bucket i ends at base^i, away from zero. `custom` holds those with bounds of their own, (low, high]; a
    histogram has these or the others.
    """

    count: float = 0.0
    sum: float = 0.0
    schema: int | None = None
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive: Counts = field(default_factory=dict)
    negative: Counts = field(default_factory=dict)
    custom: Mapping[Range, float] = field(default_factory=dict)

    def scaled(self, factor: float) -> "Native":
        """Every count, and the sum, times `factor`."""
        return replace(
            self,
            count=self.count * factor,
            sum=self.sum * factor,
            zero_count=self.zero_count * factor,
            positive={index: count * factor for index, count in self.positive.items()},
            negative={index: count * factor for index, count in self.negative.items()},
            custom={bounds: count * factor for bounds, count in self.custom.items()},
        )


EMPTY: Final = Native()


def parse_native(value: object) -> Native | None:
    """The histogram that the API's JSON describes; None for anything else, bounds of no known kind too."""
    if not isinstance(value, dict):
        return None
    count, total, listed = _figure(value.get("count")), _figure(value.get("sum")), value.get("buckets", [])
    if count is None or total is None or not isinstance(listed, list):
        return None
    buckets = [_bucket_of(item) for item in listed]
    known = [bucket for bucket in buckets if bucket is not None]
    return _of_buckets(count, total, known) if len(known) == len(buckets) else None


_Listed = tuple[bool, float, float, float]
"""Whether it is the zero bucket, its lower and upper bound, its count."""


def _bucket_of(item: object) -> _Listed | None:
    if not isinstance(item, list) or len(item) != 4 or item[0] not in (0, 1, 2, 3):
        return None
    low, high, count = map(_figure, item[1:])
    if low is None or high is None or count is None or not low <= high or math.isnan(count):
        return None
    # Of bounds of its own, the lowest bucket counts as closed too, at minus infinity.
    return item[0] == _CLOSED and low != -math.inf, low, high, count


def _figure(text: Any) -> float | None:
    return parse_float(text) if isinstance(text, str) else None


def _of_buckets(count: float, total: float, buckets: list[_Listed]) -> Native | None:
    zero = [bucket for bucket in buckets if bucket[0]]
    others = [bucket[1:] for bucket in buckets if not bucket[0]]
    if len(zero) > 1 or any(low != -high for _, low, high, _ in zero) or any(low == high for low, high, _ in others):
        return None
    threshold, zero_count = (zero[0][2], zero[0][3]) if zero else (0.0, 0.0)
    exponential = _exponential(others, threshold)
    if exponential is None and not zero:
        # A bucket may begin at the end of a zero bucket that is empty, and so is not written.
        threshold = min((min(abs(low), abs(high)) for low, high, _ in others), default=0.0)
        exponential = _exponential(others, threshold)
    if exponential is not None:
        schema, positive, negative = exponential
        return Native(count, total, schema, threshold, zero_count, positive, negative)
    if zero or _overlap(low_high := [(low, high) for low, high, _ in others]):
        return None
    return Native(count, total, custom=dict(zip(low_high, (found for *_, found in others), strict=True)))


def _exponential(
    buckets: list[tuple[float, float, float]], threshold: float
) -> tuple[int | None, Counts, Counts] | None:
    """
    Schema, positive and negative buckets by index; None where the bounds are not powers of one base.

    A bucket that reaches below the threshold is written as if it began there.
    """
    if any(low < 0 < high or (low == -math.inf or high == math.inf) for low, high, _ in buckets):
        return None
    outward = [(low, high) if low >= 0 else (-high, -low) for low, high, _ in buckets]
    schema = _schema_of(outward, threshold)
    if schema is None:
        return None if buckets else (None, {}, {})
    positive: dict[int, float] = {}
    negative: dict[int, float] = {}
    for (near, far), (low, _, count) in zip(outward, buckets, strict=True):
        index = _index_of(near, far, schema, threshold)
        side = positive if low >= 0 else negative
        if index is None or index in side:
            return None
        side[index] = count
    return schema, positive, negative


def _schema_of(outward: list[Range], threshold: float) -> int | None:
    """The resolution that the buckets tell; of one that was cut off, the finest that it may have."""
    for near, far in outward:
        width = math.log2(far) - math.log2(near) if 0 < near < far < _LARGEST and near != threshold else 0.0
        if width > 0:
            schema = round(-math.log2(width))
            return schema if schema in SCHEMAS and math.isclose(width, 2.0**-schema, rel_tol=_NEAR) else None
    fitting = (schema for schema in reversed(SCHEMAS)
               if all(_index_of(near, far, schema, threshold) is not None for near, far in outward))  # fmt: skip
    return next(fitting, None) if outward else None


def _index_of(near: float, far: float, schema: int, threshold: float) -> int | None:
    """The index of the bucket from `near` to `far`, both from zero outward."""
    if near < 0 or far <= 0:
        return None
    if far >= _LARGEST:
        return _whole(math.log2(near) * 2.0**schema + 1) if near > 0 else None
    index = _whole(math.log2(far) * 2.0**schema)
    if index is None:
        return None
    begin = bound(index - 1, schema)
    cut_off = near == threshold and begin <= near * _ROUNDED
    return index if cut_off or math.isclose(begin, near, rel_tol=_NEAR) else None


def _whole(figure: float) -> int | None:
    nearest = round(figure)
    return nearest if abs(figure - nearest) < _NEAR * max(1.0, abs(figure)) else None


def _overlap(bounds: Iterable[Range]) -> bool:
    ordered = sorted(bounds)
    return any(after[0] < before[1] for before, after in pairwise(ordered))


def bound(index: int, schema: int) -> float:
    """Where bucket `index` ends, away from zero: 2^(index · 2^-schema), at most the largest float."""
    try:
        return float(2.0 ** (index * 2.0**-schema))
    except OverflowError:
        return _LARGEST


# Arithmetic


def plus(one: Native, other: Native, *, sign: float = 1.0) -> Native:
    """`one` + `sign` · `other`, at the coarser resolution of the two; raises `NotAlikeError`."""
    if one.custom or other.custom:
        return _plus_custom(one, other, sign)
    one, other = _of_one_zero(one, other)  # while their buckets are fine: fewer are cut by the zero bucket
    schema = coarser(one, other)
    one, other = at_schema(one, schema), at_schema(other, schema)
    return Native(
        one.count + sign * other.count,
        one.sum + sign * other.sum,
        schema,
        one.zero_threshold,
        one.zero_count + sign * other.zero_count,
        _added(one.positive, other.positive, sign),
        _added(one.negative, other.negative, sign),
    )


def _plus_custom(one: Native, other: Native, sign: float) -> Native:
    if any(side.positive or side.negative or side.zero_count for side in (one, other)):
        raise NotAlikeError(NOT_ALIKE)
    if _overlap({*one.custom, *other.custom}):
        raise NotAlikeError(NOT_ALIKE)
    custom = _added(one.custom, other.custom, sign)
    return Native(one.count + sign * other.count, one.sum + sign * other.sum, custom=custom)


def _added(one: Mapping[Key, float], other: Mapping[Key, float], sign: float) -> dict[Key, float]:
    result = dict(one)
    for key, count in other.items():
        result[key] = result.get(key, 0.0) + sign * count
    return {key: count for key, count in result.items() if count}


def coarser(*histograms: Native) -> int | None:
    """The coarsest resolution among them; None where none tells one."""
    return min((one.schema for one in histograms if one.schema is not None), default=None)


def at_schema(one: Native, schema: int | None) -> Native:
    """The same at a resolution that is not finer: neighbours become one bucket."""
    if schema is None or one.schema is None or one.schema <= schema:
        return one if schema is None or one.schema is not None else replace(one, schema=schema)
    steps = one.schema - schema
    return replace(
        one, schema=schema, positive=_joined_by(one.positive, steps), negative=_joined_by(one.negative, steps)
    )


def _joined_by(counts: Counts, steps: int) -> dict[int, float]:
    result: dict[int, float] = {}
    for index in sorted(counts):
        wider = ((index - 1) >> steps) + 1
        result[wider] = result.get(wider, 0.0) + counts[index]
    return result


def _of_one_zero(one: Native, other: Native) -> tuple[Native, Native]:
    """Both with the zero bucket that takes in either one's, and no bucket cut by it."""
    while one.zero_threshold != other.zero_threshold:
        if one.zero_threshold < other.zero_threshold:
            one = widened(one, other.zero_threshold)
        else:
            other = widened(other, one.zero_threshold)
    return one, other


def widened(one: Native, threshold: float) -> Native:
    """
    The same with a zero bucket as broad as `threshold`, or broader where that would cut through a populated bucket.
    """
    schema = one.schema
    if threshold == one.zero_threshold:
        return one
    if schema is None or not (one.positive or one.negative):
        return replace(one, zero_threshold=threshold)
    within = _cut(one, threshold, schema)
    broader = max([threshold, *(bound(index, schema) for index in within)])
    if broader > threshold * _ROUNDED:
        return widened(one, broader)
    swallowed = sum(counts.get(index, 0.0) for counts in (one.positive, one.negative) for index in within)
    return replace(
        one,
        zero_threshold=threshold,
        zero_count=one.zero_count + swallowed,
        positive={index: count for index, count in one.positive.items() if index not in within},
        negative={index: count for index, count in one.negative.items() if index not in within},
    )


def _cut(one: Native, threshold: float, schema: int) -> set[int]:
    """The populated buckets that begin below the threshold."""
    populated = {index for counts in (one.positive, one.negative) for index, count in counts.items() if count}
    return {index for index in populated if bound(index - 1, schema) * _ROUNDED < threshold}


def was_reset(before: Native, after: Native) -> bool:
    """Whether a counter was reset between the two: something that can only grow has become less."""
    if after.count < before.count:
        return True
    if bool(before.custom) != bool(after.custom) or before.custom:
        return _custom_reset(before, after)
    if before.schema is not None and after.schema is not None and after.schema > before.schema:
        return True
    if after.zero_threshold < before.zero_threshold and after.zero_count:
        return True
    # Without a count in it the breadth of the later zero bucket is not told: it is taken to be as it was.
    threshold = max(after.zero_threshold, before.zero_threshold)
    earlier = widened(before, threshold)
    if earlier.zero_threshold != threshold or after.zero_count < earlier.zero_count:
        return True
    earlier = at_schema(earlier, after.schema)
    return _fell(earlier.positive, after.positive) or _fell(earlier.negative, after.negative)


def _custom_reset(before: Native, after: Native) -> bool:
    if not before.custom and not (before.positive or before.negative or before.zero_count):
        return False  # it was empty
    alike = bool(before.custom) and bool(after.custom) and not _overlap({*before.custom, *after.custom})
    return not alike or _fell(before.custom, after.custom)


def _fell(before: Mapping[Key, float], after: Mapping[Key, float]) -> bool:
    return any(after.get(key, 0.0) < count for key, count in before.items())
