"""
The tests behind a verdict, each with its truth, its sentence and the facts it read.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from engram_diagnose.engine.explanation.wording import Wording, fact_text
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.inference.firing import Firing
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.inference.reads import facts_read
from engram_diagnose.engine.language.evaluation import truth_of
from engram_diagnose.engine.language.expression import (
    Condition,
    Expression,
    Leaf,
    Reference,
    leaves,
)
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Reading:
    """A fact a test read: its value in words, and where and when it comes from (None when nothing was said of it)."""

    reference: Reference
    text: str
    fact: Fact | None


@dataclass(frozen=True, slots=True)
class TestTrace:
    """One test of a condition."""

    leaf: Leaf
    truth: Truth
    sentence: str
    readings: tuple[Reading, ...]


def trace(
    condition: Condition | None, seen: Seen, vocabulary: Vocabulary, rule: Rule | None = None
) -> tuple[TestTrace, ...]:
    """Every test of a condition of `rule`, in reading order, as it came out in one scope."""
    if condition is None:
        return ()
    wording = Wording(seen, vocabulary, rule)
    return tuple(_trace(leaf, seen, vocabulary, wording) for leaf in leaves(condition))


def _trace(leaf: Leaf, seen: Seen, vocabulary: Vocabulary, wording: Wording) -> TestTrace:
    truth = truth_of(leaf, seen)
    return TestTrace(leaf, truth, wording.sentence(leaf, truth), tuple(_readings(leaf, seen, vocabulary)))


def read_by(firing: Firing, seen: Seen, vocabulary: Vocabulary) -> tuple[Reading, ...]:
    """The facts that a derivation, or a table down to the row it took, read."""
    rule = firing.rule
    rows = rule.rows if firing.row is None else rule.rows[: firing.row + 1]
    expressions = [leaf.test for row in rows if row.condition for leaf in leaves(row.condition)]
    expressions += [value for row in rows[-1:] for value in row.values.values()]
    expressions += [rule.value] if rule.value is not None else []
    return tuple(_found(expressions, seen, vocabulary))


def _readings(leaf: Leaf, seen: Seen, vocabulary: Vocabulary) -> Iterable[Reading]:
    return _found([leaf.test], seen, vocabulary)


def _found(expressions: Iterable[Expression], seen: Seen, vocabulary: Vocabulary) -> Iterable[Reading]:
    """What expressions read, each fact once."""
    found = {
        reference if fact is None else Reference(fact.name, fact.scope.labels): (reference, fact)
        for reference, fact in facts_read(expressions, seen)
    }
    for shown, (reference, fact) in found.items():
        spec = vocabulary.spec(reference.name)
        yield Reading(shown, fact_text(None if fact is None else fact.value, spec), fact)


def deciding(tests: Iterable[TestTrace], truth: Truth) -> tuple[TestTrace, ...]:
    """The tests that came out one way."""
    return tuple(test for test in tests if test.truth is truth)
