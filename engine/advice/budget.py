"""
The joint memory budget: tiers and buffers together, whoever asked for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.engine.advice.decision import Decision, direction
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.facts.catalogue import ParameterSpec
from engram_diagnose.engine.facts.fact import Value, point
from engram_diagnose.engine.facts.unit import format_value
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.expression import Reference

_NO_ROOM: Final = "there is no room for it: all tiers and buffers together would pass their share of the memory"


@dataclass(frozen=True, slots=True)
class Share:
    """What one parameter takes, in bytes; `source` tells how that is known: advised, configured or sized."""

    parameter: ParameterSpec
    size: float
    source: str


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` in bytes, None where the host's memory is not known; then nothing was bounded by it."""

    limit: float | None
    shares: tuple[Share, ...]
    unknown: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """What all of them take together, in bytes."""
        return sum(share.size for share in self.shares)


def within_budget(
    decisions: Sequence[Decision], diagnosis: Diagnosis, limit_fact: str
) -> tuple[tuple[Decision, ...], Budget]:
    """
    The decisions, with increases cut down until all fits: tables' before causes', and the largest first.

    An increase that is cut to nothing is held. Where the configured sizes alone are past the limit every increase is.
    """
    limit = _figure(Seen(diagnosis.memory).value(Reference(limit_fact))) if limit_fact else None
    kept = {decision.name: decision for decision in decisions}
    if limit is not None:
        excess = _budget(kept, diagnosis, limit).total - limit
        for decision in _expendable(decisions):
            if excess <= 0:
                break
            cut, saved = _cut(decision, excess)
            kept[decision.name], excess = cut, excess - saved
    return tuple(kept[decision.name] for decision in decisions), _budget(kept, diagnosis, limit)


def _expendable(decisions: Sequence[Decision]) -> list[Decision]:
    """The increases that take memory: tables' before causes', those of the last cause first, large before small."""
    found = [one for one in decisions if one.standing == "advised" and one.parameter.budget and not one.own
             and _raises(one)]  # fmt: skip
    return sorted(found, key=lambda one: (-one.chosen.rank, -(_figure(one.wanted) or 0.0), one.name))


def _raises(decision: Decision) -> bool:
    return decision.current is None or direction(decision.current, decision.wanted) > 0


def _cut(decision: Decision, excess: float) -> tuple[Decision, float]:
    """The decision with up to `excess` bytes less, and how many that saved; held where nothing is left of it."""
    wanted, current = _figure(decision.wanted), _figure(decision.current)
    if wanted is None:
        return decision, 0.0
    floor = current if current is not None else decision.parameter.low
    step = decision.key.unit.factor if decision.key is not None and decision.key.unit.symbol else 1.0
    size = (wanted - excess) // step * step
    if size <= floor:
        return replace(decision, standing="held", reason=_NO_ROOM), wanted - floor
    asked = format_value(wanted, decision.parameter.unit)
    note = f"{asked} was asked for; cut so that all tiers and buffers stay within their share of the memory"
    return replace(decision, wanted=point(size), notes=(*decision.notes, note)), wanted - size


def _budget(decisions: dict[str, Decision], diagnosis: Diagnosis, limit: float | None) -> Budget:
    shares, unknown = [], []
    for parameter in diagnosis.catalogue.parameters.values():
        if not parameter.budget:
            continue
        share = _share(parameter, decisions.get(parameter.name), diagnosis)
        if share is None:
            unknown.append(parameter.name)
        else:
            shares.append(share)
    return Budget(limit, tuple(shares), tuple(unknown))


def _share(parameter: ParameterSpec, decision: Decision | None, diagnosis: Diagnosis) -> Share | None:
    """What the parameter takes; None where it is not set, and nothing says what would fit, or there is no room."""
    seen = Seen(diagnosis.memory)
    if decision is not None and decision.standing == "held" and decision.current is None:
        return None
    advised = decision.wanted if decision is not None and decision.standing == "advised" else None
    fits = seen.value(Reference(parameter.formula)) if parameter.formula else None
    sources = (("advised", advised), ("configured", seen.value(Reference(parameter.name))), ("sized", fits))
    return next(
        (Share(parameter, size, source) for source, value in sources if (size := _figure(value)) is not None), None
    )


def _figure(value: Value | None) -> float | None:
    """Its bytes; a file may hold a negative figure, which takes nothing."""
    return None if value is None or isinstance(value, str) else max(0.0, value[1])
