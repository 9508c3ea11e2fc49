"""
The roofline of a record: what arithmetic and each level of memory allow one core, and how far similarities get.

`kernels/measure/roofline.py` makes the same of what was just measured; this does without the compiler that it needs, so
that a record can be shown where nothing is measured. A test holds the two together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = Mapping[str, Any]

_DIMENSIONS: Final = 768
_FLOPS: Final = 2 * _DIMENSIONS
"""Of a similarity: a multiplication and an addition for each dimension."""
_ROW: Final = 4 * _DIMENSIONS
"""Bytes of a vector."""
_ROWS: Final = 8
"""Vectors of a tile that are compared at once."""
_LANE_BITS: Final = 32
_WIDEST: Final = 16
"""Floats of a register of 512 bits: there are more registers of those, so that more queries fit."""
_MEMORY: Final = "memory"


@dataclass(frozen=True, slots=True)
class Roof:
    """What reading from a level of memory feeds one core."""

    level: str
    bytes_per_second: float


@dataclass(frozen=True, slots=True)
class Point:
    """A way to compute similarities: operations per byte from its level, and operations a second that it reaches."""

    layout: str
    level: str
    batch: int
    intensity: float
    flops: float

    @property
    def name(self) -> str:
        """`tiles, L2, 8 queries at once`."""
        return f"{self.layout}, {self.level}" + (f", {self.batch} queries at once" if self.batch > 1 else "")


@dataclass(frozen=True, slots=True)
class Roofline:
    """`peak` is operations a second without waiting for memory."""

    peak: float
    roofs: tuple[Roof, ...]
    points: tuple[Point, ...]


def roofline_of(record: Json) -> Roofline | None:
    """
    The roofline of one core, None where the peak or every bandwidth is missing.

    Of the batches of a layout in a level it has a single query, and the one that gets furthest.
    """
    peaks = _all(record, "peak.fma")
    roofs = [
        Roof(one["labels"]["level"], one["median"]) for one in _all(record, "stream.read") if "level" in one["labels"]
    ]
    if not peaks or not roofs:
        return None
    lanes = max(_figure(one["labels"].get("width", "").partition(" ")[0]) // _LANE_BITS for one in peaks)
    points = [_point(one, lanes) for one in _all(record, "similarity.rate")]
    return Roofline(
        max(one["median"] for one in peaks),
        tuple(sorted(roofs, key=lambda roof: (roof.level == _MEMORY, roof.level))),
        tuple(sorted(_telling(points), key=lambda one: (one.level == _MEMORY, one.level, one.layout, one.batch))),
    )


def intensity(layout: str, batch: int, level: str, lanes: int) -> float:
    """
    Operations per byte from a level, for so many queries at once in registers of so many floats.

    From L1 comes every operand; from those beyond it a vector once for all queries, which stay nearer.
    """
    if level != "L1":
        return _FLOPS * batch / _ROW
    if layout != "tiles":
        return _FLOPS / (2 * _ROW)
    queries = max(count for count in (1, 2, 4) if count <= min(batch, 4 if lanes == _WIDEST else 2))
    rows = _ROWS // 2 if lanes != _WIDEST and queries == 2 else _ROWS
    return _FLOPS / (_ROW / queries + _ROW / rows)


def _point(one: Json, lanes: int) -> Point:
    labels = one["labels"]
    layout, level = labels.get("layout", ""), labels.get("level", "")
    batch = max(1, _figure(labels.get("batch", "")))
    return Point(layout, level, batch, intensity(layout, batch, level, lanes), one["median"] * _FLOPS)


def _telling(points: Iterable[Point]) -> Iterable[Point]:
    of: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        of.setdefault((point.layout, point.level), []).append(point)
    for listed in of.values():
        single = [point for point in listed if point.batch == 1]
        yield from dict.fromkeys([*single[:1], max(listed, key=lambda point: point.flops)])


def _figure(text: str) -> int:
    """A small whole number that stands in a label; 0 for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0


def _all(record: Json, name: str) -> list[Json]:
    """The figures of one thread."""
    return [one for part in record["parts"] for one in part["measurements"]
            if one["name"] == name and one["median"] > 0 and one["threads"] == 1]  # fmt: skip
