"""CPU time: the host's from `/proc/stat`, the server's from `/proc/PID/stat`; frequencies."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from engram_diagnose.collectors.parse.cgroup import cpu_quota
from engram_diagnose.collectors.parse.figures import (
    Found,
    Missing,
    UnparsedError,
    integer,
    rate,
    share,
)
from engram_diagnose.collectors.parse.lines import parse_list, parse_tree
from engram_diagnose.collectors.parse.process import (
    allowed_cpus,
    clock_ticks,
    parse_process_stat,
)
from engram_diagnose.collectors.parse.recipe import Key, Pair, Recipe
from engram_diagnose.engine.facts.fact import Reason
from engram_diagnose.engine.facts.scope import scope_of

_NO_TIME: Final = "no CPU time passed"
_NO_WORK: Final = "the process used no CPU time"


class CpuTimes(NamedTuple):
    """Clock ticks since boot as one line of `/proc/stat` counts them; guest time is in user."""

    user: int
    nice: int
    system: int
    idle: int
    iowait: int
    irq: int
    softirq: int
    steal: int

    def since(self, before: "CpuTimes") -> "CpuTimes":
        """The ticks in between; idle and iowait may fall a little, which counts as none."""
        return CpuTimes(*(max(0, new - old) for new, old in zip(self, before, strict=True)))

    @property
    def total(self) -> int:
        """All ticks."""
        return sum(self)

    @property
    def busy(self) -> int:
        """Ticks in which there was something to run, here or, stolen, in another guest."""
        return self.total - self.idle - self.iowait


def parse_stat(text: str) -> dict[str, CpuTimes]:
    """
    CPU times by name (`cpu` for all, `cpu0`, …) from `/proc/stat`; raises `UnparsedError`.

    `cpu  37032 0 8206 694808 1180 0 344 23 0 0`
    """
    times = {}
    for line in text.splitlines():
        name, *figures = line.split() or [""]
        if name.startswith("cpu"):
            times[name] = CpuTimes(*(integer(text) for text in (*figures, *"00000000")[:8]))
    if "cpu" not in times:
        raise UnparsedError("no line of CPU times")
    return times


def _host_shares(pair: Pair) -> Mapping[Key, Found]:
    spent = parse_stat(pair.after)["cpu"].since(parse_stat(pair.before)["cpu"])
    return {
        "cpu.host_busy_share": share(spent.busy, spent.total, _NO_TIME),
        "cpu.iowait_share": share(spent.iowait, spent.total, _NO_TIME),
        "cpu.steal_share": share(spent.steal, spent.total, _NO_TIME),
    }


def _node_shares(pair: Pair, nodes: str) -> Mapping[Key, Found]:
    before, after = parse_stat(pair.before), parse_stat(pair.after)
    facts: dict[Key, Found] = {}
    for node, cpus in node_cpus(nodes).items():
        names = [name for name in (f"cpu{cpu}" for cpu in cpus) if name in before and name in after]
        spent = [after[name].since(before[name]) for name in names]
        busy, total = sum(times.busy for times in spent), sum(times.total for times in spent)
        facts["cpu.node_busy_share", scope_of({"node": str(node)})] = share(busy, total, _NO_TIME)
    return facts


def node_cpus(nodes: str) -> dict[int, frozenset[int]]:
    """The CPUs of every NUMA node, from the tree of `/sys/devices/system/node`."""
    lists = {path: text for path, text in parse_tree(nodes).items() if path.endswith("/cpulist")}
    return {
        integer(path.removeprefix("node").removesuffix("/cpulist")): parse_list(text) for path, text in lists.items()
    }


def process_cores(pair: Pair, sysconf: str) -> float | Missing:
    """CPUs' worth of time that the process used."""
    before, after = parse_process_stat(pair.before), parse_process_stat(pair.after)
    ticks = clock_ticks(sysconf)
    return rate(before.cpu_ticks / ticks, after.cpu_ticks / ticks, pair.seconds)


def _process_time(pair: Pair, sysconf: str) -> Mapping[Key, Found]:
    before, after = parse_process_stat(pair.before), parse_process_stat(pair.after)
    all_ = after.cpu_ticks - before.cpu_ticks
    return {
        "cpu.process_cores": process_cores(pair, sysconf),
        "cpu.user_share": share(after.user_ticks - before.user_ticks, all_, _NO_WORK),
        "cpu.sys_share": share(after.system_ticks - before.system_ticks, all_, _NO_WORK),
    }


def _busy(pair: Pair, sysconf: str, status: str, topology: str, cgroup: str) -> Mapping[Key, Found]:
    cores = process_cores(pair, sysconf)
    if isinstance(cores, Missing):
        return {"cpu.busy": cores}
    available = available_cores(status, topology, cgroup)
    return {"cpu.busy": share(cores, available, "the CPUs that it may use are not known")}


def available_cores(status: str, topology: str, cgroup: str) -> float:
    """The cores that the process may use: its affinity, as far as online, and its quota; 0 when not known."""
    allowed = len(allowed_cpus(status, topology))
    quota = cpu_quota(cgroup) if cgroup else None
    return float(allowed) if quota is None else min(allowed, quota)


