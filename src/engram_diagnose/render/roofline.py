"""
A roofline in characters, and what any drawing of it needs: what one core attains by operations per byte, log-log.

Under each slope lies what a level of memory can feed, under the flat roof what arithmetic can do; a point is a way to
compute similarities. What is far below its roof wastes the core, what is on a slope can only be helped by fewer bytes.
"""

import math
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.attaining.roofs import Roof, Roofline
from engram_diagnose.render.measured import figure

WIDTH: Final = 72
_HEIGHT: Final = 18
_AXIS: Final = 8
"""Columns left of the plot: `100 G |`."""
_LETTERS: Final = string.ascii_lowercase + string.ascii_uppercase
_SUBROWS: Final = "_─¯"
_SUBROWS_ASCII: Final = "_-'"
_AXES: Final = ("│", "└", "─", "┴", "┤")
_AXES_ASCII: Final = ("|", "+", "-", "+", "+")


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic axis between two figures."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a figure lies: 0 is the low end, 1 the high one."""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def value(self, at: float) -> float:
        """The figure that lies there."""
        return self.low * math.pow(self.high / self.low, at)

    def ticks(self, base: int) -> list[float]:
        """The powers of a base within."""
        first, last = math.ceil(math.log(self.low, base) - 1e-9), math.floor(math.log(self.high, base) + 1e-9)
        return [float(base) ** power for power in range(first, last + 1)]


def scales(roofline: Roofline) -> tuple[Scale, Scale]:
    """The axes that show every point and every ridge: operations per byte, and operations per second."""
    ridges = [roofline.peak / roof.bytes_per_second for roof in roofline.roofs]
    intensities = [point.intensity for point in roofline.points]
    across = Scale(2.0 ** math.floor(math.log2(min([*ridges, *intensities]) / 2)),
                   2.0 ** math.ceil(math.log2(max([*ridges, *intensities]) * 2)))  # fmt: skip
    starts = [roof.bytes_per_second * across.low for roof in roofline.roofs]
    lowest = min([*starts, *(point.flops for point in roofline.points), roofline.peak])
    highest = max([roofline.peak, *(point.flops for point in roofline.points)])
    return across, Scale(lowest / 2, highest * 2)


def ridge(roofline: Roofline, roof: Roof, across: Scale) -> Sequence[tuple[float, float]]:
    """The corners of a roof: where it enters the plot, its ridge, and the right end."""
    at = roofline.peak / roof.bytes_per_second
    corners = (across.low, at, across.high) if across.low < at < across.high else (across.low, across.high)
    return [(x, min(roofline.peak, x * roof.bytes_per_second)) for x in corners]


def name_of(number: int) -> str:
    """What a point is called; empty beyond what there are letters for."""
    return _LETTERS[number] if number < len(_LETTERS) else ""


# In characters


def plotted(roofline: Roofline, *, width: int = WIDTH, ascii_only: bool = False) -> list[str]:
    """The plot, in lines of so many columns at most, and of 72."""
    canvas = _Canvas(scales(roofline), min(WIDTH, width) - _AXIS, _HEIGHT, ascii_only=ascii_only)
    canvas.roofs(roofline)
    canvas.points(roofline)
    return list(canvas.lines())


def legend(roofline: Roofline) -> list[str]:
    """What stands where, one line for each point."""
    roofs = "; ".join(f"{roof.level} {figure(roof.bytes_per_second, 'B/s')}" for roof in roofline.roofs)
    points = [
        f"{name_of(number) or '-':<2} {point.name}: {figure(point.flops / 1e9, 'Gflop/s')} "
        f"at {figure(point.intensity, 'flop/byte')}"
        for number, point in enumerate(roofline.points)
    ]
    return [f"roofs: {roofs}; arithmetic {figure(roofline.peak / 1e9, 'Gflop/s')}", *points]


