"""
What may have to be asked: of the host and the load, and only what nobody could find out.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.engine.advice.missing import missing_inputs
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.facts.catalogue import ParameterSpec
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.wizard.answers import (
    INSTRUCTIONS,
    STORAGES,
    WORKLOADS,
    cores_of,
    memory_of,
    nodes_of,
    one_of,
    stated_facts,
)


@dataclass(frozen=True, slots=True)
class Question:
    """
    One thing to know. `flag` is the option that answers it beforehand, `explanation` says what it decides, `more` what
    to answer when one is not sure. `allowed` says what an answer may be, and `facts_of` makes facts of one, raising
    `UnusableAnswerError`. `facts` are what it speaks of, `parameters` the settings that cannot be sized without it.
    """

    flag: str
    title: str
    explanation: str
    more: str
    allowed: str
    facts: tuple[str, ...]
    facts_of: Callable[[str], tuple[Fact, ...]]
    parameters: tuple[ParameterSpec, ...] = ()


QUESTIONS: Final = (
    Question(
        "--workload",
        "kind of load",
        "What the server mostly does. It decides the index (more links find more and cost stores), the log, the worker "
        "threads, compression and consolidation.",
        "read-heavy: more than four in five operations are recalls. write-heavy: fewer than three in ten. balanced: in "
        "between. memory-constrained: the smallest footprint goes before speed.",
        ", ".join(WORKLOADS),
        ("workload.stated_class",),
        lambda text: stated_facts(workload=one_of(text, WORKLOADS)),
    ),
    Question(
        "--cores",
        "cores",
        "The cores that the server may use. They decide the shards of the hot tier, the worker threads and how far "
        "ahead memory is fetched.",
        "On its host `nproc` prints them. In a container or a service with a quota, the quota counts: 2.5 is one.",
        "a number, such as 24 or 2.5",
        ("host.cores",),
        lambda text: stated_facts(cores=cores_of(text)),
    ),
    Question(
        "--memory",
        "memory",
        "The memory that the server may use. It decides the sizes of the tiers, huge pages and the consolidation "
        "batch, and bounds all of them together.",
        "On its host `free -h` prints it as the total. In a container or a service with a limit, the limit counts.",
        "an amount with its unit, such as 64GiB",
        ("mem.total",),
        lambda text: stated_facts(memory=memory_of(text)),
    ),
    Question(
        "--storage",
        "storage",
        "What the data directory lies on. It decides how the log is synchronised, and whether mapped files are read "
        "ahead at the start.",
        "`lsblk -d -o NAME,ROTA` prints 1 for a rotating disk. Virtual disks often say 1 and are flash: ask who runs "
        "them. With --data-dir the device is looked at.",
        "ssd (flash), hdd (a rotating disk)",
        ("storage.stated_kind",),
        lambda text: stated_facts(storage=one_of(text, STORAGES)),
    ),
    Question(
        "--numa-nodes",
        "NUMA nodes",
        "Whether the host's memory is in several parts, some nearer to a core than others. It decides whether the "
        "server keeps threads and their memory together.",
        "On its host `lscpu | grep NUMA` prints them; with one socket it is nearly always 1.",
        "a whole number, such as 1 or 2",
        ("numa.nodes",),
        lambda text: stated_facts(numa_nodes=nodes_of(text)),
    ),
    Question(
        "--simd",
        "vector instructions",
        "The widest vector instructions of the CPU. They decide how similarities are computed.",
        "On its host `lscpu | grep -E 'Flags|asimd|sve'` lists them. avx, sse and none count alike: the server has "
        "vector code for AVX2 and later, NEON and SVE.",
        ", ".join(INSTRUCTIONS),
        ("simd.isa",),
        lambda text: stated_facts(simd=one_of(text, INSTRUCTIONS)),
    ),
)
"""In the order in which they are asked."""


def open_questions(
    diagnosis: Diagnosis, *, wanted: Callable[[ParameterSpec], bool] = lambda _: True
) -> tuple[Question, ...]:
    """
    The questions whose facts are unknown and that keep a setting of this server from being sized, with those settings.

    `wanted` tells which settings are of interest at all.
    """
    missing = {
        parameter.name: frozenset(missing_inputs(parameter.formula, diagnosis))
        for parameter in settable(diagnosis)
        if wanted(parameter)
    }
    asked = (replace(question, parameters=_needing(question, missing, diagnosis)) for question in QUESTIONS)
    return tuple(question for question in asked if question.parameters)


def settable(diagnosis: Diagnosis) -> Iterable[ParameterSpec]:
    """The parameters that a table sizes and that this server's release heeds."""
    dialect = diagnosis.catalogue.dialects.get(diagnosis.subject.dialect)
    for parameter in diagnosis.catalogue.parameters.values():
        key = dialect.keys.get(parameter.name) if dialect is not None else None
        if parameter.formula and key is not None and key.heeded:
            yield parameter


def _needing(question: Question, missing: dict[str, frozenset[str]], diagnosis: Diagnosis) -> tuple[ParameterSpec, ...]:
    names = [name for name, inputs in missing.items() if not inputs.isdisjoint(question.facts)]
    return tuple(diagnosis.catalogue.parameters[name] for name in names)
