"""
The data of a roofline: what the core can compute, what each level can deliver, and where the similarities lie.

A point lies under the roof of its level where operations per byte times bytes a second, or the peak, limit it. Its
intensity counts the bytes that have to come from that level, not those which the caches in between give again.
Williams, Waterman, Patterson: Roofline (2009).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engram_diagnose.kernels.loops.similarity import DIMENSIONS, LANES, ROW_BYTES, loaded_bytes
from engram_diagnose.kernels.measure import peak as peaks
from engram_diagnose.kernels.measure import similarity as similarities
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Stability
from engram_diagnose.kernels.measure.plateaus import MEMORY

OPERATIONS: Final = 2 * DIMENSIONS
"""Floating point operations of a similarity: a multiplication and an addition for each dimension."""

_READ: Final = "stream.read"
_TRIAD: Final = "stream.triad"
_FIRST: Final = "L1"


@dataclass(frozen=True, slots=True)
class Roof:
    """What a level delivers at most: bytes a second, on one thread, and by which measurement."""

    level: str
    bandwidth: float
    by: str
    stability: Stability

    def ridge(self, peak: float) -> float:
        """The operations per byte from which on the peak limits, and not the level."""
        return peak / self.bandwidth


@dataclass(frozen=True, slots=True)
class Point:
    """A similarity: operations per byte from its level, and operations a second."""

    layout: str
    batch: int
    level: str
    intensity: float
    attained: float
    stability: Stability


@dataclass(frozen=True, slots=True)
class Roofline:
    """One core: operations a second at most, roofs from the core outwards, points by level, layout and batch."""

    peak: float
    width: str
    roofs: tuple[Roof, ...]
    points: tuple[Point, ...]

    def roof_of(self, point: Point) -> float | None:
        """Operations a second that the point could attain, reading; None where its level was not measured."""
        limits = [roof.bandwidth * point.intensity for roof in self.roofs if roof.level == point.level]
        return min(self.peak, max(limits)) if limits else None


def roofline(outcomes: Iterable[Outcome]) -> Roofline | None:
    """The roofline of what was measured on one thread; None where the peak was not."""
    found = [one for one in outcomes if isinstance(one, Measurement) and _of_one_thread(one)]
    top = peaks.best(found)
    if top is None:
        return None
    width = top.labels["width"]
    lanes = max(LANES, *(peaks.lanes_of(one) for one in found if one.name == peaks.NAME))
    points = [_point(one, lanes) for one in found if one.name == similarities.NAME]
    return Roofline(top.median, width, _roofs(found), tuple(sorted(points, key=_place)))


def intensity(layout: str, batch: int, level: str, lanes: int) -> float:
    """
    Operations per byte from a level, for so many queries at once in registers of so many floats.

    From the first level comes every operand; from those beyond it a vector once for all queries, which stay nearer.
    """
    taken = loaded_bytes(layout, batch, lanes) if level == _FIRST else ROW_BYTES / batch
    return OPERATIONS / taken


def _of_one_thread(one: Measurement) -> bool:
    # With a single CPU, what all threads reach is what one does, and is there twice.
    return one.threads == 1 and one.labels.get("threads", "one") == "one"


def _roofs(found: Iterable[Measurement]) -> tuple[Roof, ...]:
    """Reading, by level; for memory also the triad, whose stores count as they do in STREAM."""
    roofs = []
    for one in found:
        level = one.labels.get("level", MEMORY)
        if one.name == _READ or (one.name == _TRIAD and level == MEMORY):
            roofs.append(Roof(level, one.median, one.name, one.stability))
    return tuple(sorted(roofs, key=lambda roof: (_outwards(roof.level), roof.by)))


def _point(one: Measurement, lanes: int) -> Point:
    layout, batch, level = one.labels["layout"], int(one.labels["batch"]), one.labels["level"]
    return Point(layout, batch, level, intensity(layout, batch, level, lanes), one.median * OPERATIONS, one.stability)


def _place(point: Point) -> tuple[tuple[bool, str], str, int]:
    return _outwards(point.level), point.layout, point.batch


def _outwards(level: str) -> tuple[bool, str]:
    return level == MEMORY, level
