"""
Nodes into the catalogue: facts, parameters, targets and dialects.
"""

import re
from collections.abc import Mapping as Table
from math import inf
from typing import Final

from engram_diagnose.engine.facts.catalogue import (
    TARGET_SETS,
    FactSpec,
    ParameterSpec,
    TargetSpec,
)
from engram_diagnose.engine.facts.scope import DIMENSIONS, INSTANCE, Scope, scope_of
from engram_diagnose.engine.facts.unit import UNITS, Quantity, Unit
from engram_diagnose.engine.language.fields import Fields, read_quantity
from engram_diagnose.engine.language.problem import Problems, did_you_mean
from engram_diagnose.engine.language.source import Mapping, Scalar, Sequence
from engram_diagnose.engine.language.types import labels_hint
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX

KINDS: Final = ("number", "bool", "text")
NOTHING: Final = ("null", "~", "")
"""How a file says that there is no figure."""

_FACT_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+(?:-[a-z0-9_]+)*)+")
RESTARTS: Final = ("reload", "restart", "reindex", "host")
_FACT_KEYS: Final = (
    "unit",
    "kind",
    "type",
    "scope",
    "history",
    "counter",
    "fixed",
    "range",
    "values",
    "origin",
    "source",
    "raw",
    "doc",
    "get_by",
    "prometheus",
    "prometheus_label",
)
_FROM_FILE: Final = (
    "config",
    "the server's configuration file",
    "engram-diagnose run --config FILE, with the file the server was started with",
)
_FROM_HOST: Final = ("host", "a setting of the machine", "engram-diagnose run on the server's host")
"""Origin, source and the way to get the value in effect."""
_PARAMETER_KEYS: Final = (
    "title",
    "unit",
    "kind",
    "range",
    "values",
    "formula",
    "never_lower",
    "budget",
    "command",
    "serves",
    "restart",
    "effects",
    "tradeoff",
    "doc",
    "scope",
)


def read_facts(node: Mapping, problems: Problems) -> dict[str, FactSpec]:
    """The `facts:` mapping of a catalogue file or a pack."""
    found = {}
    for name, entry in node.values.items():
        if not isinstance(entry, Mapping):
            problems.error(node.key_mark(name), f"fact {name} needs `unit:`, `doc:` and more", length=len(name))
            continue
        if not _FACT_NAME.fullmatch(name) or name.startswith(TARGET_PREFIX):
            problems.error(node.key_mark(name), f"{name} is not a fact's name", length=len(name),
                           hint="lower case, with at least one dot: subsystem.figure")  # fmt: skip
        found[name] = _fact(name, entry, problems)
    return found


def _fact(name: str, node: Mapping, problems: Problems) -> FactSpec:
    fields = Fields(node, f"fact {name}", problems)
    fields.only(_FACT_KEYS)
    kind = _kind(fields)
    unit = read_unit(fields) if kind == "number" else UNITS[""]
    low, high = _range(fields, kind, unit)
    return FactSpec(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        unit=unit,
        doc=fields.text("doc"),
        scope=read_labels(fields),
        history=fields.truth("history", "prometheus" in fields),
        counter=fields.truth("counter", False),
        fixed=fields.truth("fixed", False),
        low=low,
        high=high,
        values=fields.texts("values"),
        origin=fields.text("origin", "prometheus" if "prometheus" in fields or "prometheus_label" in fields else ""),
        source=fields.text("source"),
        get_by=fields.text("get_by"),
        raw=fields.text("raw"),
    )


def _kind(fields: Fields) -> str:
    if "values" in fields and "kind" not in fields and "type" not in fields:
        return "text"
    if fields.text("type") == "enum":
        return "text"
    return fields.choice("kind" if "kind" in fields else "type", KINDS, "number")


def read_unit(fields: Fields) -> Unit:
    node = fields.scalar("unit")
    if node is None:
        fields.need("unit")
        return UNITS[""]
    if node.text not in UNITS:
        hint = did_you_mean(node.text, UNITS) or f"known: {', '.join(unit for unit in UNITS if unit)}"
        fields.problems.error(node.mark, f"{node.text!r} is not a unit", hint=hint, length=len(node.text))
        return UNITS[""]
    return UNITS[node.text]


