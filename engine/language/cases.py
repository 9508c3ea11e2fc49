"""
A rule's own tests: one set of given facts, and cases as changes to it.
"""

import re
from typing import Final

from engram_diagnose.engine.facts.catalogue import FactSpec
from engram_diagnose.engine.facts.fact import Value, point
from engram_diagnose.engine.facts.unit import NUMBER, RATE
from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.fields import Fields, read_quantity
from engram_diagnose.engine.language.problem import did_you_mean
from engram_diagnose.engine.language.rule import Case, Given, Outcome
from engram_diagnose.engine.language.source import Mapping, Node, Scalar
from engram_diagnose.engine.language.types import bounds_text

OUTCOMES: Final = ("fires", "refuted", "unknown", "not-applicable")
_BOUND: Final = re.compile(r"(>=|<=|>|<|==)\s*(\d+(?:\.\d+)?)\s*%")


def read_given(fields: Fields, key: str, context: Context) -> tuple[Given, ...]:
    """A mapping of facts to values."""
    mapping = fields.mapping(key)
    found = []
    for name, node in mapping.values.items() if mapping else ():
        given = _given(mapping.keys[name], node, context) if mapping else None
        if given is not None:
            found.append(given)
    return tuple(found)


def _given(key: Scalar, node: Node, context: Context) -> Given | None:
    reference = context.reference(key)
    if reference is None:
        return None
    if not isinstance(node, Scalar):
        context.problems.error(node.mark, f"{key.text} takes one value")
        return None
    value = read_fact_value(node, reference.name, context)
    return None if value is None else Given(reference, value)


def read_fact_value(node: Scalar, name: str, context: Context) -> Value | None:
    """
    The value of a fact as a test writes it: a figure with its unit, `low .. high`, true, false or a text.

    A bare number is fine for a plain number and a rate; a time or a size needs its unit.
    """
    spec = context.spec(name)
    if spec is None:
        return None
    if spec.kind == "text":
        return _text(node, spec, context)
    if spec.kind == "bool":
        if node.text in ("true", "false"):
            return point(float(node.text == "true"))
        context.problems.error(node.mark, f"{name} is true or false, not {node.text!r}", length=len(node.text))
        return None
    if ".." not in node.text:
        figure = _figure(node, spec, context)
        return None if figure is None else (figure, figure)
    return _interval(node, spec, context)


def _text(node: Scalar, spec: FactSpec, context: Context) -> str | None:
    if spec.values and node.text not in spec.values:
        hint = did_you_mean(node.text, spec.values) or f"it is one of {', '.join(spec.values)}"
        context.problems.error(node.mark, f"{spec.name} is never {node.text!r}", hint=hint, length=len(node.text))
        return None
    return node.text


def _interval(node: Scalar, spec: FactSpec, context: Context) -> Value | None:
    ends = node.text.split("..")
    figures = [
        _figure(Scalar(end.strip(), node.file, node.line, node.column, node.quoted), spec, context) for end in ends
    ]
    if len(figures) != 2:
        context.problems.error(node.mark, f"{node.text!r} is not `low .. high`", length=len(node.text))
        return None
    low, high = figures
    if low is None or high is None:
        return None
    if low > high:
        context.problems.error(node.mark, "the interval ends before it begins", length=len(node.text))
        return None
    return low, high


def _figure(node: Scalar, spec: FactSpec, context: Context) -> float | None:
    quantity = read_quantity(node, context.problems)
    if quantity is None:
        return None
    bare = quantity.unit.dimension == NUMBER and not quantity.unit.symbol
    fits = quantity.unit.dimension == spec.unit.dimension
    if not fits and not (bare and (spec.unit.dimension == RATE or quantity.value == 0)):
        context.problems.error(node.mark, f"{spec.name} is {spec.unit.dimension}, not {quantity.unit.dimension}",
                               hint="give it a unit" if bare else "", length=len(node.text))  # fmt: skip
        return None
    # The range of a setting bounds what advice may set; a configuration file may hold anything.
    if not spec.low <= quantity.value <= spec.high and spec.origin != "config":
        context.problems.error(node.mark, f"{spec.name} is never {node.text}", length=len(node.text),
                               hint=f"it goes from {bounds_text(spec)}")  # fmt: skip
        return None
    return quantity.value


def read_cases(fields: Fields, context: Context) -> tuple[Case, ...]:
    """The `tests:` list of a rule."""
    found = []
    for node in fields.items("tests"):
        if isinstance(node, Scalar):
            found.append(Case(node.mark, _outcome(node, context)))
        elif isinstance(node, Mapping):
            found.append(_case(node, context))
        else:
            context.problems.error(node.mark, "a test is `fires`, or a mapping with `expect:`")
    return tuple(found)


def _outcome(node: Scalar, context: Context) -> Outcome:
    if node.text not in OUTCOMES:
        context.problems.error(node.mark, f"a test never expects {node.text!r}", length=len(node.text),
                               hint=f"it is one of {', '.join(OUTCOMES)}")  # fmt: skip
        return "fires"
    return node.text  # type: ignore[return-value]


def _case(node: Mapping, context: Context) -> Case:
    fields = Fields(node, "the test", context.problems)
    fields.only(("change", "drop", "expect", "confidence", "impact", "missing", "derived", "advice"))
    fields.need("expect")
    expect = fields.scalar("expect")
    return Case(
        mark=node.mark,
        expect=_outcome(expect, context) if expect is not None else "fires",
        change=read_given(fields, "change", context),
        drop=tuple(ref for item in fields.scalars("drop") if (ref := context.reference(item)) is not None),
        confidence=_bound(fields, "confidence"),
        impact=_bound(fields, "impact"),
        missing=fields.texts("missing") if "missing" in fields else None,
        derived=read_given(fields, "derived", context),
        advice=_advice(fields, context),
    )


def _bound(fields: Fields, key: str) -> tuple[str, float] | None:
    node = fields.scalar(key)
    if node is None:
        return None
    match = _BOUND.fullmatch(node.text.strip())
    if match is None:
        fields.problems.error(
            node.mark,
            f"{key} is a bound such as '>= 80%', not {node.text!r}",
            length=len(node.text),
        )
        return None
    return match.group(1), float(match.group(2)) / 100


def _advice(fields: Fields, context: Context) -> tuple[tuple[str, Value], ...]:
    return tuple((given.reference.name, given.value) for given in read_given(fields, "advice", context))
