"""
What a record comes to: the facts that a diagnosis of this host takes from it, and until when.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.attained import COLLECTOR, NOW, RECORD, host_now
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.parse.attained import FACTS, facts_of_attained
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.rulebase import load_rules

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """
    One fact as a diagnosis has it: `value` is in the base of `unit`, None where it is unknown; `note` is its quality,
    or why it is unknown. `part` is measured for it, and it holds until `until` (seconds since the epoch, 0 when
    unknown).
    """

    name: str
    part: str
    value: float | None
    unit: str
    note: str
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Attained:
    """A record, the facts that it comes to, and the instant that they were asked for (seconds since the epoch)."""

    record: Json
    facts: tuple[Standing, ...]
    at: float


def attained_here(record: Json, packs: Iterable[Path], *, folder: str) -> Attained:
    """What a record says of this host now; durable writes are those of the disk of `folder` ("": whichever it was)."""
    machine = Machine(host=record["host"])
    at = machine.now()
    catalogue = load_rules(packs, thorough=False).catalogue
    found = standing(record, host_now(machine, folder), catalogue, at=at)
    parts = {part["name"] for part in record["parts"]}
    return Attained(record, tuple(one for one in found if one.part in parts), at)


def standing(record: Mapping[str, Any], now: Mapping[str, Any], catalogue: Catalogue, *, at: float) -> list[Standing]:
    """
    The facts of a record at an instant, on a host that is `now` (as `host_now` says).

    A record that cannot be read gives unknown ones, and never an exception.
    """
    host = str(record.get("host", ""))
    answers = [Answer(COLLECTOR, name, at, host, json.dumps(said)) for name, said in ((RECORD, record), (NOW, now))]
    expiry = {str(part.get("name")): part for part in record.get("parts", ())}
    return [_standing(fact, expiry.get(FACTS[fact.name].part, {}), catalogue)
            for fact in facts_of_attained(answers, at=at)]  # fmt: skip


def _standing(fact: Fact, part: Mapping[str, Any], catalogue: Catalogue) -> Standing:
    named = FACTS[fact.name].part
    if not isinstance(fact.value, tuple):
        return Standing(fact.name, named, None, "", str(fact.unknown))
    spec = catalogue.spec(fact.name)
    unit = spec.unit.symbol if spec is not None else ""
    return Standing(fact.name, named, fact.value[0], unit, fact.quality, float(part.get("expires_at", 0.0)))