def read_labels(fields: Fields) -> tuple[str, ...]:
    for node in fields.scalars("scope"):
        if node.text not in DIMENSIONS:
            fields.problems.error(node.mark, f"{node.text!r} is not a scope", length=len(node.text),
                                  hint=f"known: {', '.join(DIMENSIONS)}")  # fmt: skip
    found = {node.text for node in fields.scalars("scope")}
    return tuple(label for label in DIMENSIONS if label in found)


def _range(fields: Fields, kind: str, unit: Unit) -> tuple[float, float]:
    if kind == "bool":
        return 0.0, 1.0
    ends = fields.scalars("range")
    if "range" not in fields:
        return -inf, inf
    if len(ends) != 2:
        fields.problems.error(fields.mark("range"), "range is [low, high], with null for none", length=len("range"))
        return -inf, inf
    low, high = _end(ends[0], unit, fields.problems), _end(ends[1], unit, fields.problems)
    low, high = (-inf if low is None else low), (inf if high is None else high)
    if low > high:
        fields.problems.error(fields.mark("range"), "the range ends before it begins", length=len("range"))
        return -inf, inf
    return low, high


def _end(node: Scalar, unit: Unit, problems: Problems) -> float | None:
    """In base units where it is a bare number."""
    quantity = None if node.text in NOTHING else read_quantity(node, problems)
    if quantity is None:
        return None
    if quantity.unit.symbol and quantity.unit.dimension != unit.dimension:
        problems.error(
            node.mark, f"the range of {unit.dimension} is not {quantity.unit.dimension}", length=len(node.text)
        )
        return None
    return quantity.value


def read_parameters(node: Mapping, problems: Problems) -> dict[str, ParameterSpec]:
    """The `parameters:` mapping."""
    found = {}
    for name, entry in node.values.items():
        if not isinstance(entry, Mapping):
            problems.error(
                node.key_mark(name),
                f"parameter {name} needs `unit:`, `doc:` and more",
                length=len(name),
            )
            continue
        found[name] = _parameter(name, entry, problems)
    return found


def _parameter(name: str, node: Mapping, problems: Problems) -> ParameterSpec:
    fields = Fields(node, f"parameter {name}", problems)
    fields.only(_PARAMETER_KEYS)
    fields.need("title", "doc", "restart")
    kind = _kind(fields)
    unit = read_unit(fields) if kind == "number" else UNITS[""]
    low, high = _range(fields, kind, unit)
    return ParameterSpec(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        unit=unit,
        doc=fields.text("doc"),
        low=low,
        high=high,
        values=fields.texts("values"),
        restart=fields.choice("restart", RESTARTS, "restart"),
        effects=_effects(fields),
        tradeoff=fields.text("tradeoff"),
        title=fields.text("title"),
        formula=fields.text("formula"),
        never_lower=fields.truth("never_lower", False),
        budget=fields.truth("budget", False),
        command=fields.text("command"),
        serves=fields.text("serves"),
    )


def _effects(fields: Fields) -> dict[str, str]:
    mapping = fields.mapping("effects")
    found = {}
    for target, node in mapping.values.items() if mapping else ():
        if not isinstance(node, Scalar) or node.text not in ("+", "-"):
            fields.problems.error(
                node.mark,
                f'the effect on {target} is "+" or "-"',
                hint="+ raises the figure, - lowers it",
            )
        else:
            found[target] = node.text
    return found


def check_formulas(
    node: Mapping, parameters: Table[str, ParameterSpec], facts: Table[str, FactSpec], problems: Problems
) -> None:
    """Complain about every formula of the `parameters:` mapping that is no derived fact of the parameter's own kind."""
    for name, entry in node.values.items():
        formula = entry.values.get("formula") if isinstance(entry, Mapping) else None
        if isinstance(formula, Scalar) and name in parameters:
            _check_formula(formula, parameters[name], facts, problems)


