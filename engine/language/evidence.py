"""
Nodes into evidence: single tests, and steps over one quantity.
"""

from typing import Final

from engram_diagnose.engine.language.conditions import read_condition
from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.expression import Comparison, Condition, Expression, Leaf, Span
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.rule import STRENGTHS, Evidence, Graded, Step
from engram_diagnose.engine.language.source import Mapping, Node, Scalar
from engram_diagnose.engine.language.types import Type, unit_hint

TESTS: Final = ("if", "all", "any", "not", "at_least")
"""The keys that hold a condition beside other keys."""

_PIECE: Final = (*TESTS, "seen", "absent", "group", "because")
_GRADED: Final = ("graded", "steps", "absent", "group", "because")


def read_evidence(fields: Fields, context: Context) -> tuple[Evidence | Graded, ...]:
    """The `evidence:` list of a rule."""
    found: list[Evidence | Graded] = []
    for node in fields.items("evidence"):
        if not isinstance(node, Mapping):
            context.problems.error(node.mark, "a piece of evidence is a mapping with `if:` or `graded:`")
            continue
        piece = _graded(node, context) if "graded" in node.values else _piece(node, context)
        if piece is not None:
            found.append(piece)
    return tuple(found)


def read_test(node: Mapping, what: str, context: Context, *, because: str = "") -> Condition | None:
    """The one condition that a mapping holds beside its other keys."""
    tests = [key for key in TESTS if key in node.values]
    if len(tests) != 1:
        context.problems.error(node.mark, f"{what} has one `if:` (or `all:`, `any:`, `not:`, `at_least:`)")
        return None
    key = tests[0]
    if key == "if":
        scalar = Fields(node, what, context.problems).scalar("if")
        return context.condition(scalar, because=because) if scalar else None
    inner = Mapping(node.file, node.line, node.column, {key: node.values[key]}, {key: node.keys[key]})
    return read_condition(inner, context)


def _piece(node: Mapping, context: Context) -> Evidence | None:
    fields = Fields(node, "the evidence", context.problems)
    fields.only(_PIECE)
    fields.need("seen")
    seen = fields.choice("seen", STRENGTHS[1:], "weak")
    absent = fields.choice("absent", STRENGTHS, _one_weaker(seen))
    because = context.sentence(fields, "because")
    condition = read_test(node, "a piece of evidence", context, because=because)
    if condition is None:
        return None
    return Evidence(condition, seen, absent, fields.text("group"), because, node.mark)  # type: ignore[arg-type]


def _graded(node: Mapping, context: Context) -> Graded | None:
    fields = Fields(node, "the evidence", context.problems)
    fields.only(_GRADED)
    fields.need("steps")
    because = context.sentence(fields, "because")
    written = fields.scalar("graded")
    read = context.value(written) if written is not None else None
    if written is None or read is None:
        return None
    if read[1].sort != "number":
        context.problems.error(written.mark, f"a figure is needed here, not {read[1]}", length=len(written.text))
        return None
    steps = [step for item in fields.items("steps") if (step := _step(item, written, read, context)) is not None]
    if not steps:
        return None
    steps.sort(key=lambda step: -STRENGTHS.index(step.seen))
    absent = fields.choice("absent", STRENGTHS, _one_weaker(steps[-1].seen))
    return Graded(read[0], written.text, tuple(steps), absent, fields.text("group"), because, node.mark)  # type: ignore[arg-type]


def _step(node: Node, written: Scalar, quantity: tuple[Expression, Type], context: Context) -> Step | None:
    if not isinstance(node, Mapping):
        context.problems.error(node.mark, "a step is `{above: figure, seen: strength}` or `{below: …}`")
        return None
    fields = Fields(node, "the step", context.problems)
    fields.only(("above", "below", "seen"))
    fields.need("seen")
    seen = fields.choice("seen", STRENGTHS[1:], "weak")
    keys = [key for key in ("above", "below") if key in node.values]
    if len(keys) != 1:
        context.problems.error(node.mark, "a step has either `above:` or `below:`", hint="two steps for two limits")
        return None
    limit = fields.scalar(keys[0])
    read = context.value(limit) if limit is not None else None
    if limit is None or read is None:
        return None
    if not quantity[1].goes_with(read[1]):
        message = f"{written.text} is {quantity[1]}, and this is {read[1]}"
        context.problems.error(limit.mark, message, hint=unit_hint(quantity[::-1], read[::-1]), length=len(limit.text))
        return None
    operator = ">" if keys[0] == "above" else "<"
    text = f"{_grouped(written.text)} {operator} {_grouped(limit.text)}"
    test = Comparison(operator, quantity[0], read[0], Span(0, len(text)))  # type: ignore[arg-type]
    return Step(Leaf(test, text, "", limit.mark), seen)  # type: ignore[arg-type]


def _one_weaker(seen: str) -> str:
    return STRENGTHS[max(0, STRENGTHS.index(seen) - 1)]


def _grouped(text: str) -> str:
    """In parentheses where an operator could tear it apart."""
    return f"({text})" if any(operator in text for operator in "+-*/") and not text[:1].isdigit() else text
