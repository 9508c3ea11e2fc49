"""
What memory of another NUMA node costs: bandwidth and latency from the first CPU's node to each, its own among them.

    numa.read    B/s, of one thread on each CPU of the node    by place ("local", "remote"), cpu_node, memory_node
    numa.load    s                                             as above

Memory is placed by the kernel's own call, and where it lies is asked of the kernel before anything is measured: a
figure of memory that lies elsewhere would be taken for this one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from engram_diagnose.kernels.loops.latency import LINE, Cycle
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.host import cpus_of
from engram_diagnose.kernels.measure.latency import HOPS, Chase, shown
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.memory import HUGE, Buffer, buffer
from engram_diagnose.kernels.measure.placement import nodes_of
from engram_diagnose.kernels.measure.sampling import measured
from engram_diagnose.kernels.measure.stream import PATTERN, READ, Walk, together

_NODES: Final = Path("/sys/devices/system/node")
_NAMES: Final = ("numa.read", "numa.load")


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node: its number, its CPUs (none where there is memory alone), and the bytes that are free on it."""

    number: int
    cpus: frozenset[int]
    free: int


def numa(bench: Bench) -> list[Outcome]:
    """Reading and loading from each node's memory, where there are two nodes at least."""
    nodes = nodes_here(_NODES)
    with_memory = [node for node in nodes if node.free]
    if len(with_memory) < 2:
        count = "one NUMA node has" if with_memory else "the kernel does not say which NUMA nodes have"
        return [Unmeasured("numa", f"{count} memory: all of it is local", "")]
    home = next((node for node in nodes if bench.cpus[0] in node.cpus), None)
    if home is None:
        reason = f"the kernel does not say which NUMA node CPU {bench.cpus[0]} belongs to"
        return [Unmeasured("numa", reason, "look at /sys/devices/system/node/node*/cpulist")]
    found: list[Outcome] = []
    for node in with_memory:
        bench.check()
        bench.say(f"memory of NUMA node {node.number} from CPUs of node {home.number}")
        found += _from(bench, home, node)
    return found


def nodes_here(folder: Path) -> tuple[Node, ...]:
    """The nodes that the kernel shows, by number; none where it shows none."""
    numbers = (re.fullmatch(r"node([0-9]{1,4})", path.name) for path in folder.glob("node[0-9]*"))
    return tuple(sorted((_node(folder, int(one.group(1))) for one in numbers if one), key=lambda node: node.number))


def _node(folder: Path, number: int) -> Node:
    own = folder / f"node{number}"
    free = re.search(r"(?m)^Node [0-9]+ MemFree:\s+([0-9]{1,15}) kB", _said(own / "meminfo"))
    return Node(number, frozenset(cpus_of(_said(own / "cpulist"))), int(free.group(1)) << 10 if free else 0)


def _said(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _from(bench: Bench, home: Node, node: Node) -> list[Outcome]:
    place = "local" if node.number == home.number else "remote"
    labels = {"place": place, "cpu_node": str(home.number), "memory_node": str(node.number)}
    # A bound program that finds its node full is ended by the kernel, however much is free elsewhere.
    allowed = min(bench.memory, int(node.free * bench.limits["memory_share"]))
    last = bench.caches[-1].size if bench.caches else 0
    size = min(allowed, int(bench.limits["stream_caches"]) * last or allowed) // HUGE * HUGE
    if not size:
        return _not(f"node {node.number} has {shown(node.free)} free", "free memory on that node", labels)
    try:
        memory: Buffer = bench.pool.run(partial(buffer, size, byte=PATTERN, node=node.number))[0]
        elsewhere = misplaced(memory, node.number)
    except OSError as error:
        reason = f"the system does not place memory on node {node.number}: {error.strerror or error}"
        return _not(reason, "allow the node (cpuset.mems) and the capability SYS_NICE, which containers lack", labels)
    if elsewhere:
        reason = f"{elsewhere:.0%} of the memory lies on another node than {node.number}"
        return _not(reason, "free memory on that node", labels)
    notes = (f"move_pages found all of {shown(size)} on node {node.number}", *_in_cache(size, last, bench))
    return [_read(bench, home, memory, labels, notes), _load(bench, memory, labels, notes)]


def misplaced(memory: Buffer, node: int) -> float:
    """The share of the memory that lies on another node, by one small page of each huge one. Raises `OSError`."""
    start = memory.bytes.ctypes.data
    found = nodes_of(range(start, start + len(memory.bytes), HUGE))
    return sum(one != node for one in found) / len(found)


def _in_cache(size: int, last: int, bench: Bench) -> tuple[str, ...]:
    if size >= int(bench.limits["stream_caches"]) * last:
        return ()
    return (f"the last cache is claimed to be {shown(last)}: part of the memory may be found in it",)


def _not(reason: str, get_by: str, labels: Mapping[str, str]) -> list[Outcome]:
    return [Unmeasured(name, reason, get_by, labels) for name in _NAMES]


def _read(bench: Bench, home: Node, memory: Buffer, labels: Mapping[str, str], notes: tuple[str, ...]) -> Measurement:
    """Every CPU of the node reads a share of the memory."""
    threads = [number for number, cpu in enumerate(bench.pool.cpus) if cpu in home.cpus]
    walks = _shares(memory, len(threads), int(bench.limits["stream_window"]))
    counted = sum(walk.window for walk in walks)
    return measured(
        "numa.read", "B/s", partial(together, bench, READ, walks, threads=threads), bench, better="higher",
        figure=lambda seconds: counted / seconds, labels=labels, threads=len(threads), notes=notes,
        seconds=bench.limits["numa_seconds"],
    )  # fmt: skip


def _shares(memory: Buffer, count: int, window: int) -> Sequence[Walk]:
    whole = memory.of(np.float64)
    length = len(whole) // count
    return [
        Walk((whole[number * length : (number + 1) * length],), min(window, length * whole.itemsize))
        for number in range(count)
    ]


def _load(bench: Bench, memory: Buffer, labels: Mapping[str, str], notes: tuple[str, ...]) -> Measurement:
    cycle = Cycle(memory.bytes[: len(memory.bytes) // LINE * LINE].view(np.uint64))
    parts = len(bench.pool)
    bench.pool.run(*(partial(cycle.lay, part=part, parts=parts) for part in range(parts)))
    take = partial(
        measured, "numa.load", "s", Chase(cycle).follow, bench, better="lower", figure=lambda seconds: seconds / HOPS,
        labels=labels, notes=notes, seconds=bench.limits["numa_seconds"],
    )  # fmt: skip
    found: Measurement = bench.pool.run(take)[0]
    return found
