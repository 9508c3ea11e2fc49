"""Memory of the process and of the host."""

from collections.abc import Mapping
from typing import Final

from engram_diagnose.collectors.parse.figures import Found, Missing, Proxy, rate, share
from engram_diagnose.collectors.parse.lines import bracketed, parse_counts, parse_sizes
from engram_diagnose.collectors.parse.recipe import Key, Pair, Recipe
from engram_diagnose.engine.facts.fact import Reason


def _status(text: str) -> Mapping[Key, Found]:
    """
    `VmRSS:     1784 kB`; anonymous memory stands in for the heap, which allocators keep in
    mappings.
    """
    sizes = parse_sizes(text)
    facts: dict[Key, Found] = {fact: float(sizes[name]) for fact, name in _STATUS.items() if name in sizes}
    if "RssAnon" in sizes:
        facts["mem.heap"] = Proxy(float(sizes["RssAnon"]), "heap")
    return facts


_STATUS: Final = {
    "mem.rss": "VmRSS",
    "mem.swap": "VmSwap",
    "mem.hugetlb_bytes": "HugetlbPages",
}


def _rollup(text: str) -> Mapping[Key, Found]:
    """`Pss:	 432 kB`, `Anonymous:	 356 kB`, `AnonHugePages:	 0 kB`."""
    sizes = parse_sizes(text)
    facts: dict[Key, Found] = {}
    if "Pss" in sizes:
        facts["mem.pss"] = float(sizes["Pss"])
    if "AnonHugePages" in sizes and "Anonymous" in sizes:
        huge, all_ = sizes["AnonHugePages"], sizes["Anonymous"]
        facts["mem.anon_huge_share"] = share(huge, all_, "no anonymous memory")
    return facts


def _meminfo(text: str) -> Mapping[Key, Found]:
    """`MemAvailable:   24132412 kB`."""
    sizes = parse_sizes(text)
    facts: dict[Key, Found] = {fact: float(sizes[name]) for fact, name in _MEMINFO.items() if name in sizes}
    if "MemTotal" in sizes and "MemAvailable" in sizes:
        free = share(sizes["MemAvailable"], sizes["MemTotal"], "no memory")
        facts["mem.available_share"] = free
        facts["mem.used_share"] = free if isinstance(free, Missing) else 1 - free
    return facts


_MEMINFO: Final = {
    "mem.total": "MemTotal",
    "mem.available": "MemAvailable",
    "host.swap_total": "SwapTotal",
}


def _vmstat(pair: Pair) -> Mapping[Key, Found]:
    old, new = parse_counts(pair.before), parse_counts(pair.after)
    return {
        "mem.swapin_rate": _sum_rate(old, new, ("pswpin",), pair.seconds),
        "mem.refault_rate": _sum_rate(old, new, ("workingset_refault",), pair.seconds),
        "mem.direct_reclaim_rate": _sum_rate(old, new, ("allocstall",), pair.seconds),
    }


def _sum_rate(old: Mapping[str, int], new: Mapping[str, int], prefixes: tuple[str, ...], seconds: float) -> Found:
    """The rate of all counters with a prefix: kernels split them by kind and zone."""
    names = [name for name in new if name.startswith(prefixes) and name in old]
    if not names:
        return Missing(Reason.SOURCE_ABSENT, f"no {prefixes[0]} in /proc/vmstat")
    return rate(sum(old[name] for name in names), sum(new[name] for name in names), seconds)


def _mode(text: str) -> Mapping[Key, Found]:
    mode = bracketed(text)
    return {} if mode is None else {"mem.thp_mode": mode}


_MODE_FILE: Final = "/sys/kernel/mm/transparent_hugepage/enabled"

MEMORY: Final = (
    Recipe((*_MEMINFO, "mem.available_share", "mem.used_share"), _meminfo, texts=("/proc/meminfo",)),
    Recipe(
        ("mem.swapin_rate", "mem.refault_rate", "mem.direct_reclaim_rate"),
        _vmstat,
        pairs=("/proc/vmstat",),
    ),
    Recipe(("mem.thp_mode",), _mode, texts=(_MODE_FILE,)),
)
"""The host's memory."""

PROCESS_MEMORY: Final = (
    Recipe((*_STATUS, "mem.heap"), _status, texts=("/proc/PID/status",)),
    Recipe(("mem.pss", "mem.anon_huge_share"), _rollup, texts=("/proc/PID/smaps_rollup",)),
)
"""The server's."""
