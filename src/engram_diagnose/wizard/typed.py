"""
A value that the operator types for a setting: in the unit of its key or with one, within the setting's bounds.
"""

import math
from typing import Final, NamedTuple

from engram_diagnose.engine.advice.decision import Decision, representable
from engram_diagnose.engine.explanation.instruction import literal
from engram_diagnose.engine.explanation.wording import value_text
from engram_diagnose.engine.facts.fact import Value, point
from engram_diagnose.engine.facts.unit import NUMBER, UNITS, Unit, parse_quantity
from engram_diagnose.wizard.answers import UnusableAnswerError, one_of, shown

_ROUNDED: Final = 0.01
"""By how much a typed value may be rounded to what its key can hold; beyond that it is another value."""
_TRUTHS: Final = {"true": 1.0, "on": 1.0, "yes": 1.0, "false": 0.0, "off": 0.0}


class Bounds(NamedTuple):
    """Least and most, in base units, and why where that is not the parameter's own."""

    low: float
    high: float
    because: str = ""


def bounds_of(decision: Decision, room: float | None) -> Bounds:
    """
    What may be typed: the parameter's bounds, and `room`, the bytes that the joint budget leaves it; None for no limit.

    What is configured now is the least where sizing only ever raises, and never too much for the budget.
    """
    parameter, current = decision.parameter, decision.current
    low, high, because = parameter.low, parameter.high, ""
    now = current[0] if current is not None and not isinstance(current, str) else None
    if parameter.never_lower and now is not None and now > low:
        low, because = now, "sizing never lowers it"
    if parameter.budget and room is not None and max(room, now or 0.0) < high:
        high, because = max(room, now or 0.0), "all tiers and buffers share the memory"
    return Bounds(low, max(low, high), because)


def typed_value(text: str, decision: Decision, bounds: Bounds) -> Value:
    """The value in base units, as the key can hold it; raises `UnusableAnswerError`."""
    parameter = decision.parameter
    if parameter.kind == "text":
        return one_of(text, parameter.values) if parameter.values else text.strip()
    if parameter.kind == "bool":
        truth = _TRUTHS.get(text.strip().lower())
        if truth is None:
            raise UnusableAnswerError(f"{shown(text)} is neither true nor false")
        return point(truth)
    figure = _figure(text, decision)
    value = representable(point(figure), parameter, decision.key)
    if isinstance(value, tuple) and not math.isclose(value[0], figure, rel_tol=_ROUNDED):
        unit = decision.key.unit.symbol if decision.key is not None else parameter.unit.symbol
        raise UnusableAnswerError(f"{shown(text)} cannot be written: the key holds whole {unit or 'numbers'}")
    if value is None or isinstance(value, str) or not bounds.low <= value[0] <= bounds.high:
        raise UnusableAnswerError(f"{shown(text)} is out of bounds: {bounds_text(decision, bounds)}")
    return value


def _figure(text: str, decision: Decision) -> float:
    """In base units; a bare number is in the unit of the key."""
    parameter, unit = decision.parameter, key_unit(decision)
    try:
        found = parse_quantity(text)
    except ValueError:
        found = None
    if found is not None and found.unit.symbol == "" and unit.dimension != NUMBER:
        return found.value * unit.factor
    if found is None or found.unit.dimension != parameter.unit.dimension:
        raise UnusableAnswerError(f"{shown(text)} is no value for it; write one such as {example(decision)}")
    if parameter.unit.symbol == "count" and found.value != round(found.value):
        raise UnusableAnswerError(f"{shown(text)} is no whole number")
    return found.value


def key_unit(decision: Decision) -> Unit:
    """The unit that the key's figures are in."""
    return decision.key.unit if decision.key is not None else UNITS[""]


def example(decision: Decision) -> str:
    """The advised value as the file would have it, with the key's unit where it has one that shows."""
    value = literal(decision.wanted, key_unit(decision), decision.parameter.kind) if decision.wanted else None
    unit = key_unit(decision)
    named = unit.symbol if unit.dimension != NUMBER else ""
    return f"{value} ({value} {named})" if value and named else value or "a value"


def bounds_text(decision: Decision, bounds: Bounds) -> str:
    """`16 MiB to 8 GiB`, `zstd, lz4, none`, `true or false`; empty where anything goes."""
    parameter = decision.parameter
    if parameter.kind == "bool":
        return "true or false"
    if parameter.kind == "text":
        return ", ".join(parameter.values)
    low, high = (value_text(point(end), parameter.unit, "number") for end in (bounds.low, bounds.high))
    if bounds.low == float("-inf"):
        text = "" if bounds.high == float("inf") else f"at most {high}"
    else:
        text = f"at least {low}" if bounds.high == float("inf") else f"{low} to {high}"
    return f"{text} ({bounds.because})" if bounds.because else text


def typed_text(value: Value, decision: Decision) -> str:
    """A value as its key holds it, and in words where those differ: `2048 (2 GiB)`, `"batch"`, `true`."""
    parameter = decision.parameter
    held = literal(value, key_unit(decision), parameter.kind) or ""
    words = value_text(value, parameter.unit, parameter.kind)
    same_figure = parameter.kind != "number" or key_unit(decision).dimension == NUMBER
    return held if same_figure or held == words else f"{held} ({words})"
