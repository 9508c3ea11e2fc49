"""
What the concluded causes recommend, with the values it comes to here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.catalogue import Catalogue, ParameterSpec
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.directions import works_against
from engram_diagnose.engine.language.evaluation import truth_of, value_of
from engram_diagnose.engine.language.expression import Reference
from engram_diagnose.engine.language.rule import Recommendation, Rule, Setting


@dataclass(frozen=True, slots=True)
class Change:
    """
    One parameter to change: both values in base units and in words, None for what is unknown.

    `ignored` tells that the server's release does not read the key; `key` is what its configuration calls it.
    """

    parameter: str
    current: Value | None
    current_text: str
    wanted: Value | None
    wanted_text: str
    key: str
    restart: str
    ignored: bool


@dataclass(frozen=True, slots=True)
class Remedy:
    """A recommendation that applies here, with the changes that are not made yet."""

    recommendation: Recommendation
    changes: tuple[Change, ...]


def remedies(
    rule: Rule, seen: Seen, catalogue: Catalogue, dialect: str, rules: Mapping[str, Rule]
) -> tuple[Remedy, ...]:
    """The recommendations of a concluded cause whose condition holds; those that change nothing are left out."""
    found = []
    for recommendation in applicable(rule, seen):
        changes = tuple(
            change
            for change in _changes(recommendation.settings, seen, catalogue, dialect)
            if not works_against(
                rule, catalogue.parameters[change.parameter], change.current, change.wanted, rules, catalogue
            )
        )
        if changes or recommendation.investigate:
            found.append(Remedy(recommendation, changes))
    return tuple(found)


def applicable(rule: Rule, seen: Seen) -> Iterator[Recommendation]:
    """The recommendations whose condition holds."""
    for recommendation in rule.recommend:
        if recommendation.condition is None or truth_of(recommendation.condition, seen) is Truth.TRUE:
            yield recommendation


def _changes(settings: Iterable[Setting], seen: Seen, catalogue: Catalogue, dialect: str) -> Iterable[Change]:
    for setting in settings:
        change = _change(setting, seen, catalogue, dialect)
        if change.wanted is None or change.wanted != change.current:
            yield change


def wanted_value(setting: Setting, seen: Seen, spec: ParameterSpec) -> Value | None:
    """
    What a setting comes to here, within its parameter's bounds; None when something it needs is unknown.

    What is so already stays so: a value beyond what advice may reach is no reason to take it back.
    """
    proposed = value_of(setting.value, seen)
    if proposed is not None and proposed == seen.value(Reference(setting.parameter)):
        return proposed
    return _bounded(proposed, spec.low, spec.high)


def _change(setting: Setting, seen: Seen, catalogue: Catalogue, dialect: str) -> Change:
    spec = catalogue.parameters[setting.parameter]
    fact = catalogue.facts.get(setting.parameter)
    current = seen.value(Reference(setting.parameter))
    wanted = wanted_value(setting, seen, spec)
    keys = catalogue.dialects[dialect].keys if dialect in catalogue.dialects else None
    key = keys[setting.parameter].key if keys and setting.parameter in keys else ""
    return Change(
        setting.parameter,
        current,
        fact_text(current, fact),
        wanted,
        fact_text(wanted, fact)
        if wanted is not None
        else f"{setting.text} (cannot be computed: something it needs is unknown)",
        key,
        spec.restart,
        keys is not None and not key and spec.restart != "host",
    )


def _bounded(value: Value | None, low: float, high: float) -> Value | None:
    if value is None or isinstance(value, str):
        return value
    return min(max(value[0], low), high), min(max(value[1], low), high)
