"""
The obvious evaluator: walks a tree and asks for each fact as it meets it.

It serves where speed does not matter (range checks at load, explanations, recommendations) and as the reference that
the compiled evaluators are held against.
"""

from collections.abc import Iterable
from typing import Protocol

from engram_diagnose.engine.facts import interval
from engram_diagnose.engine.facts.fact import Value, point
from engram_diagnose.engine.facts.truth import Truth, at_least, conjunction, disjunction
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
    references,
)


class Known(Protocol):
    """What is known in one scope."""

    def value(self, reference: Reference) -> Value | None:
        """The value of a fact, or None."""
        ...

    def narrower(self, dimension: str, names: frozenset[str]) -> "Iterable[Known]":
        """The scopes one label narrower in which any of these facts stands."""
        ...


def value_of(node: Expression, known: Known) -> Value | None:
    """The value of an expression; None when it is unknown."""
    match node:
        case Number(value):
            return point(value)
        case Text(text):
            return text
        case Reference():
            return known.value(node)
        case Named(_, body):
            return value_of(body, known)
        case Negative(operand):
            inner = _figure(operand, known)
            return None if inner is None else interval.negative(inner)
        case Arithmetic(operator, left, right):
            a, b = _figure(left, known), _figure(right, known)
            return None if a is None or b is None else interval.OPERATORS[operator](a, b)
        case Call(function, arguments) if function != "known":
            values = [_figure(argument, known) for argument in arguments]
            return None if None in values else interval.FUNCTIONS[function](*values)
        case Aggregated(("min" | "max" | "sum") as function, dimension, body):
            return interval.fold(function, [_figure(body, inner) for inner in _inside(dimension, body, known)])
    truth = truth_of_test(node, known)
    return None if truth is Truth.UNKNOWN else point(float(truth is Truth.TRUE))


def _figure(node: Expression, known: Known) -> interval.Maybe:
    value = value_of(node, known)
    return None if isinstance(value, str) else value


def _inside(dimension: str, body: Expression, known: Known) -> Iterable[Known]:
    return known.narrower(dimension, frozenset(reference.name for reference in references(body)))


def truth_of_test(node: Expression, known: Known) -> Truth:
    """Whether a test holds."""
    match node:
        case Comparison(operator, left, right):
            return _compared(operator, value_of(left, known), value_of(right, known))
        case Between(operand, low, high):
            value = value_of(operand, known)
            return conjunction(
                (
                    _compared(">=", value, value_of(low, known)),
                    _compared("<=", value, value_of(high, known)),
                )
            )
        case Member(operand, choices):
            value = value_of(operand, known)
            return disjunction(_compared("==", value, value_of(choice, known)) for choice in choices)
        case Contains(operand, part):
            text, wanted = value_of(operand, known), value_of(part, known)
            known_texts = isinstance(text, str) and isinstance(wanted, str)
            return _decided(wanted in text) if known_texts else Truth.UNKNOWN  # type: ignore[operator]
        case Aggregated(("any" | "all") as function, dimension, body):
            truths = [truth_of_test(body, inner) for inner in _inside(dimension, body, known)]
            combine = disjunction if function == "any" else conjunction
            return combine(truths) if truths else Truth.UNKNOWN
        case Named(_, body):
            return truth_of_test(body, known)
        case Call("known", (Reference() as reference,)):
            return _decided(known.value(reference) is not None)
    value = value_of(node, known)
    if value == point(1.0):
        return Truth.TRUE
    return Truth.FALSE if value == point(0.0) else Truth.UNKNOWN


def _compared(operator: str, left: Value | None, right: Value | None) -> Truth:
    if left is None or right is None:
        return Truth.UNKNOWN
    if isinstance(left, str) or isinstance(right, str):
        return _decided((left == right) is (operator == "=="))
    return interval.COMPARISONS[operator](left, right)


def _decided(holds: bool) -> Truth:
    return Truth.TRUE if holds else Truth.FALSE


def truth_of(condition: Condition, known: Known) -> Truth:
    """Whether a condition holds."""
    match condition:
        case Leaf(test):
            return truth_of_test(test, known)
        case Not(item):
            return ~truth_of(item, known)
        case All(items):
            return conjunction(truth_of(item, known) for item in items)
        case AnyOf(items):
            return disjunction(truth_of(item, known) for item in items)
        case AtLeast(count, items):
            return at_least(count, (truth_of(item, known) for item in items))