def _available(status: str, topology: str, cgroup: str) -> Mapping[Key, Found]:
    cores = available_cores(status, topology, cgroup)
    return {"cpu.available_cores": cores} if cores else {}


def _neighbours(host: Pair, process: Pair, sysconf: str) -> Mapping[Key, Found]:
    spent = parse_stat(host.after)["cpu"].since(parse_stat(host.before)["cpu"])
    return {"cpu.neighbour_cores": _others([spent], host, process, sysconf)}


def _allowed(host: Pair, process: Pair, sysconf: str, status: str, topology: str) -> Mapping[Key, Found]:
    """Those CPUs alone that the process may run on: how busy they are, and what others use of them."""
    before, after = parse_stat(host.before), parse_stat(host.after)
    names = [f"cpu{cpu}" for cpu in allowed_cpus(status, topology) if f"cpu{cpu}" in before.keys() & after.keys()]
    if not names:
        absent = Missing(Reason.SOURCE_ABSENT, "the CPUs that it may use are not known")
        return {"cpu.allowed_busy_share": absent, "cpu.allowed_neighbour_cores": absent}
    spent = [after[name].since(before[name]) for name in names]
    busy, total = sum(times.busy for times in spent), sum(times.total for times in spent)
    return {
        "cpu.allowed_busy_share": share(busy, total, _NO_TIME),
        "cpu.allowed_neighbour_cores": _others(spent, host, process, sysconf),
    }


def _others(spent: Sequence[CpuTimes], host: Pair, process: Pair, sysconf: str) -> float | Missing:
    """Cores' worth that others than the process used of some CPUs, none of it stolen."""
    cores = process_cores(process, sysconf)
    if isinstance(cores, Missing):
        return cores
    ticks = sum(times.busy - times.steal for times in spent)
    used = rate(0, ticks / clock_ticks(sysconf), host.seconds)
    return used if isinstance(used, Missing) else max(0.0, used - cores)


def _frequency(tree: str) -> Mapping[Key, Found]:
    """Mean of the current frequency over the highest that the CPU says it reaches."""
    files = parse_tree(tree)
    ratios = []
    for path, current in files.items():
        folder = path.removesuffix("/scaling_cur_freq")
        base = files.get(f"{folder}/cpuinfo_max_freq")
        if folder != path and base is not None and integer(base) > 0:
            ratios.append(integer(current) / integer(base))
    if not ratios:
        return {"cpu.freq_ratio": Missing(Reason.SOURCE_ABSENT, "no frequencies in sysfs")}
    return {"cpu.freq_ratio": sum(ratios) / len(ratios)}


def _throttling(pair: Pair) -> Mapping[Key, Found]:
    old, new = _throttle_count(pair.before), _throttle_count(pair.after)
    if old is None or new is None:
        absent = Missing(Reason.SOURCE_ABSENT, "no core_throttle_count in sysfs")
        return {"cpu.thermal_throttle_rate": absent}
    return {"cpu.thermal_throttle_rate": rate(old, new, pair.seconds)}


def _throttle_count(tree: str) -> int | None:
    counts = [integer(text) for path, text in parse_tree(tree).items() if path.endswith("/core_throttle_count")]
    return sum(counts) if counts else None


CPU: Final = (
    Recipe(
        ("cpu.host_busy_share", "cpu.iowait_share", "cpu.steal_share"),
        _host_shares,
        pairs=("/proc/stat",),
    ),
    Recipe(
        ("cpu.node_busy_share",),
        _node_shares,
        pairs=("/proc/stat",),
        texts=("/sys/devices/system/node",),
    ),
    Recipe(("cpu.freq_ratio",), _frequency, texts=("/sys/cpu/frequencies",)),
    Recipe(("cpu.thermal_throttle_rate",), _throttling, pairs=("/sys/cpu/frequencies",)),
)
"""The host's CPUs."""

PROCESS_CPU: Final = (
    Recipe(
        ("cpu.process_cores", "cpu.user_share", "cpu.sys_share"),
        _process_time,
        pairs=("/proc/PID/stat",),
        texts=("sysconf",),
    ),
    Recipe(
        ("cpu.busy",),
        _busy,
        pairs=("/proc/PID/stat",),
        texts=("sysconf", "/proc/PID/status"),
        optional=("/sys/devices/system/cpu", "cgroup/cpu"),
    ),
    Recipe(
        ("cpu.available_cores",),
        _available,
        texts=("/proc/PID/status",),
        optional=("/sys/devices/system/cpu", "cgroup/cpu"),
    ),
    Recipe(
        ("cpu.neighbour_cores",),
        _neighbours,
        pairs=("/proc/stat", "/proc/PID/stat"),
        texts=("sysconf",),
    ),
    Recipe(
        ("cpu.allowed_busy_share", "cpu.allowed_neighbour_cores"),
        _allowed,
        pairs=("/proc/stat", "/proc/PID/stat"),
        texts=("sysconf", "/proc/PID/status"),
        optional=("/sys/devices/system/cpu",),
    ),
)
"""The server's share of them."""
