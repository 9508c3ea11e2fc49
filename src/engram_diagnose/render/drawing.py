"""
Drawings of what a host attained, as shapes in the coordinates of an SVG; a template puts them out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from engram_diagnose.attaining.roofs import Roofline
from engram_diagnose.engine.facts.unit import BYTES, parse_quantity
from engram_diagnose.render.measured import figure
from engram_diagnose.render.roofline import Scale, name_of, ridge, scales

Json = Mapping[str, Any]
Points = Sequence[tuple[float, float]]

_WIDTH: Final = 560
_HEIGHT: Final = 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 26, 34
_NEAR: Final = 12
"""Letters of points nearer than this stand beside each other."""
_TEXT: Final = 5
"""How far below its middle a text's baseline lies."""
_BELOW: Final = 20
"""How far below a line its name stands: roofs and steps rise, so that there is room."""
_SIDE: Final = 90
"""A name nearer to the side than this begins or ends there."""


class Tick(NamedTuple):
    """A line across the plot, and its figure."""

    x1: float
    y1: float
    x2: float
    y2: float
    x: float
    y: float
    anchor: str
    text: str


class Line(NamedTuple):
    """A path, of a kind that the style sheet knows."""

    kind: str
    path: str


class Mark(NamedTuple):
    """A dot."""

    x: float
    y: float


class Label(NamedTuple):
    """A text, at its beginning, middle or end."""

    kind: str
    anchor: str
    x: float
    y: float
    text: str


class Drawn(NamedTuple):
    """A drawing with its words: `told` says for the ear what the eye sees."""

    name: str
    title: str
    told: str
    caption: str
    ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    labels: tuple[Label, ...]
    width: int = _WIDTH
    height: int = _HEIGHT


class _Axes(NamedTuple):
    across: Scale
    up: Scale

    def x(self, value: float) -> float:
        return round(_LEFT + self.across.at(value) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - self.up.at(value) * (_HEIGHT - _TOP - _BOTTOM), 1)

    def path(self, points: Points) -> str:
        return "M" + " L".join(f"{self.x(x)} {self.y(y)}" for x, y in points)

    def ticks(self, across: Mapping[float, str], up: Mapping[float, str]) -> tuple[Tick, ...]:
        low, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        columns = [
            Tick(self.x(at), _TOP, self.x(at), low, self.x(at), low + 22, "middle", text) for at, text in across.items()
        ]
        rows = [Tick(_LEFT, self.y(at), right, self.y(at), _LEFT - 6, self.y(at) + _TEXT, "end", text)
                for at, text in up.items()]  # fmt: skip
        return (*columns, *rows)


# The roofline


def drawn_roofline(roofline: Roofline) -> Drawn:
    """The roofs as lines, each way to compute as a dot with the letter that the table beneath explains."""
    axes = _Axes(*scales(roofline))
    peak = figure(roofline.peak / 1e9, "Gflop/s")
    roofs = sorted(roofline.roofs, key=lambda one: one.bytes_per_second)
    marks = [Mark(axes.x(point.intensity), axes.y(point.flops)) for point in roofline.points]
    starts = [(axes.y(min(roofline.peak, roof.bytes_per_second * axes.across.low)), roof.level) for roof in roofs]
    names = [Label("name", "", _LEFT + 8, y + _BELOW, text) for y, text in _apart(starts)]
    ceiling = Label("name", "end", _WIDTH - _RIGHT - 6, axes.y(roofline.peak) - 8, f"arithmetic {peak}")
    feeds = "; ".join(f"{roof.level} {figure(roof.bytes_per_second, 'B/s')}" for roof in roofline.roofs)
    return Drawn(
        "roofline", "Roofline of one core",
        f"Roofs: {feeds}; arithmetic {peak}. {len(roofline.points)} ways to compute similarities are in the table.",
        "Gflop/s (up) by operations per byte (across), both logarithmic. A slope is what a level of memory can feed, "
        "the flat roof what arithmetic can do. What lies on a slope is helped by fewer bytes alone; what lies far "
        "below its roof wastes the core.",
        axes.ticks({at: f"{at:g}" for at in axes.across.ticks(4)}, {at: f"{at / 1e9:g}" for at in axes.up.ticks(10)}),
        tuple(Line("roof", axes.path(ridge(roofline, roof, axes.across))) for roof in roofs),
        tuple(marks),
        (*names, ceiling, *_letters(marks)),
    )  # fmt: skip


