"""The facts of programs that measure: counters, profile, locks, flushes, cache lines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.c2c import COHERENCE_FACTS, facts_of_coherence
from engram_diagnose.collectors.parse.events import EventTable
from engram_diagnose.collectors.parse.hot_code import HOT_CODE_FACTS, facts_of_hot_code
from engram_diagnose.collectors.parse.kernel_locks import KERNEL_LOCK_FACTS, facts_of_kernel_locks
from engram_diagnose.collectors.parse.locks import LOCK_FACTS, facts_of_locks
from engram_diagnose.collectors.parse.perf_mem import MEMORY_LATENCY_FACTS, facts_of_memory_latency
from engram_diagnose.collectors.parse.pmu import PMU_FACTS, facts_of_pmu
from engram_diagnose.collectors.parse.recipe import unknown_all
from engram_diagnose.collectors.parse.stacks import facts_of_profile, profile_fact_names
from engram_diagnose.collectors.parse.tracing import FLUSH_FACTS, facts_of_flushes
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.symbols import SymbolKind

_FIXED: Final = (
    COHERENCE_FACTS
    | FLUSH_FACTS
    | HOT_CODE_FACTS
    | KERNEL_LOCK_FACTS
    | LOCK_FACTS
    | MEMORY_LATENCY_FACTS
    | PMU_FACTS
)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What of the rule base tells how to read raw answers: the tables of events, and the kinds of functions."""

    tables: tuple[EventTable, ...] = ()
    kinds: tuple[SymbolKind, ...] = ()


NO_KNOWLEDGE: Final = Knowledge()


def deep_facts(kinds: Sequence[SymbolKind]) -> frozenset[str]:
    """The names of all of these facts."""
    return _FIXED | profile_fact_names(kinds)


def facts_of_deep(answers: Iterable[Answer], knowledge: Knowledge) -> list[Fact]:
    """
    The facts of `deep_facts` that somebody looked for, each known, or unknown with its reason.

    What nobody looked for is not spoken of. Where the server is not on this machine all are unknown for that reason.
    """
    given = list(answers)
    target = next((answer for answer in reversed(given) if answer.collector == "target"), None)
    if target is not None and not target.answered:
        return unknown_all(sorted(deep_facts(knowledge.kinds)), target)
    asked = {answer.collector for answer in given}
    found = facts_of_pmu(given, knowledge.tables) if "perf" in asked else []
    found += facts_of_profile(given, knowledge.kinds) + facts_of_hot_code(given) if "profile" in asked else []
    found += facts_of_flushes(given) if "flushes" in asked else []
    found += facts_of_locks(given) if "locks" in asked else []
    found += facts_of_kernel_locks(given) if "kernel locks" in asked else []
    found += facts_of_coherence(given) if "c2c" in asked else []
    return found + (facts_of_memory_latency(given) if "memory latency" in asked else [])
