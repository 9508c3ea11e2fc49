"""
Nodes into what tables and derivations give: outputs, rows and values.
"""

from typing import Final

from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.evidence import TESTS, read_test
from engram_diagnose.engine.language.expression import Expression
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import did_you_mean
from engram_diagnose.engine.language.remedies import read_setting
from engram_diagnose.engine.language.rule import Row
from engram_diagnose.engine.language.source import Mapping, Node, Scalar

_ROW: Final = (*TESTS, "else", "set", "why")


def read_output(fields: Fields, context: Context) -> dict[str, str]:
    """The one output of a derivation, under the empty name."""
    output = fields.scalar("output")
    return {"": output.text} if output is not None and _known_output(output, context) else {}


def read_outputs(fields: Fields, context: Context) -> dict[str, str]:
    """The outputs of a table: what its rows call them, and the facts they are."""
    mapping = fields.mapping("outputs")
    if mapping is not None and not mapping.values:
        context.problems.error(mapping.mark, "a table needs an output")
    found: dict[str, str] = {}
    for name, node in mapping.values.items() if mapping else ():
        if not isinstance(node, Scalar):
            context.problems.error(node.mark, f"output {name} is the name of a fact")
        elif _known_output(node, context):
            found[name] = node.text
    return found


def _known_output(node: Scalar, context: Context) -> bool:
    spec = context.spec(node.text)
    if spec is not None and spec.origin == "rules" and node.text in context.vocabulary.catalogue.facts:
        return True
    if spec is None:
        message = f"unknown fact {node.text}"
        own = (name for name, fact in context.vocabulary.catalogue.facts.items() if fact.origin == "rules")
        hint = did_you_mean(node.text, own)
    else:
        message, hint = f"{node.text} is measured, not derived", ""
    context.problems.error(
        node.mark,
        message,
        length=len(node.text),
        hint=hint or "a rule's output is a catalogue fact with `origin: rules`; a pack may add its own",
    )
    return False


def read_value(fields: Fields, context: Context) -> Expression | None:
    """The `value:` of a derivation, in the unit of its output."""
    node, output = fields.scalar("value"), fields.scalar("output")
    if node is None:
        return None
    if output is None or context.spec(output.text) is None:
        read = context.value(node)
        return read[0] if read else None
    return read_setting(node, output.text, context)


def read_rows(fields: Fields, outputs: dict[str, str], context: Context) -> tuple[Row, ...]:
    """The `rows:` of a table."""
    nodes = fields.items("rows")
    if not nodes and "rows" in fields:
        context.problems.error(fields.mark("rows"), "a table needs a row", length=len("rows"))
    declared = (
        tuple(mapping.values) if (mapping := fields.node.values.get("outputs")) and isinstance(mapping, Mapping) else ()
    )
    rows = [_row(node, declared, outputs, context, last=node is nodes[-1]) for node in nodes]
    return tuple(row for row in rows if row is not None)


def _row(node: Node, declared: tuple[str, ...], outputs: dict[str, str], context: Context, *, last: bool) -> Row | None:
    if not isinstance(node, Mapping):
        context.problems.error(node.mark, "a row is a mapping with `if:` (or `else: true`), `set:` and `why:`")
        return None
    fields = Fields(node, "the row", context.problems)
    fields.only(_ROW)
    fields.need("set", "why")
    condition, readable = None, True
    if "else" in fields:
        _check_else(fields, last=last)
    else:
        context.may_ask = True
        condition = read_test(node, "a row", context)
        context.may_ask = False
        readable = condition is not None
    mapping = fields.mapping("set")
    values = {} if mapping is None else _row_values(mapping, declared, outputs, context)
    why = context.sentence(fields, "why")
    return Row(condition, values, why) if readable else None


def _check_else(fields: Fields, *, last: bool) -> None:
    if not fields.truth("else", True):
        fields.problems.error(fields.mark("else"), "`else: false` says nothing", hint="write `else: true`", length=4)
    for key in TESTS:
        if key in fields:
            fields.problems.error(fields.mark(key), f"a row has `else:` or `{key}:`, not both", length=len(key))
    if not last:
        fields.problems.error(
            fields.mark("else"), "rows behind `else` are never reached", hint="move it to the end", length=4
        )


def _row_values(
    mapping: Mapping, declared: tuple[str, ...], outputs: dict[str, str], context: Context
) -> dict[str, Expression]:
    fields = Fields(mapping, "the row's set", context.problems)
    fields.only(declared)
    fields.need(*declared)
    found: dict[str, Expression] = {}
    for name, fact in outputs.items():
        node = fields.scalar(name)
        value = read_setting(node, fact, context) if node is not None else None
        if value is not None:
            found[name] = value
    return found
