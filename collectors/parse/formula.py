"""
Arithmetic over counts: `1000 * walks.loads / walks.instructions`.

    formula := term {("+" | "-") term}
    term    := factor {("*" | "/") factor}
    factor  := ["-"] (number | name | "(" formula ")")
    name    := group "." count, or a variable without a dot

Rules have a richer language with units and scopes, which collectors do not see: a count has neither.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

SECONDS: Final = "seconds"
"""The variable that is the time for which the counts beside it were taken."""
_MOST_TOKENS: Final = 200
_MOST_DEPTH: Final = 20
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>[0-9]{1,15}(?:\.[0-9]{1,15})?)(?![\w.])|(?P<name>[a-z_]\w*(?:\.\w+)?)|(?P<operator>[-+*/()]))"
)


class FormulaError(ValueError):
    """Text that is not a formula; the message says where."""


class NoValueError(ArithmeticError):
    """A formula without a value for these counts; the message says why."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A number (`operator` "#"), a name ("name"), a negative ("neg"), or an operation."""

    operator: str
    left: "_Node | None" = None
    right: "_Node | None" = None
    value: float = 0.0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was read; `names` are the counts and variables in it."""

    text: str
    names: frozenset[str]
    _root: _Node

    @property
    def groups(self) -> frozenset[str]:
        """The groups whose counts it reads."""
        return frozenset(name.partition(".")[0] for name in self.names if "." in name)

    def evaluate(self, values: Mapping[str, float], seconds: Mapping[str, float]) -> float:
        """
        Its value: `values` has every name of it but `seconds`, which `seconds` has by group.

        Raises `NoValueError` where it divides by zero or leaves the real numbers.
        """
        result = _value(self._root, values, seconds)
        if not math.isfinite(result):
            raise NoValueError(f"{self.text} leaves the numbers")
        return result

    def mixed_ratios(self, variables: frozenset[str]) -> Iterator[str]:
        """Where counts of different groups are divided or added: they were taken at different times."""
        found: list[str] = []
        _loose_groups(self._root, variables, found.append)
        return iter(dict.fromkeys(found))


def parse_formula(text: str) -> Formula:
    """The formula in a text; raises `FormulaError`."""
    tokens = list(_tokens(text))
    reading = _Reading(text, tokens)
    root = reading.sum(0)
    reading.end()
    return Formula(text, frozenset(word for kind, word, _ in tokens if kind == "name"), root)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    position, count = 0, 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        count += 1
        if found is None or found.lastgroup is None:
            raise FormulaError(f"cannot read it from column {position + 1}: {text[position : position + 20]!r}")
        if count > _MOST_TOKENS:
            raise FormulaError(f"has more than {_MOST_TOKENS} parts")
        yield found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)
        position = found.end()


class _Reading:
    def __init__(self, text: str, tokens: list[tuple[str, str, int]]) -> None:
        self._text = text
        self._tokens = [*tokens, ("end", "", len(text))]
        self._next = 0

    def sum(self, depth: int) -> _Node:
        return self._chain(("+", "-"), self._product, depth)

    def _product(self, depth: int) -> _Node:
        return self._chain(("*", "/"), self._factor, depth)

    def _chain(self, operators: tuple[str, str], part: Callable[[int], _Node], depth: int) -> _Node:
        node = part(depth)
        while self._tokens[self._next][1] in operators:
            operator = self._take()[1]
            node = _Node(operator, node, part(depth))
        return node

    def _factor(self, depth: int) -> _Node:
        if depth > _MOST_DEPTH:
            raise FormulaError(f"has more than {_MOST_DEPTH} brackets in one another")
        kind, word, place = self._take()
        if kind == "number":
            return _Node("#", value=float(word))
        if kind == "name":
            return _Node("name", name=word)
        if word == "-":
            return _Node("neg", self._factor(depth + 1))
        if word != "(":
            raise FormulaError(f"a number, a name or ( is missing at column {place + 1}")
        node = self.sum(depth + 1)
        if self._take()[1] != ")":
            raise FormulaError(f"the ( at column {place + 1} is not closed")
        return node

    def _take(self) -> tuple[str, str, int]:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def end(self) -> None:
        kind, word, place = self._tokens[self._next]
        if kind != "end":
            raise FormulaError(f"{word!r} at column {place + 1} does not belong there")


def _value(node: _Node, values: Mapping[str, float], seconds: Mapping[str, float]) -> float:
    if node.operator == "#":
        return node.value
    if node.operator == "name":
        return values[node.name]
    assert node.left is not None  # noqa: S101 -- every other node has one
    if node.operator == "neg":
        return -_value(node.left, values, seconds)
    left = _value(node.left, values, seconds)
    assert node.right is not None  # noqa: S101 -- as above
    if node.right.name == SECONDS:
        return _quotient(left, seconds[next(iter(_groups(node.left)))], SECONDS)
    right = _value(node.right, values, seconds)
    if node.operator == "/":
        return _quotient(left, right, _said(node.right))
    return left + right if node.operator == "+" else left - right if node.operator == "-" else left * right


def _quotient(left: float, right: float, name: str) -> float:
    if right == 0:
        raise NoValueError(f"{name} is zero")
    return left / right


def _said(node: _Node) -> str:
    """What a divisor is, in words."""
    names = sorted({part.name for part in _walk(node) if part.name})
    return " and ".join(names) or "the divisor"


def _walk(node: _Node) -> Iterator[_Node]:
    yield node
    for part in (node.left, node.right):
        if part is not None:
            yield from _walk(part)


def _groups(node: _Node) -> frozenset[str]:
    return frozenset(part.name.partition(".")[0] for part in _walk(node) if "." in part.name)


def _loose_groups(node: _Node, variables: frozenset[str], complain: Callable[[str], None]) -> frozenset[str]:
    """The groups of counts that are not yet part of a ratio."""
    if node.operator == "#" or (node.operator == "name" and node.name in variables):
        if node.name == SECONDS:
            complain("seconds may only divide the counts of one group")
        return frozenset()
    if node.operator == "name":
        return frozenset({node.name.partition(".")[0]})
    assert node.left is not None  # noqa: S101 -- every other node has one
    left = _loose_groups(node.left, variables, complain)
    if node.right is None:
        return left
    if node.right.name == SECONDS and node.operator == "/":
        if len(left) != 1:
            complain("seconds may only divide the counts of one group")
        return frozenset()
    both = left | _loose_groups(node.right, variables, complain)
    if node.operator != "*" and len(both) > 1:
        complain(f"counts of {' and '.join(sorted(both))} are put together: a ratio's events belong in one group")
    return frozenset() if node.operator == "/" else both
