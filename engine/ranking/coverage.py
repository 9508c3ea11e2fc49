"""
Coverage: what could be tested, and what stood in the way where it could not.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engram_diagnose.engine.facts.fact import Reason, Unknown
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.inference.firing import Firing
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.inference.reads import facts_read, ranges_over, reads_of
from engram_diagnose.engine.language.evaluation import truth_of
from engram_diagnose.engine.language.expression import (
    Aggregated,
    All,
    AnyOf,
    AtLeast,
    Condition,
    Expression,
    Leaf,
    Not,
    Reference,
)


@dataclass(frozen=True, slots=True)
class Missing:
    """A fact that would have to be known, why it is not, and how to get it."""

    reference: Reference
    unknown: Unknown
    get_by: str = ""


@dataclass(frozen=True, slots=True)
class Untestable:
    """A rule that could not be decided in a scope, and the facts that would decide it."""

    firing: Firing
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many causes there are, how many could be decided, and why the others could not, commonest reason first."""

    causes: int
    testable: int
    reasons: tuple[tuple[Reason, int], ...]

    def __str__(self) -> str:
        undecided = self.causes - self.testable
        if not undecided:
            return f"all {self.causes} causes were testable"
        why = ", ".join(f"{_SHORT.get(reason, reason.value)} {count}" for reason, count in self.reasons)
        return f"{undecided} of {self.causes} causes not testable: {why}"


_SHORT = {
    Reason.NO_PMU: "no PMU",
    Reason.SOURCE_ABSENT: "source absent",
    Reason.SOURCE_UNREACHABLE: "source unreachable",
    Reason.NOT_IN_DIALECT: "not published",
    Reason.NOT_COLLECTED: "not collected",
    Reason.OTHER_HOST: "other host",
    Reason.PTRACE_DENIED: "permission denied",
    Reason.WINDOW_NOT_COLLECTED: "window not collected",
    Reason.TOO_FEW_SAMPLES: "too few samples",
    Reason.TOO_COARSE: "figure too coarse",
    Reason.NAN: "no traffic (NaN)",
}


def missing_facts(condition: Condition, seen: Seen) -> tuple[Reference, ...]:
    """The unknown facts that keep a condition from being decided, in reading order, each once."""
    return tuple(dict.fromkeys(_undecided(condition, seen)))


def _undecided(condition: Condition, seen: Seen) -> Iterable[Reference]:
    if truth_of(condition, seen) is not Truth.UNKNOWN:
        return
    match condition:
        case Leaf(test):
            yield from _unknown_in(test, seen)
        case Not(item):
            yield from _undecided(item, seen)
        case All(items) | AnyOf(items) | AtLeast(_, items):
            for item in items:
                yield from _undecided(item, seen)


def _unknown_in(node: Expression, seen: Seen) -> Iterable[Reference]:
    """The facts that are not known; an aggregate that ranges over no scope lacks all that it asks for."""
    for read in reads_of([node]):
        idle = isinstance(read, Aggregated) and not ranges_over(read, seen)
        for reference, fact in facts_read([read], seen):
            if idle or fact is None or fact.value is None:
                yield reference


def untestable(firing: Firing, seen: Seen, get_by: Callable[[str], str]) -> Untestable:
    """Why a rule could not be decided. A fact that is there but too coarse (a wide bucket) is not listed as missing."""
    conditions = [condition for condition in (firing.rule.applies, firing.rule.when) if condition is not None]
    references = dict.fromkeys(ref for condition in conditions for ref in missing_facts(condition, seen))
    return Untestable(firing, tuple(missing_of(reference, seen, get_by) for reference in references))


def missing_of(reference: Reference, seen: Seen, get_by: Callable[[str], str]) -> Missing:
    """Why a fact is not known, and how to get it; `get_by` is the catalogue's word where the fact has none."""
    fact = seen.fact(reference)
    unknown = fact.unknown if fact is not None and fact.unknown is not None else Unknown(Reason.NOT_COLLECTED)
    how = (fact.get_by if fact is not None else "") or get_by(reference.name)
    return Missing(reference, unknown, how)


def coverage(firings: Iterable[Firing], undecided: Iterable[Untestable]) -> Coverage:
    """Count causes: one is testable when it was decided in some scope."""
    causes = {firing.rule.id for firing in firings if firing.rule.kind == "cause"}
    decided = {firing.rule.id for firing in firings if firing.rule.kind == "cause" and firing.outcome != "unknown"}
    reasons: Counter[Reason] = Counter()
    counted: set[str] = set()
    for item in undecided:
        rule = item.firing.rule
        if rule.kind == "cause" and rule.id not in decided and rule.id not in counted:
            counted.add(rule.id)
            reasons[item.missing[0].unknown.reason if item.missing else Reason.TOO_COARSE] += 1
    ordered = sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0].name))
    return Coverage(len(causes), len(decided), tuple(ordered))
