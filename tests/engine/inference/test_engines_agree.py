"""
Closures, durable-rules and a naive interpreter come to the same verdicts over random rule bases and facts.

Everything is drawn from seeded generators: a failure names the seed, and the same seed fails again.
"""

import itertools
import random
from collections.abc import Callable, Sequence

import pytest

from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Value, point, unknown_fact
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.inference.compiled import compile_rules, references_of
from engram_diagnose.engine.inference.firing import Decide, Inference, decide_with_closures
from engram_diagnose.engine.inference.frames import Seen, instances
from engram_diagnose.engine.inference.reference import decide_by_reference
from engram_diagnose.engine.inference.run import infer
from engram_diagnose.engine.language.evaluation import truth_of, value_of
from engram_diagnose.engine.language.expression import (
    Aggregated,
    All,
    AnyOf,
    Arithmetic,
    AtLeast,
    Between,
    Call,
    Comparison,
    Condition,
    Contains,
    Expression,
    Leaf,
    Member,
    Named,
    Negative,
    Not,
    Number,
    Reference,
    Text,
)
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Outcome, Row, Rule
from engram_diagnose.engine.language.stages import stages

pytestmark = pytest.mark.slow

RULE_BASES = 2_000
PORTIONS = 10
FACT_SETS = 2

PLACES = {"operation": ("store", "recall"), "space": ("a", "b"), "device": ("sda", "sdb")}
RULE_SCOPES = ((), (), ("operation",), ("operation", "space"), ("device",))
FIGURES = {"n.plain": (), "n.op": ("operation",), "n.space": ("operation", "space"), "n.disk": ("device",),
           "n.more": ("operation",)}  # fmt: skip
SWITCHES = {"b.plain": (), "b.op": ("operation",), "b.disk": ("device",)}
WORDS = {"t.plain": (), "t.space": ("space",)}
GRID = (-1.0, 0.0, 0.5, 1.0, 1.0, 2.0, 3.0, 8.0)
TEXTS = ("batch", "immediate", "batched")


