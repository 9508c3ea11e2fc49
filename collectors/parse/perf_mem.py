"""How long loads from memory take, from the samples of `perf mem`."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_mem import COLLECTOR, LOADS
from engram_diagnose.collectors.parse.figures import Found, Missing, UnparsedError
from engram_diagnose.collectors.parse.tool_answers import facts_of_answer, tool_answer
from engram_diagnose.engine.facts.fact import Fact, Reason

_NAMES: Final = ("membw.latency",)

MEMORY_LATENCY_FACTS: Final = frozenset(_NAMES)
"""The names of the facts that `perf mem` gives."""

_GET_BY: Final = {
    Reason.NO_PMU: "run on bare metal, or give the virtual machine a PMU with PEBS or IBS",
    Reason.EVENT_UNSUPPORTED: "run on a CPU with PEBS (Intel), IBS (AMD) or SPE (Arm, bare metal)",
    Reason.NO_TOOL: "install perf (package linux-perf) and collect again as root",
    Reason.PARANOID: "collect as root, or with CAP_PERFMON",
}

_QUALITY: Final = "experimental: the form of these samples is known from perf's sources only"


def facts_of_memory_latency(answers: Iterable[Answer]) -> list[Fact]:
    """The facts of `MEMORY_LATENCY_FACTS`, each known, or unknown with its reason."""
    mine = [answer for answer in answers if answer.collector == COLLECTOR]
    return facts_of_answer(tool_answer(mine, LOADS), _NAMES, _latency, _GET_BY, quality=_QUALITY)


_HEAD: Final = re.compile(r"# cycles ([0-9]{1,12})/s")
_ROW: Final = re.compile(r"([0-9]{1,12}) ([0-9]{1,18}) (\S.{0,80})")
_MISSED: Final = re.compile(r"\bRAM\b.*\bhit\b|\b(?:L3|LLC)\b.*\bmiss\b", re.IGNORECASE)
"""Served by memory, of this node or of another: all names that perf gave it so far."""


def _latency(text: str) -> Mapping[str, Found]:
    clock, loads = parse_loads(text)
    missed = [sums for level, sums in loads.items() if _MISSED.search(level)]
    calls, cycles = sum(calls for calls, _ in missed), sum(cycles for _, cycles in missed)
    if not calls:
        return {"membw.latency": Missing(Reason.TOO_FEW_SAMPLES, "no sampled load missed every cache")}
    if not clock:
        return {"membw.latency": Missing(Reason.SOURCE_ABSENT, "the clock is not in /proc/cpuinfo")}
    return {"membw.latency": cycles / calls / clock}


def parse_loads(text: str) -> tuple[int, Mapping[str, tuple[int, int]]]:
    """
    Cycles a second, and samples and their cycles by where they were served; raises `UnparsedError`.

    `# cycles 2400000000/s` and rows `12 2772 Local RAM hit`.
    """
    first, *rows = text.splitlines() or [""]
    head = _HEAD.fullmatch(first)
    if head is None:
        raise UnparsedError("it does not say how fast the clock is")
    loads: dict[str, tuple[int, int]] = {}
    for line in rows:
        row = _ROW.fullmatch(line)
        if row is None:
            raise UnparsedError(f"{line[:40]!r} is not `calls cycles level`")
        loads[row[3]] = (int(row[1]), int(row[2]))
    return int(head[1]), loads
