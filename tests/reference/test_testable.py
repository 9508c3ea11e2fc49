"""A cause counts as testable exactly when some values of the facts to be had make its gate true."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.reading import facts_of_bundle
from engram_diagnose.engine.facts.truth import Truth, at_least, conjunction, disjunction
from engram_diagnose.engine.language.expression import All, AnyOf, AtLeast, Condition, Leaf, Not
from engram_diagnose.engine.language.parser import parse_condition
from engram_diagnose.reference.testable import (
    ACCESSES,
    COUNTERS,
    HOST,
    METRICS,
    NODE,
    SAID,
    Facts,
    _Reach,
    coverage_matrix,
    facts_to_be_had,
)
from engram_diagnose.rulebase import load_rules

NAMES = ("a.a", "a.b", "a.c", "a.d")
LEAVES = {name: Leaf(parse_condition(f"{name} > 1"), name) for name in NAMES}


@pytest.fixture(scope="module")
def cells() -> dict[tuple[str, str], frozenset[str]]:
    """The testable causes of the shipped rules, by dialect and access."""
    loaded = load_rules()
    matrix = coverage_matrix(loaded.rules.rules, loaded.catalogue)
    return {(cell.dialect, cell.access): cell.testable for cell in matrix}


def combined(parts: tuple[Condition, ...]) -> st.SearchStrategy[Condition]:
    """Every way to combine two conditions."""
    return st.sampled_from([All(parts), AnyOf(parts), Not(All(parts)), AtLeast(1, parts), AtLeast(2, parts)])


def conditions(names: tuple[str, ...]) -> st.SearchStrategy[Condition]:
    """Conditions in which no name stands twice, so that every leaf may come out on its own."""
    if len(names) == 1:
        return st.sampled_from([LEAVES[names[0]], Not(LEAVES[names[0]])])
    return st.integers(1, len(names) - 1).flatmap(
        lambda middle: st.tuples(conditions(names[:middle]), conditions(names[middle:])).flatmap(combined)
    )


def truth(condition: Condition, values: dict[str, Truth]) -> Truth:
    """The obvious evaluation."""
    match condition:
        case Leaf(text=name):
            return values[name]
        case Not(item):
            return ~truth(item, values)
        case All(items):
            return conjunction(truth(item, values) for item in items)
        case AnyOf(items):
            return disjunction(truth(item, values) for item in items)
        case AtLeast(count, items):
            return at_least(count, (truth(item, values) for item in items))


@given(conditions(NAMES), st.frozensets(st.sampled_from(NAMES)))
def test_what_can_be_is_what_some_values_of_the_known_facts_bring_about(
    condition: Condition, known: frozenset[str]
) -> None:
    choices = [(Truth.TRUE, Truth.FALSE) if name in known else (Truth.UNKNOWN,) for name in NAMES]
    outcomes = {truth(condition, dict(zip(NAMES, values, strict=True))) for values in product(*choices)}
    reach = _Reach(Facts(known, frozenset()))
    assert reach.can_be(condition, true=True) == (Truth.TRUE in outcomes)
    assert reach.can_be(condition, true=False) == (Truth.FALSE in outcomes)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("a.known", True),
        ("a.known@baseline", True),
        ("a.known@avg_5m", False),
        ("a.known@before", False),
        ("a.recorded@avg_5m", True),
        ("a.recorded@before", True),
        ("a.other", False),
        ("target.a.other", True),
    ],
)
def test_windows_need_a_history_and_a_baseline_needs_the_fact(name: str, there: bool) -> None:
    assert Facts(frozenset({"a.known", "a.recorded"}), frozenset({"a.recorded"})).has(name) is there


def test_more_access_never_tests_less(cells: dict[tuple[str, str], frozenset[str]]) -> None:
    loaded = load_rules()
    cells = {
        (cell.dialect, cell.access): cell.testable for cell in coverage_matrix(loaded.rules.rules, loaded.catalogue)
    }
    for dialect in ("engram-0.1", "guide"):
        assert cells[dialect, METRICS] <= cells[dialect, NODE]
        assert cells[dialect, METRICS] <= cells[dialect, HOST] <= cells[dialect, COUNTERS]


def test_a_cause_is_testable_or_lacks_something() -> None:
    loaded = load_rules()
    causes = {rule.id for rule in loaded.rules.rules.values() if rule.kind == "cause"}
    for cell in coverage_matrix(loaded.rules.rules, loaded.catalogue):
        assert cell.testable | set(cell.lacking) == causes
        assert all(cell.lacking.values())


def test_the_examples_that_everybody_expects(cells: dict[tuple[str, str], frozenset[str]]) -> None:
    loaded = load_rules()
    cells = {
        (cell.dialect, cell.access): cell.testable for cell in coverage_matrix(loaded.rules.rules, loaded.catalogue)
    }
    assert "storage.wal-write-amplification" in cells["guide", METRICS]
    assert "storage.wal-write-amplification" not in cells["engram-0.1", COUNTERS]
    assert "cpu.cache-line-bouncing" not in cells["guide", HOST]
    assert "cpu.cache-line-bouncing" in cells["guide", COUNTERS]
    assert "host.cpu-steal" not in cells["guide", METRICS]
    assert "host.cpu-steal" in cells["guide", NODE] & cells["guide", HOST]


def test_reading_a_bundle_says_all_that_is_taken_for_said() -> None:
    """The metrics and the configuration are those of no server in particular."""
    answers = (
        Answer("exposition", "/metrics", 10.0, "h", "engram_operations_total 1\n", "", ""),
        Answer("config", "/etc/engram/engram.toml", 10.0, "h", "[wal]\nsynk_mode = 1\n", "", ""),
    )
    facts = facts_of_bundle(Bundle(10.0, dialect="guide", answers=answers), load_rules().catalogue, SAID)
    assert {fact.name for fact in facts if fact.known} >= SAID


def test_what_a_bundle_says_of_itself_is_in_the_catalogue() -> None:
    catalogue = load_rules().catalogue
    assert set(catalogue.facts) >= SAID
    for access in ACCESSES:
        for name in ("guide", "engram-0.1"):
            assert facts_to_be_had(catalogue, catalogue.dialects[name], access).known <= set(catalogue.facts)
