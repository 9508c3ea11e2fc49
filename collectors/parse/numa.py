"""Where the server's memory is, and where its threads run."""

from collections.abc import Mapping
from typing import Final

from engram_diagnose.collectors.parse.cpu import node_cpus
from engram_diagnose.collectors.parse.figures import (
    Found,
    Inapplicable,
    Missing,
    Proxy,
    UnparsedError,
    integer,
    rate,
)
from engram_diagnose.collectors.parse.lines import parse_counts, parse_sizes, parse_tree
from engram_diagnose.collectors.parse.process import allowed_cpus
from engram_diagnose.collectors.parse.recipe import Answers, Key, Pair, Recipe
from engram_diagnose.collectors.parse.threads import spent
from engram_diagnose.engine.facts.fact import Reason
from engram_diagnose.engine.facts.scope import Scope, scope_of

_TREE: Final = "/sys/devices/system/node"
_ACROSS: Final = (
    "numa.allowed_nodes",
    "numa.max_distance",
    "numa.node_mem_free",
    "numa.node_mem_total",
    "numa.policy",
    "numa.balancing_on",
    "numa.cpu_share",
    "numa.foreign_alloc_rate",
    "numa.interconnect_used_share",
    "numa.mem_share",
    "numa.remote_access_rate",
    "numa.remote_access_share",
)


def node_count(nodes: str) -> int:
    """The nodes with memory."""
    files = parse_tree(nodes)
    memories = [text for path, text in files.items() if path.endswith("/meminfo")]
    return sum(parse_sizes(text).get("MemTotal", 0) > 0 for text in memories)


def numa_recipes(answers: Answers) -> tuple[Recipe, ...]:
    """On one node there is nothing remote: the facts that speak of several are not applicable."""
    tree = answers.newest(_TREE)
    try:
        several = node_count(tree.body or "") != 1 if tree else True
    except UnparsedError:
        several = True
    return NUMA if several else _ONE_NODE


def _nodes(tree: str) -> Mapping[Key, Found]:
    count = node_count(tree)
    if not count:
        raise UnparsedError("no node with memory")
    return {"numa.nodes": float(count)}


def _single(tree: str) -> Mapping[Key, Found]:
    why = Inapplicable("this host has one NUMA node")
    return {**_nodes(tree), **dict.fromkeys(_ACROSS, why)}


def parse_node_bytes(text: str) -> dict[int, int]:
    """Bytes of the process by node, as capture adds them up: `N0 4096`."""
    rows = parse_counts(text)
    return {integer(name[1:]): count for name, count in rows.items() if name.startswith("N")}


def parse_policies(text: str) -> dict[str, int]:
    """Bytes of the process by memory policy: `policy/bind 4096`."""
    rows = parse_counts(text)
    lead = "policy/"
    return {name.removeprefix(lead): count for name, count in rows.items() if name.startswith(lead)}


def _policy(text: str) -> Mapping[Key, Found]:
    """The policy of more than half of the memory; allocation on the local node is the default."""
    policies = parse_policies(text)
    policies["default"] = policies.get("default", 0) + policies.pop("local", 0)
    most = max(policies, key=lambda name: (policies[name], name))
    if policies[most] <= 0:
        raise UnparsedError("no memory under any policy")
    return {"numa.policy": most if policies[most] * 2 > sum(policies.values()) else "mixed"}


def _layout(tree: str) -> Mapping[Key, Found]:
    """`node0/distance:10 21` and `node0/meminfo:Node 0 MemTotal:        481980 kB`."""
    facts: dict[Key, Found] = {}
    distances = []
    for path, text in parse_tree(tree).items():
        node, _, file = path.partition("/")
        if file == "distance":
            distances += [integer(word) for word in text.split()]
        if file == "meminfo":
            facts |= _node_memory(integer(node.removeprefix("node")), parse_sizes(text))
    if distances:
        facts["numa.max_distance"] = float(max(distances))
    return facts


def _node_memory(node: int, sizes: Mapping[str, int]) -> dict[Key, Found]:
    names = {"numa.node_mem_total": "MemTotal", "numa.node_mem_free": "MemFree"}
    return {(fact, _node(node)): float(sizes[name]) for fact, name in names.items() if name in sizes}


