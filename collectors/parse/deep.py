"""The facts of programs that measure: counters, profile, locks, flushes, cache lines."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.c2c import COHERENCE_FACTS, facts_of_coherence
from engram_diagnose.collectors.parse.hot_code import HOT_CODE_FACTS, facts_of_hot_code
from engram_diagnose.collectors.parse.kernel_locks import KERNEL_LOCK_FACTS, facts_of_kernel_locks
from engram_diagnose.collectors.parse.knowledge import Knowledge
from engram_diagnose.collectors.parse.locks import LOCK_FACTS, facts_of_locks
from engram_diagnose.collectors.parse.perf_mem import MEMORY_LATENCY_FACTS, facts_of_memory_latency
from engram_diagnose.collectors.parse.pmu import PMU_FACTS, facts_of_pmu
from engram_diagnose.collectors.parse.recipe import unknown_all
from engram_diagnose.collectors.parse.stacks import facts_of_profile, profile_fact_names
from engram_diagnose.collectors.parse.tracing import FLUSH_FACTS, facts_of_flushes
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.symbols import SymbolKind

_FIXED: Final = (
    COHERENCE_FACTS | FLUSH_FACTS | HOT_CODE_FACTS | KERNEL_LOCK_FACTS | LOCK_FACTS | MEMORY_LATENCY_FACTS | PMU_FACTS
)


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
    found = [fact for collector, facts_of in _readers(knowledge).items() if collector in asked
             for fact in facts_of(given)]  # fmt: skip
    return found + _not_done(given, knowledge)


def _readers(knowledge: Knowledge) -> dict[str, Callable[[list[Answer]], list[Fact]]]:
    """By the collector whose answers they read."""
    return {
        "perf": lambda answers: facts_of_pmu(answers, knowledge.tables),
        "profile": lambda answers: facts_of_profile(answers, knowledge.kinds) + facts_of_hot_code(answers),
        "flushes": facts_of_flushes,
        "locks": facts_of_locks,
        "kernel locks": facts_of_kernel_locks,
        "c2c": facts_of_coherence,
        "memory latency": facts_of_memory_latency,
    }


def _not_done(answers: Iterable[Answer], knowledge: Knowledge) -> list[Fact]:
    """What the steps would have told that failed, or were not begun for want of time."""
    of_step = {
        "perf stat": PMU_FACTS,
        "profile": profile_fact_names(knowledge.kinds) | HOT_CODE_FACTS,
        "flushes": FLUSH_FACTS,
        "locks": LOCK_FACTS,
        "kernel locks": KERNEL_LOCK_FACTS,
        "false sharing": COHERENCE_FACTS,
        "memory latency": MEMORY_LATENCY_FACTS,
    }
    refused = [answer for answer in answers if answer.collector == "collection" and not answer.answered]
    return [fact for answer in refused
            for fact in unknown_all(sorted(of_step.get(answer.name.removeprefix("step "), ())), answer)]  # fmt: skip
