"""
Conditions: leaves combined by `all`, `any`, `not` and `at_least`.

    condition := text | {if: text, because: text} | {all: [condition …]} | {any: [condition …]}
               | {not: condition} | {at_least: {n: count, of: [condition …]}}
"""

from collections.abc import Iterable
from typing import Final

from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.expression import (
    All,
    AnyOf,
    AtLeast,
    Condition,
    Leaf,
    Not,
    leaves,
    references,
)
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import Problems, did_you_mean
from engram_diagnose.engine.language.source import Mapping, Node, Scalar, Sequence

_COMBINING: Final = ("all", "any", "not", "at_least")


def read_condition(node: Node, context: Context) -> Condition | None:
    """A condition, or None, with problems, when none of it can be used."""
    if isinstance(node, Scalar):
        return context.condition(node)
    if isinstance(node, Sequence):
        context.problems.error(
            node.mark,
            "a list of conditions needs a word before it",
            hint="write `all:` or `any:` above it",
        )
        return None
    if "if" in node.values:
        return _leaf(node, context)
    return _combined(node, context)


def _leaf(node: Mapping, context: Context) -> Condition | None:
    fields = Fields(node, "the condition", context.problems)
    fields.only(("if", "because"))
    test = fields.scalar("if")
    return context.condition(test, because=context.sentence(fields, "because")) if test is not None else None


def _combined(node: Mapping, context: Context) -> Condition | None:
    fields = Fields(node, "the condition", context.problems)
    if len(node.values) != 1 or next(iter(node.values)) not in _COMBINING:
        _complain(node, context.problems)
        return None
    key, inner = next(iter(node.values.items()))
    if key == "not":
        item = read_condition(inner, context)
        return None if item is None else Not(item)
    if key == "at_least":
        return _at_least(fields, context)
    if isinstance(inner, Scalar) or not fields.items(key):
        hint = "one on each line below it, behind a dash"
        context.problems.error(fields.mark(key), f"{key}: needs a list of conditions", hint=hint, length=len(key))
        return None
    items = _read_all(fields.items(key), context)
    check_siblings(key, items, inner, context.problems)
    if not items:
        return None
    return All(tuple(items)) if key == "all" else AnyOf(tuple(items))


def _complain(node: Mapping, problems: Problems) -> None:
    for key, scalar in node.keys.items():
        if key not in _COMBINING:
            hint = (
                did_you_mean(key, (*_COMBINING, "if"))
                or "a condition is a text, or `all:`, `any:`, `not:`, `at_least:`"
            )
            problems.error(
                scalar.mark,
                f"{key!r} is not a way to combine conditions",
                hint=hint,
                length=len(key),
            )
            return
    problems.error(
        node.mark,
        "two ways to combine conditions at one place",
        hint="nest one in the other, in a list",
    )


def _at_least(fields: Fields, context: Context) -> Condition | None:
    inner = fields.mapping("at_least")
    if inner is None:
        return None
    parts = Fields(inner, "at_least", context.problems)
    parts.only(("n", "of"))
    parts.need("n", "of")
    count = parts.integer("n", 1)
    items = _read_all(parts.items("of"), context)
    if not 1 <= count <= max(1, len(parts.items("of"))):
        context.problems.error(parts.mark("n"), f"{count} of {len(items)} can never be told",
                               hint="n lies between 1 and the number of conditions")  # fmt: skip
    return AtLeast(count, tuple(items)) if items else None


def _read_all(nodes: Iterable[Node], context: Context) -> list[Condition]:
    return [item for item in (read_condition(node, context) for node in nodes) if item is not None]


def check_siblings(key: str, items: list[Condition], node: Node, problems: Problems) -> None:
    """Say when a condition stands twice in one list."""
    seen: set[Condition] = set()
    for position, item in enumerate(items):
        if item in seen and isinstance(node, Sequence) and len(node.items) == len(items):
            text = item.text if isinstance(item, Leaf) else key
            problems.error(node.items[position].mark, "this condition stands twice in the list",
                           hint="remove one", length=len(text))  # fmt: skip
        seen.add(item)


def gate_facts(condition: Condition | None) -> frozenset[str]:
    """The names of the facts a condition reads."""
    if condition is None:
        return frozenset()
    return frozenset(ref.name for leaf in leaves(condition) for ref in references(leaf.test))
