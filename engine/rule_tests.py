"""
Runs the tests that rules carry, and one generated test for each fact a gate reads.
"""

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.engine.diagnosis import Expert, raw_source, target_facts
from engram_diagnose.engine.facts.catalogue import Catalogue, split_window
from engram_diagnose.engine.facts.fact import Fact, Value
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.engine.inference.compiled import compile_rules
from engram_diagnose.engine.inference.firing import Firing
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.inference.run import infer
from engram_diagnose.engine.language.evaluation import truth_of, value_of
from engram_diagnose.engine.language.expression import (
    All,
    Condition,
    Leaf,
    Reference,
    leaves,
    references,
)
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Case, Given, Outcome, Rule
from engram_diagnose.engine.language.stages import needs
from engram_diagnose.engine.ranking.confidence import confidence
from engram_diagnose.engine.ranking.coverage import missing_facts
from engram_diagnose.engine.ranking.impact import impact

_OPERATORS: Final = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
_STEADY: Final = frozenset({"avg", "min", "max"})
"""The windows that have the figure's own value when it does not change."""


@dataclass(frozen=True, slots=True)
class Result:
    """One test of one rule; `failure` is empty when it passed."""

    rule: str
    mark: Mark
    name: str
    failure: str = ""


def run_tests(expert: Expert, rules: Iterable[Rule] | None = None) -> list[Result]:
    """Run the written and the generated tests of the rules (all of them by default)."""
    catalogue = expert.loaded.catalogue
    results = []
    for rule in expert.loaded.rules.rules.values() if rules is None else rules:
        results += _Runner(rule, expert, catalogue).run()
    return results


class _Runner:
    def __init__(self, rule: Rule, expert: Expert, catalogue: Catalogue) -> None:
        self._rule = rule
        self._expert = expert
        self._catalogue = catalogue
        alone = replace(rule, explains=(), masks=())
        self._compiled = compile_rules({rule.id: alone})
        self._targets = target_facts(catalogue, "target")

    def run(self) -> list[Result]:
        written = [self._result(case, self._name(case), self._check(case)) for case in self._rule.cases]
        return written + [
            self._result(Case(self._rule.mark, "unknown"), name, failure) for name, failure in self._generated()
        ]

    def _result(self, case: Case, name: str, failure: str) -> Result:
        return Result(self._rule.id, case.mark, name, failure)

    def _name(self, case: Case) -> str:
        changes = [f"{given.reference} = {self._shown(given.reference.name, given.value)}" for given in case.change]
        changes += [f"without {reference}" for reference in case.drop]
        return f"{case.expect}: {', '.join(changes) or 'as given'}"

    def _shown(self, name: str, value: Value) -> str:
        spec = self._catalogue.spec(name)
        return value if isinstance(value, str) else format_value(value[0], spec.unit if spec else UNITS[""])

    # Running

    def _facts(self, case: Case) -> list[Fact]:
        given = {item.reference: item.value for item in (*self._rule.given, *case.change)}
        known = {reference: value for reference, value in given.items() if reference not in case.drop}
        facts = [_fact(reference, value) for reference, value in (*self._steady(known, case.drop), *known.items())]
        own = {(fact.name, fact.scope) for fact in facts}
        dropped = {(reference.name, scope_of(dict(reference.labels))) for reference in case.drop}
        return facts + [target for target in self._targets if target.key not in own and target.key not in dropped]

    def _steady(self, known: Mapping[Reference, Value], dropped: Iterable[Reference]) -> list[tuple[Reference, Value]]:
        """What is given without a window was the same all along: the `@avg`, `@min` and `@max` that the rule reads."""
        found = []
        for name in sorted({reference.name for reference in self._compiled.by_id[self._rule.id].read}):
            base, window = split_window(name)
            if window is not None and window.kind in _STEADY:
                windowed = [
                    (Reference(name, given.labels), value) for given, value in known.items() if given.name == base
                ]
                found += [(reference, value) for reference, value in windowed if reference not in {*known, *dropped}]
        return found

    def _firing(self, case: Case) -> tuple[Firing, Seen]:
        inference = infer(self._compiled, self._facts(case))
        order: dict[Outcome, int] = {"fires": 0, "unknown": 1, "refuted": 2, "not-applicable": 3}
        firing = min(inference.firings, key=lambda item: (order[item.outcome], item.scope))
        return firing, Seen(inference.memory, firing.scope)

    def _check(self, case: Case) -> str:
        firing, seen = self._firing(case)
        if firing.outcome != case.expect:
            return f"expected {case.expect}, came out {firing.outcome}{self._because(firing, seen)}"
        return next((failure for failure in self._particulars(case, firing, seen) if failure), "")

    def _because(self, firing: Firing, seen: Seen) -> str:
        conditions = [condition for condition in (firing.rule.applies, firing.rule.when) if condition is not None]
        if firing.outcome == "unknown":
            missing = [str(reference) for condition in conditions for reference in missing_facts(condition, seen)]
            return f"; unknown: {', '.join(missing)}" if missing else ""
        tests = [
            f"{leaf.text} is {truth_of(leaf, seen).name.lower()}"
            for condition in conditions
            for leaf in leaves(condition)
        ]
        return f"; {'; '.join(tests)}" if tests else ""

    def _particulars(self, case: Case, firing: Firing, seen: Seen) -> Iterable[str]:
        if case.confidence is not None:
            yield self._check_confidence(case.confidence, seen)
        if case.impact is not None:
            share = impact(self._rule, seen, self._expert.better)
            yield (_bound("impact", case.impact, share.middle) if share.known else f"impact is unknown: {share.reason}")
        if case.missing is not None:
            yield self._check_missing(case.missing, seen)
        for given in case.derived:
            yield self._compare(given, seen.memory.value(given.reference.name, firing.scope))
        for name, value in case.advice:
            yield self._check_advice(name, value, seen)

    def _check_confidence(self, wanted: tuple[str, float], seen: Seen) -> str:
        if self._rule.kind != "cause":
            return "only a cause has a confidence"
        found = confidence(
            self._rule,
            seen,
            self._expert.loaded.scales,
            lambda name: raw_source(self._catalogue, name),
        )
        return _bound("confidence", wanted, found.probability)

    def _check_missing(self, wanted: tuple[str, ...], seen: Seen) -> str:
        conditions = [condition for condition in (self._rule.applies, self._rule.when) if condition is not None]
        conditions += [row.condition for row in self._rule.rows if row.condition is not None]
        found = {str(reference) for condition in conditions for reference in missing_facts(condition, seen)}
        return "" if found == set(wanted) else f"missing are {sorted(found)}, not {sorted(wanted)}"

    def _compare(self, given: Given, found: Value | None) -> str:
        if found is not None and _same(found, given.value):
            return ""
        name = given.reference.name
        shown = "unknown" if found is None else self._shown(name, found)
        return f"{given.reference} came to {shown}, not {self._shown(name, given.value)}"

    def _check_advice(self, name: str, value: Value, seen: Seen) -> str:
        proposals = [
            value_of(setting.value, seen)
            for recommendation in self._rule.recommend
            if recommendation.condition is None or truth_of(recommendation.condition, seen) is Truth.TRUE
            for setting in recommendation.settings
            if setting.parameter == name
        ]
        if any(found is not None and _same(found, value) for found in proposals):
            return ""
        shown = ", ".join("unknown" if found is None else self._shown(name, found) for found in proposals) or "nothing"
        return f"advises {shown} for {name}, not {self._shown(name, value)}"

    # Generated tests

    def _generated(self) -> Iterable[tuple[str, str]]:
        """
        Drop each fact the gate reads from a case that fires: the gate must not come out refuted, and where the fact
        stands in
        every way to satisfy it, it must be unknown.
        """
        firing_case = next((case for case in self._rule.cases if case.expect == "fires"), None)
        if firing_case is None or self._rule.when is None:
            return
        for name in sorted(_names(self._rule.applies) | _names(self._rule.when)):
            given = [item.reference for item in (*self._rule.given, *firing_case.change)]
            drop = tuple(Reference(name, item.labels) for item in given if item.name in (name, split_window(name)[0]))
            drop += tuple(Reference(fact.name, fact.scope.labels) for fact in self._targets if fact.name == name)
            firing, _ = self._firing(replace(firing_case, drop=(*firing_case.drop, *drop)))
            needed = name in _needed(self._rule.applies) | _needed(self._rule.when)
            wrong = firing.outcome in ("refuted", "not-applicable") or (needed and firing.outcome != "unknown")
            yield (
                f"unknown: without {name} (generated)",
                f"without {name} it came out {firing.outcome}" if wrong else "",
            )


