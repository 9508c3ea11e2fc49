"""Conditions as positive clauses say what Kleene's logic says, whatever chains them."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.facts.fact import point
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.inference.clauses import ALWAYS, MAX_BODY, Clause, ClauseBase, Verdicts
from engram_diagnose.engine.language.evaluation import truth_of
from engram_diagnose.engine.language.expression import All, AnyOf, AtLeast, Condition, Leaf, Not, Reference
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Rule

NAMES = tuple(f"p.{number}" for number in range(6))
VALUES = {Truth.TRUE: point(1.0), Truth.FALSE: point(0.0), Truth.UNKNOWN: None}

LEAVES = st.sampled_from(NAMES).map(lambda name: Leaf(Reference(name)))
WORLDS = st.fixed_dictionaries({name: st.sampled_from(Truth) for name in NAMES})


def at_least(items: list[Condition]) -> st.SearchStrategy[Condition]:
    return st.integers(0, len(items) + 1).map(lambda count: AtLeast(count, tuple(items)))


CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    LEAVES,
    lambda inner: (
        inner.map(Not)
        | st.lists(inner, max_size=12).map(lambda items: All(tuple(items)))
        | st.lists(inner, max_size=12).map(lambda items: AnyOf(tuple(items)))
        | st.lists(inner, max_size=9).flatmap(at_least)
    ),
    max_leaves=24,
)


class World:
    """Truths for the names, as the reference evaluator asks for them."""

    def __init__(self, truths: dict[str, Truth]) -> None:
        self.truths = truths

    def value(self, reference: Reference) -> tuple[float, float] | None:
        return VALUES[self.truths[reference.name]]

    def narrower(self, dimension: str, names: frozenset[str]) -> "list[World]":
        return []


def chained(clauses: Iterable[Clause], atoms: set[int]) -> set[int]:
    """Everything that follows, by trying every clause until nothing new comes."""
    holding = {ALWAYS, *atoms}
    while new := {clause.head for clause in clauses if holding.issuperset(clause.body)} - holding:
        holding |= new
    return holding


def atoms_of(base: ClauseBase, truths: dict[str, Truth]) -> set[int]:
    found = set()
    for test, rails in base.tests.items():
        assert isinstance(test, Reference)
        if truths[test.name] is not Truth.UNKNOWN:
            found.add(rails.true if truths[test.name] is Truth.TRUE else rails.false)
    return found


@given(CONDITIONS, WORLDS)
def test_the_rails_of_a_condition_are_its_truth(condition: Condition, truths: dict[str, Truth]) -> None:
    base = ClauseBase()
    rails = base.rails(condition)
    holding = chained(base.clauses, atoms_of(base, truths))
    expected = truth_of(condition, World(truths))
    assert (rails.true in holding) is (expected is Truth.TRUE)
    assert (rails.false in holding) is (expected is Truth.FALSE)


@given(CONDITIONS)
def test_no_clause_has_a_longer_body_than_the_engine_joins(condition: Condition) -> None:
    base = ClauseBase()
    base.rails(condition)
    assert all(1 <= len(clause.body) <= MAX_BODY for clause in base.clauses)


def test_many_of_many_stay_few_clauses() -> None:
    """Ten of twenty can be chosen in 184,756 ways."""
    base = ClauseBase()
    base.rails(AtLeast(10, tuple(Leaf(Reference(f"p.{number}")) for number in range(20))))
    assert len(base.clauses) < 2_000


def test_equal_conditions_of_two_rules_share_their_clauses() -> None:
    base = ClauseBase()
    condition = All((Leaf(Reference("p.0")), Leaf(Reference("p.1"))))
    base.rails(condition)
    before = len(base.clauses)
    base.rails(Not(All((Leaf(Reference("p.0")), Leaf(Reference("p.1"))))))
    assert len(base.clauses) == before


def rule(applies: Condition | None, when: Condition | None) -> Rule:
    return Rule("r", 1, "cause", "", "test", Mark("test", 1, 1), applies=applies, when=when)


@pytest.mark.parametrize(
    ("applies", "when", "expected"),
    [
        (Truth.TRUE, Truth.TRUE, "fires"),
        (Truth.TRUE, Truth.FALSE, "refuted"),
        (Truth.TRUE, Truth.UNKNOWN, "unknown"),
        (Truth.FALSE, Truth.TRUE, "not-applicable"),
        (Truth.FALSE, Truth.UNKNOWN, "not-applicable"),
        (Truth.UNKNOWN, Truth.TRUE, "unknown"),
        (Truth.UNKNOWN, Truth.FALSE, "unknown"),
    ],
)
def test_applies_comes_before_the_gate(applies: Truth, when: Truth, expected: str) -> None:
    base = ClauseBase()
    verdicts = base.verdicts(rule(Leaf(Reference("p.0")), Leaf(Reference("p.1"))))
    holding = chained(base.clauses, atoms_of(base, {"p.0": applies, "p.1": when}))
    assert verdicts.read(holding) == expected


def test_a_rule_without_a_gate_fires() -> None:
    base = ClauseBase()
    assert base.verdicts(rule(None, None)).read(chained(base.clauses, set())) == "fires"


def test_two_verdicts_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="both fires and refuted"):
        Verdicts(2, 3, 4).read({2, 3})
