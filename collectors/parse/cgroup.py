"""Control groups: quota, throttling and memory limit, whichever level sets them."""

from collections.abc import Mapping
from typing import Final

from engram_diagnose.collectors.parse.figures import (
    Between,
    Found,
    Inapplicable,
    Missing,
    Proxy,
    UnparsedError,
    integer,
    rate,
    share,
)
from engram_diagnose.collectors.parse.lines import parse_counts, parse_tree
from engram_diagnose.collectors.parse.process import allowed_cpus
from engram_diagnose.collectors.parse.recipe import Key, Pair, Recipe
from engram_diagnose.engine.facts.fact import Reason

_UNLIMITED_BYTES: Final = 1 << 62
"""Version 1 writes the largest page-aligned figure where there is no limit."""

_LIMITS: Final = ("memory.max", "memory.high", "memory.limit_in_bytes")

_NO_QUOTA: Final = Inapplicable("no CPU quota is set on any level")
_NO_LIMIT: Final = Inapplicable("no memory limit is set on any level")

Levels = Mapping[int, Mapping[str, str]]
"""Text by file, by level: 0 is the process's own group."""


def parse_levels(text: str) -> Levels:
    """
    The levels of a captured group.

    `version:2`, then `0/cpu.max:80000 100000`, `1/cpu.max:max 100000`, …
    """
    levels: dict[int, dict[str, str]] = {}
    for path, content in parse_tree(text).items():
        number, slash, file = path.partition("/")
        if slash:
            levels.setdefault(integer(number), {})[file] = content
    return levels


def cpu_quota(text: str) -> float | None:
    """The CPUs that the tightest quota of any level allows; None without one."""
    quotas = [quota for quota in map(_quota, parse_levels(text).values()) if quota is not None]
    return min(quotas, default=None)


def _quota(files: Mapping[str, str]) -> float | None:
    if "cpu.max" in files:
        quota, period = [*files["cpu.max"].split(), "", ""][:2]
        if quota == "max":
            return None
    elif "cpu.cfs_quota_us" in files:
        quota, period = files["cpu.cfs_quota_us"], files.get("cpu.cfs_period_us", "100000")
    else:
        return None
    allowed, length = integer(quota.strip()), integer(period.strip())
    if length <= 0:
        raise UnparsedError("a CPU quota's period is not positive")
    return allowed / length if allowed > 0 else None


def memory_limit(text: str) -> float | None:
    """The tightest memory limit of any level in bytes; None without one."""
    limits = [limit for limit in map(_limit, parse_levels(text).values()) if limit is not None]
    return min(limits, default=None)


def memory_left(text: str) -> float | None:
    """
    The bytes that the tightest level still gives, one at least; None without a limit.

    What can be dropped at once counts as left. A level that does not say what it uses gives its whole limit.
    """
    levels = [(_limit(files), _used(files) or 0) for files in parse_levels(text).values()]
    return min((max(1.0, float(limit - used)) for limit, used in levels if limit is not None), default=None)


def _limit(files: Mapping[str, str]) -> int | None:
    """`memory.max`, or `memory.high` where that is lower; version 1's `memory.limit_in_bytes`."""
    texts = (files[name].strip() for name in _LIMITS if name in files)
    limits = [integer(text) for text in texts if text != "max"]
    return min((limit for limit in limits if limit < _UNLIMITED_BYTES), default=None)


def _cpu_facts(pair: Pair, status: str, topology: str) -> Mapping[Key, Found]:
    quota = cpu_quota(pair.after)
    if quota is None:
        return {
            "cgroup.cpu_quota": _NO_QUOTA,
            "cgroup.cpu_throttled_period_share": 0.0,
            "cgroup.cpu_throttled_time_share": 0.0,
        }
    cpus = allowed_cpus(status, topology)
    return {"cgroup.cpu_quota": quota, **_throttling(pair, max(1, len(cpus)))}


def _throttling(pair: Pair, cpus: int) -> Mapping[Key, Found]:
    """Of the levels with a quota, the most throttled one's shares."""
    before, after = parse_levels(pair.before), parse_levels(pair.after)
    found = [
        _throttled(before.get(level, {}), files, pair.seconds, cpus)
        for level, files in after.items()
        if _quota(files) is not None
    ]
    return max(found, key=lambda facts: _size(facts["cgroup.cpu_throttled_period_share"]))


def _size(found: Found) -> float:
    return found if isinstance(found, float) else -1.0


