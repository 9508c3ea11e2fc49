"""
Impact: the share of a target's breach that a cause explains.

    share = relief / (measured − target), clipped to 0..1

Unknown impact is the interval [0, 1], ranked at its middle and labelled.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from engram_diagnose.engine.facts import interval
from engram_diagnose.engine.facts.fact import Interval, Value
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.inference.frames import Seen, agree
from engram_diagnose.engine.language.evaluation import value_of
from engram_diagnose.engine.language.expression import Reference, references
from engram_diagnose.engine.language.rule import Rule


@dataclass(frozen=True, slots=True)
class Breach:
    """
    The share of a breach, and what it was computed from, in the unit of `on`.

    `low` and `high` are 0 and 1 when it is unknown; `reason` then says why. `times` is how many times over the target
    is missed, by the middle of what was measured: 1 is just met, less is kept; None where it is not known.
    """

    low: float
    high: float
    on: str = ""
    scope: Scope | None = None
    measured: Interval | None = None
    target: Interval | None = None
    relief: Interval | None = None
    reason: str = ""
    times: float | None = None

    @property
    def known(self) -> bool:
        """Whether it could be computed."""
        return not self.reason

    @property
    def middle(self) -> float:
        """What it ranks by."""
        return (self.low + self.high) / 2


def impact(rule: Rule, seen: Seen, better: Callable[[str], str]) -> Breach:
    """
    The impact of a cause that was concluded in the scope that `seen` shows.

    `better` tells whether a target's figure should be `lower` or `higher`.
    """
    if rule.impact is None:
        return Breach(0.0, 1.0, reason="the rule states no way to compute it")
    on = rule.impact.on
    higher = better(on.name) == "higher"
    place = _worst_scope(on, seen, higher=higher)
    measured, target = _figure(place.value(on)), _target(on, place)
    relief = _figure(value_of(rule.impact.relief, place))
    common = {
        "on": str(on),
        "scope": place.scope,
        "measured": measured,
        "target": target,
        "relief": relief,
        "times": _times(measured, target, higher=higher),
    }
    missing = _missing(on, measured, target, relief)
    if missing or measured is None or target is None or relief is None:
        return Breach(0.0, 1.0, reason=missing, **common)  # type: ignore[arg-type]
    breach = interval.subtract(target, measured) if higher else interval.subtract(measured, target)
    if breach is not None and breach[1] <= 0:
        return Breach(0.0, 0.0, **common)  # type: ignore[arg-type]
    share = None if breach is None else interval.divide(relief, breach)
    if share is None:
        return Breach(0.0, 1.0, reason=f"whether {on} misses its target is not sure", **common)  # type: ignore[arg-type]
    return Breach(_clip(share[0]), _clip(share[1]), **common)  # type: ignore[arg-type]


def _times(measured: Interval | None, target: Interval | None, *, higher: bool) -> float | None:
    if measured is None or target is None:
        return None
    figure, limit = (measured[0] + measured[1]) / 2, (target[0] + target[1]) / 2
    above, below = (limit, figure) if higher else (figure, limit)
    if above <= 0 or math.isinf(below):
        return None
    return above / below if below > 0 else math.inf


def _clip(share: float) -> float:
    return min(1.0, max(0.0, share))


def _missing(on: Reference, measured: Interval | None, target: Interval | None, relief: Interval | None) -> str:
    if measured is None:
        return f"{on} is unknown"
    if target is None:
        return f"{on} has no target in the chosen set"
    return "the relief cannot be computed: something it needs is unknown" if relief is None else ""


def _target(on: Reference, place: Seen) -> Interval | None:
    return _figure(place.value(Reference(f"target.{on.name}", on.labels)))


def _figure(value: Value | None) -> Interval | None:
    return None if isinstance(value, str) else value


def _worst_scope(on: Reference, seen: Seen, *, higher: bool) -> Seen:
    """Where the figure is not said of the rule's own scope: the narrower scope that misses its target most."""
    if seen.fact(on) is not None:
        return seen
    labels = dict(on.labels)
    candidates = []
    for scope, fact in sorted(seen.memory.at(on.name).items()):
        if not agree(seen.scope.with_labels(labels), scope) or fact.value is None or isinstance(fact.value, str):
            continue
        place = Seen(seen.memory, scope.with_labels(dict(seen.scope.labels)))
        target = _target(on, place)
        if target is not None and target[0] > 0:
            ratio = fact.value[0] / target[1]
            candidates.append((-ratio if higher else ratio, place))
    return max(candidates, key=lambda item: item[0])[1] if candidates else seen


def unknown_for_relief(rule: Rule, seen: Seen) -> tuple[Reference, ...]:
    """The unknown facts without which a cause's relief is no figure, in reading order, each once."""
    read = dict.fromkeys(references(rule.impact.relief)) if rule.impact is not None else ()
    return tuple(reference for reference in read if seen.value(reference) is None)