def _apart(labels: Iterable[tuple[float, str]]) -> Iterable[tuple[float, str]]:
    """Labels from the lowest up, each a line above the one below it."""
    above = math.inf
    for y, text in labels:
        above = min(y, above - 17)
        yield above, text


def _letters(marks: Sequence[Mark]) -> Iterable[Label]:
    taken: list[tuple[float, float]] = []
    for number, mark in enumerate(marks):
        x = mark.x + 7
        while any(abs(x - other) < _NEAR and abs(mark.y - height) < _NEAR for other, height in taken):
            x += _NEAR
        taken.append((x, mark.y))
        yield Label("letter", "", x, mark.y + _TEXT, name_of(number))


# The ladder


def drawn_ladder(record: Json) -> Drawn | None:
    """Latency by size as steps, on huge and on small pages; None where too few sizes were measured."""
    curves = {pages: _curve(record, pages) for pages in ("huge", "small")}
    curves = {pages: curve for pages, curve in curves.items() if len(curve) > 2}
    if not curves:
        return None
    sizes, seconds = zip(*(point for curve in curves.values() for point in curve), strict=True)
    axes = _Axes(Scale(min(sizes) / 1.2, max(sizes) * 1.2), Scale(min(seconds) / 2, max(seconds) * 1.5))
    plateaus = _plateaus(record)
    steps = [(axes.x(middle), axes.y(one), f"{level} {figure(one, 's')}") for level, middle, one in plateaus
            if min(sizes) <= middle <= max(sizes)]  # fmt: skip
    told = "; ".join(text for _, _, text in steps) or "none was told"
    small = "; dashed: on 4 KiB pages" if "small" in curves else ""
    return Drawn(
        "ladder", "Latency of a load by the size of what is loaded from",
        f"Plateaus: {told}. Every size is in the table of the part latency.",
        f"Time of one load (up) by the size of what is loaded from (across), both logarithmic{small}.",
        axes.ticks({at: figure(at, "B") for at in axes.across.ticks(16)},
                   {at: figure(at, "s") for at in _decades(axes.up)}),
        tuple(Line(pages, axes.path(list(_steps(curve)))) for pages, curve in curves.items()),
        (),
        tuple(_beneath(*one) for one in steps),
    )  # fmt: skip


def _beneath(x: float, y: float, text: str) -> Label:
    """A name under its step, within the plot."""
    if x < _LEFT + _SIDE:
        return Label("name", "", _LEFT + 8, y + _BELOW, text)
    if x > _WIDTH - _RIGHT - _SIDE:
        return Label("name", "end", _WIDTH - _RIGHT - 8, y + _BELOW, text)
    return Label("name", "middle", x, y + _BELOW, text)


def _decades(scale: Scale) -> list[float]:
    """1, 10, 100 ns; exact, so that they print so."""
    return [round(at * 1e9, 3) / 1e9 for at in scale.ticks(10)]


def _curve(record: Json, pages: str) -> list[tuple[float, float]]:
    found = {}
    for one in _all(record, "latency.load"):
        size = _bytes(one["labels"].get("size", ""))
        if one["labels"].get("pages") == pages and size and one["median"] > 0:
            found[size] = float(one["median"])
    return sorted(found.items())


def _steps(curve: Points) -> Iterable[tuple[float, float]]:
    """Each size's latency, up to halfway to the next."""
    yield curve[0]
    for (size, seconds), (larger, more) in pairwise(curve):
        middle = math.sqrt(size * larger)
        yield middle, seconds
        yield middle, more
    yield curve[-1]


def _plateaus(record: Json) -> list[tuple[str, float, float]]:
    """Level, the middle of its sizes, and its latency."""
    found = []
    for one in _all(record, "latency.plateau"):
        low, high = (_bytes(one["labels"].get(end, "")) for end in ("from", "to"))
        if low and high and one["median"] > 0:
            found.append((one["labels"].get("level", ""), math.sqrt(low * high), float(one["median"])))
    return found


def _bytes(text: str) -> float:
    """`26.9 KiB` in bytes; 0 for anything else."""
    try:
        found = parse_quantity(text)
    except ValueError:
        return 0.0
    return found.value if found.unit.dimension == BYTES and found.value >= 1 else 0.0


def _all(record: Json, name: str) -> Iterable[Json]:
    return [one for part in record["parts"] for one in part["measurements"] if one["name"] == name]
