"""
What a rule recommends: settings with expressions, or something to investigate.
"""

from engram_diagnose.engine.facts.catalogue import FactSpec
from engram_diagnose.engine.language.conditions import read_condition
from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.expression import Expression, Number, Reference, Text
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import did_you_mean
from engram_diagnose.engine.language.rule import WHENS, Recommendation, Setting, Verification
from engram_diagnose.engine.language.source import Mapping, Node, Scalar
from engram_diagnose.engine.language.templates import facts_in_command
from engram_diagnose.engine.language.types import Type, bounds_text, unit_hint


def read_recommendations(fields: Fields, context: Context) -> tuple[Recommendation, ...]:
    """The `recommend:` list of a rule."""
    found = []
    for node in fields.items("recommend"):
        if not isinstance(node, Mapping):
            context.problems.error(node.mark, "a recommendation is a mapping with `set:` or `investigate:`")
            continue
        recommendation = _recommendation(node, context)
        if recommendation is not None:
            found.append(recommendation)
    return tuple(found)


def _recommendation(node: Mapping, context: Context) -> Recommendation | None:
    fields = Fields(node, "the recommendation", context.problems)
    fields.only(("set", "investigate", "commands", "when", "tradeoff", "because", "verify", "if"))
    if ("set" in fields) == ("investigate" in fields):
        context.problems.error(node.mark, "a recommendation has either `set:` or `investigate:`")
        return None
    condition = read_condition(node.values["if"], context) if "if" in fields else None
    return Recommendation(
        settings=_settings(fields, context),
        investigate=fields.text("investigate"),
        commands=_commands(fields, context),
        when=fields.choice("when", WHENS, "planned"),
        tradeoff=fields.text("tradeoff"),
        because=context.sentence(fields, "because"),
        condition=condition,
        verify=_verification(fields, context),
    )


def _settings(fields: Fields, context: Context) -> tuple[Setting, ...]:
    mapping = fields.mapping("set")
    if mapping is not None and not mapping.values:
        context.problems.error(mapping.mark, "`set:` needs a parameter and its value")
    found = []
    for name, node in mapping.values.items() if mapping else ():
        setting = _setting(name, node, mapping.keys[name], context) if mapping else None
        if setting is not None:
            found.append(setting)
    return tuple(found)


def _commands(fields: Fields, context: Context) -> tuple[str, ...]:
    for node in fields.scalars("commands"):
        for name in facts_in_command(node.text):
            if context.spec(name) is None:
                mark = node.mark.after(node.text.find(name)) if node.single_line else node.mark
                hint = "`{fact.name}` in a command is replaced by the fact's value"
                context.problems.warning(mark, f"there is no fact {name}", hint=hint, length=len(name))
    return fields.texts("commands")


def _setting(name: str, node: Node, key: Scalar, context: Context) -> Setting | None:
    if name not in context.vocabulary.catalogue.parameters:
        known = context.vocabulary.catalogue.parameters
        context.problems.error(
            key.mark,
            f"{name} is not a parameter",
            length=len(name),
            hint=did_you_mean(name, known) or "parameters stand in rules/catalogue/parameters.yaml",
        )
        return None
    if not isinstance(node, Scalar):
        context.problems.error(node.mark, f"{name} takes one value")
        return None
    value = read_setting(node, name, context.with_current(name))
    return None if value is None else Setting(name, value, node.text, node.mark)


def read_setting(node: Scalar, name: str, context: Context) -> Expression | None:
    """
    The value for a fact: an expression in its unit, true or false, or one of its texts.

    A text that is the name of a text fact stands for that fact.
    """
    spec = context.spec(name)
    if spec is None:
        return None
    if spec.kind == "text":
        return _text_setting(node, spec, context)
    read = context.value(node)
    if read is None:
        return None
    expression, kind = read
    wanted = Type(spec.kind, spec.unit.dimension) if spec.kind == "number" else Type("bool")
    if not wanted.goes_with(kind):
        hint = unit_hint((wanted, Reference(name)), (kind, expression))
        context.problems.error(node.mark, f"{name} is {wanted}, and this is {kind}", hint=hint, length=len(node.text))
        return None
    if isinstance(expression, Number) and not spec.low <= expression.value <= spec.high:
        context.problems.error(node.mark, f"{node.text} lies outside {name}'s bounds", length=len(node.text),
                               hint=f"it goes from {bounds_text(spec)}")  # fmt: skip
        return None
    return expression


def _text_setting(node: Scalar, spec: FactSpec, context: Context) -> Expression | None:
    other = context.spec(node.text) if "." in node.text else None
    if other is not None and other.kind == "text" and not node.quoted:
        return Reference(node.text)
    if spec.values and node.text not in spec.values:
        hint = did_you_mean(node.text, spec.values) or f"it is one of {', '.join(spec.values)}"
        context.problems.error(node.mark, f"{spec.name} is never {node.text!r}", hint=hint, length=len(node.text))
        return None
    return Text(node.text)


def _verification(fields: Fields, context: Context) -> Verification | None:
    mapping = fields.mapping("verify")
    if mapping is None:
        return None
    parts = Fields(mapping, "verify", context.problems)
    parts.only(("after", "expect"))
    parts.need("after", "expect")
    after = parts.quantity("after")
    expect = read_condition(mapping.values["expect"], context) if "expect" in parts else None
    return Verification(after.value, expect) if after and expect else None
