"""
What the advice should bring, from the impact of the causes it hangs on; or that nobody can tell yet.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engram_diagnose.engine.advice.decision import Decision
from engram_diagnose.engine.advice.proposal import Proposal
from engram_diagnose.engine.advice.record import Prediction
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.facts.fact import Fact, Interval
from engram_diagnose.engine.facts.scope import INSTANCE, Scope
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.expression import leaves, references
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX
from engram_diagnose.engine.ranking.cause import Cause
from engram_diagnose.engine.ranking.impact import unknown_for_relief


@dataclass(frozen=True, slots=True)
class Expected:
    """What mending one cause should bring: a prediction, or the reason why there is none."""

    cause: Cause
    rank: int
    prediction: Prediction | None
    reason: str = ""


def expectations(decisions: Iterable[Decision], diagnosis: Diagnosis) -> tuple[Expected, ...]:
    """For each cause that some advised decision hangs on, in the causes' order."""
    ranks = {one.rank for decision in decisions if decision.standing == "advised" for one in _behind(decision)}
    causes = [(rank, cause) for rank, cause in enumerate(diagnosis.causes, 1) if rank in ranks]
    return tuple(_expected(cause, rank, diagnosis) for rank, cause in causes)


def _behind(decision: Decision) -> Iterable[Proposal]:
    return decision.chosen, *decision.agreeing


def _expected(cause: Cause, rank: int, diagnosis: Diagnosis) -> Expected:
    """
    The figure of the cause's impact less its relief: `after = measured - relief`, or plus where more is better.

    Never beyond nought, and never worse than measured: that a change may do harm is for the abort criteria.
    """
    share = cause.impact
    if not share.known or share.measured is None or share.relief is None:
        return Expected(cause, rank, None, _why_not(cause, diagnosis))
    name = parse_reference(share.on).name
    target = next((one for one in diagnosis.catalogue.targets if one.name == name), None)
    better = target.better if target is not None else "lower"
    measured = _middle(share.measured)
    if measured is None:
        return Expected(cause, rank, None, f"{share.on} is not known closely enough")
    low, high = _after(measured, share.relief, higher=better == "higher")
    spec = diagnosis.catalogue.spec(name)
    scope = share.scope or INSTANCE
    labels = dict(parse_reference(share.on).labels)
    unit = spec.unit.symbol if spec else ""
    found = Prediction(name, scope.with_labels(labels), unit, better, measured, low, high, cause.rule.id)
    return Expected(cause, rank, found)


def _why_not(cause: Cause, diagnosis: Diagnosis) -> str:
    """Why there is no figure, and the facts that would give one."""
    seen = Seen(diagnosis.memory, cause.impact.scope or cause.scope)
    lacking = ", ".join(str(reference) for reference in unknown_for_relief(cause.rule, seen))
    return f"it needs {lacking}, which is unknown" if lacking else cause.impact.reason or "its impact is no figure"


def watched(expected: Expected, diagnosis: Diagnosis) -> tuple[Prediction, ...]:
    """
    The figures to judge the mending of a cause by: the predicted one; without one those of the symptoms it explains,
    which may stay as they are or reach their targets.
    """
    if expected.prediction is not None:
        return (expected.prediction,)
    found = [_open(fact.name, fact.scope, diagnosis, expected.cause) for fact in _missed(expected.cause, diagnosis)]
    return tuple(dict.fromkeys(one for one in found if one is not None))


def as_measured(diagnosis: Diagnosis) -> Iterator[Prediction]:
    """Each measured figure that has a target, as if nothing were to change: what a sizing must not make worse."""
    for target in diagnosis.catalogue.targets:
        for scope in sorted(diagnosis.memory.at(target.name)):
            value = diagnosis.memory.value(target.name, scope)
            measured = _middle(value) if isinstance(value, tuple) else None
            spec = diagnosis.catalogue.spec(target.name)
            if measured and scope.project(("operation", "space", "hops")) == scope:
                unit = spec.unit.symbol if spec else ""
                yield Prediction(target.name, scope, unit, target.better, measured, measured, measured, "")


def _missed(cause: Cause, diagnosis: Diagnosis) -> Iterator[Fact]:
    """The measured facts that have a target, in the gates of the explained symptoms."""
    targets = {target.name for target in diagnosis.catalogue.targets}
    for firing in cause.explained:
        seen = Seen(diagnosis.memory, firing.scope)
        gate = leaves(firing.rule.when) if firing.rule.when is not None else ()
        for reference in (one for leaf in gate for one in references(leaf.test)):
            fact = seen.fact(reference)
            if fact is not None and fact.name in targets:
                yield fact


def _open(name: str, scope: Scope, diagnosis: Diagnosis, cause: Cause) -> Prediction | None:
    value = diagnosis.memory.value(name, scope)
    target = diagnosis.memory.value(TARGET_PREFIX + name, scope)
    measured = _middle(value) if isinstance(value, tuple) else None
    if measured is None or not isinstance(target, tuple):
        return None
    better = next((one.better for one in diagnosis.catalogue.targets if one.name == name), "lower")
    if measured <= target[0] if better == "lower" else measured >= target[0]:
        return None  # it is read beside the figure that is missed
    spec = diagnosis.catalogue.spec(name)
    unit = spec.unit.symbol if spec else ""
    ends = sorted((measured, target[0]))
    return Prediction(name, scope, unit, better, measured, ends[0], ends[1], cause.rule.id)


def _after(measured: float, relief: Interval, *, higher: bool) -> Interval:
    least, most = max(0.0, relief[0]), max(0.0, relief[1])
    if higher:
        return measured + least, measured + most
    return max(0.0, measured - most), max(0.0, measured - least)


def _middle(interval: Interval) -> float | None:
    """The middle of what was measured; the finite end where there is but one."""
    low, high = interval
    if math.isinf(high):
        return low if math.isfinite(low) else None
    return (low + high) / 2 if math.isfinite(low) else high
