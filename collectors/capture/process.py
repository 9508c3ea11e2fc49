"""What the kernel says about the server's process, pinned by its start time."""

from __future__ import annotations

import os
import re
from collections import Counter

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.reading import Reading, count_lines, failure, line_of, natural, read
from engram_diagnose.collectors.capture.secrets import mask_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDED = ("Z", "X", "x")
_MOVING = ("stat", "status", "schedstat", "io")


def start_ticks(pid: int, *, proc_root: str = "/proc") -> int | None:
    """
    When the process started, in clock ticks since boot; None when there is no such process, or only
    what its parent has not collected yet.
    """
    text = read(os.path.join(proc_root, str(pid), "stat")).body or ""
    fields = text.rpartition(")")[2].split()
    alive = len(fields) > 19 and fields[19].isdigit() and fields[0] not in _ENDED
    return int(fields[19]) if alive else None


def process_moving(machine: Machine, pid: int) -> list[Answer]:
    """One snapshot of the process's counters."""
    return [machine.file("process", _name(name), machine.proc(f"{pid}/{name}")) for name in _MOVING]


def process_static(machine: Machine, pid: int, *, limits: Mapping[str, float]) -> list[Answer]:
    """
    Limits, arguments without secrets, open files and, below `resident` bytes and `mappings` of `limits`, what its
    mappings hold.
    """
    return [
        machine.file("process", _name("limits"), machine.proc(f"{pid}/limits")),
        machine.answer("process", _name("cmdline"), _arguments(machine, pid)),
        machine.answer("process", _name("fd"), _open_files(machine, pid)),
        *_mappings(machine, pid, limits),
    ]


def _name(name: str) -> str:
    return f"/proc/PID/{name}"


def _arguments(machine: Machine, pid: int) -> Reading:
    reading = read(machine.proc(f"{pid}/cmdline"))
    return reading if reading.body is None else Reading(mask_arguments(reading.body))


def _open_files(machine: Machine, pid: int) -> Reading:
    path = machine.proc(f"{pid}/fd")
    try:
        return Reading(f"{len(os.listdir(path))}\n")
    except OSError as error:
        return failure(error, path)


def _mappings(machine: Machine, pid: int, limits: Mapping[str, float]) -> list[Answer]:
    refusal = _too_large(_walked_bytes(machine, pid), limits["resident"]) or _too_many(
        machine.proc(f"{pid}/maps"), limits["mappings"]
    )
    if refusal is not None:
        return [machine.answer("process", _name(n), refusal) for n in ("smaps_rollup", "numa_maps")]
    rollup = machine.file("process", _name("smaps_rollup"), machine.proc(f"{pid}/smaps_rollup"))
    return [rollup, machine.answer("process", _name("numa_maps"), _pages_by_node(machine, pid))]


def _too_large(walked: int | None, limit: float) -> Reading | None:
    if walked is None:
        return Reading(None, "TOO_EXPENSIVE", "the resident size is not known")
    if walked < limit:
        return None
    sizes = f"{walked / 2**30:.1f} GiB resident, limit {limit / 2**30:.1f} GiB"
    return Reading(None, "TOO_EXPENSIVE", f"{sizes}: walking the page tables stalls the server")


def _walked_bytes(machine: Machine, pid: int) -> int | None:
    """
    What a walk of the page tables comes across: resident pages and swapped ones. Of an address space that is only
    reserved, however large, there is nothing to walk.
    """
    status = read(machine.proc(f"{pid}/status")).body or ""
    found = dict(re.findall(r"^(VmRSS|VmSwap):\s+([0-9]{1,18}) kB", status, re.MULTILINE))
    return sum(int(size) for size in found.values()) * 1024 if "VmRSS" in found else None


def _too_many(path: str, limit: float) -> Reading | None:
    """Mappings are looked through one by one, however small; they are counted no further than to the limit."""
    if count_lines(path, most=int(limit)) <= limit:
        return None
    return Reading(None, "TOO_EXPENSIVE", f"more than {limit:.0f} mappings: looking through them stalls the server")


def _pages_by_node(machine: Machine, pid: int) -> Reading:
    if line_of(machine.sys("devices/system/node/online")) in ("", "0"):
        return Reading(None, "SOURCE_ABSENT", "one NUMA node")
    reading = read(machine.proc(f"{pid}/numa_maps"), limit=64 << 20)
    return reading if reading.body is None else Reading(sum_numa_maps(reading.body))


def sum_numa_maps(text: str) -> str:
    """
    The bytes of a process on each node and under each policy, from the thousands of lines of numa_maps.

    `7fed bind:1 anon=51200 dirty=51200 N1=51200 kernelpagesize_kB=4` and the like become `N1 209715200` and
    `policy/bind 209715200`.
    """
    totals: Counter[str] = Counter()
    for line in text.splitlines():
        size = re.search(r" kernelpagesize_kB=([0-9]{1,9})", line)
        scale = int(size.group(1)) * 1024 if size else 4096
        policy = re.match(r"[0-9a-f]{1,16} (?:weighted )?([a-z]{1,20})", line)
        for node, pages in re.findall(r" N([0-9]{1,5})=([0-9]{1,15})", line):
            totals[f"N{int(node)}"] += int(pages) * scale
            totals[f"policy/{policy.group(1) if policy else 'default'}"] += int(pages) * scale
    return "".join(f"{name} {totals[name]}\n" for name in sorted(totals, key=natural))