def _throttled(before: Mapping[str, str], after: Mapping[str, str], seconds: float, cpus: int) -> Mapping[Key, Found]:
    old, new = parse_counts(before.get("cpu.stat", "")), parse_counts(after.get("cpu.stat", ""))
    periods = _grown(old, new, "nr_periods")
    throttled = _grown(old, new, "nr_throttled")
    scale = 1e-6 if "throttled_usec" in new else 1e-9
    time = _grown(old, new, "throttled_usec" if "throttled_usec" in new else "throttled_time")
    if isinstance(periods, Missing) or isinstance(throttled, Missing) or isinstance(time, Missing):
        why = next(found for found in (periods, throttled, time) if isinstance(found, Missing))
        return {
            "cgroup.cpu_throttled_period_share": why,
            "cgroup.cpu_throttled_time_share": why,
        }
    return {
        "cgroup.cpu_throttled_period_share": share(throttled, periods, "no period passed"),
        "cgroup.cpu_throttled_time_share": _time_share(time * scale, seconds, cpus),
    }


def _time_share(throttled_seconds: float, seconds: float, cpus: int) -> Found:
    """
    The kernel adds up what every CPU's queue was stopped for; on how many there were tasks is not
    said.
    """
    if seconds <= 0:
        return Missing(Reason.TOO_FEW_SAMPLES, "the two snapshots are of one instant")
    most = throttled_seconds / seconds
    return Between(min(1.0, most / cpus), min(1.0, most))


def _grown(old: Mapping[str, int], new: Mapping[str, int], name: str) -> float | Missing:
    if name not in old or name not in new:
        return Missing(Reason.SOURCE_ABSENT, f"no {name} in cpu.stat")
    return rate(old[name], new[name], 1.0)


def _memory_facts(pair: Pair) -> Mapping[Key, Found]:
    levels = parse_levels(pair.after)
    limit = memory_limit(pair.after)
    facts: dict[Key, Found] = {
        "cgroup.mem_limit": _NO_LIMIT if limit is None else float(limit),
        "cgroup.mem_used_share": _NO_LIMIT if limit is None else _used_share(levels),
        "cgroup.mem_high_event_rate": _pushes(pair),
        "cgroup.mem_direct_reclaim_rate": _reclaimed(pair),
    }
    own = levels.get(0, {})
    kills = parse_counts(own.get("memory.events", own.get("memory.oom_control", "")))
    if "oom_kill" in kills:
        facts["cgroup.oom_kills"] = float(kills["oom_kill"])
    return facts


def _used_share(levels: Levels) -> Found:
    shares = used_shares(levels)
    absent = Missing(Reason.SOURCE_ABSENT, "the limited group says not what it uses")
    return max(shares) if shares else absent


def used_shares(levels: Levels) -> list[float]:
    """Of every level with a limit, the share of it in use that cannot be dropped at once."""
    figures = [(_limit(files), _used(files)) for files in levels.values()]
    return [min(1.0, used / limit) for limit, used in figures if limit and used is not None]


def _used(files: Mapping[str, str]) -> int | None:
    used = files.get("memory.current", files.get("memory.usage_in_bytes"))
    if used is None:
        return None
    droppable = parse_counts(files.get("memory.stat", ""))
    cache = droppable.get("total_inactive_file", droppable.get("inactive_file", 0))
    return max(0, integer(used.strip()) - cache)


def _pushes(pair: Pair) -> Found:
    """How often the process's own group ran into its limits; version 1 counts the hard one alone."""
    old, new = parse_levels(pair.before).get(0, {}), parse_levels(pair.after).get(0, {})
    events = [parse_counts(files.get("memory.events", "")) for files in (old, new)]
    if all("high" in counts for counts in events):
        before, after = (counts["high"] + counts.get("max", 0) for counts in events)
        return rate(before, after, pair.seconds)
    if "memory.failcnt" in old and "memory.failcnt" in new:
        hits = rate(
            integer(old["memory.failcnt"].strip()),
            integer(new["memory.failcnt"].strip()),
            pair.seconds,
        )
        return hits if isinstance(hits, Missing) else Proxy(hits, "hits of memory.high and memory.max")
    return Missing(Reason.SOURCE_ABSENT, "the group has no memory.events")


def _reclaimed(pair: Pair) -> Found:
    """Pages that threads of the process's own group had to scan themselves, most for the group's limit."""
    texts = (parse_levels(text).get(0, {}).get("memory.stat", "") for text in (pair.before, pair.after))
    old, new = (parse_counts(text).get("pgscan_direct") for text in texts)
    if old is None or new is None:
        return Missing(Reason.SOURCE_ABSENT, "the group's memory.stat counts no pgscan_direct; version 1 has none")
    return rate(old, new, pair.seconds)


CGROUP: Final = (
    Recipe(
        (
            "cgroup.cpu_quota",
            "cgroup.cpu_throttled_period_share",
            "cgroup.cpu_throttled_time_share",
        ),
        _cpu_facts,
        pairs=("cgroup/cpu",),
        optional=("/proc/PID/status", "/sys/devices/system/cpu"),
    ),
    Recipe(
        (
            "cgroup.mem_limit",
            "cgroup.mem_used_share",
            "cgroup.mem_high_event_rate",
            "cgroup.mem_direct_reclaim_rate",
            "cgroup.oom_kills",
        ),
        _memory_facts,
        pairs=("cgroup/memory",),
    ),
)
"""Control group version 1 and 2."""