def _check_formula(node: Scalar, parameter: ParameterSpec, facts: Table[str, FactSpec], problems: Problems) -> None:
    spec = facts.get(node.text)
    if spec is None or spec.origin != "rules":
        derived = [name for name, fact in facts.items() if fact.origin == "rules"]
        hint = did_you_mean(node.text, derived) or "a formula is the output of a table or a derivation"
        what = f"unknown fact {node.text}" if spec is None else f"{node.text} is measured, not derived"
        problems.error(node.mark, what, length=len(node.text), hint=hint)
    elif (spec.kind, spec.unit.dimension) != (parameter.kind, parameter.unit.dimension):
        message = f"{parameter.name} is {_kind_words(parameter)}, and {spec.name} is {_kind_words(spec)}"
        problems.error(node.mark, message, length=len(node.text), hint="a formula has the unit of what it sizes")
    elif parameter.values and not set(spec.values) <= set(parameter.values):
        strange = ", ".join(sorted(set(spec.values) - set(parameter.values))) or "any text"
        message = f"{spec.name} may be {strange}, which {parameter.name} never is"
        problems.error(node.mark, message, length=len(node.text), hint=f"it is one of {', '.join(parameter.values)}")


def _kind_words(spec: FactSpec | ParameterSpec) -> str:
    words = {"bool": "true or false", "text": "a text"}
    return words.get(spec.kind) or str(spec.unit.dimension)


def parameter_fact(parameter: ParameterSpec) -> FactSpec:
    """The fact that a parameter's value in effect is."""
    origin, source, get_by = _FROM_HOST if parameter.restart == "host" else _FROM_FILE
    return FactSpec(
        parameter.name,
        parameter.kind,
        parameter.unit,
        parameter.doc,
        low=parameter.low,
        high=parameter.high,
        values=parameter.values,
        origin=origin,
        source=source,
        get_by=get_by,
        raw=parameter.name,
    )


def read_targets(node: Sequence, problems: Problems, facts: Table[str, FactSpec] | None = None) -> list[TargetSpec]:
    """The `targets:` list of the catalogue; with `facts`, each must be one, in its unit and with its labels."""
    found = []
    for item in node.items:
        if not isinstance(item, Mapping):
            problems.error(item.mark, "a target is a mapping with `name:`")
            continue
        fields = Fields(item, "the target", problems)
        fields.only(("name", "labels", "better", "doc", *TARGET_SETS))
        fields.need("name", "better", "doc")
        figures = {key: _target_figure(fields, key) for key in TARGET_SETS}
        better = fields.choice("better", ("lower", "higher"), "lower")
        target = TargetSpec(fields.text("name"), _scope(fields), better, fields.text("doc"), **figures)  # type: ignore[arg-type]
        if facts is not None:
            _check_target(target, fields, facts)
        found.append(target)
    return found


def _target_figure(fields: Fields, key: str) -> float | None:
    node = fields.scalar(key)
    quantity = None if node is None or node.text in NOTHING else read_quantity(node, fields.problems)
    return quantity.value if quantity else None


def _check_target(target: TargetSpec, fields: Fields, facts: Table[str, FactSpec]) -> None:
    spec = facts.get(target.name)
    if spec is None:
        hint = did_you_mean(target.name, facts)
        fields.problems.error(fields.node.mark, f"unknown fact {target.name}", hint=hint)
        return
    for label, _ in target.scope.labels:
        if label not in spec.scope:
            hint = labels_hint(spec)
            fields.problems.error(fields.mark("labels"), f"{spec.name} has no label {label}", hint=hint)
    for key in TARGET_SETS:
        node = fields.scalar(key)
        quantity = None if node is None or node.text in NOTHING else read_quantity(node, fields.problems)
        if node is not None and quantity is not None and not _fits(quantity, spec):
            message = f"{spec.name} is {spec.unit.dimension}, not {quantity.unit.dimension}"
            fields.problems.error(node.mark, message, length=len(node.text))


def _fits(quantity: Quantity, spec: FactSpec) -> bool:
    return quantity.value == 0 or quantity.unit.dimension == spec.unit.dimension


def _scope(fields: Fields) -> Scope:
    try:
        return scope_of(read_words(fields, "labels"))
    except ValueError as error:
        fields.problems.error(fields.mark("labels"), str(error))
        return INSTANCE


def read_words(fields: Fields, key: str) -> dict[str, str]:
    mapping = fields.mapping(key)
    found = {}
    for name, node in mapping.values.items() if mapping else ():
        if isinstance(node, Scalar):
            found[name] = node.text
        else:
            fields.problems.error(node.mark, f"{name} takes a word")
    return found
