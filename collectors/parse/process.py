"""The server's process: identity, age, open files, and what of it other groups need."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.parse.figures import (
    Between,
    Found,
    Inapplicable,
    UnparsedError,
    integer,
    number,
    quotient,
    rate,
    share,
)
from engram_diagnose.collectors.parse.lines import parse_counts, parse_list, parse_tree
from engram_diagnose.collectors.parse.recipe import Key, Pair, Recipe


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """
    The used fields of `/proc/PID/stat`; times in clock ticks, the processor -1 where it is not
    said.
    """

    state: str
    minor_faults: int
    major_faults: int
    user_ticks: int
    system_ticks: int
    start_ticks: int
    processor: int

    @property
    def cpu_ticks(self) -> int:
        """User and system time."""
        return self.user_ticks + self.system_ticks


def parse_process_stat(text: str) -> ProcessStat:
    """
    `/proc/PID/stat`, or a task's.

    `113 (na) m) S 1 0 0 0 -1 4194304 676 0 0 0 183 463 …`: the name may hold blanks and brackets.
    """
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20:
        raise UnparsedError("too few fields")
    return ProcessStat(
        state=fields[0],
        minor_faults=integer(fields[7]),
        major_faults=integer(fields[9]),
        user_ticks=integer(fields[11]),
        system_ticks=integer(fields[12]),
        start_ticks=integer(fields[19]),
        processor=integer(fields[36]) if len(fields) > 36 else -1,
    )


def clock_ticks(sysconf: str) -> int:
    """Clock ticks per second, from the answer `sysconf`; raises `UnparsedError`."""
    ticks = parse_counts(sysconf).get("CLK_TCK", 0)
    if ticks <= 0:
        raise UnparsedError("no CLK_TCK in sysconf")
    return ticks


def allowed_cpus(status: str, topology: str = "") -> frozenset[int]:
    """The CPUs a process may run on, from `/proc/PID/status`, as far as they are online."""
    row = re.search(r"^Cpus_allowed_list:[ \t]*([0-9,-]+)$", status, re.MULTILINE)
    allowed = parse_list(row.group(1)) if row else frozenset()
    online = parse_list(parse_tree(topology).get("online", "")) if topology else frozenset()
    return allowed & online if allowed and online else allowed or online


def _identity(target: str) -> Mapping[Key, Found]:
    try:
        fields = json.loads(target)
    except (ValueError, RecursionError):
        raise UnparsedError("not JSON") from None
    pid = fields.get("pid") if isinstance(fields, dict) else None
    if not isinstance(pid, int) or isinstance(pid, bool) or not 0 < pid < 1 << 32:
        raise UnparsedError("no process id")
    return {"process.pid": float(pid)}


def _age(uptime: str, stat: str, sysconf: str) -> Mapping[Key, Found]:
    up = uptime_seconds(uptime)
    return {"process.uptime": max(0.0, up - parse_process_stat(stat).start_ticks / clock_ticks(sysconf))}


def uptime_seconds(text: str) -> float:
    """`/proc/uptime`: `1856.61 6948.08`, since boot and idle."""
    return number([*text.split(), ""][0])


def _open_files(count: str, limits: str) -> Mapping[Key, Found]:
    row = re.search(r"^Max open files[ \t]+(\S+)", limits, re.MULTILINE)
    if row is None:
        raise UnparsedError("no limit of open files")
    if row.group(1) == "unlimited":
        return {"process.fd_used_share": Inapplicable("the process may open any number of files")}
    used, most = integer(count.strip()), integer(row.group(1))
    return {"process.fd_used_share": share(used, most, "the process may open no files")}


def _threads(limits: str, status: str, loadavg: str, threads_max: str, pid_max: str, pids: str) -> Mapping[Key, Found]:
    """
    The fullest of the limits on threads: the control groups' `pids.max`, the kernel's, and the user's.

    The user's counts what all of the user's processes have started; of that the server's own threads are the least, and
    all there are on the host the most. It does not hold for root.
    """
    own = parse_counts(status).get("Threads", 0)
    all_ = _tasks(loadavg)
    shares = [_between(all_, all_, integer(text.strip())) for text in (threads_max, pid_max) if text.strip()]
    shares += [_between(used, used, most) for used, most in _group_threads(pids)]
    row = re.search(r"^Max processes[ \t]+([0-9]{1,20})", limits, re.MULTILINE)
    if row and not re.search(r"^Uid:[ \t]+[0-9]+[ \t]+0[ \t]", status, re.MULTILINE):
        shares.append(_between(own, max(own, all_), int(row.group(1))))
    if not shares:
        raise UnparsedError("no limit of threads")
    low, high = max(one.low for one in shares), max(one.high for one in shares)
    return {"process.thread_used_share": low if low == high else Between(low, high)}


def _between(least: int, most: int, limit: int) -> Between:
    if limit <= 0:
        raise UnparsedError("a limit of threads is not positive")
    return Between(min(1.0, least / limit), min(1.0, most / limit))


def _tasks(loadavg: str) -> int:
    """`0.40 0.62 0.42 2/117 27581`: 117 tasks on the host."""
    return integer([*loadavg.split(), "", "", "", ""][3].partition("/")[2])


def _group_threads(pids: str) -> list[tuple[int, int]]:
    """Of every level with a limit, how many threads there are and may be: `0/pids.max:512` and `0/pids.current:40`."""
    files = parse_tree(pids)
    levels = [(files.get(f"{path.partition('/')[0]}/pids.current", ""), most.strip())
              for path, most in files.items() if path.endswith("/pids.max")]  # fmt: skip
    return [(integer(used.strip()), integer(most)) for used, most in levels if used and most != "max"]


def _faults(pair: Pair) -> Mapping[Key, Found]:
    old, new = parse_process_stat(pair.before), parse_process_stat(pair.after)
    return {
        "mem.minor_fault_rate": rate(old.minor_faults, new.minor_faults, pair.seconds),
        "mem.major_fault_rate": rate(old.major_faults, new.major_faults, pair.seconds),
    }


def _io(pair: Pair) -> Mapping[Key, Found]:
    """
    `rchar: 6986`, `syscw: 1`, `write_bytes: 0`, …: bytes read and written reached the block
    layer.
    """
    old, new = parse_counts(pair.before), parse_counts(pair.after)
    rates = {name: rate(old[name], new[name], pair.seconds) for name in new if name in old}
    calls, written = rates.get("syscw"), rates.get("wchar")
    facts: dict[Key, Found] = {fact: rates[name] for fact, name in _IO_RATES.items() if name in rates}
    if isinstance(calls, float) and isinstance(written, float):
        facts["io.bytes_per_write"] = quotient(written, calls, "the process wrote nothing")
    return facts


_IO_RATES: Final = {
    "io.read_rate": "read_bytes",
    "io.write_rate": "write_bytes",
    "io.write_calls_rate": "syscw",
}

PROCESS: Final = (
    Recipe(("process.pid",), _identity, texts=("target",)),
    Recipe(("process.uptime",), _age, texts=("/proc/uptime", "/proc/PID/stat", "sysconf")),
    Recipe(("process.fd_used_share",), _open_files, texts=("/proc/PID/fd", "/proc/PID/limits")),
    Recipe(
        ("process.thread_used_share",),
        _threads,
        texts=("/proc/PID/limits", "/proc/PID/status", "/proc/loadavg"),
        optional=("/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max", "cgroup/pids"),
    ),
    Recipe(("mem.minor_fault_rate", "mem.major_fault_rate"), _faults, pairs=("/proc/PID/stat",)),
    Recipe((*_IO_RATES, "io.bytes_per_write"), _io, pairs=("/proc/PID/io",)),
)
"""The process as a whole."""
