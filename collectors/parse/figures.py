"""Figures in text, and the arithmetic of counters that may be missing, reset or idle."""

import math
import re
from dataclasses import dataclass
from typing import Final

from engram_diagnose.engine.facts.fact import Reason


class UnparsedError(ValueError):
    """Text that is not what its source should say; the message names the place."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a figure is not known."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Inapplicable:
    """Why a figure has no meaning here."""

    detail: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """A figure that stands in for another quantity."""

    value: float
    of: str


@dataclass(frozen=True, slots=True)
class Between:
    """A figure known only to lie in an interval, ends included."""

    low: float
    high: float


Found = float | str | Missing | Inapplicable | Proxy | Between
"""
What a computation says of one fact: a figure in base units (a bool is 0 or 1), a text, or why
not.
"""


@dataclass(frozen=True, slots=True)
class Noted:
    """A finding with what is to be known about how good it is."""

    found: Found
    quality: str


Said = Found | Noted
"""A finding, with or without a note."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")


def integer(text: str) -> int:
    """`integer := ["-"] digit{1,20}`, as the kernel writes it; raises `UnparsedError`."""
    if not _INTEGER.fullmatch(text):
        raise UnparsedError(f"{_shown(text)} is not a whole number")
    return int(text)


def number(text: str) -> float:
    """`number := integer ["." digits]`; raises `UnparsedError`."""
    if not _NUMBER.fullmatch(text):
        raise UnparsedError(f"{_shown(text)} is not a number")
    return float(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def rate(before: float, after: float, seconds: float) -> float | Missing:
    """Growth per second of a counter; missing when it was reset or no time passed."""
    if seconds <= 0:
        return Missing(Reason.TOO_FEW_SAMPLES, "the two snapshots are of one instant")
    if after < before:
        return Missing(Reason.RESET, f"{before:g} before, {after:g} after")
    return (after - before) / seconds


_FELL: Final = Missing(Reason.RESET, "less after than before")


def share(part: float, whole: float, nothing: str) -> float | Missing:
    """`part / whole` clipped to 0..1; `nothing` says what did not happen when the whole is 0; counters do not fall."""
    if whole <= 0:
        return Missing(Reason.TOO_FEW_SAMPLES, nothing) if whole == 0 else _FELL
    return min(1.0, max(0.0, part / whole))


def quotient(part: float, whole: float, nothing: str) -> float | Missing:
    """`part / whole`; `nothing` says what did not happen when the whole is 0; counters do not fall."""
    if whole <= 0:
        return Missing(Reason.TOO_FEW_SAMPLES, nothing) if whole == 0 else _FELL
    return part / whole


def finite(value: float) -> bool:
    """Whether a figure may become a fact."""
    return math.isfinite(value)