def _allowed(status: str, tree: str) -> Mapping[Key, Found]:
    allowed = allowed_cpus(status)
    return {"numa.allowed_nodes": float(sum(bool(cpus & allowed) for cpus in node_cpus(tree).values()))}


def _memory_shares(text: str) -> Mapping[int, float]:
    pages = parse_node_bytes(text)
    total = sum(pages.values())
    if total <= 0:
        raise UnparsedError("no memory on any node")
    return {node: count / total for node, count in pages.items()}


def _mem_share(numa_maps: str, tree: str) -> Mapping[Key, Found]:
    shares = _memory_shares(numa_maps)
    return {("numa.mem_share", _node(node)): shares.get(node, 0.0) for node in sorted(node_cpus(tree))}


def _node(node: int) -> Scope:
    return scope_of({"node": str(node)})


def _cpu_shares(tasks: Pair, tree: str) -> Mapping[int, float] | Missing:
    """Run time by the node that each thread was last on."""
    threads = spent(tasks)
    if isinstance(threads, Missing):
        return threads
    nodes = node_cpus(tree)
    times = {node: sum(one.run for one in threads if one.processor in cpus) for node, cpus in nodes.items()}
    total = sum(times.values())
    if total <= 0:
        return Missing(Reason.TOO_FEW_SAMPLES, "no thread ran")
    return {node: time / total for node, time in times.items()}


def _cpu_share(tasks: Pair, tree: str) -> Mapping[Key, Found]:
    shares = _cpu_shares(tasks, tree)
    if isinstance(shares, Missing):
        return {"numa.cpu_share": shares}
    return {("numa.cpu_share", _node(node)): share for node, share in shares.items()}


def _remote(tasks: Pair, tree: str, numa_maps: str) -> Mapping[Key, Found]:
    """
    Accesses spread as memory is: `Σ cpu_share[n] · (1 − mem_share[n])`.

    An expectation, not a measurement: threads may use what is near.
    """
    cpu, memory = _cpu_shares(tasks, tree), _memory_shares(numa_maps)
    if isinstance(cpu, Missing):
        return {"numa.remote_access_share": cpu}
    expected = sum(share * (1 - memory.get(node, 0.0)) for node, share in cpu.items())
    return {"numa.remote_access_share": Proxy(min(1.0, expected), "measured remote accesses")}


def _foreign(pair: Pair) -> Mapping[Key, Found]:
    old, new = _foreign_count(pair.before), _foreign_count(pair.after)
    return {"numa.foreign_alloc_rate": rate(old, new, pair.seconds)}


def _foreign_count(text: str) -> int:
    """
    `node0/numastat:numa_foreign 0`: pages that were meant for that node and came from another.
    """
    files = parse_tree(text).values()
    counts = [parse_counts(file)["numa_foreign"] for file in files if "numa_foreign" in file]
    if not counts:
        raise UnparsedError("no numa_foreign")
    return sum(counts)


def _balancing(text: str) -> Mapping[Key, Found]:
    return {"numa.balancing_on": float(integer(text.strip()) != 0)}


NUMA: Final = (
    Recipe(("numa.nodes",), _nodes, texts=(_TREE,)),
    Recipe(("numa.max_distance", "numa.node_mem_total", "numa.node_mem_free"), _layout, texts=(_TREE,)),
    Recipe(("numa.allowed_nodes",), _allowed, texts=("/proc/PID/status", _TREE)),
    Recipe(("numa.policy",), _policy, texts=("/proc/PID/numa_maps",)),
    Recipe(("numa.mem_share",), _mem_share, texts=("/proc/PID/numa_maps", _TREE)),
    Recipe(("numa.cpu_share",), _cpu_share, pairs=("/proc/PID/task",), texts=(_TREE,)),
    Recipe(
        ("numa.remote_access_share",),
        _remote,
        pairs=("/proc/PID/task",),
        texts=(_TREE, "/proc/PID/numa_maps"),
    ),
    Recipe(("numa.foreign_alloc_rate",), _foreign, pairs=("/sys/node/numastat",)),
    Recipe(("numa.balancing_on",), _balancing, texts=("/proc/sys/kernel/numa_balancing",)),
)
"""A host with several nodes."""

_ONE_NODE: Final = (Recipe(("numa.nodes", *_ACROSS), _single, texts=(_TREE,)),)
