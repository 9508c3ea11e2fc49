"""The laws that inference keeps, whatever the rules and the facts."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.engine.diagnosis import Diagnosis, Expert, Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, Interval, Reason, Value, point, unknown_fact
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.inference.compiled import compile_rules
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.inference.leaf import Frame, Slots
from engram_diagnose.engine.inference.run import infer
from engram_diagnose.engine.inference.tree import compile_condition
from engram_diagnose.engine.language.evaluation import truth_of
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
    Expression,
    Leaf,
    Member,
    Negative,
    Not,
    Number,
    Reference,
)
from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Outcome, Rule
from engram_diagnose.rulebase import builtin_files, load_rules

# Three values

NAMES = tuple(f"p.{number}" for number in range(5))
WORLDS = st.fixed_dictionaries({name: st.sampled_from([point(1.0), point(0.0), None]) for name in NAMES})
LEAVES: st.SearchStrategy[Condition] = st.sampled_from(NAMES).map(lambda name: Leaf(Reference(name)))


def at_least(items: Sequence[Condition]) -> st.SearchStrategy[Condition]:
    return st.integers(1, len(items)).map(lambda count: AtLeast(count, tuple(items)))


def combined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    some = st.lists(inner, min_size=1, max_size=5)
    return (
        inner.map(Not)
        | some.map(lambda items: All(tuple(items)))
        | some.map(lambda items: AnyOf(tuple(items)))
        | some.flatmap(at_least)
    )


TREES = st.recursive(LEAVES, combined, max_leaves=12)
ITEMS = st.lists(TREES, min_size=1, max_size=5).map(tuple)


class World:
    """What is known of the names, for the reference evaluator."""

    def __init__(self, values: Mapping[str, Interval | None]) -> None:
        self.values = values

    def value(self, reference: Reference) -> Value | None:
        return self.values[reference.name]

    def narrower(self, dimension: str, names: frozenset[str]) -> "list[World]":
        return []


def truth(condition: Condition, values: Mapping[str, Interval | None]) -> Truth:
    """The truth of a condition, on which the closures and the reference must agree."""
    slots = Slots()
    test = compile_condition(condition, slots)
    frame: Frame = [None] * (len(slots.of) + 1)
    for (name, _), slot in slots.of.items():
        frame[slot] = values[name]
    found = truth_of(condition, World(values))
    assert test(frame) is found
    return found


@given(ITEMS, WORLDS)
def test_de_morgan_holds_in_three_values(items: tuple[Condition, ...], world: dict[str, Interval | None]) -> None:
    negated = tuple(map(Not, items))
    assert truth(Not(All(items)), world) is truth(AnyOf(negated), world)
    assert truth(Not(AnyOf(items)), world) is truth(All(negated), world)


@given(TREES, WORLDS)
def test_two_negations_cancel(condition: Condition, world: dict[str, Interval | None]) -> None:
    assert truth(Not(Not(condition)), world) is truth(condition, world)


@given(ITEMS, WORLDS)
def test_at_least_one_is_any_and_at_least_all_is_all(
    items: tuple[Condition, ...], world: dict[str, Interval | None]
) -> None:
    assert truth(AtLeast(1, items), world) is truth(AnyOf(items), world)
    assert truth(AtLeast(len(items), items), world) is truth(All(items), world)


@given(ITEMS, WORLDS, st.data())
def test_at_least_is_any_choice_of_as_many(
    items: tuple[Condition, ...], world: dict[str, Interval | None], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(items)))
    choices = AnyOf(tuple(All(choice) for choice in combinations(items, count)))
    assert truth(AtLeast(count, items), world) is truth(choices, world)


@given(ITEMS, WORLDS, st.data())
def test_not_at_least_is_enough_that_are_not(
    items: tuple[Condition, ...], world: dict[str, Interval | None], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(items)))
    fails = AtLeast(len(items) - count + 1, tuple(map(Not, items)))
    assert truth(Not(AtLeast(count, items)), world) is truth(fails, world)


@given(ITEMS, WORLDS, st.randoms(use_true_random=False))
def test_the_order_of_conditions_does_not_matter(
    items: tuple[Condition, ...], world: dict[str, Interval | None], order: random.Random
) -> None:
    shuffled = tuple(order.sample(items, len(items)))
    for combine in (All, AnyOf, lambda them: AtLeast(min(2, len(them)), them)):
        assert truth(combine(items), world) is truth(combine(shuffled), world)


# Knowing more

DEVICES = ("sda", "sdb")
PLACES: tuple[tuple[str, Scope], ...] = (
    *((f"n.{number}", INSTANCE) for number in range(4)),
    *(("n.disk", scope_of({"device": device})) for device in DEVICES),
)
FIGURES = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 4.0])
TRIPLES = st.tuples(FIGURES, FIGURES, FIGURES).map(sorted)


def operators(names: Sequence[str]) -> st.SearchStrategy[str]:
    return st.sampled_from(list(names))


FACTS: st.SearchStrategy[Expression] = st.integers(0, 3).map(lambda number: Reference(f"n.{number}"))
NUMBERS: st.SearchStrategy[Expression] = FIGURES.map(lambda figure: Number(figure, UNITS[""]))
OVER_DEVICES: st.SearchStrategy[Expression] = st.builds(
    Aggregated, st.sampled_from(["min", "max", "sum"]), st.just("device"), st.just(Reference("n.disk"))
)
VALUES: st.SearchStrategy[Expression] = st.recursive(
    FACTS | NUMBERS | OVER_DEVICES,
    lambda inner: (
        st.builds(Arithmetic, operators("+-*/"), inner, inner)
        | inner.map(Negative)
        | st.builds(lambda a, b: Call("max", (a, b)), inner, inner)
        | st.builds(lambda a, b, c: Call("clamp", (a, b, c)), inner, inner, inner)
        | st.builds(lambda name, a: Call(name, (a,)), operators(("abs", "ceil", "floor", "log10", "next_pow2")), inner)
    ),
    max_leaves=5,
)
COMPARISONS = st.builds(Comparison, operators((">", ">=", "<", "<=", "==", "!=")), VALUES, VALUES)
TESTS: st.SearchStrategy[Expression] = (
    COMPARISONS
    | st.builds(Between, VALUES, NUMBERS, VALUES)
    | st.builds(Member, VALUES, st.lists(NUMBERS, min_size=1, max_size=3).map(tuple))
    | st.builds(Aggregated, st.sampled_from(["any", "all"]), st.just("device"), COMPARISONS)
)
GATES = st.recursive(TESTS.map(Leaf), combined, max_leaves=6)


@st.composite
def knowledge(draw: st.DrawFn) -> tuple[list[Value | None], list[Value | None]]:
    """What is known of each place, and a state in which no less is known: unknowns found out, intervals narrowed."""
    before: list[Value | None] = []
    after: list[Value | None] = []
    for _ in PLACES:
        low, middle, high = draw(TRIPLES)
        vague: Value | None = draw(st.sampled_from([None, (low, high), point(middle)]))
        before.append(vague)
        after.append(draw(st.sampled_from([vague, (low, middle), point(middle)])) if vague != point(middle) else vague)
    return before, after


def decided(gate: Condition, values: Sequence[Value | None], *, scope: tuple[str, ...]) -> list[Outcome]:
    rule = Rule("r", 1, "cause", "", "test", Mark("test", 1, 1), scope=scope, when=gate)
    facts = [
        unknown_fact(name, Reason.NO_PMU, scope=scope) if value is None else Fact(name, value, scope=scope)
        for (name, scope), value in zip(PLACES, values, strict=True)
    ]
    return [firing.outcome for firing in infer(compile_rules({"r": rule}), facts).firings]


@pytest.mark.slow
@settings(max_examples=1000)
@given(GATES, knowledge(), st.sampled_from([(), ("device",)]))
def test_knowing_more_never_overturns_a_verdict(
    gate: Condition, states: tuple[list[Value | None], list[Value | None]], scope: tuple[str, ...]
) -> None:
    before, after = states
    for earlier, later in zip(decided(gate, before, scope=scope), decided(gate, after, scope=scope), strict=True):
        assert earlier in ("unknown", later)


# Order


@pytest.fixture(scope="module")
def built_in() -> Expert:
    return expert(load_rules())


def incident(rules: Expert, chance: random.Random) -> list[Fact]:
    """Facts under which some of the built-in rules fire: what their own tests are given."""
    given = {}
    for rule in chance.sample(sorted(rules.loaded.rules.rules.values(), key=lambda rule: rule.id), 40):
        case = chance.choice(rule.cases)
        given |= {item.reference: item.value for item in (*rule.given, *case.change)}
    return [Fact(reference.name, value, scope=scope_of(dict(reference.labels))) for reference, value in given.items()]


def told(diagnosis: Diagnosis) -> str:
    return json.dumps(document(diagnosis), sort_keys=True)


def ranking(diagnosis: Diagnosis) -> list[tuple[object, ...]]:
    """Every figure of every concluded cause, to the last bit, in its order."""
    return [
        (
            cause.rule.id,
            cause.scope,
            cause.confidence.probability,
            cause.confidence.low,
            cause.confidence.high,
            cause.impact,
            cause.severity,
            cause.tie,
        )
        for cause in (*diagnosis.causes, *diagnosis.experimental, *(masked.cause for masked in diagnosis.masked))
    ]


def outcomes(diagnosis: Diagnosis) -> list[tuple[object, ...]]:
    return [(firing.rule.id, firing.scope, firing.outcome, firing.row) for firing in diagnosis.firings]


SUBJECT = Subject("engram-1:7432", "db1", 1_750_000_000.0, "guide")


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_the_facts_does_not_matter(built_in: Expert, seed: int) -> None:
    chance = random.Random(seed)
    facts = incident(built_in, chance)
    shuffled = chance.sample(facts, len(facts))
    first, second = (built_in.diagnose(order, SUBJECT) for order in (facts, shuffled))
    assert first.causes
    assert ranking(first) == ranking(second)
    assert outcomes(first) == outcomes(second)
    assert told(first) == told(second)


RULE = re.compile(rb"(?m)^(?=  - id: )")


def regrouped(files: Mapping[str, bytes], chance: random.Random) -> dict[str, bytes]:
    """The same rule base with its rules shuffled over other files, in another order."""
    heads, rules, rest = [], [], {}
    for name, data in files.items():
        head, *found = RULE.split(data)
        if found:
            heads.append(head)
            rules += [rule if rule.endswith(b"\n") else rule + b"\n" for rule in found]
        else:
            rest[name] = data
    chance.shuffle(rules)
    parts = [rules[start::5] for start in range(5)]
    made = {f"rules/{chance.random()}.yaml": max(heads, key=len) + b"".join(part) for part in parts} | rest
    return dict(chance.sample(list(made.items()), len(made)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_rules_and_files_does_not_matter(built_in: Expert, seed: int) -> None:
    chance = random.Random(seed)
    shuffled = expert(load(regrouped(builtin_files(), chance)))
    assert list(shuffled.loaded.rules.rules) == list(built_in.loaded.rules.rules)
    facts = incident(built_in, chance)
    first, second = (rules.diagnose(facts, SUBJECT) for rules in (built_in, shuffled))
    assert ranking(first) == ranking(second)
    assert outcomes(first) == outcomes(second)
    assert told(first) == told(second)


# Completeness

OPERATIONS, SPACES = ("store", "recall"), ("a", "b", "c")
CELLS = [scope_of({"operation": operation, "space": space}) for operation in OPERATIONS for space in SPACES]


def derive(name: str, value: Expression, *, scope: tuple[str, ...] = ()) -> Rule:
    mark = Mark("test", 1, 1)
    return Rule(f"derive.{name}", 1, "derive", "", "test", mark, scope=scope, outputs={"": name}, value=value)


def over(function: str, dimension: str, body: Expression) -> Expression:
    return Aggregated(function, dimension, body)  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from(CELLS), st.integers(-9, 9) | st.none(), min_size=1))
def test_derived_facts_are_complete_before_they_are_read(cells: dict[Scope, int | None]) -> None:
    """A sum over what another rule derives, scope by scope, misses none; ids are such that it would run first."""
    double = Arithmetic("*", Reference("n.raw"), Number(2.0, UNITS[""]))
    total = over("sum", "operation", over("sum", "space", Reference("d.double")))
    rules = {
        rule.id: rule
        for rule in (
            derive("d.double", double, scope=("operation", "space")),
            derive("a.total", total),
            derive("a.more", Arithmetic("+", Reference("a.total"), Number(1.0, UNITS[""]))),
        )
    }
    facts = [
        unknown_fact("n.raw", Reason.NAN, scope=scope) if value is None else Fact("n.raw", point(value), scope=scope)
        for scope, value in cells.items()
    ]
    memory = infer(compile_rules(rules), facts).memory
    expected = None if None in cells.values() else point(1.0 + 2 * sum(value or 0 for value in cells.values()))
    assert memory.value("a.more") == expected
    assert set(memory.at("d.double")) == set(cells)


@given(st.dictionaries(st.sampled_from(SPACES), st.integers(0, 9) | st.none(), min_size=1))
def test_a_verdict_is_there_in_every_scope_before_it_is_read(spaces: dict[str, int | None]) -> None:
    hot = Leaf(Comparison(">", Reference("n.raw"), Number(5.0, UNITS[""])))
    mark = Mark("test", 1, 1)
    rules = {
        "z.hot": Rule("z.hot", 1, "cause", "", "test", mark, scope=("space",), when=hot),
        "a.any": Rule("a.any", 1, "cause", "", "test", mark, when=Leaf(over("any", "space", Reference("z.hot")))),
        "a.all": Rule("a.all", 1, "cause", "", "test", mark, when=Leaf(over("all", "space", Reference("z.hot")))),
    }
    facts = [
        Fact("n.raw", (0.0, 9.0) if value is None else point(value), scope=scope_of({"space": space}))
        for space, value in spaces.items()
    ]
    firings = {firing.rule.id: firing.outcome for firing in infer(compile_rules(rules), facts).firings}
    truths = [None if value is None else value > 5 for value in spaces.values()]
    assert firings["a.any"] == ("fires" if True in truths else "unknown" if None in truths else "refuted")
    assert firings["a.all"] == ("refuted" if False in truths else "unknown" if None in truths else "fires")


def test_a_rule_sees_the_facts_of_the_scope_it_runs_in() -> None:
    rule = derive("d.seen", Reference("n.raw"), scope=("space",))
    facts = [Fact("n.raw", point(number), scope=scope_of({"space": space})) for number, space in enumerate(SPACES)]
    inference = infer(compile_rules({rule.id: rule}), facts)
    for number, space in enumerate(SPACES):
        seen = Seen(inference.memory, scope_of({"space": space}))
        assert seen.value(Reference("d.seen")) == point(number)
