"""
Times by bucket: powers of two, each cut into 128, so that a bucket is less than 0.8 % wide.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
_BITS: Final = 7
_SUBS: Final = 1 << _BITS
_BUCKETS: Final = (64 - _BITS) * _SUBS
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_NS: Final = 1e9
_ENTRY: Final = np.dtype([("bucket", np.uint16), ("count", np.uint32)])


def bucket_of(nanoseconds: int) -> int:
    """The bucket of a time; what is below 0 counts as 0."""
    if nanoseconds < _SUBS:
        return nanoseconds if nanoseconds > 0 else 0
    shift = nanoseconds.bit_length() - _BITS - 1
    return (shift << _BITS) + (nanoseconds >> shift)


def buckets_of(nanoseconds: IntArray) -> IntArray:
    """The bucket of each of many times, none of them below 0 or above 2**52."""
    lengths = np.frexp(nanoseconds.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(lengths - _BITS - 1, 0)
    found: IntArray = (shift << _BITS) + (nanoseconds >> shift)
    return found


def bounds_of(bucket: int) -> tuple[int, int]:
    """The smallest and the largest time of a bucket, in nanoseconds."""
    shift = (bucket >> _BITS) - 1
    if shift <= 0:
        return bucket, bucket
    low = ((bucket & (_SUBS - 1)) + _SUBS) << shift
    return low, low + (1 << shift) - 1


@dataclass(slots=True)
class Histogram:
    """Counts by bucket, with the exact sum and the largest, in nanoseconds."""

    counts: dict[int, int] = field(default_factory=dict)
    sum: int = 0
    max: int = 0

    def add(self, nanoseconds: int) -> None:
        """Record one time."""
        bucket = bucket_of(nanoseconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        if nanoseconds > 0:
            self.sum += nanoseconds
            if nanoseconds > self.max:
                self.max = nanoseconds

    def add_all(self, nanoseconds: IntArray) -> None:
        """Record many times at once."""
        if not len(nanoseconds):
            return
        times = np.maximum(nanoseconds, 0)
        counts = np.bincount(buckets_of(times))
        for bucket in np.flatnonzero(counts).tolist():
            self.counts[bucket] = self.counts.get(bucket, 0) + int(counts[bucket])
        self.sum += int(times.sum())
        self.max = max(self.max, int(times.max()))

    def packed(self) -> bytes:
        """The same in a tenth of the room."""
        used = np.fromiter(self.counts.items(), _ENTRY, len(self.counts))
        return np.array([self.sum, self.max], np.int64).tobytes() + used.tobytes()

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """What was packed; an empty one of nothing."""
        if not data:
            return cls()
        total, most = np.frombuffer(data, np.int64, 2).tolist()
        return cls(dict(np.frombuffer(data, _ENTRY, offset=16).tolist()), total, most)

    @property
    def total(self) -> int:
        """How many were recorded."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """The time at a rank, in seconds: the middle of its bucket; None without any."""
        total = self.total
        if not total:
            return None
        rank, seen = max(1.0, share * total), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                low, high = bounds_of(bucket)
                return min((low + high) / 2, float(max(self.max, low))) / _NS
        return self.max / _NS

    def document(self) -> dict[str, Any]:
        """As the benchmark format has it: a bucket for each that holds something, and one for each gap between them."""
        used = sorted(self.counts)
        bounds: list[float] = []
        counts: list[int] = []
        for bucket in used:
            low, high = bounds_of(bucket)
            if low > 0 and (not bounds or bounds[-1] < _edge(low - 1)):
                bounds.append(_edge(low - 1))
                counts.append(0)
            bounds.append(_edge(high))
            counts.append(self.counts[bucket])
        bounds, counts = bounds or [1e-3], counts or [0]
        return {
            "bounds": bounds, "counts": [*counts, 0], "sum": self.sum / _NS,
            "max": self.max / _NS if used else None,
            "quantiles": {name: self.quantile(share) for name, share in _SHARES.items()},
        }  # fmt: skip


def _edge(nanoseconds: int) -> float:
    """In seconds, between this whole nanosecond and the next."""
    return (nanoseconds + 0.5) / _NS


def merged(parts: Iterable[Histogram]) -> Histogram:
    """All of them as one."""
    whole = Histogram()
    for part in parts:
        for bucket, count in part.counts.items():
            whole.counts[bucket] = whole.counts.get(bucket, 0) + count
        whole.sum += part.sum
        whole.max = max(whole.max, part.max)
    return whole
