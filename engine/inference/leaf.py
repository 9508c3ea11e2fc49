"""
Leaves compiled to closures.

A *frame* holds the values one scope sees, by slot; slot 0 is the scope's view, through which aggregates reach
narrower scopes. A compiled value maps a frame to an interval, a text or None; a compiled test to a `Truth`.
The shapes rules mostly have (a fact against a constant, a fact against a fact) get closures of their own.
"""

from collections.abc import Callable
from typing import Any, Final

from engram_diagnose.engine.facts import interval
from engram_diagnose.engine.facts.fact import Interval, Value
from engram_diagnose.engine.facts.interval import fold
from engram_diagnose.engine.facts.truth import Truth, conjunction, disjunction
from engram_diagnose.engine.language.expression import (
    Aggregated,
    Arithmetic,
    Between,
    Call,
    Comparison,
    Contains,
    Expression,
    Member,
    Named,
    Negative,
    Number,
    Reference,
    Text,
    references,
)

Frame = list[Any]
ValueOf = Callable[[Frame], Value | None]
Test = Callable[[Frame], Truth]

TRUE: Final = Truth.TRUE
FALSE: Final = Truth.FALSE
UNKNOWN: Final = Truth.UNKNOWN


class Slots:
    """Gives every fact that rules read a place in the frame."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        self.places: list[tuple[str, int]] = []
        self._named: dict[str, list[tuple[tuple[str, tuple[tuple[str, str], ...]], int]]] = {}

    def slot(self, reference: Reference) -> int:
        """The slot of a reference, made when it is new."""
        key = (reference.name, reference.labels)
        slot = self.of.get(key)
        if slot is None:
            slot = self.of[key] = len(self.of) + 1
            self.places.append((reference.name, slot))
            self._named.setdefault(reference.name, []).append((key, slot))
        return slot

    def named(self, name: str) -> list[tuple[tuple[str, tuple[tuple[str, str], ...]], int]]:
        """The slots of a name, with and without labels."""
        return self._named.get(name, [])


def compile_test(expression: Expression, slots: Slots) -> Test:
    """A closure that decides a condition in a frame."""
    match expression:
        case Comparison(operator, left, right):
            return _comparison(operator, left, right, slots)
        case Between(operand, low, high):
            above = _comparison(">=", operand, low, slots)
            below = _comparison("<=", operand, high, slots)
            return lambda frame: conjunction((above(frame), below(frame)))
        case Member(operand, choices):
            equals = [_comparison("==", operand, choice, slots) for choice in choices]
            return lambda frame: disjunction(test(frame) for test in equals)
        case Contains(operand, part):
            return _contains(compile_value(operand, slots), compile_value(part, slots))
        case Aggregated(("any" | "all") as function, dimension, body):
            return _quantified(function, dimension, body, slots)
        case Named(_, body):
            return compile_test(body, slots)
        case Call("known", (Reference() as reference,)):
            slot = slots.slot(reference)
            return lambda frame: FALSE if frame[slot] is None else TRUE
    value = compile_value(expression, slots)
    return lambda frame: _truth_of(value(frame))


def _truth_of(value: Value | None) -> Truth:
    """A truth-valued fact, which is 0 or 1."""
    if value == (1.0, 1.0):
        return TRUE
    return FALSE if value == (0.0, 0.0) else UNKNOWN


def _contains(operand: ValueOf, part: ValueOf) -> Test:
    def test(frame: Frame) -> Truth:
        text, wanted = operand(frame), part(frame)
        if not isinstance(text, str) or not isinstance(wanted, str):
            return UNKNOWN
        return TRUE if wanted in text else FALSE

    return test


def _comparison(operator: str, left: Expression, right: Expression, slots: Slots) -> Test:
    match left, right:
        case Reference(), Number(constant) if operator in (">", ">=", "<", "<="):
            return _against_constant(operator, slots.slot(left), constant)
        case Reference(), Text(constant) if operator in ("==", "!="):
            return _against_text(operator == "==", slots.slot(left), constant)
    if operator in ("<", "<="):
        operator, left, right = (">" if operator == "<" else ">="), right, left
    if operator in ("==", "!="):
        return _equal(operator, compile_value(left, slots), compile_value(right, slots))
    if isinstance(left, Reference) and isinstance(right, Reference):
        return _above_fact(operator, slots.slot(left), slots.slot(right))
    return _above(operator, compile_value(left, slots), compile_value(right, slots))


def _equal(operator: str, left: ValueOf, right: ValueOf) -> Test:
    compare = interval.COMPARISONS[operator]

    def test(frame: Frame) -> Truth:
        a, b = left(frame), right(frame)
        if a is None or b is None:
            return UNKNOWN
        if isinstance(a, str) or isinstance(b, str):
            return TRUE if (a == b) is (operator == "==") else FALSE
        return compare(a, b)

    return test


def _above(operator: str, left: ValueOf, right: ValueOf) -> Test:
    """`left > right` or `left >= right`, of figures."""
    compare: Callable[[Any, Any], Truth] = interval.COMPARISONS[operator]

    def test(frame: Frame) -> Truth:
        a, b = left(frame), right(frame)
        return UNKNOWN if a is None or b is None else compare(a, b)

    return test


def _above_fact(operator: str, left: int, right: int) -> Test:
    """`fact > fact` or `fact >= fact`, the next commonest leaf."""
    if operator == ">":

        def above(frame: Frame) -> Truth:
            a, b = frame[left], frame[right]
            if a is None or b is None:
                return UNKNOWN
            return TRUE if a[0] > b[1] else FALSE if a[1] <= b[0] else UNKNOWN

        return above

    def not_below(frame: Frame) -> Truth:
        a, b = frame[left], frame[right]
        if a is None or b is None:
            return UNKNOWN
        return TRUE if a[0] >= b[1] else FALSE if a[1] < b[0] else UNKNOWN

    return not_below


def _against_text(equal: bool, slot: int, constant: str) -> Test:
    def test(frame: Frame) -> Truth:
        value = frame[slot]
        if value is None:
            return UNKNOWN
        return TRUE if (value == constant) is equal else FALSE

    return test


def _against_constant(operator: str, slot: int, limit: float) -> Test:
    """`fact operator constant`, the commonest leaf by far, without building intervals."""
    if operator == ">":

        def above(frame: Frame) -> Truth:
            value = frame[slot]
            if value is None:
                return UNKNOWN
            return TRUE if value[0] > limit else FALSE if value[1] <= limit else UNKNOWN

        return above
    if operator == ">=":

        def not_below(frame: Frame) -> Truth:
            value = frame[slot]
            if value is None:
                return UNKNOWN
            return TRUE if value[0] >= limit else FALSE if value[1] < limit else UNKNOWN

        return not_below
    if operator == "<":

        def below(frame: Frame) -> Truth:
            value = frame[slot]
            if value is None:
                return UNKNOWN
            return TRUE if value[1] < limit else FALSE if value[0] >= limit else UNKNOWN

        return below

    def not_above(frame: Frame) -> Truth:
        value = frame[slot]
        if value is None:
            return UNKNOWN
        return TRUE if value[1] <= limit else FALSE if value[0] > limit else UNKNOWN

    return not_above


def compile_value(expression: Expression, slots: Slots) -> ValueOf:
    """A closure that computes a value in a frame; None when it is unknown."""
    match expression:
        case Number(value):
            constant = (value, value)
            return lambda frame: constant
        case Text(text):
            return lambda frame: text
        case Reference():
            slot = slots.slot(expression)
            return lambda frame: frame[slot]
        case Named(_, body):
            return compile_value(body, slots)
        case Negative(operand):
            return _function(interval.negative, (operand,), slots)
        case Arithmetic(operator, left, right):
            return _function(interval.OPERATORS[operator], (left, right), slots)
        case Call(function, arguments) if function != "known":
            return _function(interval.FUNCTIONS[function], arguments, slots)
        case Aggregated(("min" | "max" | "sum") as function, dimension, body):
            return _aggregate(function, dimension, body, slots)
    test = compile_test(expression, slots)
    return lambda frame: _AS_VALUE[test(frame)]


_AS_VALUE: Final[dict[Truth, Interval | None]] = {
    TRUE: (1.0, 1.0),
    FALSE: (0.0, 0.0),
    UNKNOWN: None,
}


def _function(apply: Callable[..., interval.Maybe], arguments: tuple[Expression, ...], slots: Slots) -> ValueOf:
    operands = tuple(compile_value(argument, slots) for argument in arguments)
    if len(operands) == 2:
        left, right = operands

        def binary(frame: Frame) -> Value | None:
            a, b = left(frame), right(frame)
            return None if a is None or b is None else apply(a, b)

        return binary

    def call(frame: Frame) -> Value | None:
        values = [operand(frame) for operand in operands]
        return None if None in values else apply(*values)

    return call


def _narrower_names(body: Expression) -> frozenset[str]:
    return frozenset(reference.name for reference in references(body))


def _quantified(function: str, dimension: str, body: Expression, slots: Slots) -> Test:
    test, names = compile_test(body, slots), _narrower_names(body)
    combine = disjunction if function == "any" else conjunction

    def quantified(frame: Frame) -> Truth:
        truths = [test(inner) for inner in frame[0].narrower(dimension, names)]
        return combine(truths) if truths else UNKNOWN

    return quantified


def _aggregate(function: str, dimension: str, body: Expression, slots: Slots) -> ValueOf:
    value, names = compile_value(body, slots), _narrower_names(body)

    def aggregate(frame: Frame) -> Value | None:
        values = [value(inner) for inner in frame[0].narrower(dimension, names)]
        return fold(function, [None if isinstance(v, str) else v for v in values])

    return aggregate
