"""
Advice: a diagnosis in, one consistent set of parameter changes out.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from engram_diagnose.engine.advice.budget import Budget, within_budget
from engram_diagnose.engine.advice.choice import Choice
from engram_diagnose.engine.advice.decision import (
    GROUPS,
    Decision,
    direction,
    group_of,
    representable,
    same,
    split,
)
from engram_diagnose.engine.advice.past import Measured, Past, objection
from engram_diagnose.engine.advice.policy import Policy
from engram_diagnose.engine.advice.prediction import Expected, expectations
from engram_diagnose.engine.advice.proposal import Proposal, of_causes, of_sizing
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.facts.catalogue import ConfigKey, Dialect
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.scope import INSTANCE
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.expression import Reference
from engram_diagnose.engine.language.vocabulary import Vocabulary
from engram_diagnose.engine.ranking.cause import Cause

_WORSE: Final = "going there would make worse what the cause explains; it is on the better side already"


@dataclass(frozen=True, slots=True)
class Refused:
    """A concluded cause whose advice is not taken up, and why."""

    cause: Cause
    rank: int
    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """
    Every decision, advised ones first and grouped by when they can be done; the budget they keep; what they should
    bring; and the causes that were concluded and still change nothing.
    """

    decisions: tuple[Decision, ...]
    budget: Budget
    expected: tuple[Expected, ...]
    refused: tuple[Refused, ...]
    sizing: bool

    def of(self, standing: str) -> tuple[Decision, ...]:
        """The decisions of one standing."""
        return tuple(decision for decision in self.decisions if decision.standing == standing)


def advise(
    diagnosis: Diagnosis, *, sizing: bool = False, past: Past | None = None, choice: Choice | None = None
) -> Advice:
    """
    Decide about every parameter that a cause, or with `sizing` a table, asks to change.

    A likely cause of a missed target beats a table, and a cause of higher rank one of lower. Where nothing is missed
    and no sizing was asked for, nothing is advised. The same arguments give the same advice.
    """
    policy = diagnosis.policy
    vocabulary = Vocabulary(diagnosis.catalogue, diagnosis.rules.rules)
    refused = tuple(_refused(diagnosis, policy))
    out = {item.rank for item in refused}
    proposals = [one for one in of_causes(diagnosis, vocabulary) if one.rank not in out]
    if sizing:
        proposals += of_sizing(diagnosis)
    measured = _measured(diagnosis, policy)
    decided = [one for group in _by_parameter(proposals) if (one := _decide(group, diagnosis)) is not None]
    chosen = choice or Choice()
    settled = [chosen.applied(_settled(one, past or Past(), measured, policy)) for one in decided if chosen.admits(one)]
    decisions, budget = within_budget(sorted(settled, key=_order), diagnosis, policy.budget)
    ordered = tuple(sorted(decisions, key=_order))
    return Advice(ordered, budget, expectations(ordered, diagnosis), refused, sizing)


def _refused(diagnosis: Diagnosis, policy: Policy) -> Iterable[Refused]:
    for rank, cause in enumerate(diagnosis.causes, 1):
        if not any(recommendation.settings for recommendation in cause.rule.recommend):
            continue
        if not cause.severity:
            yield Refused(cause, rank, "no target is missed that it would explain")
        elif cause.confidence.probability < policy.least_confidence:
            yield Refused(cause, rank, "it is too unlikely to change the server for; measure more first")
    for masked in diagnosis.masked:
        if any(recommendation.settings for recommendation in masked.cause.rule.recommend):
            yield Refused(masked.cause, 0, f"{', '.join(masked.by)} imitates it; test again once that is gone")


def _by_parameter(proposals: Iterable[Proposal]) -> list[list[Proposal]]:
    found: dict[str, list[Proposal]] = {}
    for proposal in proposals:
        found.setdefault(proposal.parameter, []).append(proposal)
    return [sorted(group, key=lambda one: one.rank) for group in found.values()]


def _decide(proposals: Sequence[Proposal], diagnosis: Diagnosis) -> Decision | None:
    """What the proposals for one parameter come to; None where all is as they ask, and nothing was left out."""
    seen = Seen(diagnosis.memory, INSTANCE)
    causes = [one for one in proposals if not one.sizing]
    voices = causes or list(proposals)
    chosen = _chosen(voices, seen.value(Reference(voices[0].parameter)))
    parameter = diagnosis.catalogue.parameters[chosen.parameter]
    key = _key(diagnosis, parameter.name)
    current = seen.value(Reference(parameter.name))
    wanted = representable(chosen.wanted, parameter, key)
    left_out = _left_out(causes, partial(representable, parameter=parameter, key=key), current)
    is_left_out = wanted is not None and same(wanted, current)
    if is_left_out and not left_out:
        return None
    if is_left_out:
        chosen, wanted = left_out[0], left_out[0].wanted
    asking = [one for one in voices if not same(one.wanted, current)]
    agreeing, conflicting = split([*asking, *left_out], chosen)
    decision = Decision(parameter, key, current, wanted, chosen, agreeing, conflicting,
                        group_of(parameter, chosen.when))  # fmt: skip
    if _ignored(decision, diagnosis):
        return replace(decision, standing="ignored", reason="this release does not read that setting")
    if wanted is None:
        return replace(decision, standing="unknown", reason="something that it is computed from is unknown")
    if is_left_out:
        return replace(decision, standing="held", reason=_WORSE)
    if _torn(decision):
        reason = "causes that cannot be told apart ask for opposite changes; measure what would part them first"
        return replace(decision, standing="held", reason=reason)
    return decision


def _left_out(
    causes: Sequence[Proposal], written: Callable[[Value | None], Value | None], current: Value | None
) -> list[Proposal]:
    """What causes would have asked for, had it not worked against what they explain; `written` as the key holds it."""
    asked = [replace(one, wanted=written(one.left_out)) for one in causes if one.left_out is not None]
    return [one for one in asked if one.wanted is not None and not same(one.wanted, current)]


def _chosen(voices: Sequence[Proposal], current: Value | None) -> Proposal:
    """
    The first that asks for a change; the first at all where none does.

    A cause that is content with the value as it is (`at least 64 MiB`) is not against a change of it, but no table
    goes past it.
    """
    return next((one for one in voices if not same(one.wanted, current)), voices[0])


def _torn(decision: Decision) -> bool:
    """Whether a cause that is tied with the one that decided pulls the other way."""
    tied = [one for one in decision.conflicting
            if one.left_out is None and one.tie is not None and one.tie == decision.chosen.tie]  # fmt: skip
    moves = direction(decision.current, decision.wanted)
    return any(direction(decision.current, one.wanted) * moves <= 0 and one.wanted is not None for one in tied)


def _key(diagnosis: Diagnosis, parameter: str) -> ConfigKey | None:
    dialect = _dialect(diagnosis)
    key = dialect.keys.get(parameter) if dialect is not None else None
    return key if key is not None and key.key else None


def _dialect(diagnosis: Diagnosis) -> Dialect | None:
    return diagnosis.catalogue.dialects.get(diagnosis.subject.dialect)


def _ignored(decision: Decision, diagnosis: Diagnosis) -> bool:
    dialect, parameter = _dialect(diagnosis), decision.parameter
    if dialect is None:
        return False
    if parameter.restart != "host":
        return decision.key is None or not decision.key.heeded
    served = dialect.keys.get(parameter.serves)
    return bool(parameter.serves) and (served is None or not served.heeded)


def _settled(decision: Decision, past: Past, measured: Measured, policy: Policy) -> Decision:
    """The decision, held where the past speaks against it."""
    if decision.standing != "advised":
        return decision
    reason = objection(decision, past, measured, policy.settled_for)
    return replace(decision, standing="held", reason=reason) if reason else decision


def _measured(diagnosis: Diagnosis, policy: Policy) -> Measured:
    """From the windows of the facts of now, and the server's age."""
    at = diagnosis.subject.time
    reach = max((fact.window for fact in diagnosis.memory if "@" not in fact.name), default=0.0)
    uptime = Seen(diagnosis.memory).value(Reference(policy.uptime)) if policy.uptime else None
    known = isinstance(uptime, tuple) and math.isfinite(uptime[0])
    started = at - uptime[0] + policy.startup if known and isinstance(uptime, tuple) else None
    return Measured(at - reach, at, started)


def _order(decision: Decision) -> tuple[object, ...]:
    return (decision.standing != "advised", GROUPS.index(decision.group), decision.chosen.rank, decision.name)
