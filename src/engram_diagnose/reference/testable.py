"""
Which causes can be tested at all, by what the server publishes and how far one is let in.

A cause counts as testable when some values of the facts to be had would make its gate true. The facts themselves
are not looked at: a fact to be had may still be unknown in one incident.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.gather import NODE_DIALECT
from engram_diagnose.collectors.parse.local import LOCAL_FACTS
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect, split_window
from engram_diagnose.engine.language.expression import (
    All,
    AnyOf,
    AtLeast,
    Call,
    Condition,
    Expression,
    Leaf,
    Named,
    Not,
    Reference,
    leaves,
    references,
)
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.stages import stages
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX

METRICS, NODE, HOST, COUNTERS = "metrics", "metrics + node exporter", "+ /proc", "+ counters"
ACCESSES: Final = (METRICS, NODE, HOST, COUNTERS)
"""How far one is let in, from least to most: each of the last two has all that stands before it."""

SAID: Final = frozenset(
    {
        "telemetry.dialect",
        "telemetry.dialect_mismatch",
        "telemetry.expected_metrics",
        "telemetry.absent_metrics",
        "telemetry.absent_names",
        "telemetry.ignored_keys",
        "telemetry.ignored_key_names",
        "workload.memory_constrained",
    }
)
"""What a bundle says of itself, whatever its sources are."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is to be had: `known` at the instant, `recorded` with windows and from before."""

    known: frozenset[str]
    recorded: frozenset[str]

    def has(self, name: str) -> bool:
        """Whether a name, windows included, can be known. Every target can, and a baseline of what is known."""
        base, window = split_window(name)
        if name.startswith(TARGET_PREFIX):
            return True
        return base in (self.known if window is None or window.kind == "baseline" else self.recorded)


@dataclass(frozen=True, slots=True)
class Cell:
    """One dialect with one access: the causes that can be tested, and what each of the others lacks."""

    dialect: str
    access: str
    testable: frozenset[str]
    lacking: Mapping[str, tuple[str, ...]]


def coverage_matrix(rules: Mapping[str, Rule], catalogue: Catalogue) -> tuple[Cell, ...]:
    """Every dialect of the server with every access."""
    dialects = [dialect for name, dialect in sorted(catalogue.dialects.items()) if name != NODE_DIALECT]
    return tuple(_cell(rules, catalogue, dialect, access) for dialect in dialects for access in ACCESSES)


def _cell(rules: Mapping[str, Rule], catalogue: Catalogue, dialect: Dialect, access: str) -> Cell:
    reach = _Reach(facts_to_be_had(catalogue, dialect, access))
    for stage in stages(rules)[0]:
        for name in stage:
            reach.add(rules[name])
    causes = [rule for rule in rules.values() if rule.kind == "cause"]
    testable = frozenset(rule.id for rule in causes if rule.id in reach.verdicts)
    lacking = {rule.id: reach.lacking(rule) for rule in causes if rule.id not in testable}
    return Cell(dialect.name, access, testable, lacking)


def facts_to_be_had(catalogue: Catalogue, dialect: Dialect, access: str) -> Facts:
    """The measured facts and settings that one access to a server of one dialect gives."""
    sources = list(dialect.sources.values())
    if access == NODE and NODE_DIALECT in catalogue.dialects:
        sources += catalogue.dialects[NODE_DIALECT].sources.values()
    known = SAID | {source.fact for source in sources} | frozenset(dialect.keys)
    if access in (HOST, COUNTERS):
        known |= frozenset(LOCAL_FACTS)
    if access == COUNTERS:
        known |= {name for name, spec in catalogue.facts.items() if spec.origin == "perf"}
    return Facts(known, frozenset(source.fact for source in sources if source.promql or source.counter))


class _Reach:
    """What rules can come to, given the facts to be had; rules are added in the order of their stages."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._derived: set[str] = set()
        self.verdicts: set[str] = set()

    def add(self, rule: Rule) -> None:
        if rule.applies is not None and not self.can_be(rule.applies, true=True):
            return
        if rule.when is not None:
            if self.can_be(rule.when, true=True):
                self.verdicts.add(rule.id)
        elif self._gives(rule):
            self._derived.update(rule.outputs.values())

    def _gives(self, rule: Rule) -> bool:
        if rule.value is not None:
            return self._all_there(rule.value)
        for row in rule.rows:
            values = all(self._all_there(value) for value in row.values.values())
            if values and (row.condition is None or self.can_be(row.condition, true=True)):
                return True
            if row.condition is not None and not self.can_be(row.condition, true=False):
                return False  # always unknown, so that no row behind it is ever reached
        return False

    def can_be(self, condition: Condition, *, true: bool) -> bool:
        """Whether some values of what is there decide a condition that way."""
        match condition:
            case Leaf(test):
                return self._decidable(test, true=true)
            case Not(item):
                return self.can_be(item, true=not true)
            case All(items):
                return (all if true else any)(self.can_be(item, true=true) for item in items)
            case AnyOf(items):
                return (any if true else all)(self.can_be(item, true=true) for item in items)
            case AtLeast(count, items):
                wanted = count if true else len(items) - count + 1
                return sum(self.can_be(item, true=true) for item in items) >= wanted

    def _decidable(self, test: Expression, *, true: bool) -> bool:
        while isinstance(test, Named):
            test = test.body
        if isinstance(test, Call) and test.function == "known":
            return not true or self._all_there(test)
        return self._all_there(test)

    def _all_there(self, expression: Expression) -> bool:
        return all(self._there(reference) for reference in references(expression))

    def _there(self, reference: Reference) -> bool:
        name = reference.name
        return self._facts.has(name) or split_window(name)[0] in self._derived or name in self.verdicts

    def lacking(self, rule: Rule) -> tuple[str, ...]:
        """The facts of a gate that are not there, in reading order, each once."""
        conditions = [condition for condition in (rule.applies, rule.when) if condition is not None]
        read = (
            reference for condition in conditions for leaf in leaves(condition) for reference in references(leaf.test)
        )
        return tuple(dict.fromkeys(reference.name for reference in read if not self._there(reference)))
