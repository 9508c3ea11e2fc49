"""
A table of hardware events: the CPUs it is for, what they count in which groups, and what is computed from the counts.

`parse.events` makes one of what stands in `rules/events/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.parse.formula import Formula

GENERIC: Final = "generic"
"""Where a group is `on` when its events are named as the kernel names them on every CPU."""
CORE: Final = "core"
"""Where a group is `on` when its events are those of the CPU's cores."""

Span = tuple[int, int]
"""Low and high, both included."""


@dataclass(frozen=True, slots=True)
class CpuPattern:
    """Which CPUs a table is for; what is empty or -1 is not asked for."""

    arch: str = ""
    vendor: str = ""
    family: int = -1
    models: tuple[Span, ...] = ()
    steppings: tuple[Span, ...] = ()
    implementer: int = -1
    parts: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """An event by the name that perf lists, and as terms of its code; without a code the kernel's own name is used."""

    name: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Events that are counted together, by what formulas call them; `on` is the kind of device that counts them."""

    name: str
    on: str
    events: Mapping[str, Event]

    @property
    def of_host(self) -> bool:
        """Whether it is counted for the whole host, whatever runs there."""
        return self.on not in (CORE, GENERIC)


@dataclass(frozen=True, slots=True)
class EventFact:
    """How a fact comes from counts; `proxy_of` where it stands in for something else."""

    name: str
    formula: Formula
    proxy_of: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a CPU cannot tell a fact, and what can."""

    because: str
    get_by: str


@dataclass(frozen=True, slots=True)
class EventTable:
    """
    One table: the CPUs it is for, its groups in the order of their worth, and every fact: computed, absent or without
    meaning on these CPUs.

    `counters` is how many counters groups that are counted at the same time may take together; an event of `fixed`
    takes none, once. `list_as` is the name under which perf lists the CPU's events, where it does.
    """

    name: str
    title: str
    source: str
    experimental: bool
    cpus: tuple[CpuPattern, ...]
    list_as: str
    counters: int
    fixed: frozenset[str]
    groups: Mapping[str, Group]
    facts: Mapping[str, EventFact]
    absent: Mapping[str, Absent]
    inapplicable: Mapping[str, str]
