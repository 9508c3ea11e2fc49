"""
What an operator answers for the host and the load, as facts.
"""

import math
from typing import Final

from engram_diagnose.engine.facts.fact import Fact, Status, Value, point
from engram_diagnose.engine.facts.unit import BYTES, UNITS, format_value, parse_quantity
from engram_diagnose.render.neutral import visible

WORKLOADS: Final = ("read-heavy", "write-heavy", "balanced", "memory-constrained")
STORAGES: Final = ("ssd", "hdd")
INSTRUCTIONS: Final = ("avx512", "avx2", "avx", "sse", "sve", "neon", "none")

OPERATOR: Final = "the operator"
"""The source of every fact that an answer makes."""

_CORES: Final = (0.1, 8192.0)
"""From a small container's quota to the most CPUs that Linux counts."""
_MEMORY: Final = (2.0**27, 2.0**46)
"""128 MiB to 64 TiB: below, not even the smallest tiers fit; above, no host is built."""
_NODES: Final = (1, 1024)
"""The most NUMA nodes that Linux counts."""
_VECTORS: Final = ("avx512", "avx2", "sve", "neon")
"""What counts as vector instructions worth using."""


class UnusableAnswerError(ValueError):
    """An answer that is none: what it was, and what would be one."""


def stated_facts(*, workload: str = "", cores: float | None = None, memory: float | None = None, storage: str = "",
                 numa_nodes: int | None = None, simd: str = "") -> tuple[Fact, ...]:  # fmt: skip
    """
    The facts of the answers that were given; `memory` in bytes.

    Each answer reaches the tables whatever was measured: cores count as the host's and as what its mask and quota
    leave, memory as the host's and as the group's limit.
    """
    found: list[Fact] = []
    if workload:
        found.append(_stated("workload.stated_class", workload))
    if cores is not None:
        found += [_stated("host.cores", float(math.ceil(cores))), _stated("cpu.available_cores", cores)]
    if memory is not None:
        found += [_stated("mem.total", memory), _stated("cgroup.mem_limit", memory)]
    if storage:
        found.append(_stated("storage.stated_kind", storage))
    if numa_nodes is not None:
        found.append(_stated("numa.nodes", float(numa_nodes)))
    if simd:
        found += [_stated("simd.isa", simd), _stated("simd.available", float(simd in _VECTORS))]
    return tuple(found)


def stated(name: str, value: Value) -> Fact:
    """One fact on the operator's word; `value` in base units."""
    return Fact(name, value, Status.RECORDED, source=OPERATOR)


def _stated(name: str, value: float | str) -> Fact:
    return stated(name, value if isinstance(value, str) else point(value))


def cores_of(text: str) -> float:
    """`24`, or `2.5` for a quota; raises `UnusableAnswerError`."""
    low, high = _CORES
    found = _number(text)
    if found is None or not low <= found <= high:
        raise UnusableAnswerError(f"{shown(text)} is no number of cores from {low:g} to {high:g}; write 24, or 2.5")
    return found


def memory_of(text: str) -> float:
    """`64GiB`, in bytes; raises `UnusableAnswerError`."""
    low, high = _MEMORY
    try:
        found = parse_quantity(text)
    except ValueError:
        found = None
    if found is None or found.unit.dimension != BYTES or not low <= found.value <= high:
        bounds = f"{format_value(low, UNITS['B'])} to {format_value(high, UNITS['B'])}"
        raise UnusableAnswerError(
            f"{shown(text)} is no amount of memory from {bounds}; write it with its unit, such as 64GiB or 512MiB"
        )
    return found.value


def nodes_of(text: str) -> int:
    """`2`; raises `UnusableAnswerError`."""
    low, high = _NODES
    found = _number(text)
    if found is None or found != int(found) or not low <= found <= high:
        raise UnusableAnswerError(f"{shown(text)} is no whole number of NUMA nodes from {low} to {high}; write 2")
    return int(found)


def one_of(text: str, allowed: tuple[str, ...]) -> str:
    """The allowed word that is meant, whatever its case; raises `UnusableAnswerError`."""
    word = text.strip().lower().replace("_", "-")
    if word not in allowed:
        raise UnusableAnswerError(f"{shown(text)} is none of {', '.join(allowed)}")
    return word


def _number(text: str) -> float | None:
    try:
        found = parse_quantity(text)
    except ValueError:
        return None
    return found.value if found.unit.symbol in ("", "cores") else None


def shown(text: str) -> str:
    """An answer as a message repeats it: what does not print is escaped, what is long is cut."""
    return f"'{visible(text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...')}'"


_LONGEST: Final = 40
