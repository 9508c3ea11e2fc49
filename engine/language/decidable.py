"""
Conditions that cannot come out both ways: beyond a fact's range, or two bounds with nothing between them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.language.evaluation import truth_of_test
from engram_diagnose.engine.language.expression import (
    All,
    AnyOf,
    AtLeast,
    Between,
    Call,
    Comparison,
    Condition,
    Expression,
    Leaf,
    Named,
    Not,
    Number,
    Reference,
    Text,
    leaves,
    references,
    walk,
)
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.types import bounds_text
from engram_diagnose.engine.language.vocabulary import Vocabulary

_FLIPPED: Final = {">": "<", ">=": "<=", "<": ">", "<=": ">="}


def check_decidable(rule: Rule, conditions: Iterable[Condition], vocabulary: Vocabulary, problems: Problems) -> None:
    """Complain about every test that is always or never true, whatever its facts are."""
    ranges = _Ranges(vocabulary)
    for condition in conditions:
        for leaf in leaves(condition):
            truth = truth_of_test(leaf.test, ranges)
            if truth is not Truth.UNKNOWN and not _asks(leaf.test):
                word = "always" if truth is Truth.TRUE else "never"
                problems.error(leaf.mark or rule.mark, f"{leaf.text!r} is {word} true", length=len(leaf.text),
                               hint=_range_hint(leaf, vocabulary))  # fmt: skip


class _Ranges:
    """Every fact anywhere in its range."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def value(self, reference: Reference) -> Value | None:
        spec = self._vocabulary.spec(reference.name)
        return None if spec is None or spec.kind == "text" else (spec.low, spec.high)

    def narrower(self, dimension: str, names: frozenset[str]) -> "Iterable[_Ranges]":
        return (self,)


def _asks(test: Expression) -> bool:
    return any(isinstance(part, Call) and part.function == "known" for part in walk(test))


def _range_hint(leaf: Leaf, vocabulary: Vocabulary) -> str:
    for reference in references(leaf.test):
        spec = vocabulary.spec(reference.name)
        if spec is not None:
            return f"{reference.name} goes from {bounds_text(spec)}"
    return "it compares constants"


def check_contradictions(rule: Rule, conditions: Iterable[Condition], problems: Problems) -> None:
    """Complain about conditions that must hold together and cannot."""
    for condition in conditions:
        for together in _groups(condition):
            rooms: dict[Reference, _Room] = {}
            for leaf in together:
                for reference, operator, value in _bounds(leaf.test):
                    other = rooms.setdefault(reference, _Room()).narrow(operator, value, leaf)
                    if other is not None:
                        both = f"{other.text!r} and {leaf.text!r} are never true together"
                        message = f"{leaf.text!r} is never true" if other is leaf else both
                        hint = "the rule could never fire: change a bound, or put them under `any:`"
                        problems.error(leaf.mark or rule.mark, message, hint=hint, length=len(leaf.text))


def _groups(condition: Condition) -> Iterator[list[Leaf]]:
    """The leaves of each `all:`, with those of an `all:` directly inside it."""
    match condition:
        case All(items):
            yield list(_together(condition))
            inside: tuple[Condition, ...] = tuple(item for item in items if not isinstance(item, All))
        case AnyOf(items) | AtLeast(_, items):
            inside = items
        case Not(item):
            inside = (item,)
        case _:
            inside = ()
    for item in inside:
        yield from _groups(item)


def _together(condition: Condition) -> Iterator[Leaf]:
    if isinstance(condition, Leaf):
        yield condition
    elif isinstance(condition, All):
        for item in condition.items:
            yield from _together(item)


def _bounds(test: Expression) -> Iterator[tuple[Reference, str, float | str]]:
    """`fact operator constant` for each bound a test sets."""
    if isinstance(test, Between):
        yield from _bounds(Comparison(">=", test.operand, test.low))
        yield from _bounds(Comparison("<=", test.operand, test.high))
    if not isinstance(test, Comparison):
        return
    left, right, operator = _plain(test.left), _plain(test.right), str(test.operator)
    if isinstance(left, Number | Text):
        left, right, operator = right, left, _FLIPPED.get(operator, operator)
    if isinstance(left, Reference) and isinstance(right, Number | Text):
        yield left, operator, right.value


def _plain(node: Expression) -> Expression:
    while isinstance(node, Named):
        node = node.body
    return node


@dataclass(slots=True)
class _Room:
    """What conditions leave of one fact's values, and which of them set each end."""

    low: float = -inf
    high: float = inf
    low_open: bool = False
    high_open: bool = False
    low_by: Leaf | None = None
    high_by: Leaf | None = None
    text: str | None = None
    text_by: Leaf | None = None

    def narrow(self, operator: str, value: float | str, leaf: Leaf) -> Leaf | None:
        """Take one more bound in; gives the earlier one that leaves nothing together with it."""
        if isinstance(value, str):
            return self._say(operator, value, leaf)
        if operator in (">", ">=", "=="):
            is_open = operator == ">"
            if (value, is_open) > (self.low, self.low_open):
                self.low, self.low_open, self.low_by = value, is_open, leaf
            if self._empty():
                return self.high_by
        if operator in ("<", "<=", "=="):
            is_open = operator == "<"
            if (value, not is_open) < (self.high, not self.high_open):
                self.high, self.high_open, self.high_by = value, is_open, leaf
            if self._empty():
                return self.low_by
        return None

    def _empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def _say(self, operator: str, value: str, leaf: Leaf) -> Leaf | None:
        if operator == "==" and self.text is None:
            self.text, self.text_by = value, leaf
        elif self.text is not None and (operator == "==") is not (value == self.text):
            return self.text_by
        return None
