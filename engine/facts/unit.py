"""
Units: what a figure is measured in, and how it is printed.

A unit is a factor over a dimension, and a dimension is a pair of exponents (seconds, bytes). Shares, ratios and
counts are all dimensionless. Every fact is kept in base units: seconds, bytes, and their quotients.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final


@dataclass(frozen=True, slots=True)
class Dimension:
    """Exponents of the base dimensions."""

    seconds: int = 0
    bytes: int = 0

    def __mul__(self, other: "Dimension") -> "Dimension":
        return Dimension(self.seconds + other.seconds, self.bytes + other.bytes)

    def __truediv__(self, other: "Dimension") -> "Dimension":
        return Dimension(self.seconds - other.seconds, self.bytes - other.bytes)

    def __str__(self) -> str:
        return _DIMENSION_NAMES.get(self) or f"s^{self.seconds}·B^{self.bytes}"


NUMBER: Final = Dimension()
TIME: Final = Dimension(seconds=1)
BYTES: Final = Dimension(bytes=1)
RATE: Final = Dimension(seconds=-1)
BANDWIDTH: Final = Dimension(seconds=-1, bytes=1)

_DIMENSION_NAMES = {
    NUMBER: "a plain number",
    TIME: "a time",
    BYTES: "an amount of data",
    RATE: "a rate (per second)",
    BANDWIDTH: "a data rate (bytes per second)",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """`factor` converts a figure in this unit to base units."""

    symbol: str
    dimension: Dimension
    factor: float = 1.0

    def per_second(self) -> "Unit":
        """The unit of this one's rate of change."""
        return Unit(f"{self.symbol}/s", self.dimension / TIME, self.factor)


def _table() -> dict[str, Unit]:
    units = {"": Unit("", NUMBER), "%": Unit("%", NUMBER, 0.01)}
    for symbol in ("count", "ratio", "cores", "share"):
        units[symbol] = Unit(symbol, NUMBER)
    times = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
    times |= {"m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
    sizes = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    sizes |= {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}
    bits = {"Kbit": 125.0, "Mbit": 125e3, "Gbit": 125e6}
    units |= {symbol: Unit(symbol, TIME, factor) for symbol, factor in times.items()}
    units |= {symbol: Unit(symbol, BYTES, factor) for symbol, factor in sizes.items()}
    units |= {f"{s}/s": Unit(f"{s}/s", BANDWIDTH, f) for s, f in (sizes | bits).items()}
    units |= {"/s": Unit("/s", RATE), "/min": Unit("/min", RATE, 1 / 60)}
    units["/h"] = Unit("/h", RATE, 1 / 3600)
    units |= {"Hz": Unit("Hz", RATE), "MHz": Unit("MHz", RATE, 1e6), "GHz": Unit("GHz", RATE, 1e9)}
    return units


UNITS: Final = _table()

_QUANTITY = re.compile(r"\s*([-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*([%A-Za-zµ/]*)\s*")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure in base units with the unit it was written in."""

    value: float
    unit: Unit

    def __str__(self) -> str:
        return format_value(self.value, self.unit)


def parse_quantity(text: str) -> Quantity:
    """
    `quantity := number [unit]`, as in `5ms`, `1.5 GiB/s`, `70%`, `1e-05 s`, `12`.

    Raises `ValueError` that says what is wrong with the figure or the unit.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a figure with a unit, such as 5ms, 70% or 64 MiB")
    number, symbol = match.groups()
    unit = UNITS.get(symbol)
    if unit is None:
        raise ValueError(f"{symbol!r} is not a unit; known: {', '.join(u for u in UNITS if u)}")
    value = _scaled(number, unit)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large")
    return Quantity(value, unit)


def _scaled(number: str, unit: Unit) -> float:
    """In decimal, so that 70% is 0.7, 9.3ms is 0.0093 and 6/min is 0.1 to the last bit."""
    if unit.factor == 1.0:
        return float(number)
    divisor = round(1 / unit.factor)
    try:
        figure = Decimal(number.replace("_", ""))
        if divisor > 1 and unit.factor == 1 / divisor:
            return float(figure / divisor)
        return float(figure * Decimal(repr(unit.factor)))
    except ArithmeticError:
        raise ValueError(f"{number!r} is too large") from None


_SCALES: dict[Dimension, tuple[tuple[float, str], ...]] = {
    TIME: ((86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")),
    BYTES: ((2.0**40, " TiB"), (2.0**30, " GiB"), (2.0**20, " MiB"), (2.0**10, " KiB"), (1, " B")),
    BANDWIDTH: ((1e12, " TB/s"), (1e9, " GB/s"), (1e6, " MB/s"), (1e3, " kB/s"), (1, " B/s")),
}  # fmt: skip


def format_value(value: float, unit: Unit) -> str:
    """A base-unit figure as an operator would write it: `9.3 ms`, `64 MiB`, `71.2 %`, `1,200/s`."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit.symbol in ("%", "share"):
        return f"{_figures(value * 100)} %"
    if unit.symbol in ("/min", "/h"):
        return _figures(value / unit.factor) + unit.symbol
    if unit.symbol in ("Hz", "MHz", "GHz"):
        return f"{_figures(value / 1e9)} GHz"
    for scale, suffix in _SCALES.get(unit.dimension, ()):
        if abs(value) >= scale:
            return _figures(value / scale) + suffix
    if unit.dimension in _SCALES:
        return "0" + _SCALES[unit.dimension][-1][1] if value == 0 else f"{value:.3g}{unit.symbol and ' ' + unit.symbol}"
    suffix = {"cores": " cores"}.get(unit.symbol, "/s" if unit.dimension == RATE else "")
    return _figures(value) + suffix


def _figures(value: float) -> str:
    """Three significant figures; thousands grouped, and no exponent from 0.0001 on."""
    if value == 0 or math.isinf(value):  # a finite figure times 100 may leave the floats
        return "0" if value == 0 else "∞" if value > 0 else "-∞"
    if abs(value) < 1e-4:
        return f"{value:.3g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