class _Canvas:
    """Cells, rows from the top."""

    def __init__(self, axes: tuple[Scale, Scale], width: int, height: int, *, ascii_only: bool) -> None:
        self._across, self._up = axes
        self._width, self._height = width, height
        self._subrows = _SUBROWS_ASCII if ascii_only else _SUBROWS
        self._axes = _AXES_ASCII if ascii_only else _AXES
        self._cells = [[" "] * width for _ in range(height)]
        self._taken: set[tuple[int, int]] = set()

    def roofs(self, roofline: Roofline) -> None:
        """The lines, the highest last: all of them end in its flat part."""
        for roof in sorted(roofline.roofs, key=lambda one: one.bytes_per_second):
            for column in range(self._width):
                self._line(column, min(roofline.peak, roof.bytes_per_second * self._intensity(column)))
        for roof in sorted(roofline.roofs, key=lambda one: one.bytes_per_second):
            self._label(roof, roofline.peak)
        row = self._row(roofline.peak)[0]
        said = f"arithmetic {figure(roofline.peak / 1e9, 'Gflop/s')}"
        self._write(max(0, row - 1), self._width - len(said), said)

    def points(self, roofline: Roofline) -> None:
        """A letter for each; those of one place stand beside each other."""
        for number, point in enumerate(roofline.points):
            letter = name_of(number)
            row = self._row(point.flops)[0]
            column = min(self._width - 1, max(0, round(self._across.at(point.intensity) * (self._width - 1))))
            while (row, column) in self._taken and column < self._width - 1:
                column += 1
            if letter and (row, column) not in self._taken:
                self._write(row, column, letter)

    def lines(self) -> Iterator[str]:
        """The plot with its axes."""
        side, corner, bottom, tick, mark = self._axes
        labels = {self._row(value)[0]: f"{value / 1e9:g}" for value in self._up.ticks(10)}
        yield "Gflop/s"
        for row, line in enumerate(self._cells):
            label = labels.get(row, "")
            yield f"{label:>{_AXIS - 2}} {mark if label else side}{''.join(line)}".rstrip()
        marks, under = [bottom] * self._width, [" "] * self._width
        for value in self._across.ticks(2):
            column = round(self._across.at(value) * (self._width - 1))
            text = f"{value:g}"
            start = min(self._width - len(text), max(0, column - len(text) // 2))
            if all(cell == " " for cell in under[max(0, start - 1) : start + len(text) + 1]):
                under[start : start + len(text)] = text
                marks[column] = tick
        yield f"{'':>{_AXIS - 2}} {corner}{''.join(marks)}"
        yield f"{'':>{_AXIS - 1}} {''.join(under)}".rstrip()
        yield f"{'flop/byte':>{self._width + _AXIS}}"

    def _intensity(self, column: int) -> float:
        return self._across.value(column / (self._width - 1))

    def _row(self, flops: float) -> tuple[int, int]:
        """The row of a figure, from the top, and how high within it, in parts of the characters there are."""
        parts = len(self._subrows)
        height = round(min(1.0, max(0.0, self._up.at(flops))) * (self._height * parts - 1))
        return self._height - 1 - height // parts, height % parts

    def _line(self, column: int, flops: float) -> None:
        row, part = self._row(flops)
        self._cells[row][column] = self._subrows[part]

    def _label(self, roof: Roof, peak: float) -> None:
        """The level's name on its line, as far left as there is room."""
        text = f" {roof.level} "
        if not text.isascii():  # it may be wider than it is long
            return
        for column in range(1, self._width - len(text)):
            flops = roof.bytes_per_second * self._intensity(column)
            row = self._row(flops)[0]
            if flops < peak and self._is_free(row, column, len(text)):
                self._write(row, column, text)
                return

    def _is_free(self, row: int, column: int, length: int) -> bool:
        return not any((row, at) in self._taken for at in range(column - 1, column + length + 1))

    def _write(self, row: int, column: int, text: str) -> None:
        for at, character in enumerate(text, column):
            self._cells[row][at] = character
            self._taken.add((row, at))
