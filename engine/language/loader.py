"""
Files into a checked rule base, with every problem of every file at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.engine.facts.catalogue import (
    Catalogue,
    Dialect,
    FactSpec,
    ParameterSpec,
    Source,
    TargetSpec,
)
from engram_diagnose.engine.facts.scales import Scales
from engram_diagnose.engine.language import source as yaml_source
from engram_diagnose.engine.language.catalogue_reader import (
    pack_source,
    parameter_fact,
    read_dialect,
    read_facts,
    read_parameters,
    read_targets,
)
from engram_diagnose.engine.language.consistency import check_rule_base
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.overrides import (
    apply_overrides,
    read_suppressions,
    read_target_overrides,
)
from engram_diagnose.engine.language.problem import Mark, Problem, Problems, did_you_mean
from engram_diagnose.engine.language.reader import read_rule
from engram_diagnose.engine.language.rule import Rule, RuleBase, Suppression
from engram_diagnose.engine.language.vocabulary import Vocabulary

SCHEMAS: Final = {
    f"engram-diagnose/{kind}/v1": kind
    for kind in ("rules", "catalogue", "parameters", "targets", "dialect", "inference")
}
_RULE_FILE_KEYS: Final = (
    "schema",
    "pack",
    "version",
    "requires",
    "facts",
    "targets",
    "overrides",
    "suppressions",
    "rules",
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A usable rule base, what it names, how it counts, and what it warns of. `texts` are the files' texts."""

    rules: RuleBase
    catalogue: Catalogue
    scales: Scales
    warnings: tuple[Problem, ...]
    texts: Mapping[str, str]


def load(
    builtin: Mapping[str, bytes],
    packs: Sequence[Mapping[str, bytes]] = (),
    *,
    today: str = "0000-00-00",
) -> Loaded:
    """
    The rule base of the built-in files and of site packs, each a mapping of file name to bytes.

    `today` (ISO) decides which overrides and suppressions have expired. Raises `RuleBaseError` with every error.
    """
    problems = Problems()
    reading = _Reading(problems, today)
    for files in (builtin, *packs):
        for name in sorted(files):
            reading.add(name, files[name], site=files is not builtin)
    loaded = reading.finish()
    problems.raise_errors()
    return loaded


def texts_of(*groups: Mapping[str, bytes]) -> dict[str, str]:
    """The files' texts, for excerpts, whatever their bytes are."""
    return {name: data.decode("utf-8", "replace") for files in groups for name, data in files.items()}


