"""
Expressions and conditions as trees.

Trees are frozen and hashable, so that equal leaves of different rules can be interned. `start` and `end` are
offsets into the text they were read from; they do not take part in equality.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from engram_diagnose.engine.facts.unit import UNITS, Unit
from engram_diagnose.engine.language.problem import Mark

ArithmeticOperator = Literal["+", "-", "*", "/"]
ComparisonOperator = Literal[">", ">=", "<", "<=", "==", "!="]
Aggregate = Literal["any", "all", "min", "max", "sum"]


class Span(NamedTuple):
    """Where a node stands in its text."""

    start: int
    end: int


NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Number:
    """A quantity in base units; `parameter` is the `$name` it came from, if any. Truth values are 0 and 1."""

    value: float
    unit: Unit
    kind: Literal["number", "bool"] = "number"
    parameter: str = ""
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A text literal."""

    value: str
    parameter: str = ""
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Reference:
    """A fact by name, with labels that narrow the rule's own scope."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    span: Span = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        labels = ", ".join(f"{name}={value}" for name, value in self.labels)
        return f"{self.name}{{{labels}}}" if labels else self.name


@dataclass(frozen=True, slots=True)
class Named:
    """A `let` name, with the expression it stands for."""

    name: str
    body: "Expression"
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Negative:
    """Unary minus."""

    operand: "Expression"
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left operator right`."""

    operator: ArithmeticOperator
    left: "Expression"
    right: "Expression"
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A whitelisted function of expressions."""

    function: str
    arguments: "tuple[Expression, ...]"
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Aggregated:
    """`max(device, body)`: the body in every scope one label narrower than the rule's."""

    function: Aggregate
    dimension: str
    body: "Expression"
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`."""

    operator: ComparisonOperator
    left: "Expression"
    right: "Expression"
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Between:
    """`low <= operand <= high`."""

    operand: "Expression"
    low: "Expression"
    high: "Expression"
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """`operand in [choices]`."""

    operand: "Expression"
    choices: "tuple[Expression, ...]"
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Contains:
    """`operand contains part`, both texts."""

    operand: "Expression"
    part: "Expression"
    span: Span = field(default=NOWHERE, compare=False)


Arithmetics = Number | Text | Reference | Named | Negative | Arithmetic | Call | Aggregated
Expression = Arithmetics | Comparison | Between | Member | Contains

UNREADABLE: Final = Named("", Number(0.0, UNITS[""]))
"""Stands for a `let` or a parameter whose own problem is recorded; what uses it is dropped without another."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """
    One test, with the text it was written as.

    `because` is the author's sentence, with `{name}` fields; empty for the default sentence. `mark` is where it stands.
    """

    test: Expression
    text: str = field(default="", compare=False)
    because: str = field(default="", compare=False)
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class All:
    """True when every item is."""

    items: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when one item is."""

    items: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; unknown stays unknown."""

    item: "Condition"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """True when `count` items are."""

    count: int
    items: "tuple[Condition, ...]"


Condition = Leaf | All | AnyOf | Not | AtLeast


def children(node: Expression) -> tuple[Expression, ...]:
    """The expressions directly below one."""
    match node:
        case Reference() | Number() | Text():
            return ()
        case Arithmetic() | Comparison():
            return node.left, node.right
        case Named() | Aggregated():
            return (node.body,)
        case Call():
            return node.arguments
        case Negative():
            return (node.operand,)
        case Contains():
            return node.operand, node.part
        case Between():
            return node.operand, node.low, node.high
        case Member():
            return node.operand, *node.choices


def walk(node: Expression) -> Iterator[Expression]:
    """A node and all below it, in reading order."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


class Extent(NamedTuple):
    """How many nodes a tree has when its names are written out, and how deep it goes."""

    size: int
    depth: int


def extent(node: Expression, names: Mapping[str, Extent]) -> Extent:
    """The extent of a tree; `names` are the extents of what names stand for, so that none is walked twice."""
    if isinstance(node, Named):
        known = names.get(node.name, Extent(1, 1))
        return Extent(known.size + 1, known.depth + 1)
    parts = [extent(child, names) for child in children(node)]
    return Extent(1 + sum(part.size for part in parts), 1 + max((part.depth for part in parts), default=0))


def references(node: Expression) -> Iterator[Reference]:
    """Every fact an expression reads, in reading order, repeats included."""
    for part in walk(node):
        if isinstance(part, Reference):
            yield part


def leaves(condition: Condition) -> Iterator[Leaf]:
    """The tests of a condition, in reading order, repeats included."""
    match condition:
        case Leaf():
            yield condition
        case Not(item):
            yield from leaves(item)
        case All(items) | AnyOf(items) | AtLeast(_, items):
            for item in items:
                yield from leaves(item)
