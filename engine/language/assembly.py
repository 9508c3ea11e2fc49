"""
Documents into one catalogue: facts, parameters, targets and dialects, packs included, and the scales.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect, FactSpec, ParameterSpec, Source, TargetSpec
from engram_diagnose.engine.facts.scales import Scales, Weights
from engram_diagnose.engine.language import source as yaml_source
from engram_diagnose.engine.language.catalogue_reader import (
    check_formulas,
    parameter_fact,
    read_facts,
    read_parameters,
    read_targets,
)
from engram_diagnose.engine.language.dialect_reader import pack_source, read_dialect
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.overrides import read_target_overrides
from engram_diagnose.engine.language.problem import Mark, Problems, did_you_mean
from engram_diagnose.engine.language.rule import CERTAINTIES, SEVERITIES, STRENGTHS

Documents = Mapping[str, Sequence[yaml_source.Mapping]]
"""The roots of all files, by the last word of their schema."""

_INFERENCE: Final = ("schema", "certainty", "likelihood_ratio", "tie_margin", "order")
_ORDER: Final = {"slight": (0.0, 1.0), "full": (1.0, 100.0), "stood": (0.0, 1.0)}


def assemble_catalogue(documents: Documents, problems: Problems) -> Catalogue:
    """The catalogue of all files, with what packs add to it."""
    return _Assembly(problems).catalogue(documents)


class _Assembly:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._facts: dict[str, FactSpec] = {}
        self._parameters: dict[str, ParameterSpec] = {}
        self._targets: list[TargetSpec] = []
        self._dialects: dict[str, Dialect] = {}
        self._pack_sources: dict[str, Source] = {}

    def catalogue(self, documents: Documents) -> Catalogue:
        for root in documents["catalogue"]:
            self._fields(root, "facts")
            self._add_facts(root)
        for root in documents["parameters"]:
            self._add_parameters(root)
        for root in documents["rules"]:
            self._add_pack_facts(root)
        for root in documents["targets"]:
            self._add_targets(root)
        for root in documents["rules"]:
            self._targets = read_target_overrides(root, self._targets, self._facts, self._problems)
        for root in documents["dialect"]:
            self._add_dialect(root)
        for root in documents["parameters"]:
            self._check_effects(root)
            self._check_formulas(root)
        return Catalogue(self._facts, self._parameters, tuple(self._targets), self._with_packs())

    def _fields(self, root: yaml_source.Mapping, key: str) -> Fields:
        fields = Fields(root, "the file", self._problems)
        fields.only(("schema", key))
        fields.need(key)
        return fields

    def _add_facts(self, root: yaml_source.Mapping) -> yaml_source.Mapping | None:
        node = Fields(root, "the file", self._problems).mapping("facts")
        if node is None:
            return None
        for name, spec in read_facts(node, self._problems).items():
            if name in self._facts:
                self._problems.error(
                    node.key_mark(name),
                    f"fact {name} is defined already",
                    length=len(name),
                    hint="give it a name of its own: a pack's facts start with the pack's name",
                )
            else:
                self._facts[name] = spec
        return node

    def _add_parameters(self, root: yaml_source.Mapping) -> None:
        node = self._fields(root, "parameters").mapping("parameters")
        for name, spec in read_parameters(node, self._problems).items() if node else ():
            if node and name in self._facts:
                self._problems.error(node.key_mark(name), f"{name} is defined already", length=len(name))
            self._parameters[name] = spec
            self._facts[name] = parameter_fact(spec)

    def _add_pack_facts(self, root: yaml_source.Mapping) -> None:
        node = self._add_facts(root)
        for name, entry in node.values.items() if node else ():
            if isinstance(entry, yaml_source.Mapping):
                source = pack_source(name, entry, self._problems)
                if source is not None:
                    self._pack_sources[name] = source

    def _add_targets(self, root: yaml_source.Mapping) -> None:
        fields = self._fields(root, "targets")
        node = root.values.get("targets")
        if isinstance(node, yaml_source.Sequence):
            self._targets += read_targets(node, self._problems, self._facts)
        else:
            fields.items("targets")

    def _add_dialect(self, root: yaml_source.Mapping) -> None:
        dialect = read_dialect(root, self._problems)
        name = root.values.get("dialect")
        if name is not None and dialect.name in self._dialects:
            self._problems.error(name.mark, f"dialect {dialect.name} is defined already", length=len(dialect.name))
        self._dialects[dialect.name] = dialect
        facts, config = root.values.get("facts"), root.values.get("config")
        keys = config.values.get("keys") if isinstance(config, yaml_source.Mapping) else None
        self._check_known(facts, "fact", {entry: source.fact for entry, source in dialect.sources.items()}, self._facts)
        self._check_known(keys, "parameter", {entry: entry for entry in dialect.keys}, self._parameters)

    def _check_effects(self, root: yaml_source.Mapping) -> None:
        node = root.values.get("parameters")
        for entry in node.values.values() if isinstance(node, yaml_source.Mapping) else ():
            effects = entry.values.get("effects") if isinstance(entry, yaml_source.Mapping) else None
            if isinstance(effects, yaml_source.Mapping):
                self._check_known(effects, "fact", {name: name for name in effects.values}, self._facts)

    def _check_formulas(self, root: yaml_source.Mapping) -> None:
        node = root.values.get("parameters")
        if isinstance(node, yaml_source.Mapping):
            check_formulas(node, self._parameters, self._facts, self._problems)

    def _check_known(
        self, node: yaml_source.Node | None, what: str, names: Mapping[str, str], known: Mapping[str, object]
    ) -> None:
        for key, name in names.items():
            if name not in known and isinstance(node, yaml_source.Mapping):
                hint = did_you_mean(name, known)
                self._problems.error(node.key_mark(key), f"unknown {what} {name}", hint=hint, length=len(name))

    def _with_packs(self) -> dict[str, Dialect]:
        if not self._pack_sources:
            return self._dialects
        return {
            name: replace(dialect, sources={**dialect.sources, **self._pack_sources})
            for name, dialect in self._dialects.items()
        }


def read_scales(roots: Iterable[yaml_source.Mapping], problems: Problems) -> Scales:
    """The figures behind the words, of the one file that has them."""
    found: list[Scales] = []
    for root in roots:
        if found:
            hint = "one file calibrates them"
            problems.error(root.key_mark("schema"), "the scales are given already", hint=hint, length=len("schema"))
        found.append(_scales(root, problems))
    if not found:
        problems.error(Mark("rules", 1, 1), "no file with schema engram-diagnose/inference/v1",
                       hint="the installation is incomplete: install the package again")  # fmt: skip
    return found[0] if found else Scales({}, {}, 0.0)


def _scales(root: yaml_source.Mapping, problems: Problems) -> Scales:
    fields = Fields(root, "the file", problems)
    fields.only(_INFERENCE)
    fields.need("certainty", "likelihood_ratio", "tie_margin", "order")
    margin = fields.quantity("tie_margin")
    return Scales(
        _figures(fields, "certainty", CERTAINTIES, 0.0, 1.0),
        _figures(fields, "likelihood_ratio", STRENGTHS[1:], 1.0, float("inf")),
        margin.value if margin else 0.0,
        _weights(fields),
    )


def _weights(fields: Fields) -> Weights:
    mapping = fields.mapping("order")
    if mapping is None:
        return Weights()
    parts = Fields(mapping, "order", fields.problems)
    parts.only(("severity", *_ORDER))
    parts.need("severity", *_ORDER)
    severity = parts.mapping("severity")
    weights = Fields(severity, "severity", fields.problems) if severity is not None else None
    if weights is not None:
        weights.only(SEVERITIES)
        weights.need(*SEVERITIES)
    by_severity = _bounded(weights, dict.fromkeys(SEVERITIES, (0.0, 1.0))) if weights is not None else {}
    found = _bounded(parts, _ORDER)
    return Weights(by_severity, **found) if len(found) == len(_ORDER) else Weights(by_severity)


def _bounded(parts: Fields, bounds: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The figures of some words, each above the first bound and not above the second."""
    found = {word: quantity.value for word in bounds if (quantity := parts.quantity(word)) is not None}
    for word, figure in found.items():
        low, high = bounds[word]
        if not low < figure <= high:
            parts.problems.error(parts.node.values[word].mark, f"{word} is above {low:g} and not above {high:g}")
    return found


def _figures(fields: Fields, key: str, words: Sequence[str], low: float, high: float) -> dict[str, float]:
    mapping = fields.mapping(key)
    if mapping is None:
        return {}
    parts = Fields(mapping, key, fields.problems)
    parts.only(words)
    parts.need(*words)
    found = {word: quantity.value for word in words if (quantity := parts.quantity(word)) is not None}
    for word, figure in found.items():
        if not low < figure < high:
            fields.problems.error(mapping.values[word].mark, f"{word} lies between {low:g} and {high:g}")
    return found
