"""
The names rules may use: the catalogue's facts, the verdicts of rules, and targets.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from engram_diagnose.engine.facts.catalogue import Catalogue, FactSpec
from engram_diagnose.engine.facts.scope import DIMENSIONS
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.language.expression import Reference

TARGET_PREFIX: Final = "target."


class Vocabulary:
    """Looks names up, windows included, and remembers what it found."""

    def __init__(self, catalogue: Catalogue, rule_ids: Iterable[str] = ()) -> None:
        self.catalogue = catalogue
        self._rules = frozenset(rule_ids)
        self._specs: dict[str, FactSpec | None] = {
            rule: verdict_spec(rule) for rule in sorted(self._rules) if rule not in catalogue.facts
        }
        self._specs |= target_specs(catalogue)
        self.names: Final = (*catalogue.facts, *self._specs)
        """Every name without its windows, for suggestions."""
        self.references: Final[dict[str, Reference]] = {}
        """Names with labels that were read and checked already."""

    def spec(self, name: str) -> FactSpec | None:
        """The entry for a name, or None when nothing is called that."""
        try:
            return self._specs[name]
        except KeyError:
            spec = self._specs[name] = self.catalogue.spec(name)
            return spec

    def is_rule(self, name: str) -> bool:
        """Whether some file defines a rule of that id, readable or not."""
        return name in self._rules


def verdict_spec(rule: str) -> FactSpec:
    """The fact a rule's verdict is: true when it fires, false when refuted, else unknown."""
    return FactSpec(
        rule,
        "bool",
        UNITS[""],
        f"the verdict of {rule}",
        DIMENSIONS,
        low=0,
        high=1,
        origin="rules",
    )


def target_specs(catalogue: Catalogue) -> Mapping[str, FactSpec]:
    """`target.<fact>` for every fact that some target set speaks of."""
    specs = {}
    for target in catalogue.targets:
        spec = catalogue.spec(target.name)
        if spec is not None:
            name = TARGET_PREFIX + target.name
            specs[name] = FactSpec(name, spec.kind, spec.unit, target.doc, spec.scope, origin="targets")
    return specs
