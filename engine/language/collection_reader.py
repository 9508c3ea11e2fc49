"""
Nodes into the limits of collecting. Read when something is collected: a diagnosis does not need them.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from engram_diagnose.engine.facts.unit import BYTES, NUMBER, RATE, TIME, Dimension
from engram_diagnose.engine.language import source as yaml_source
from engram_diagnose.engine.language.deferred import deferred_file, schema_of
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import Mark, Problems, TooManyProblems, did_you_mean

LIMITS: Final[Mapping[str, Dimension]] = {
    "watch": TIME,
    "profile_watch": TIME,
    "follow_up": TIME,
    "budget": TIME,
    "profile_budget": TIME,
    "sample_rate": RATE,
    "threads": NUMBER,
    "state_reads": NUMBER,
    "resident": BYTES,
    "traced_futex_rate": RATE,
    "stacks": NUMBER,
    "look_every": TIME,
    "cpu_pressure_rise": NUMBER,
    "memory_pressure_rise": NUMBER,
    "io_pressure_rise": NUMBER,
    "least_memory": BYTES,
}
"""Every limit there is, and what it is measured in."""


def read_collection(texts: Mapping[str, str]) -> dict[str, float]:
    """
    The limits by name, in base units, from the one file of `texts` (by file name) that has them; a later file takes
    the place of an earlier one.

    Raises `RuleBaseError` with every problem of it at its place.
    """
    problems = Problems()
    limits: dict[str, float] = {}
    with suppress(TooManyProblems):
        name = deferred_file(texts, "collection")
        if not name:
            problems.error(Mark("rules", 1, 1), f"no file with schema {schema_of('collection')}",
                           hint="the installation is incomplete: install the package again")  # fmt: skip
        root = yaml_source.parse_document(texts[name], file=name, problems=problems) if name else None
        limits = _limits(Fields(root, "the file", problems), problems) if root is not None else {}
    problems.raise_errors()
    return limits


def _limits(root: Fields, problems: Problems) -> dict[str, float]:
    root.only(("schema", "limits"))
    root.need("schema", "limits")
    node = root.mapping("limits") or yaml_source.Mapping("", 1, 1)
    for name in node.values:
        if name not in LIMITS:
            hint = did_you_mean(name, LIMITS) or f"known: {', '.join(LIMITS)}"
            problems.error(node.key_mark(name), f"there is no limit {name}", hint=hint, length=len(name))
    if missing := [name for name in LIMITS if name not in node.values]:
        problems.error(root.mark("limits"), f"limits lack {', '.join(missing)}", length=len("limits"))
    entries = [(name, entry) for name, entry in node.values.items() if name in LIMITS]
    return {name: _limit(name, entry, problems) for name, entry in entries}


def _limit(name: str, entry: yaml_source.Node, problems: Problems) -> float:
    if not isinstance(entry, yaml_source.Mapping):
        problems.error(entry.mark, f"{name} must be a mapping, not {yaml_source.describe(entry)}")
        return 0.0
    fields = Fields(entry, name, problems)
    fields.only(("is", "reason"))
    fields.need("is", "reason")
    fields.text("reason")
    quantity = fields.quantity("is")
    if quantity is None:
        return 0.0
    if quantity.unit.dimension != LIMITS[name]:
        problems.error(fields.mark("is"), f"{name} is {LIMITS[name]}, not {quantity.unit.dimension}", length=len("is"))
    if quantity.value <= 0:
        problems.error(fields.mark("is"), f"{name} is more than 0", length=len("is"))
    return quantity.value
