"""
What did not have to be asked: each figure with where it comes from.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from engram_diagnose.engine.advice.decision import same
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.wizard.answers import OPERATOR


class _Shown(NamedTuple):
    """A label, the fact that counts, and the facts it may have been taken from."""

    label: str
    fact: str
    sources: tuple[str, ...]


_SHOWN: Final = (
    _Shown("load", "workload.class", ("workload.stated_class",)),
    _Shown("cores", "cpu.usable_cores", ("cpu.available_cores", "host.cores")),
    _Shown("memory", "mem.usable", ("cgroup.mem_limit", "mem.total")),
    _Shown("NUMA nodes", "numa.nodes", ("numa.nodes",)),
    _Shown("vectors", "simd.isa", ("simd.isa",)),
)
_STORAGE: Final = "storage.stated_kind"
_DEVICE: Final = "disk.rotational"


def detected(diagnosis: Diagnosis) -> tuple[tuple[str, str], ...]:
    """Label and text of each figure that is known, such as `cores`, `24 cores (/sys/devices/system/cpu)`."""
    return (*_plain(diagnosis), *_storage(diagnosis))


def _plain(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    for shown in _SHOWN:
        fact = diagnosis.memory.lookup(shown.fact)
        if fact is not None and fact.value is not None:
            text = fact_text(fact.value, diagnosis.catalogue.spec(shown.fact))
            yield shown.label, f"{text} ({_origin(fact, shown, diagnosis)})"


def _origin(fact: Fact, shown: _Shown, diagnosis: Diagnosis) -> str:
    """Who says so: the source that agrees with what counts."""
    sources = [found for name in shown.sources if (found := diagnosis.memory.lookup(name)) is not None]
    agreeing = next((source for source in sources if same(source.value, fact.value)), None)
    if agreeing is not None:
        return _said(agreeing)
    share = diagnosis.memory.lookup("workload.read_share")
    if shown.fact == "workload.class" and fact.value != "memory-constrained" and share is not None and share.known:
        return f"{fact_text(share.value, diagnosis.catalogue.spec(share.name))} of operations are recalls"
    return "little memory is available" if fact.value == "memory-constrained" else _said(fact)


def _said(fact: Fact) -> str:
    return "as you stated" if fact.source == OPERATOR else fact.source or "measured"


def _storage(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    told = diagnosis.memory.lookup(_STORAGE)
    if told is not None and told.value is not None:
        yield "storage", f"{'a rotating disk' if told.value == 'hdd' else 'flash'} ({_said(told)})"
        return
    for scope, fact in sorted(diagnosis.memory.at(_DEVICE).items()):
        if fact.value is not None and not isinstance(fact.value, str):
            kind = "a rotating disk" if fact.value[0] else "flash"
            yield "storage", f"{kind} ({scope.get('device') or 'the device'} under the data directory)"
