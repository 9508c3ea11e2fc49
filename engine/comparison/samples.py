"""
What was measured of one figure on one side.

`runs` are independent of each other: benchmark runs, or bundles of different hours. `windows` follow each other in
time, so that neighbours are alike, and say less than as many runs would.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Form = Literal["runs", "windows"]


@dataclass(frozen=True, slots=True)
class Samples:
    """
    Figures in base units, in the order of time.

    `segments` are the lengths of the stretches without a gap that windows came from: one bundle, one stretch. Empty
    means one stretch. Raises `ValueError` for a figure that is not finite, or stretches that do not add up.
    """

    values: tuple[float, ...]
    form: Form = "windows"
    segments: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.values)):
            raise ValueError("a sample must be a finite figure")
        if self.segments and (sum(self.segments) != len(self.values) or min(self.segments) < 1):
            raise ValueError(f"stretches of {self.segments} do not make {len(self.values)} samples")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def median(self) -> float:
        """The middle figure; of an even number the mean of the two. Raises `ValueError` without any."""
        return median(self.values)

    @property
    def stretches(self) -> tuple[tuple[float, ...], ...]:
        """The figures, by stretches without a gap."""
        found, start = [], 0
        for length in self.segments or (len(self.values),):
            found.append(self.values[start : start + length])
            start += length
        return tuple(found)


def median(values: Sequence[float]) -> float:
    """The middle figure; raises `ValueError` without any."""
    if not values:
        raise ValueError("nothing has no median")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else halfway(ordered[middle - 1], ordered[middle])


def halfway(low: float, high: float) -> float:
    """The middle of two figures, also where their sum would leave the floats."""
    return low / 2 + high / 2 if abs(low) > 1e300 or abs(high) > 1e300 else (low + high) / 2