class _Reading:
    """Gathers documents by kind, then reads them in the order in which they need one another."""

    def __init__(self, problems: Problems, today: str) -> None:
        self._problems = problems
        self._today = today
        self._documents: dict[str, list[yaml_source.Mapping]] = {kind: [] for kind in SCHEMAS.values()}
        self._site_files: set[str] = set()
        self._texts: dict[str, str] = {}
        self._facts: dict[str, FactSpec] = {}
        self._parameters: dict[str, ParameterSpec] = {}
        self._targets: list[TargetSpec] = []
        self._dialects: dict[str, Dialect] = {}
        self._pack_sources: dict[str, Source] = {}

    def add(self, name: str, data: bytes, *, site: bool) -> None:
        text = yaml_source.decode(data, file=name, problems=self._problems)
        if text is None:
            return
        self._texts[name] = text
        root = yaml_source.parse_document(text, file=name, problems=self._problems)
        if root is None:
            return
        if site:
            self._site_files.add(name)
        fields = Fields(root, "the file", self._problems)
        fields.need("schema")
        schema = fields.scalar("schema")
        if schema is None:
            return
        kind = SCHEMAS.get(schema.text)
        if kind is None:
            hint = did_you_mean(schema.text, SCHEMAS) or f"known: {', '.join(SCHEMAS)}"
            self._problems.error(schema.mark, f"unknown schema {schema.text!r}", hint=hint, length=len(schema.text))
            return
        self._documents[kind].append(root)

    def finish(self) -> Loaded:
        self._read_catalogue()
        catalogue = Catalogue(self._facts, self._parameters, tuple(self._targets), self._dialects)
        scales = self._read_scales()
        vocabulary = Vocabulary(catalogue, self._rule_ids())
        rules = self._read_rules(vocabulary)
        overridden = apply_overrides(self._documents["rules"], rules, vocabulary, self._problems, self._today)
        base = RuleBase(rules, self._suppressions(rules), overridden, self._packs())
        check_rule_base(base, vocabulary, self._problems)
        return Loaded(base, catalogue, scales, tuple(self._problems.warnings), self._texts)

    # The catalogue

    def _read_catalogue(self) -> None:
        for root in self._documents["catalogue"]:
            self._add_facts(root, "facts")
        for root in self._documents["parameters"]:
            node = Fields(root, "the file", self._problems).mapping("parameters")
            if node is not None:
                self._parameters |= read_parameters(node, self._problems)
        self._facts |= {name: parameter_fact(spec) for name, spec in self._parameters.items()}
        for root in self._documents["rules"]:
            self._add_pack_facts(root)
        for root in self._documents["targets"]:
            node_list = root.values.get("targets")
            if isinstance(node_list, yaml_source.Sequence):
                self._targets += read_targets(node_list, self._problems)
        for root in self._documents["rules"]:
            self._targets = read_target_overrides(root, self._targets, self._facts, self._problems)
        for root in self._documents["dialect"]:
            dialect = read_dialect(root, self._problems)
            self._dialects[dialect.name] = dialect
        if self._pack_sources:
            self._dialects = {name: replace(dialect, sources={**dialect.sources, **self._pack_sources})
                              for name, dialect in self._dialects.items()}  # fmt: skip

    def _add_facts(self, root: yaml_source.Mapping, key: str) -> yaml_source.Mapping | None:
        node = Fields(root, "the file", self._problems).mapping(key)
        if node is None:
            return None
        for name, spec in read_facts(node, self._problems).items():
            if name in self._facts:
                self._problems.error(node.key_mark(name), f"fact {name} is defined already", length=len(name),
                                     hint="a pack's own facts start with `site.`")  # fmt: skip
            else:
                self._facts[name] = spec
        return node

    def _add_pack_facts(self, root: yaml_source.Mapping) -> None:
        node = self._add_facts(root, "facts")
        for name, entry in node.values.items() if node else ():
            if isinstance(entry, yaml_source.Mapping):
                source = pack_source(name, entry, self._problems)
                if source is not None:
                    self._pack_sources[name] = source

    def _read_scales(self) -> Scales:
        for root in self._documents["inference"]:
            fields = Fields(root, "the file", self._problems)
            fields.only(("schema", "calibrated", "certainty", "likelihood_ratio", "tie_margin"))
            margin = fields.quantity("tie_margin")
            return Scales(self._figures(fields, "certainty"), self._figures(fields, "likelihood_ratio"),
                          margin.value if margin else 0.0, fields.truth("calibrated", False))  # fmt: skip
        self._problems.error(Mark("rules", 1, 1), "no file with schema engram-diagnose/inference/v1",
                             hint="the installation is incomplete: install the package again")  # fmt: skip
        return Scales({}, {}, 0.0)

    def _figures(self, fields: Fields, key: str) -> dict[str, float]:
        mapping = fields.mapping(key)
        if mapping is None:
            return {}
        parts = Fields(mapping, key, self._problems)
        return {name: quantity.value for name in mapping.values if (quantity := parts.quantity(name)) is not None}

    # The rules

    def _rule_nodes(self) -> Iterable[tuple[str, yaml_source.Mapping]]:
        for root in self._documents["rules"]:
            pack = root.values.get("pack")
            name = pack.text if isinstance(pack, yaml_source.Scalar) else ""
            rules = root.values.get("rules")
            for node in rules.items if isinstance(rules, yaml_source.Sequence) else ():
                if isinstance(node, yaml_source.Mapping):
                    yield name, node
                else:
                    self._problems.error(node.mark, f"a rule is a mapping, not {yaml_source.describe(node)}")

    def _rule_ids(self) -> list[str]:
        found = []
        for _, node in self._rule_nodes():
            identity = node.values.get("id")
            if isinstance(identity, yaml_source.Scalar):
                found.append(identity.text)
        return found

    def _read_rules(self, vocabulary: Vocabulary) -> dict[str, Rule]:
        for root in self._documents["rules"]:
            fields = Fields(root, "the file", self._problems)
            fields.only(_RULE_FILE_KEYS)
            fields.need("pack")
            if not any(key in fields for key in ("rules", "facts", "targets", "overrides", "suppressions")):
                fields.need("rules")
        rules: dict[str, Rule] = {}
        for pack, node in self._rule_nodes():
            rule = read_rule(node, pack=pack, vocabulary=vocabulary, problems=self._problems)
            if rule is None:
                continue
            if rule.id in rules:
                self._problems.error(rule.mark, f"rule {rule.id} is defined already, at {rules[rule.id].mark}",
                                     hint="to change a rule, put it under `overrides:`", length=len(rule.id))  # fmt: skip
            else:
                rules[rule.id] = rule
        return dict(sorted(rules.items()))

    def _suppressions(self, rules: Mapping[str, Rule]) -> tuple[Suppression, ...]:
        found: list[Suppression] = []
        for root in self._documents["rules"]:
            found += read_suppressions(root, rules, self._problems, self._today)
        return tuple(found)

    def _packs(self) -> dict[str, str]:
        """Pack names and versions."""
        found: dict[str, str] = {}
        for root in self._documents["rules"]:
            fields = Fields(root, "the file", Problems())
            found[fields.text("pack", "?")] = fields.text("version") or found.get(fields.text("pack", "?"), "")
        return dict(sorted(found.items()))
