"""
What an expression reads in a scope: its own facts, and inside aggregates those of narrower scopes.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.expression import (
    Aggregated,
    Condition,
    Expression,
    Reference,
    children,
    leaves,
    references,
)

Read = Reference | Aggregated
"""A fact read in the rule's own scope, or an aggregate, whose facts stand in narrower ones."""

_OWN: Final[Mapping[str, str]] = MappingProxyType({})


def reads_of(expressions: Iterable[Expression]) -> tuple[Read, ...]:
    """What expressions read, each once, in reading order; an aggregate stays whole."""
    return tuple(dict.fromkeys(read for expression in expressions for read in _reads(expression)))


def reads_of_condition(condition: Condition | None) -> tuple[Read, ...]:
    """What the tests of a condition read, each once, in reading order."""
    return () if condition is None else reads_of(leaf.test for leaf in leaves(condition))


def _reads(node: Expression) -> Iterator[Read]:
    if isinstance(node, Reference | Aggregated):
        yield node
        return
    for child in children(node):
        yield from _reads(child)


def facts_read(
    reads: Iterable[Expression], seen: Seen, narrowed: Mapping[str, str] = _OWN
) -> Iterator[tuple[Reference, Fact | None]]:
    """
    The facts that expressions read in a scope, with the references that lead to them from that scope.

    An aggregate gives the facts of every scope it ranges over, their references narrowed to it; where it ranges over
    none, what the scope itself says of them. None stands for what nothing is said of. `narrowed` are labels that
    `seen` carries already and the references are to name.
    """
    for node in reads:
        if isinstance(node, Reference):
            labels = scope_of({**narrowed, **dict(node.labels)}).labels if narrowed else node.labels
            yield Reference(node.name, labels, node.span), seen.fact(node)
        elif isinstance(node, Aggregated):
            yield from _facts_inside(node, seen, narrowed)
        else:
            yield from facts_read(children(node), seen, narrowed)


def ranges_over(node: Aggregated, seen: Seen) -> list[Seen]:
    """The scopes an aggregate ranges over, in the order of their label."""
    return seen.narrower(node.dimension, frozenset(reference.name for reference in references(node.body)))


def _facts_inside(node: Aggregated, seen: Seen, narrowed: Mapping[str, str]) -> Iterator[tuple[Reference, Fact | None]]:
    inside = ranges_over(node, seen)
    if not inside:
        yield from facts_read(references(node.body), seen, narrowed)
    for narrower in inside:
        label = narrower.scope.get(node.dimension) or ""
        yield from facts_read((node.body,), narrower, {**narrowed, node.dimension: label})
