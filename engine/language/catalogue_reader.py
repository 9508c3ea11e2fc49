"""
Nodes into the catalogue: facts, parameters, targets and dialects.
"""

from dataclasses import replace
from typing import Final

from engram_diagnose.engine.facts.catalogue import (
    TARGET_SETS,
    ConfigKey,
    Dialect,
    FactSpec,
    ParameterSpec,
    Source,
    TargetSpec,
)
from engram_diagnose.engine.facts.scope import DIMENSIONS, INSTANCE, Scope, scope_of
from engram_diagnose.engine.facts.unit import NUMBER, UNITS, Unit
from engram_diagnose.engine.language.fields import Fields, read_quantity
from engram_diagnose.engine.language.tokens import ExpressionError
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.engine.language.problem import Problems, did_you_mean
from engram_diagnose.engine.language.source import Mapping, Scalar, Sequence

KINDS: Final = ("number", "bool", "text")
RESTARTS: Final = ("reload", "restart", "reindex", "host")
_FACT_KEYS: Final = ("unit", "kind", "type", "scope", "history", "counter", "range", "values", "origin", "source", "raw",
                     "doc", "get_by", "prometheus", "prometheus_label")  # fmt: skip
_PARAMETER_KEYS: Final = (
    "unit",
    "kind",
    "range",
    "values",
    "restart",
    "effects",
    "tradeoff",
    "doc",
    "scope",
)
_SOURCE_KEYS: Final = (
    "promql",
    "counter",
    "json",
    "http",
    "labels",
    "values",
    "factor",
    "invented",
    "proxy_of",
    "note",
)


def read_facts(node: Mapping, problems: Problems) -> dict[str, FactSpec]:
    """The `facts:` mapping of a catalogue file or a pack."""
    found = {}
    for name, entry in node.values.items():
        if not isinstance(entry, Mapping):
            problems.error(node.key_mark(name), f"fact {name} needs `unit:`, `doc:` and more", length=len(name))
            continue
        if "." not in name or name != name.lower():
            problems.error(node.key_mark(name), f"{name} is not a fact's name", length=len(name),
                           hint="lower case, with at least one dot: subsystem.figure")  # fmt: skip
        found[name] = _fact(name, entry, problems)
    return found


