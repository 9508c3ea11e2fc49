"""
How severe a symptom is, where that is not for its rule alone to say.

An alert is a symptom that somebody else has told. It is as severe as they say, unless the figures show the same
trouble: these then carry the severity, and the alert is `info`, so that nothing counts twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.inference.firing import Firing
from engram_diagnose.engine.language.rule import SEVERITIES, Rule


def as_severe_as_told(firings: tuple[Firing, ...], memory: Memory) -> tuple[Firing, ...]:
    """The firings, those that are told by somebody else with a rule of the severity they have here."""
    if not any(_told(firing) for firing in firings):
        return firings
    there = {firing.rule.id for firing in firings if firing.outcome == "fires"}
    return tuple(_weighed(firing, there, memory) if _told(firing) else firing for firing in firings)


def restatements(rules: Iterable[Rule]) -> Mapping[str, tuple[str, ...]]:
    """By symptom, those that restate it: what explains it explains them."""
    found: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        for name in rule.restates:
            found[name].append(rule.id)
    return {name: tuple(ids) for name, ids in found.items()}


def _told(firing: Firing) -> bool:
    return firing.outcome == "fires" and bool(firing.rule.restates or firing.rule.severity_from)


def _weighed(firing: Firing, there: set[str], memory: Memory) -> Firing:
    severity = SEVERITIES[0] if there.intersection(firing.rule.restates) else _said(firing, memory)
    return firing._replace(rule=replace(firing.rule, severity=severity))


def _said(firing: Firing, memory: Memory) -> str:
    """What the fact says that is asked; the rule's own where it is unknown or none of the three."""
    rule = firing.rule
    said = memory.value(rule.severity_from, firing.scope) if rule.severity_from else None
    return said if isinstance(said, str) and said in SEVERITIES else rule.severity
