"""Memory of the process and of the host."""

from collections.abc import Mapping
from typing import Final

from engram_diagnose.collectors.parse.cgroup import parse_levels, used_shares
from engram_diagnose.collectors.parse.figures import Found, Missing, rate, share
from engram_diagnose.collectors.parse.lines import bracketed, parse_counts, parse_sizes
from engram_diagnose.collectors.parse.recipe import Key, Pair, Recipe
from engram_diagnose.engine.facts.fact import Reason


def _status(text: str) -> Mapping[Key, Found]:
    """
    `VmRSS:     1784 kB`; anonymous memory stands in for the heap, which allocators keep in
    mappings.
    """
    sizes = parse_sizes(text)
    return {fact: float(sizes[name]) for fact, name in _STATUS.items() if name in sizes}


_STATUS: Final = {
    "mem.rss": "VmRSS",
    "mem.virtual": "VmSize",
    "mem.heap": "RssAnon",
    "mem.file": "RssFile",
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
    if "ShmemPmdMapped" in sizes and "FilePmdMapped" in sizes:
        facts["mem.file_huge_bytes"] = float(sizes["ShmemPmdMapped"] + sizes["FilePmdMapped"])
    return facts


_HUGE_PAGES: Final = {"mem.hugepages_free": "HugePages_Free", "host.huge_pages": "HugePages_Total"}


def _meminfo(text: str) -> Mapping[Key, Found]:
    """`MemAvailable:   24132412 kB`."""
    sizes = parse_sizes(text)
    facts: dict[Key, Found] = {fact: float(sizes[name]) for fact, name in _MEMINFO.items() if name in sizes}
    if "MemTotal" in sizes and "MemAvailable" in sizes:
        free = share(sizes["MemAvailable"], sizes["MemTotal"], "no memory")
        facts["mem.used_share"] = free if isinstance(free, Missing) else 1 - free
    counts = parse_counts(text)
    return facts | {fact: float(counts[name]) for fact, name in _HUGE_PAGES.items() if name in counts}


def _available(text: str, cgroup: str) -> Mapping[Key, Found]:
    """What is left of the host's memory, or of the control group's limit where that is less."""
    sizes = parse_sizes(text)
    if "MemTotal" not in sizes or "MemAvailable" not in sizes:
        return {}
    free = share(sizes["MemAvailable"], sizes["MemTotal"], "no memory")
    used = used_shares(parse_levels(cgroup)) if cgroup else []
    if isinstance(free, Missing):
        return {"mem.available_share": free}
    return {"mem.available_share": min([free, *(1 - one for one in used)])}


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
        "mem.direct_reclaim_rate": _sum_rate(old, new, ("pgscan_direct",), pair.seconds),
    }


def _sum_rate(old: Mapping[str, int], new: Mapping[str, int], prefixes: tuple[str, ...], seconds: float) -> Found:
    """The rate of all counters with a prefix: kernels split them by kind and zone."""
    both = [name for name in new if name.startswith(prefixes) and name in old]
    names = [name for name in both if not name.endswith("_throttle")]
    if not names:
        return Missing(Reason.SOURCE_ABSENT, f"no {prefixes[0]} in /proc/vmstat")
    return rate(sum(old[name] for name in names), sum(new[name] for name in names), seconds)


def _mode(text: str) -> Mapping[Key, Found]:
    mode = bracketed(text)
    return {} if mode is None else {"mem.thp_mode": mode, "host.thp_mode": mode}


def _defrag(text: str) -> Mapping[Key, Found]:
    """`always defer defer+madvise [madvise] never`: who waits while small pages are made into a huge one."""
    mode = bracketed(text)
    return {} if mode is None else {"mem.thp_defrag": mode}


_MODE_FILE: Final = "/sys/kernel/mm/transparent_hugepage/enabled"
_DEFRAG_FILE: Final = "/sys/kernel/mm/transparent_hugepage/defrag"

MEMORY: Final = (
    Recipe((*_MEMINFO, "mem.used_share", *_HUGE_PAGES), _meminfo, texts=("/proc/meminfo",)),
    Recipe(
        ("mem.swapin_rate", "mem.refault_rate", "mem.direct_reclaim_rate"),
        _vmstat,
        pairs=("/proc/vmstat",),
    ),
    Recipe(("mem.available_share",), _available, texts=("/proc/meminfo",), optional=("cgroup/memory",)),
    Recipe(("mem.thp_mode", "host.thp_mode"), _mode, texts=(_MODE_FILE,)),
    Recipe(("mem.thp_defrag",), _defrag, texts=(_DEFRAG_FILE,)),
)
"""The host's memory."""

PROCESS_MEMORY: Final = (
    Recipe(tuple(_STATUS), _status, texts=("/proc/PID/status",)),
    Recipe(("mem.pss", "mem.anon_huge_share", "mem.file_huge_bytes"), _rollup, texts=("/proc/PID/smaps_rollup",)),
)
"""The server's."""
