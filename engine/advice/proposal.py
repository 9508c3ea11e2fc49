"""
Who asks for which value: concluded causes first, and the sizing tables where sizing was asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.explanation.remedy import applicable, wanted_value
from engram_diagnose.engine.explanation.wording import Wording
from engram_diagnose.engine.facts.catalogue import ParameterSpec
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.scope import INSTANCE, Scope
from engram_diagnose.engine.inference.firing import Firing
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.directions import works_against
from engram_diagnose.engine.language.expression import Reference, Text
from engram_diagnose.engine.language.rule import Setting, Verification
from engram_diagnose.engine.language.vocabulary import Vocabulary
from engram_diagnose.engine.ranking.cause import Cause

SIZING: Final = 10**6
"""The rank of a table: behind every cause."""
_NO_TEST: Final = Text("")


@dataclass(frozen=True, slots=True)
class Proposal:
    """
    One value that a cause or a table asks for, in base units; None, with its `text`, where it cannot be computed.

    Where that value would make worse what the cause explains, it is `left_out`, and the value as it is stands for it.
    `rank` is the cause's, from 1, and `tie` the number it shares with causes that cannot be told from it; a table
    has rank `SIZING` and no confidence. `when` is when the rule wants it: now, next restart or planned.
    """

    parameter: str
    wanted: Value | None
    text: str
    rule: str
    title: str
    scope: Scope
    rank: int
    tie: int | None = None
    confidence: float | None = None
    when: str = "now"
    tradeoff: str = ""
    because: str = ""
    verify: Verification | None = None
    left_out: Value | None = None

    @property
    def sizing(self) -> bool:
        """Whether a table asks, and no cause."""
        return self.rank == SIZING


def of_causes(diagnosis: Diagnosis, vocabulary: Vocabulary) -> Iterator[Proposal]:
    """What the ranked causes ask for, in their order. Masked, experimental and suppressed ones ask for nothing."""
    for rank, cause in enumerate(diagnosis.causes, 1):
        yield from _of_cause(cause, rank, diagnosis, vocabulary)


def _of_cause(cause: Cause, rank: int, diagnosis: Diagnosis, vocabulary: Vocabulary) -> Iterator[Proposal]:
    seen = Seen(diagnosis.memory, cause.scope)
    wording = Wording(seen, vocabulary, cause.rule)
    for recommendation in applicable(cause.rule, seen):
        because = wording.filled(recommendation.because, _NO_TEST) if recommendation.settings else ""
        for setting in recommendation.settings:
            wanted, left_out = _wanted(setting, cause, seen, diagnosis)
            yield Proposal(
                setting.parameter,
                wanted,
                setting.text,
                cause.rule.id,
                cause.rule.title,
                cause.scope,
                rank,
                cause.tie,
                cause.confidence.probability,
                recommendation.when,
                recommendation.tradeoff,
                because,
                recommendation.verify,
                left_out,
            )


def _wanted(setting: Setting, cause: Cause, seen: Seen, diagnosis: Diagnosis) -> tuple[Value | None, Value | None]:
    """What a setting comes to; where that works against what the cause explains, the value as it is, and the other."""
    catalogue, parameter = diagnosis.catalogue, diagnosis.catalogue.parameters[setting.parameter]
    current, wanted = seen.value(Reference(setting.parameter)), wanted_value(setting, seen, parameter)
    against = works_against(cause.rule, parameter, current, wanted, diagnosis.rules.rules, catalogue)
    return (current, wanted) if against else (wanted, None)


def of_sizing(diagnosis: Diagnosis) -> Iterator[Proposal]:
    """What the tables say fits, for every parameter that has a formula."""
    seen = Seen(diagnosis.memory, INSTANCE)
    by_output = {output: firing for firing in diagnosis.firings for output in firing.rule.outputs.values()}
    for parameter in diagnosis.catalogue.parameters.values():
        firing = by_output.get(parameter.formula)
        if parameter.formula and not (firing is not None and firing.outcome == "not-applicable"):
            yield _of_table(parameter, seen, by_output)


def _of_table(parameter: ParameterSpec, seen: Seen, by_output: Mapping[str, Firing]) -> Proposal:
    firing = by_output.get(parameter.formula)
    wanted, current = seen.value(Reference(parameter.formula)), seen.value(Reference(parameter.name))
    return Proposal(
        parameter.name,
        _not_below(wanted, current) if parameter.never_lower else wanted,
        parameter.formula,
        firing.rule.id if firing else parameter.formula,
        firing.rule.title if firing else parameter.title,
        INSTANCE,
        SIZING,
        tradeoff=parameter.tradeoff,
        because=_row(firing),
    )


def _row(firing: Firing | None) -> str:
    """Why the table says so."""
    return firing.rule.rows[firing.row].why if firing is not None and firing.row is not None else ""


def _not_below(wanted: Value | None, current: Value | None) -> Value | None:
    if wanted is None or isinstance(wanted, str) or current is None or isinstance(current, str):
        return wanted
    return max(wanted[0], current[0]), max(wanted[1], current[1])
