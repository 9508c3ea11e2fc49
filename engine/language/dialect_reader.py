"""
Nodes into dialects: where each release of the server keeps facts and settings, and where packs' own facts come from.
"""

from typing import Final

from engram_diagnose.engine.facts.catalogue import ConfigKey, Dialect, Source
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.facts.unit import NUMBER, Unit
from engram_diagnose.engine.language.catalogue_reader import NOTHING, read_labels, read_unit, read_words
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.source import Mapping, Scalar, describe
from engram_diagnose.engine.language.tokens import ExpressionError

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


def read_dialect(root: Mapping, problems: Problems) -> Dialect:
    """One file of `rules/dialects/`."""
    fields = Fields(root, "the dialect", problems)
    fields.only(("schema", "dialect", "title", "default_port", "metrics", "detect", "facts", "config"))
    fields.need("dialect", "facts")
    metrics = Fields(fields.mapping("metrics") or Mapping(root.file, 1, 1), "metrics", problems)
    config = Fields(fields.mapping("config") or Mapping(root.file, 1, 1), "config", problems)
    metrics.only(("path", "format", "exposition"))
    config.only(("files", "keys", "known"))
    sources = {name: _source(name, node, problems) for name, node in _entries(fields, "facts").items()}
    return Dialect(
        name=fields.text("dialect"),
        title=fields.text("title"),
        detect=fields.texts("detect"),
        metrics_path=metrics.text("path", "/metrics"),
        metrics_format=metrics.choice("format", ("prometheus", "windowed-json"), "prometheus"),  # type: ignore[arg-type]
        exposition_path=metrics.text("exposition"),
        config_files=config.texts("files"),
        sources={name: source for name, source in sources.items() if source is not None},
        keys={name: _key(name, node, problems) for name, node in _entries(config, "keys").items()},
        known_keys=config.texts("known"),
        default_port=fields.integer("default_port", 0),
    )


def _entries(fields: Fields, key: str) -> dict[str, Mapping]:
    """The mappings in a mapping."""
    mapping = fields.mapping(key)
    found = {}
    for name, node in mapping.values.items() if mapping else ():
        if isinstance(node, Mapping):
            found[name] = node
        else:
            fields.problems.error(node.mark, f"{name} takes a mapping, not {describe(node)}")
    return found


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
    return Source(
        fact=reference.name,
        scope=scope_of(dict(reference.labels)),
        promql=fields.text("promql"),
        counter=fields.text("counter"),
        json=fields.text("json"),
        http=fields.text("http"),
        labels=read_words(fields, "labels"),
        values=read_words(fields, "values"),
        factor=factor.value if factor else 1.0,
        proxy_of=fields.text("proxy_of"),
        invented=fields.truth("invented", False),
    )


def pack_source(name: str, node: Mapping, problems: Problems) -> Source | None:
    """The source a pack gives for a fact of its own: `prometheus:` or `prometheus_label: {series, label}`."""
    fields = Fields(node, f"fact {name}", problems)
    if "prometheus" in fields:
        return Source(
            name,
            promql=fields.text("prometheus"),
            labels={label: label for label in read_labels(fields)},
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
    fields.only(("key", "unit", "default", "aliases", "array", "unused", "invented", "note"))
    fields.need("key")
    default = fields.scalar("default")
    value: float | str | None = None
    if default is not None and default.text not in NOTHING:
        value = _default(default)
    unit = read_unit(fields) if "unit" in fields else Unit("", NUMBER)
    key = fields.text("key")
    # A built-in constant has a value and no key.
    return ConfigKey(
        name,
        "" if key == "null" else key,
        unit,
        value,
        fields.texts("aliases"),
        array=fields.truth("array", False),
        unused=fields.truth("unused", False),
        invented=fields.truth("invented", False),
    )


def _default(node: Scalar) -> float | str:
    if node.text in ("true", "false") and not node.quoted:
        return float(node.text == "true")
    try:
        return node.text if node.quoted else float(node.text)
    except ValueError:
        return node.text
