"""
What a measurement says: its figures, how they scatter, and whether something else was running meanwhile.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Better = Literal["higher", "lower"]
Stability = Literal["stable", "noisy", "unstable"]
"""How far a figure can be trusted: as it is; for the order of magnitude; not at all."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    One figure of this host, from several repeats.

    `name` is its place (`stream.triad`), `unit` one of the catalogue's (B/s, s, /s, count, or "" for a share or a
    ratio), `values` that of each repeat in the order of time. `labels` say of what (`{"size": "64 KiB"}`). `steal` is
    the share of the CPU's time that the hypervisor took, `switches` how often another program took the CPU away.
    `notes` say what to know before using it.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    better: Better
    stability: Stability
    labels: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    switches: int = 0
    steal: float = 0.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise ValueError(f"{self.name}: a measurement has figures, all of them finite")

    @property
    def median(self) -> float:
        """The figure in the middle."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Between which half of the repeats lie."""
        return quantile(self.values, 0.25), quantile(self.values, 0.75)

    @property
    def attained(self) -> float:
        """What three repeats of four reach: the quartile on the worse side, which limits are taken from."""
        return self.quartiles[0] if self.better == "higher" else self.quartiles[1]

    @property
    def spread(self) -> float:
        """The distance of the quartiles as a share of the median; infinite around 0."""
        low, high = self.quartiles
        return (high - low) / abs(self.median) if self.median else math.inf if high > low else 0.0


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """What could not be measured here: why, and what to do so that it can."""

    name: str
    reason: str
    get_by: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


Outcome = Measurement | Unmeasured


def quantile(values: Sequence[float], share: float) -> float:
    """The figure that `share` of them do not exceed, interpolated between neighbours (Hyndman and Fan's seventh)."""
    ascending = sorted(values)
    position = share * (len(ascending) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (position - below) * (ascending[above] - ascending[below])