def _fact(name: str, node: Mapping, problems: Problems) -> FactSpec:
    fields = Fields(node, f"fact {name}", problems)
    fields.only(_FACT_KEYS)
    kind = _kind(fields)
    low, high = _range(fields, kind)
    return FactSpec(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        unit=_unit(fields) if kind == "number" else UNITS[""],
        doc=fields.text("doc"),
        scope=_labels(fields),
        history=fields.truth("history", "prometheus" in fields),
        counter=fields.truth("counter", False),
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


def _unit(fields: Fields) -> Unit:
    node = fields.scalar("unit")
    if node is None:
        fields.need("unit")
        return UNITS[""]
    if node.text not in UNITS:
        hint = did_you_mean(node.text, UNITS) or f"known: {', '.join(unit for unit in UNITS if unit)}"
        fields.problems.error(node.mark, f"{node.text!r} is not a unit", hint=hint, length=len(node.text))
        return UNITS[""]
    return UNITS[node.text]


def _labels(fields: Fields) -> tuple[str, ...]:
    for node in fields.scalars("scope"):
        if node.text not in DIMENSIONS:
            fields.problems.error(node.mark, f"{node.text!r} is not a scope", length=len(node.text),
                                  hint=f"known: {', '.join(DIMENSIONS)}")  # fmt: skip
    found = {node.text for node in fields.scalars("scope")}
    return tuple(label for label in DIMENSIONS if label in found)


def _range(fields: Fields, kind: str) -> tuple[float, float]:
    if kind == "bool":
        return 0.0, 1.0
    ends = fields.scalars("range")
    if "range" not in fields:
        return float("-inf"), float("inf")
    if len(ends) != 2:
        fields.problems.error(fields.mark("range"), "range is [low, high], with null for none")
        return float("-inf"), float("inf")
    low, high = (_end(node, fields.problems) for node in ends)
    return (float("-inf") if low is None else low), (float("inf") if high is None else high)


def _end(node: Scalar, problems: Problems) -> float | None:
    if node.text in ("null", "~", ""):
        return None
    quantity = read_quantity(node, problems)
    return None if quantity is None else quantity.value


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
    fields.need("doc", "restart")
    kind = _kind(fields)
    low, high = _range(fields, kind)
    return ParameterSpec(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        unit=_unit(fields) if kind == "number" else UNITS[""],
        doc=fields.text("doc"),
        low=low,
        high=high,
        values=fields.texts("values"),
        restart=fields.choice("restart", RESTARTS, "restart"),
        effects=_effects(fields),
        tradeoff=fields.text("tradeoff"),
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


def parameter_fact(parameter: ParameterSpec) -> FactSpec:
    """The fact that a parameter's value in effect is."""
    return FactSpec(parameter.name, parameter.kind, parameter.unit, parameter.doc, low=parameter.low, high=parameter.high,
                    values=parameter.values, origin="config", source="the server's configuration file",
                    get_by="engram-diagnose run --config FILE, with the file the server was started with",
                    raw=parameter.name)  # fmt: skip


def read_targets(node: Sequence, problems: Problems) -> list[TargetSpec]:
    """The `targets:` list of the catalogue."""
    found = []
    for item in node.items:
        if not isinstance(item, Mapping):
            problems.error(item.mark, "a target is a mapping with `name:`")
            continue
        fields = Fields(item, "the target", problems)
        fields.only(("name", "labels", "better", "doc", *TARGET_SETS))
        fields.need("name", "better", "doc")
        figures = {key: quantity.value if (quantity := fields.quantity(key)) else None for key in TARGET_SETS
                   if fields.scalar(key) is None or fields.node.values[key].text != "null"}  # type: ignore[union-attr] # fmt: skip
        found.append(TargetSpec(fields.text("name"), _scope(fields), fields.choice("better", ("lower", "higher"), "lower"),  # type: ignore[arg-type]
                                fields.text("doc"), **figures))  # fmt: skip
    return found


def _scope(fields: Fields) -> Scope:
    try:
        return scope_of(_texts_of(fields, "labels"))
    except ValueError as error:
        fields.problems.error(fields.mark("labels"), str(error))
        return INSTANCE


def _texts_of(fields: Fields, key: str) -> dict[str, str]:
    mapping = fields.mapping(key)
    found = {}
    for name, node in mapping.values.items() if mapping else ():
        if isinstance(node, Scalar):
            found[name] = node.text
        else:
            fields.problems.error(node.mark, f"{name} takes a word")
    return found


def read_dialect(root: Mapping, problems: Problems) -> Dialect:
    """One file of `rules/dialects/`."""
    fields = Fields(root, "the dialect", problems)
    fields.only(("schema", "dialect", "title", "default_port", "metrics", "detect", "facts", "config"))
    fields.need("dialect", "facts")
    metrics = Fields(fields.mapping("metrics") or Mapping(root.file, 1, 1), "metrics", problems)
    config = Fields(fields.mapping("config") or Mapping(root.file, 1, 1), "config", problems)
    config.only(("files", "keys", "known"))
    facts = fields.mapping("facts")
    keys = config.mapping("keys")
    sources = {name: source for name, node in (facts.values if facts else {}).items()
               if isinstance(node, Mapping) and (source := _source(name, node, problems))}  # fmt: skip
    return Dialect(
        name=fields.text("dialect"),
        title=fields.text("title"),
        detect=fields.texts("detect"),
        metrics_path=metrics.text("path", "/metrics"),
        metrics_format=metrics.choice("format", ("prometheus", "engram-json"), "prometheus"),  # type: ignore[arg-type]
        config_files=config.texts("files"),
        sources=sources,
        keys={
            name: _key(name, node, problems)
            for name, node in (keys.values if keys else {}).items()
            if isinstance(node, Mapping)
        },
        known_keys=config.texts("known"),
        default_port=fields.integer("default_port", 0),
    )


def _source(name: str, node: Mapping, problems: Problems) -> Source | None:
    fields = Fields(node, f"the source of {name}", problems)
    fields.only(_SOURCE_KEYS)
    ways = [way for way in ("promql", "counter", "json", "http") if way in fields]
    if not ways:
        problems.error(node.mark, f"{name} needs a source: promql, counter, json or http")
        return None
    factor = fields.quantity("factor")
    try:
        reference = parse_reference(name)
    except ExpressionError as error:
        problems.error(node.mark, f"{name}: {error}", hint=error.hint)
        return None
    return Source(fact=reference.name, scope=scope_of(dict(reference.labels)), promql=fields.text("promql"), counter=fields.text("counter"), json=fields.text("json"),
                  http=fields.text("http"), labels=_texts_of(fields, "labels"), values=_texts_of(fields, "values"),
                  factor=factor.value if factor else 1.0, proxy_of=fields.text("proxy_of"), invented=fields.truth("invented", False))  # fmt: skip


def pack_source(name: str, node: Mapping, problems: Problems) -> Source | None:
    """The source a pack gives for a fact of its own: `prometheus:` or `prometheus_label: {series, label}`."""
    fields = Fields(node, f"fact {name}", problems)
    if "prometheus" in fields:
        return Source(
            name,
            promql=fields.text("prometheus"),
            labels={label: label for label in _labels(fields)},
        )
    mapping = fields.mapping("prometheus_label")
    if mapping is None:
        return None
    parts = Fields(mapping, "prometheus_label", problems)
    parts.only(("series", "label"))
    parts.need("series", "label")
    return Source(name, promql=parts.text("series"), text_label=parts.text("label"))


def _key(name: str, node: Mapping, problems: Problems) -> ConfigKey:
    fields = Fields(node, f"the key of {name}", problems)
    fields.only(("key", "unit", "default", "aliases", "note", "invented"))
    fields.need("key")
    default = fields.scalar("default")
    value: float | str | None = None
    if default is not None and default.text not in ("null", "~"):
        value = _default(default)
    unit = _unit(fields) if "unit" in fields else Unit("", NUMBER)
    key = fields.text("key")
    # A built-in constant has a value and no key.
    return ConfigKey(name, "" if key == "null" else key, unit, value, fields.texts("aliases"))


def _default(node: Scalar) -> float | str:
    if node.text in ("true", "false") and not node.quoted:
        return float(node.text == "true")
    try:
        return node.text if node.quoted else float(node.text)
    except ValueError:
        return node.text