def _names(condition: Condition | None) -> frozenset[str]:
    if condition is None:
        return frozenset()
    return frozenset(reference.name for leaf in leaves(condition) for reference in references(leaf.test))


def _needed(condition: Condition | None) -> frozenset[str]:
    """The facts without which a condition cannot be true: those that every branch of it reads."""
    match condition:
        case Leaf():
            return _names(condition)
        case All(items):
            return frozenset().union(*(_needed(item) for item in items))
    return frozenset()


def _fact(reference: Reference, value: Value) -> Fact:
    return Fact(reference.name, value, scope=scope_of(dict(reference.labels)))


def _same(found: Value, wanted: Value) -> bool:
    if isinstance(found, str) or isinstance(wanted, str):
        return found == wanted
    return all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) for a, b in zip(found, wanted, strict=True))


def _bound(what: str, wanted: tuple[str, float], found: float) -> str:
    if _OPERATORS[wanted[0]](round(found, 9), wanted[1]):
        return ""
    return f"{what} is {found:.1%}, not {wanted[0]} {wanted[1]:.0%}"


def missing_metadata(rules: Mapping[str, Rule]) -> list[tuple[Rule, str]]:
    """
    What a shipped rule lacks: reason, source, owner, false positives and tests that fire, refute and stay
    unknown. A rule that reads no fact, such as a table of constants, needs nothing given and is never unknown.
    """
    found = []
    for rule in rules.values():
        outcomes = {case.expect for case in rule.cases}
        wanted: dict[str, object] = {
            "owner": rule.owner,
            "reason": rule.reason,
            "refs": rule.refs,
            "given": rule.given or not needs(rule),
            "a test that fires": "fires" in outcomes,
        }
        if rule.kind in ("symptom", "cause"):
            wanted |= {
                "falsepositives": rule.falsepositives,
                "a test that refutes": "refuted" in outcomes,
            }
        else:
            wanted |= {"a test that comes out unknown": "unknown" in outcomes or not needs(rule)}
        if rule.kind == "cause":
            wanted |= {
                "recommend": rule.recommend,
                "explains": rule.explains or "telemetry" in rule.tags,
            }
        found += [(rule, what) for what, there in wanted.items() if not there]
    return found
