"""Working memory: the nearest enclosing scope answers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.facts.fact import Fact, Reason, point, unknown_fact
from engram_diagnose.engine.facts.memory import Memory, enclosing_scopes
from engram_diagnose.engine.facts.scope import DIMENSIONS, INSTANCE, Scope, scope_of

SCOPES = st.dictionaries(st.sampled_from(DIMENSIONS[:4]), st.sampled_from(["a", "b"])).map(scope_of)
STORE_A = scope_of({"operation": "store", "space": "a"})


def fact(value: float, **labels: str) -> Fact:
    return Fact("n.a", point(value), scope=scope_of(labels))


def test_the_nearest_enclosing_scope_answers() -> None:
    memory = Memory([fact(1), fact(2, operation="store"), fact(3, operation="store", space="a")])
    assert memory.value("n.a", STORE_A) == point(3)
    assert memory.value("n.a", scope_of({"operation": "store", "space": "b"})) == point(2)
    assert memory.value("n.a", scope_of({"operation": "recall", "space": "a"})) == point(1)
    assert memory.value("n.a") == point(1)


def test_of_two_as_near_the_label_that_is_printed_first_wins() -> None:
    memory = Memory([fact(1, space="a"), fact(2, operation="store")])
    assert memory.value("n.a", STORE_A) == point(2)


def test_a_narrower_scope_is_never_reached_into() -> None:
    memory = Memory([fact(3, operation="store", space="a")])
    assert memory.lookup("n.a", scope_of({"operation": "store"})) is None
    assert memory.lookup("n.a") is None


def test_what_is_known_to_be_unknown_here_is_not_looked_up_further_out() -> None:
    """A counter that failed on this device says nothing of it, whatever the host's says."""
    memory = Memory([fact(1), unknown_fact("n.a", Reason.NAN, scope=STORE_A)])
    assert memory.value("n.a", STORE_A) is None
    assert memory.lookup("n.a", STORE_A) is not None


def test_the_last_known_one_stands() -> None:
    assert Memory([fact(1), fact(2)]).value("n.a") == point(2)
    assert Memory([fact(1), unknown_fact("n.a", Reason.NAN)]).value("n.a") == point(1)
    assert Memory([unknown_fact("n.a", Reason.NAN), fact(1)]).value("n.a") == point(1)


@pytest.mark.parametrize("scope", [INSTANCE, STORE_A])
def test_of_two_unknown_ones_the_same_stands_in_any_order(scope: Scope) -> None:
    """The reason whose name comes first; of one reason, the detail that does."""
    facts = [
        unknown_fact("n.a", Reason.PTRACE_DENIED, scope=scope),
        unknown_fact("n.a", Reason.NO_TOOL, "perf", scope=scope),
        unknown_fact("n.a", Reason.NO_TOOL, "bpftrace", scope=scope),
    ]
    for order in itertools.permutations(facts):
        assert Memory(order).lookup("n.a", scope) == facts[2]


def test_what_nobody_said_is_not_there() -> None:
    memory = Memory([fact(1)])
    assert memory.lookup("n.b") is None
    assert memory.at("n.b") == {}


@given(st.dictionaries(SCOPES, st.floats(allow_nan=False), max_size=12), SCOPES)
def test_a_look_up_is_the_obvious_search(values: dict[Scope, float], scope: Scope) -> None:
    memory = Memory(Fact("n.a", point(value), scope=own) for own, value in values.items())
    enclosing = [own for own in values if own.encloses(scope)]
    nearest = max((len(own.labels) for own in enclosing), default=-1)
    candidates = [own for own in enclosing if len(own.labels) == nearest]
    found = memory.lookup("n.a", scope)
    assert (found is None) == (not candidates)
    if found is not None:
        assert found.scope == min(candidates, key=lambda own: [DIMENSIONS.index(name) for name, _ in own.labels])


@given(SCOPES)
def test_the_enclosing_scopes_go_from_the_nearest_to_the_instance(scope: Scope) -> None:
    found = enclosing_scopes(scope)
    assert found[0] == scope
    assert found[-1] == INSTANCE
    assert len(set(found)) == len(found) == 2 ** len(scope.labels)
    assert all(len(a.labels) >= len(b.labels) for a, b in itertools.pairwise(found))


def test_facts_come_out_by_name_and_scope() -> None:
    facts = [Fact("n.b", point(1)), fact(2, operation="store"), fact(1)]
    for order in itertools.permutations(facts):
        memory = Memory(order)
        assert list(memory) == [facts[2], facts[1], facts[0]]
        assert len(memory) == 3
