"""What of the rule base tells how raw answers are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engram_diagnose.collectors.parse.event_table import EventTable
    from engram_diagnose.engine.facts.symbols import SymbolKind


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The tables of hardware events, and the kinds of functions."""

    tables: tuple[EventTable, ...] = ()
    kinds: tuple[SymbolKind, ...] = ()


NO_KNOWLEDGE: Final = Knowledge()

MEASURING: Final = frozenset({"perf", "profile", "flushes", "locks", "kernel locks", "c2c", "memory latency"})
"""Collectors whose answers are of programs that measure."""
