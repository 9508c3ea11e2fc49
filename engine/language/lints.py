"""
What is allowed and probably not meant.
"""

from collections.abc import Container, Iterator
from typing import Final

from engram_diagnose.engine.facts.catalogue import Catalogue, FactSpec
from engram_diagnose.engine.language.conditions import gate_facts
from engram_diagnose.engine.language.expression import All, Condition, Leaf, leaves, references
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.rule import Evidence, Rule
from engram_diagnose.engine.language.vocabulary import Vocabulary

SELDOM: Final = frozenset({"perf", "kernels"})
"""Origins that production seldom has: evidence rather than gates."""

COUNTERS_TAG: Final = "needs-counters"
"""The tag of a rule whose cause nothing but hardware counters can show."""

_COLLECTED: Final = frozenset({"", "prometheus"})
"""Origins whose facts come from nowhere but the sources that dialects and packs state."""


def check_gate(rule: Rule, vocabulary: Vocabulary, problems: Problems) -> None:
    """Say when a gate needs what production seldom has, and when evidence repeats the gate."""
    if rule.kind != "cause":
        return
    for name in sorted(gate_facts(rule.when)) if COUNTERS_TAG not in rule.tags else ():
        spec = vocabulary.spec(name)
        if spec is not None and spec.origin in SELDOM:
            problems.warning(
                rule.mark,
                f"the gate of {rule.id} needs {name}, which production seldom has",
                length=len(rule.id),
                hint=f"make it evidence, or tag the rule {COUNTERS_TAG}",
            )
    certain = {leaf.test for leaf in _certain(rule.when)}
    for piece in rule.evidence:
        if isinstance(piece, Evidence) and isinstance(piece.condition, Leaf) and piece.condition.test in certain:
            problems.warning(piece.condition.mark or piece.mark, f"this evidence repeats the gate of {rule.id}",
                             hint="it adds nothing: remove it", length=len(piece.condition.text))  # fmt: skip


def _certain(condition: Condition | None) -> Iterator[Leaf]:
    """The tests that are true whenever a condition is."""
    if isinstance(condition, Leaf):
        yield condition
    elif isinstance(condition, All):
        for item in condition.items:
            yield from _certain(item)


class Provided:
    """Knows which facts somebody provides."""

    def __init__(self, catalogue: Catalogue, given: frozenset[str], site_files: Container[str]) -> None:
        self._sources = {source.fact for dialect in catalogue.dialects.values() for source in dialect.sources.values()}
        self._given = given
        self._site_files = site_files

    def check(self, rule: Rule, vocabulary: Vocabulary, problems: Problems) -> None:
        """Say when a condition that a site put into a gate waits for a fact that nobody provides."""
        for condition in (rule.applies, rule.when):
            for leaf in leaves(condition) if condition is not None else ():
                if leaf.mark is None or leaf.mark.file not in self._site_files:
                    continue
                for reference in references(leaf.test):
                    spec = vocabulary.spec(reference.name)
                    if spec is not None and not self._is_provided(spec):
                        hint = "give the fact a `prometheus:` selector in the pack's `facts:`"
                        problems.warning(leaf.mark, f"nothing provides {reference.name}, so this is never known",
                                         hint=hint, length=len(leaf.text))  # fmt: skip

    def _is_provided(self, spec: FactSpec) -> bool:
        base = spec.name.partition("@")[0]
        if spec.origin == "rules":
            return base in self._given
        return spec.origin not in _COLLECTED or bool(spec.source) or base in self._sources
