"""Pressure stall information: the share of time in which tasks waited for a resource."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from engram_diagnose.collectors.parse.figures import Found, Missing, integer, rate
from engram_diagnose.collectors.parse.lines import parse_tree
from engram_diagnose.collectors.parse.recipe import Answers, Key, Pair, Recipe

_FACTS: Final = {
    "cpu": {"psi.cpu_some_share": "some"},
    "memory": {"psi.memory_some_share": "some", "psi.memory_full_share": "full"},
    "io": {"psi.io_some_share": "some", "psi.io_full_share": "full"},
}
_GROUP: Final = "cgroup/pressure"


def parse_pressure(text: str) -> dict[str, int]:
    """Microseconds stalled: `some avg10=0.22 avg60=0.30 avg300=0.10 total=2437549`."""
    rows = re.finditer(r"^(some|full) [^\n]{0,200}total=([0-9]{1,20})$", text, re.MULTILINE)
    return {row.group(1): integer(row.group(2)) for row in rows}


def pressure_recipes(answers: Answers) -> tuple[Recipe, ...]:
    """The recipes for the server's own control group where it counts, else for the whole host."""
    newest = answers.newest(_GROUP)
    grouped = newest is not None and newest.answered and "0/cpu.pressure:" in (newest.body or "")
    return _OF_GROUP if grouped else PRESSURE


def _of(resource: str) -> Callable[[Pair], Mapping[Key, Found]]:
    return lambda pair: _shares(resource, pair.before, pair.after, pair.seconds)


def _shares(resource: str, before: str, after: str, seconds: float) -> Mapping[Key, Found]:
    old, new = parse_pressure(before), parse_pressure(after)
    return {
        fact: _clipped(rate(old[kind] * 1e-6, new[kind] * 1e-6, seconds))
        for fact, kind in _FACTS[resource].items()
        if kind in old and kind in new
    }


def _clipped(found: float | Missing) -> Found:
    return found if isinstance(found, Missing) else min(1.0, found)


def _of_group(pair: Pair) -> Mapping[Key, Found]:
    before, after = parse_tree(pair.before), parse_tree(pair.after)
    facts: dict[Key, Found] = {}
    for resource in _FACTS:
        file = f"0/{resource}.pressure"
        texts = before.get(file, ""), after.get(file, "")
        facts.update(_shares(resource, *texts, pair.seconds))
    return facts


PRESSURE: Final = tuple(
    Recipe(tuple(facts), _of(resource), pairs=(f"/proc/pressure/{resource}",)) for resource, facts in _FACTS.items()
)
"""The whole host's."""

_OF_GROUP: Final = (Recipe(tuple(name for facts in _FACTS.values() for name in facts), _of_group, pairs=(_GROUP,)),)