class Author:
    """Writes random rules; each may read what the rules before it give."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.figures = dict(FIGURES)
        self.switches = dict(SWITCHES)
        self.scope: tuple[str, ...] = ()

    def rules(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in map(self._rule, range(self.random.randint(1, 10)))}

    def _rule(self, number: int) -> Rule:
        pick = self.random
        self.scope = pick.choice(RULE_SCOPES)
        rule = Rule(f"rule.{number}", 1, "cause", "", "test", Mark("random", 1, 1), scope=self.scope,
                    applies=self.condition(2) if pick.random() < 0.3 else None)  # fmt: skip
        kind = pick.choice(("cause", "cause", "cause", "derive", "table"))
        output = f"d.{number}"
        if kind == "cause":
            made = _with(rule, when=self.condition(3) if pick.random() < 0.95 else None)
        elif kind == "derive":
            made = _with(rule, kind="derive", outputs={"": output}, value=self.figure(2))
        else:
            rows = tuple(self._row(last=last) for last in (False, False, pick.random() < 0.7))
            made = _with(rule, kind="table", outputs={"x": output}, rows=rows)
        if made.outputs:
            self.figures[output] = self.scope
        self.switches[rule.id] = self.scope
        return made

    def _row(self, *, last: bool) -> Row:
        return Row(None if last else self.condition(1), {"x": self.figure(1)}, "")

    def condition(self, depth: int) -> Condition:
        pick = self.random
        if depth == 0 or pick.random() < 0.2:
            return Leaf(self.test())
        shape = pick.choice(("all", "any", "not", "at_least", "wide"))
        if shape == "not":
            return Not(self.condition(depth - 1))
        if shape == "wide":  # past the lengths at which clauses are nested
            items = tuple(Leaf(self.test()) for _ in range(pick.randint(7, 11)))
            return pick.choice((All(items), AnyOf(items), AtLeast(pick.randint(1, len(items)), items)))
        items = tuple(self.condition(depth - 1) for _ in range(pick.randint(1, 4)))
        if shape == "at_least":
            return AtLeast(pick.randint(1, len(items)), items)
        return All(items) if shape == "all" else AnyOf(items)

    def test(self) -> Expression:
        shapes = (self._comparison, self._comparison, self._comparison, self._between, self._member, self._words,
                  self._switch, self._switch, self._quantified, self._known)  # fmt: skip
        return self.random.choice(shapes)()

    def _comparison(self) -> Expression:
        operator = self.random.choice((">", ">=", "<", "<=", "==", "!="))
        if self.random.random() < 0.5:
            return Comparison(operator, self._reference(self.figures), self._number())
        return Comparison(operator, self.figure(2), self.figure(1))

    def _between(self) -> Expression:
        return Between(self.figure(1), self._number(), self.figure(0))

    def _member(self) -> Expression:
        if self.random.random() < 0.5:
            return Member(self.figure(1), tuple(self._number() for _ in range(3)))
        return Member(self._reference(WORDS), tuple(Text(self.random.choice(TEXTS)) for _ in range(2)))

    def _words(self) -> Expression:
        word, text = self._reference(WORDS), Text(self.random.choice((*TEXTS, "im")))
        operator = self.random.choice(("==", "!=", "contains"))
        return Contains(word, text) if operator == "contains" else Comparison(operator, word, text)

    def _switch(self) -> Expression:
        switch = self._reference(self.switches)
        if self.random.random() < 0.3:
            return Comparison(self.random.choice(("==", "!=")), switch, Number(1.0, UNITS[""], "bool"))
        return Named("let", switch) if self.random.random() < 0.2 else switch

    def _known(self) -> Expression:
        return Call("known", (self._reference({**self.figures, **self.switches}),))

    def _quantified(self) -> Expression:
        function = self.random.choice(("any", "all"))
        return Aggregated(function, self._dimension(), self.random.choice((self._comparison, self._switch))())

    def figure(self, depth: int) -> Expression:
        pick = self.random
        if depth == 0 or pick.random() < 0.3:
            return self._reference(self.figures) if pick.random() < 0.7 else self._number()
        below = depth - 1
        shape = pick.choice(("arithmetic", "arithmetic", "call", "negative", "named", "aggregate"))
        if shape == "arithmetic":
            return Arithmetic(pick.choice("+-*/"), self.figure(below), self.figure(below))  # type: ignore[arg-type]
        if shape == "negative":
            return Negative(self.figure(below))
        if shape == "named":
            return Named("let", self.figure(below))
        if shape == "aggregate":
            return Aggregated(pick.choice(("min", "max", "sum")), self._dimension(), self.figure(below))
        function, arity = pick.choice((("min", 2), ("max", 3), ("abs", 1), ("clamp", 3), ("log10", 1), ("ceil", 1),
                                       ("floor", 1), ("next_pow2", 1)))  # fmt: skip
        return Call(function, tuple(self.figure(below) for _ in range(arity)))

    def _dimension(self) -> str:
        return self.random.choice([name for name in PLACES if name not in self.scope])

    def _number(self) -> Number:
        return Number(self.random.choice(GRID), UNITS[""])

    def _reference(self, names: dict[str, tuple[str, ...]]) -> Reference:
        name = self.random.choice(list(names))
        labels = {label: self.random.choice(PLACES[label]) for label in names[name] if self.random.random() < 0.1}
        return Reference(name, scope_of(labels).labels)

    # Facts

    def facts(self) -> list[Fact]:
        found = []
        for names, value in ((FIGURES, self._figure_value), (SWITCHES, self._switch_value), (WORDS, self._word)):
            for name, labels in names.items():
                found += [self._fact(name, scope, value) for scope in self._scopes(labels)]
        self.random.shuffle(found)
        return found

    def _scopes(self, labels: tuple[str, ...]) -> list[Scope]:
        """Some of the scopes that a fact may stand in, from the instance to the narrowest."""
        choices = [[None, *PLACES[label]] for label in labels]
        every = [scope_of({name: value for name, value in zip(labels, values, strict=True) if value is not None})
                 for values in itertools.product(*choices)]  # fmt: skip
        return [scope for scope in every if self.random.random() < 0.6]

    def _fact(self, name: str, scope: Scope, value: Callable[[], Value]) -> Fact:
        if self.random.random() < 0.2:
            return unknown_fact(name, self.random.choice((Reason.NO_PMU, Reason.NAN)), scope=scope)
        return Fact(name, value(), self.random.choice((Status.MEASURED, Status.PROXY)), scope)

    def _figure_value(self) -> Value:
        if self.random.random() < 0.7:
            return point(self.random.choice(GRID))
        low, high = sorted(self.random.choice((*GRID, float("inf"))) for _ in range(2))
        return low, high

    def _switch_value(self) -> Value:
        return self.random.choice((point(0.0), point(1.0), (0.0, 1.0)))

    def _word(self) -> Value:
        return self.random.choice(TEXTS)


def _with(rule: Rule, **changes: object) -> Rule:
    return Rule(**({name: getattr(rule, name) for name in Rule.__dataclass_fields__} | changes))  # type: ignore[arg-type]


Shown = tuple[list[tuple[str, Scope, Outcome, int | None]], list[tuple[str, Scope, Value | None]]]


def shown(inference: Inference) -> Shown:
    """Every outcome in its order, and every fact of the working memory."""
    outcomes = [(firing.rule.id, firing.scope, firing.outcome, firing.row) for firing in inference.firings]
    return outcomes, [(fact.name, fact.scope, fact.value) for fact in inference.memory]


def interpreted(rules: dict[str, Rule], facts: Sequence[Fact]) -> Shown:
    """The whole of inference as one would do it by hand: no slots, no frames, no closures."""
    memory = Memory(facts)
    outcomes: list[tuple[str, Scope, Outcome, int | None]] = []
    references = {rule.id: references_of(rule) for rule in rules.values()}
    read = {reference.name for found in references.values() for reference in found}
    for stage in stages(rules)[0]:
        derived: list[Fact] = []
        for rule in (rules[rule_id] for rule_id in stage):
            for scope in instances(memory, rule.scope, references[rule.id]) if rule.scope else [INSTANCE]:
                outcome, row, value = by_hand(rule, Seen(memory, scope))
                outcomes.append((rule.id, scope, outcome, row))
                verdict = {"fires": point(1.0), "refuted": point(0.0)}.get(outcome)
                given = {rule.id: verdict} if rule.id in read else {}
                given |= dict.fromkeys(rule.outputs.values(), value)
                derived += [derived_fact(name, value, scope) for name, value in given.items()]
        for item in derived:
            memory.add(item)
    return outcomes, [(item.name, item.scope, item.value) for item in memory]


def by_hand(rule: Rule, seen: Seen) -> tuple[Outcome, int | None, Value | None]:
    gates: tuple[tuple[Condition | None, Outcome], ...] = ((rule.applies, "not-applicable"), (rule.when, "refuted"))
    for condition, otherwise in gates:
        truth = Truth.TRUE if condition is None else truth_of(condition, seen)
        if truth is not Truth.TRUE:
            return ("unknown" if truth is Truth.UNKNOWN else otherwise), None, None
    if rule.value is not None:
        value = value_of(rule.value, seen)
        return ("unknown" if value is None else "fires"), None, value
    for position, row in enumerate(rule.rows):
        truth = Truth.TRUE if row.condition is None else truth_of(row.condition, seen)
        if truth is Truth.TRUE:
            value = value_of(row.values["x"], seen)
            return ("unknown" if value is None else "fires"), position, value
        if truth is Truth.UNKNOWN:
            return "unknown", None, None
    return ("refuted" if rule.rows else "fires"), None, None


def derived_fact(name: str, value: Value | None, scope: Scope) -> Fact:
    if value is None:
        return unknown_fact(name, Reason.NOT_COLLECTED, scope=scope)
    return Fact(name, value, Status.DERIVED, scope)


def seeds(portion: int) -> range:
    return range(portion * RULE_BASES // PORTIONS, (portion + 1) * RULE_BASES // PORTIONS)


def test_the_portions_cover_two_thousand_rule_bases() -> None:
    assert len({seed for portion in range(PORTIONS) for seed in seeds(portion)}) >= 2_000


def test_the_random_rules_come_out_every_way() -> None:
    """Or agreement would say little: each outcome is at least a tenth of all, but for the seldom `applies: false`."""
    outcomes: dict[str, int] = {}
    for seed in range(200):
        author = Author(seed)
        for firing in infer(compile_rules(author.rules()), author.facts()).firings:
            outcomes[firing.outcome] = outcomes.get(firing.outcome, 0) + 1
    total = sum(outcomes.values())
    assert min(outcomes[name] for name in ("fires", "refuted", "unknown")) > total / 10
    assert outcomes["not-applicable"] > total / 50


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_closures_agree_with_the_naive_interpreter(portion: int) -> None:
    for seed in seeds(portion):
        author = Author(seed)
        rules = author.rules()
        compiled = compile_rules(rules)
        for facts in (author.facts() for _ in range(FACT_SETS)):
            closures = shown(infer(compiled, facts, decide=decide_with_closures))
            assert shown(infer(compiled, facts, decide=decide_by_reference)) == closures, seed
            assert interpreted(rules, facts) == closures, seed


@pytest.mark.durable
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_durable_rules_agree_with_closures(portion: int) -> None:
    from engram_diagnose.engine.inference.durable import DurableEvaluator

    for seed in seeds(portion):
        author = Author(seed)
        compiled = compile_rules(author.rules())
        durable: Decide = DurableEvaluator(compiled).decide
        for facts in (author.facts() for _ in range(FACT_SETS)):
            assert shown(infer(compiled, facts, decide=durable)) == shown(infer(compiled, facts)), seed
