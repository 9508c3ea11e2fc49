"""All facts of the local collectors: host, process, control group, storage."""

from collections.abc import Iterable
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.cgroup import CGROUP
from engram_diagnose.collectors.parse.cpu import CPU, PROCESS_CPU
from engram_diagnose.collectors.parse.disk import DISK
from engram_diagnose.collectors.parse.host import HOST
from engram_diagnose.collectors.parse.memory import MEMORY, PROCESS_MEMORY
from engram_diagnose.collectors.parse.network import NETWORK
from engram_diagnose.collectors.parse.numa import NUMA, numa_recipes
from engram_diagnose.collectors.parse.pressure import PRESSURE, pressure_recipes
from engram_diagnose.collectors.parse.process import PROCESS
from engram_diagnose.collectors.parse.recipe import Answers, facts_of, names_of, unknown_all
from engram_diagnose.collectors.parse.smbios import SMBIOS
from engram_diagnose.collectors.parse.threads import SCHEDULING
from engram_diagnose.engine.facts.fact import Fact

LOCAL_COLLECTORS: Final = frozenset({"host", "process", "cgroup", "storage", "target"})
"""Whose answers speak of the machine they were captured on."""

_FIXED: Final = (*HOST, *CPU, *MEMORY, *DISK, *NETWORK, *SMBIOS)
_OF_PROCESS: Final = (*PROCESS, *PROCESS_CPU, *PROCESS_MEMORY, *SCHEDULING, *CGROUP)

LOCAL_FACTS: Final = names_of((*_FIXED, *_OF_PROCESS, *NUMA, *PRESSURE))
"""The names of the facts that the local collectors make."""


def facts_of_local(answers: Iterable[Answer]) -> list[Fact]:
    """
    The facts of `LOCAL_FACTS`, each known, or unknown with its reason.

    Where the answer `target` says that the server is not on this machine, or was not found on it,
    all of them are unknown for that reason, whatever else was captured. Where the process ended
    meanwhile, all of its own are. Without any local answer they are NOT_COLLECTED.
    """
    local = [answer for answer in answers if answer.collector in LOCAL_COLLECTORS]
    index = Answers(local)
    target = index.newest("target")
    if target is not None and not target.answered:
        return unknown_all(LOCAL_FACTS, target)
    host = facts_of((*_FIXED, *numa_recipes(index), *pressure_recipes(index)), index)
    gone = next((answer for answer in local if answer.reason == "TARGET_GONE"), None)
    if gone is not None:
        return host + unknown_all(names_of(_OF_PROCESS), gone)
    return host + facts_of(_OF_PROCESS, index)


def facts_of_host(answers: Iterable[Answer]) -> list[Fact]:
    """The facts of the machine alone, for sizing a server that does not run yet."""
    index = Answers(answer for answer in answers if answer.collector in LOCAL_COLLECTORS)
    numa = tuple(recipe for recipe in numa_recipes(index) if "numa.nodes" in recipe.facts)
    return facts_of((*_FIXED, *numa, *PRESSURE), index)
