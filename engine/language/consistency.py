"""
Checks that need the whole rule base: names between rules, circles, conditions that cannot come out both ways, and lints.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.language.conditions import gate_facts
from engram_diagnose.engine.language.evaluation import truth_of_test
from engram_diagnose.engine.language.expression import (
    All,
    Call,
    Comparison,
    Condition,
    Leaf,
    Named,
    Number,
    Reference,
    leaves,
    references,
    walk,
)
from engram_diagnose.engine.language.problem import Problems, did_you_mean
from engram_diagnose.engine.language.rule import Evidence, Rule, RuleBase
from engram_diagnose.engine.language.stages import conditions_of, stages
from engram_diagnose.engine.language.types import bounds_text
from engram_diagnose.engine.language.vocabulary import Vocabulary

SELDOM: Final = frozenset({"perf", "kernels"})
"""Origins that production seldom has: evidence rather than gates."""

COUNTERS_TAG: Final = "needs-counters"
"""The tag of a rule whose cause nothing but hardware counters can show."""


def check_rule_base(base: RuleBase, vocabulary: Vocabulary, problems: Problems) -> None:
    """Add what is wrong between and within the rules to `problems`."""
    _check_circles(base, problems)
    producers: dict[str, str] = {}
    for rule in base.rules.values():
        problems.rule = rule.id
        _check_names(rule, base.rules, problems)
        _check_outputs(rule, producers, problems)
        if rule.id in vocabulary.catalogue.facts:
            problems.error(
                rule.mark,
                f"{rule.id} is the name of a fact",
                hint="give the rule another id",
                length=len(rule.id),
            )
        for condition in conditions_of(rule):
            _check_decidable(rule, condition, vocabulary, problems)
        if rule.when is not None:
            _check_contradiction(rule, rule.when, problems)
        _lint(rule, vocabulary, problems)
    problems.rule = ""


def _check_circles(base: RuleBase, problems: Problems) -> None:
    _, circle = stages(base.rules)
    if circle:
        rule = base.rules[circle[0]]
        path = " -> ".join((*circle, circle[0]))
        problems.error(rule.mark, f"these rules read one another in a circle: {path}", length=len(rule.id),
                       hint="a fact must be complete before a rule reads it")  # fmt: skip


def _check_names(rule: Rule, rules: Mapping[str, Rule], problems: Problems) -> None:
    for key, names, kind in (
        ("explains", rule.explains, "symptom"),
        ("masks", rule.masks, "cause"),
    ):
        known = [other.id for other in rules.values() if other.kind == kind]
        for name in names:
            if name not in known:
                what = f"a {rules[name].kind}" if name in rules else "nothing"
                problems.error(rule.mark, f"{key} of {rule.id} names {name}, which is {what}", length=len(rule.id),
                               hint=did_you_mean(name, known) or f"it takes the id of a {kind}")  # fmt: skip


def _check_outputs(rule: Rule, producers: dict[str, str], problems: Problems) -> None:
    for name in rule.outputs.values():
        if name in producers:
            problems.error(rule.mark, f"{name} is given by {producers[name]} already", length=len(rule.id))
        producers.setdefault(name, rule.id)


class _Ranges:
    """Every fact anywhere in its range."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def value(self, reference: Reference) -> Value | None:
        spec = self._vocabulary.spec(reference.name)
        return None if spec is None or spec.kind == "text" else (spec.low, spec.high)

    def narrower(self, dimension: str, names: frozenset[str]) -> "Iterable[_Ranges]":
        return (self,)


def _check_decidable(rule: Rule, condition: Condition, vocabulary: Vocabulary, problems: Problems) -> None:
    ranges = _Ranges(vocabulary)
    for leaf in leaves(condition):
        if any(isinstance(part, Call) and part.function == "known" for part in walk(leaf.test)):
            continue
        truth = truth_of_test(leaf.test, ranges)
        if truth is not Truth.UNKNOWN:
            word = "always" if truth is Truth.TRUE else "never"
            problems.error(leaf.mark or rule.mark, f"{leaf.text!r} is {word} true", length=len(leaf.text),
                           hint=_range_hint(leaf, vocabulary))  # fmt: skip


def _range_hint(leaf: Leaf, vocabulary: Vocabulary) -> str:
    for reference in references(leaf.test):
        spec = vocabulary.spec(reference.name)
        if spec is not None:
            return f"{reference.name} goes from {bounds_text(spec)}"
    return ""


def _check_contradiction(rule: Rule, condition: Condition, problems: Problems) -> None:
    """Two bounds of one `all:` that leave nothing between them."""
    if not isinstance(condition, All):
        return
    lows: dict[Reference, tuple[float, Leaf]] = {}
    highs: dict[Reference, tuple[float, Leaf]] = {}
    for item in condition.items:
        bound = _bound(item)
        if bound is None or not isinstance(item, Leaf):
            continue
        reference, side, figure = bound
        (lows if side == "low" else highs)[reference] = (figure, item)
    for reference, (low, leaf) in lows.items():
        if reference in highs and highs[reference][0] <= low:
            other = highs[reference][1]
            problems.error(leaf.mark or rule.mark, f"{leaf.text!r} and {other.text!r} are never true together",
                           length=len(leaf.text))  # fmt: skip


def _bound(item: Condition) -> tuple[Reference, str, float] | None:
    if not isinstance(item, Leaf) or not isinstance(item.test, Comparison):
        return None
    left, right = item.test.left, item.test.right
    while isinstance(left, Named):
        left = left.body
    if not isinstance(left, Reference) or not isinstance(right, Number):
        return None
    sides = {">": "low", ">=": "low", "<": "high", "<=": "high"}
    side = sides.get(item.test.operator)
    return None if side is None else (left, side, right.value)


def _lint(rule: Rule, vocabulary: Vocabulary, problems: Problems) -> None:
    gate = gate_facts(rule.when)
    if rule.kind == "cause" and COUNTERS_TAG not in rule.tags:
        for name in sorted(gate):
            spec = vocabulary.spec(name)
            if spec is not None and spec.origin in SELDOM:
                problems.warning(rule.mark, f"the gate of {rule.id} needs {name}, which production seldom has", length=len(rule.id),
                                 hint=f"make it evidence, or tag the rule {COUNTERS_TAG}")  # fmt: skip
    tests = {leaf.test for leaf in leaves(rule.when)} if rule.when is not None else set()
    for piece in rule.evidence:
        if isinstance(piece, Evidence) and isinstance(piece.condition, Leaf) and piece.condition.test in tests:
            problems.warning(
                piece.mark,
                f"this evidence repeats the gate of {rule.id}",
                hint="it adds nothing: remove it",
            )
