"""Which table of hardware events is this CPU's, and what it counts: of the tables, what capture needs of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CORE, GENERIC = "core", "generic"


@dataclass(frozen=True)
class Cpu:
    """Who a CPU says it is: x86 by vendor, family, model and stepping, Arm by implementer and part. Unknown is -1."""

    arch: str = ""
    vendor: str = ""
    family: int = -1
    model: int = -1
    stepping: int = -1
    implementer: int = -1
    part: int = -1


@dataclass(frozen=True)
class CountGroup:
    """Events counted together; `events` are (what formulas call it, perf's name, code terms or "")."""

    name: str
    on: str
    events: tuple[tuple[str, str, str], ...]

    @property
    def of_host(self) -> bool:
        """Whether it is counted for the whole host."""
        return self.on not in (CORE, GENERIC)


@dataclass(frozen=True)
class CountTable:
    """A table by name, with its groups in the order in which they matter."""

    name: str
    counters: int
    fixed: frozenset[str]
    groups: tuple[CountGroup, ...]


def parse_cpu(cpuinfo: str, *, arch: str) -> Cpu:
    """The first processor of `/proc/cpuinfo` on a machine of this architecture."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())

    def figure(name: str) -> int:
        text = fields.get(name, "")
        return int(text, 0) if re.fullmatch(r"0x[0-9a-fA-F]{1,8}|0|[1-9][0-9]{0,8}", text) else -1

    return Cpu(
        arch=arch,
        vendor=fields.get("vendor_id", ""),
        family=figure("cpu family"),
        model=figure("model"),
        stepping=figure("stepping"),
        implementer=figure("cpu implementer"),
        part=figure("cpu part"),
    )


def table_for(cpu: Cpu, documents: Mapping[str, object]) -> CountTable | None:
    """
    The narrowest table for a CPU among the documents of `rules/events`, by file name; None where none is for it.

    A document that is not a table of events is passed over: `engram-diagnose rules check` says what is wrong with it.
    """
    best = None
    narrowest = -1
    for name in sorted(documents):
        try:
            found = _narrowness(documents[name], cpu)
            if found > narrowest:
                best, narrowest = _table(documents[name]), found
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    return best


def _narrowness(document: object, cpu: Cpu) -> int:
    """How much the patterns that match say: a vendor 2, an architecture 1, any 0; -1 where none matches."""
    patterns = [pattern for pattern in document["cpus"] if _matches(pattern, cpu)]  # type: ignore[index]
    scores = [2 if {"vendor", "implementer"} & set(p) else 0 if p["arch"] == "any" else 1 for p in patterns]
    return max(scores, default=-1)


def _matches(pattern: Mapping[str, object], cpu: Cpu) -> bool:
    texts = (
        pattern.get("vendor", cpu.vendor) == cpu.vendor,
        pattern.get("arch", "any") in ("any", cpu.arch),
        int(str(pattern.get("family", cpu.family)), 0) == cpu.family,
        int(str(pattern.get("implementer", cpu.implementer)), 0) == cpu.implementer,
    )
    figures = {"models": cpu.model, "steppings": cpu.stepping, "parts": cpu.part}
    return all(texts) and all(_within(pattern[key], figures[key]) for key in figures if key in pattern)


def _within(spans: object, figure: int) -> bool:
    for text in spans:  # type: ignore[attr-defined]
        low, _, high = text.partition("-")
        if int(low, 0) <= figure <= int(high or low, 0):
            return True
    return False


def _table(document: object) -> CountTable:
    root: Mapping[str, object] = document  # type: ignore[assignment]
    codes: Mapping[str, str] = root.get("events", {})  # type: ignore[assignment]
    groups: Mapping[str, Mapping[str, object]] = root["groups"]  # type: ignore[assignment]
    fixed: Iterable[str] = root.get("fixed", ())  # type: ignore[assignment]
    return CountTable(
        name=str(root["table"]),
        counters=int(str(root["counters"]), 0),
        fixed=frozenset(fixed),
        groups=tuple(_group(name, entry, codes) for name, entry in groups.items()),
    )


def _group(name: str, entry: Mapping[str, object], codes: Mapping[str, str]) -> CountGroup:
    counted: Mapping[str, str] = entry["count"]  # type: ignore[assignment]
    on = str(entry.get("on", CORE))
    events = tuple((alias, event, "" if on == GENERIC else codes[event]) for alias, event in counted.items())
    return CountGroup(name, on, events)
