"""
Measured figures in the unit that suits them.
"""

import math
from collections.abc import Sequence


def figure(value: float, unit: str) -> str:
    """
    A figure in three digits and the unit that suits it: `62 GB/s`, `0.42 ns`, `1.4 M/s`, `26.9 KiB`, `9.5`.

    Units that are not of the catalogue stand behind the figure as they are.
    """
    if not value or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    if unit == "B":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    if unit == "s":
        return _scaled(value * 1e9, 1000, ("ns", "µs", "ms", "s"))
    if unit in ("/s", "B/s"):
        return _scaled(value, 1000, tuple(f"{prefix}{unit}" for prefix in ("", "k", "M", "G", "T")))
    return f"{_digits(value)} {unit}" if unit not in ("", "count", "ratio") else _digits(value)


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    number = 0
    while abs(value) >= step * 0.9995 and number + 1 < len(units):
        value, number = value / step, number + 1
    unit = units[number]
    return f"{_digits(value)}{'' if unit.startswith('/') else ' '}{unit}"


def _digits(value: float) -> str:
    if not 1e-3 <= abs(value) < 1e15:
        return f"{value:.3g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
