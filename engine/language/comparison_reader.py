"""
Nodes into what a comparison decides by. Read when something is compared: a diagnosis does not need it.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

from engram_diagnose.engine.comparison.policy import (
    SENSES,
    Better,
    Figure,
    Least,
    Measure,
    Policy,
    Regression,
    Sense,
    Windows,
)
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.unit import NUMBER, TIME, Dimension
from engram_diagnose.engine.language import source as yaml_source
from engram_diagnose.engine.language.deferred import deferred_file, schema_of
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import Mark, Problems, TooManyProblems, did_you_mean
from engram_diagnose.engine.language.rule import Rule

_KEYS: Final = ("confidence", "least", "windows", "load", "figures", "otherwise", "background", "places", "regressions")
_FIGURE: Final = ("better", "change", "least", "worsens", "ratio")
_REGRESSION: Final = ("on", "limit", "sense", "clients", "share_of")


def read_comparison(texts: Mapping[str, str], catalogue: Catalogue, rules: Mapping[str, Rule]) -> Policy:
    """
    The policy in the one file of `texts` (by file name) that has it; a later file takes the place of an earlier one.

    Raises `RuleBaseError` with every problem of it at its place.
    """
    problems = Problems()
    policy = None
    with suppress(TooManyProblems):
        name = deferred_file(texts, "comparison")
        if not name:
            problems.error(Mark("rules", 1, 1), f"no file with schema {schema_of('comparison')}",
                           hint="the installation is incomplete: install the package again")  # fmt: skip
        root = yaml_source.parse_document(texts[name], file=name, problems=problems) if name else None
        policy = _Reading(root, catalogue, rules, problems).policy() if root is not None else None
    problems.raise_errors()
    assert policy is not None  # noqa: S101 -- without one there was an error
    return policy


class _Reading:
    def __init__(self, root: yaml_source.Mapping, catalogue: Catalogue, rules: Mapping[str, Rule],
                 problems: Problems) -> None:  # fmt: skip
        self._root = Fields(root, "the file", problems)
        self._catalogue = catalogue
        self._rules = rules
        self._problems = problems

    def policy(self) -> Policy:
        root = self._root
        root.only(("schema", *_KEYS))
        root.need(*_KEYS)
        return Policy(
            confidence=self._share(root, "confidence", least=0.5),
            least=self._least(),
            windows=self._windows(),
            load=tuple(self._measure(name, entry) for name, entry in self._entries("load")),
            figures=tuple(self._figure(name, entry) for name, entry in self._entries("figures")),
            regressions=tuple(self._regression(name, entry) for name, entry in self._entries("regressions")),
            share=self._share(self._part("otherwise", ("change",)), "change"),
            background=root.texts("background"),
            places=self._count(root, "places"),
        )

    # Parts

    def _part(self, key: str, keys: tuple[str, ...], *, optional: tuple[str, ...] = ()) -> Fields:
        node = self._root.mapping(key)
        fields = Fields(node or yaml_source.Mapping("", 1, 1), key, self._problems)
        if node is not None:
            fields.only((*keys, *optional))
            fields.need(*keys)
        return fields

    def _entries(self, key: str) -> list[tuple[str, Fields]]:
        node = self._root.mapping(key)
        found = []
        for name, entry in node.values.items() if node else ():
            if isinstance(entry, yaml_source.Mapping):
                found.append((name, Fields(entry, name, self._problems)))
            else:
                self._problems.error(entry.mark, f"{name} must be a mapping, not {yaml_source.describe(entry)}")
        return found

    def _least(self) -> Least:
        fields = self._part("least", ("runs", "windows", "independent", "apart"))
        independent = self._figure_of(fields, "independent", NUMBER)
        if fields.node.values and independent < 1:
            self._problems.error(fields.mark("independent"), "independent is at least 1", length=len("independent"))
        return Least(self._count(fields, "runs", least=2), self._count(fields, "windows", least=2), independent,
                     self._figure_of(fields, "apart", NUMBER, positive=True))  # fmt: skip

    def _windows(self) -> Windows:
        fields = self._part("windows", ("wanted", "scrapes", "longest", "span"))
        wanted, scrapes = self._count(fields, "wanted"), self._count(fields, "scrapes", least=2)
        longest, span = (self._figure_of(fields, key, TIME, positive=True) for key in ("longest", "span"))
        return Windows(wanted, scrapes, longest, span)

    def _measure(self, name: str, fields: Fields) -> Measure:
        fields.only(("facts", "tolerance", "absolute", "heavier"))
        fields.need("facts", "tolerance")
        for scalar in fields.scalars("facts"):
            self._known(scalar.text.strip(), scalar.mark)
        return Measure(name, fields.texts("facts"), self._figure_of(fields, "tolerance", NUMBER),
                       fields.truth("absolute", False), fields.truth("heavier", False))  # fmt: skip

    def _figure(self, on: str, fields: Fields) -> Figure:
        fields.only(_FIGURE)
        fields.need("change", "least")
        known = self._known(on, self._key_mark("figures", on))
        dimension = self._catalogue.facts[on].unit.dimension if known else NUMBER
        return Figure(on, self._better(on, fields), self._share(fields, "change"),
                      self._figure_of(fields, "least", dimension), fields.truth("worsens", False),
                      fields.truth("ratio", False))  # fmt: skip

    def _better(self, on: str, fields: Fields) -> Better:
        said = fields.choice("better", ("lower", "higher"), "")
        targets = {target.better for target in self._catalogue.targets if target.name == on}
        if targets and said and targets != {said}:
            says = f"the targets say that {' and '.join(sorted(targets))} is better"
            self._problems.error(fields.mark("better"), says, hint="leave it out", length=len("better"))
        if not targets and not said:
            self._problems.error(self._key_mark("figures", on), f"{on} lacks 'better', and no target says it",
                                 hint="add `better: lower` or `better: higher`", length=len(on))  # fmt: skip
        return cast(Better, said or min(targets, default="lower"))

    def _regression(self, rule: str, fields: Fields) -> Regression:
        fields.only(_REGRESSION)
        fields.need("on", "limit", "sense")
        found = self._rules.get(rule)
        on = self._fact(fields, "on")
        clients = self._fact(fields, "clients") if "clients" in fields else ""
        for key in ("limit", "share_of"):
            self._parameter(fields, key, found)
        if ("clients" in fields) != ("share_of" in fields):
            fields.need("clients", "share_of")
        sense = fields.choice("sense", SENSES, "rise")
        return Regression(rule, on, fields.text("limit"), cast(Sense, sense), clients, fields.text("share_of"))

    def _parameter(self, fields: Fields, key: str, rule: Rule | None) -> None:
        """A rule that a site disabled is not there, and its entry has no effect."""
        name = fields.text(key)
        if name and rule is not None and name not in rule.params:
            hint = did_you_mean(name, rule.params) or f"known: {', '.join(rule.params)}"
            self._problems.error(fields.mark(key), f"{rule.id} has no parameter {name}", hint=hint, length=len(key))

    # Values

    def _fact(self, fields: Fields, key: str) -> str:
        name = fields.text(key)
        if name:
            scalar = cast(Any, fields.node.values[key])
            self._known(name, scalar.mark)
        return name

    def _known(self, name: str, mark: Mark) -> bool:
        spec = self._catalogue.facts.get(name)
        if spec is None:
            hint = did_you_mean(name, self._catalogue.facts)
            self._problems.error(mark, f"unknown fact {name}", hint=hint, length=len(name))
        elif spec.kind != "number":
            self._problems.error(mark, f"{name} is no figure", length=len(name))
        return spec is not None

    def _key_mark(self, key: str, name: str) -> Mark:
        node = self._root.mapping(key)
        return node.key_mark(name) if node else self._root.node.mark

    def _share(self, fields: Fields, key: str, *, least: float = 0.0) -> float:
        share = self._figure_of(fields, key, NUMBER)
        if key in fields and not least <= share < 1:
            self._problems.error(fields.mark(key), f"{key} is a share from {least:g} to 1", length=len(key))
        return share

    def _figure_of(self, fields: Fields, key: str, dimension: Dimension, *, positive: bool = False) -> float:
        quantity = fields.quantity(key)
        if quantity is None:
            return 0.0
        if quantity.unit.dimension != dimension:
            self._problems.error(fields.mark(key), f"{key} is {dimension}, not {quantity.unit.dimension}",
                                 length=len(key))  # fmt: skip
        if quantity.value < 0 or (positive and not quantity.value):
            self._problems.error(fields.mark(key), f"{key} is more than 0", length=len(key))
        return quantity.value

    def _count(self, fields: Fields, key: str, *, least: int = 1) -> int:
        count = fields.integer(key, least)
        if count < least:
            self._problems.error(fields.mark(key), f"{key} is at least {least}", length=len(key))
        return max(count, least)
