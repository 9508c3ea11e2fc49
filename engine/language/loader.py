"""
Files into a checked rule base, with every problem of every file at once.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.engine.advice.policy import Policy
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.scales import Scales
from engram_diagnose.engine.language import source as yaml_source
from engram_diagnose.engine.language.assembly import assemble_catalogue, read_scales
from engram_diagnose.engine.language.calibration_reader import read_calibration
from engram_diagnose.engine.language.consistency import check_rule_base
from engram_diagnose.engine.language.deferred import DEFERRED, deferred_kind, schema_of
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.overrides import apply_overrides, read_suppressions
from engram_diagnose.engine.language.policy_reader import read_policy
from engram_diagnose.engine.language.problem import Problem, Problems, TooManyProblems, did_you_mean
from engram_diagnose.engine.language.reader import read_rule
from engram_diagnose.engine.language.requires import check_requires
from engram_diagnose.engine.language.rule import Rule, RuleBase, Suppression
from engram_diagnose.engine.language.vocabulary import Vocabulary

SCHEMAS: Final = {
    schema_of(kind): kind
    for kind in (
        "rules",
        "catalogue",
        "parameters",
        "targets",
        "dialect",
        "inference",
        "calibration",
        "advice",
        *DEFERRED,
    )
}
_CONTENTS: Final = ("rules", "facts", "targets", "overrides", "suppressions")
_RULE_FILE_KEYS: Final = ("schema", "pack", "version", "requires", *_CONTENTS)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A usable rule base, what it names, how it counts, and what it warns of. `texts` are the files' texts."""

    rules: RuleBase
    catalogue: Catalogue
    scales: Scales
    policy: Policy
    warnings: tuple[Problem, ...]
    texts: Mapping[str, str]


def load(
    builtin: Mapping[str, bytes],
    packs: Sequence[Mapping[str, bytes]] = (),
    *,
    today: str = "0000-00-00",
    thorough: bool = True,
) -> Loaded:
    """
    The rule base of the built-in files and of site packs, each a mapping of file name to bytes.

    `today` (ISO) decides which overrides and suppressions have expired. Without `thorough` the rules' tests are not
    read, nor is it checked what the rules say together: for files that were checked before, with nothing laid over
    them. Raises `RuleBaseError` with every error.
    """
    problems = Problems()
    reading = _Reading(problems, today, thorough=thorough or bool(packs))
    with suppress(TooManyProblems), _no_collection():
        for files in (builtin, *packs):
            for name in sorted(files):
                reading.add(name, files[name], site=files is not builtin)
        loaded = reading.finish()
    problems.raise_errors()  # also where reading was cut short
    return loaded


@contextmanager
def _no_collection() -> Iterator[None]:
    """
    Keep the garbage collector from looking while a rule base is built.

    All that is made stays, and nothing of it is garbage: walking it again and again was a quarter of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def texts_of(*groups: Mapping[str, bytes]) -> dict[str, str]:
    """The files' texts, for excerpts, whatever their bytes are."""
    return {name: data.decode("utf-8-sig", "replace") for files in groups for name, data in files.items()}


class _Reading:
    """Gathers documents by kind, then reads them in the order in which they need one another."""

    def __init__(self, problems: Problems, today: str, *, thorough: bool) -> None:
        self._thorough = thorough
        self._problems = problems
        self._today = today
        self._documents: dict[str, list[yaml_source.Mapping]] = {kind: [] for kind in SCHEMAS.values()}
        self._site_files: set[str] = set()
        self._texts: dict[str, str] = {}

    def add(self, name: str, data: bytes, *, site: bool) -> None:
        text = None if self._problems.full else yaml_source.decode(data, file=name, problems=self._problems)
        if text is None:
            return
        self._texts[name] = text
        if deferred_kind(text):  # read by the command that needs it
            return
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
        roots = self._documents["rules"]
        for root in roots:
            self._check_file(root)
        catalogue = assemble_catalogue(self._documents, self._problems)
        scales = read_scales(self._documents["inference"], self._problems)
        fitted = read_calibration(self._documents["calibration"], scales, self._problems)
        scales = replace(scales, calibration=fitted)
        vocabulary = Vocabulary(catalogue, self._rule_ids())
        policy = read_policy(self._documents["advice"], vocabulary, self._problems)
        rules = self._read_rules(vocabulary)
        suppressions = self._suppressions(rules)
        overridden = apply_overrides(roots, rules, vocabulary, self._problems, self._today)
        base = RuleBase(rules, suppressions, overridden, self._packs())
        if self._thorough:
            check_rule_base(base, vocabulary, self._problems, site_files=self._site_files)
        return Loaded(base, catalogue, scales, policy, tuple(self._problems.warnings), self._texts)

    def _check_file(self, root: yaml_source.Mapping) -> None:
        fields = Fields(root, "the file", self._problems)
        fields.only(_RULE_FILE_KEYS)
        fields.need("pack")
        if not any(key in fields for key in _CONTENTS):
            fields.need("rules")
        check_requires(root, self._problems)

    def _rule_nodes(self) -> Iterable[tuple[str, yaml_source.Mapping]]:
        for root in self._documents["rules"]:
            pack = root.values.get("pack")
            name = pack.text if isinstance(pack, yaml_source.Scalar) else ""
            for node in Fields(root, "the file", self._problems).items("rules"):
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
        rules: dict[str, Rule] = {}
        for pack, node in self._rule_nodes():
            rule = read_rule(node, pack=pack, vocabulary=vocabulary, problems=self._problems, thorough=self._thorough)
            if rule is None:
                continue
            if rule.id in rules:
                self._problems.error(
                    rule.mark,
                    f"rule {rule.id} is defined already, at {rules[rule.id].mark}",
                    hint="to change a rule, put it under `overrides:`",
                    length=len(rule.id),
                )
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
