"""
The control groups of the server, version 1 and 2, from its own up to the root of the hierarchy.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import replace

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.mounts import Mount, parse_mounts
from engram_diagnose.collectors.capture.reading import Reading, read

_CPU = ("cpu.max", "cpu.stat", "cpu.cfs_quota_us", "cpu.cfs_period_us")
_MEMORY = (
    "memory.max",
    "memory.high",
    "memory.current",
    "memory.events",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "memory.oom_control",
    "memory.failcnt",
    "memory.stat",
)
_PIDS = ("pids.max", "pids.current")
_PRESSURE = ("cpu.pressure", "memory.pressure", "io.pressure")

_USED = re.compile("inactive_file|^pgscan_direct ")
"""Of the sixty lines of `memory.stat`."""

_LEVELS = 32


def cgroup_moving(machine: Machine, pid: int) -> list[Answer]:
    """
    One snapshot of `cgroup/cpu`, `cgroup/memory`, `cgroup/pids` and `cgroup/pressure`.

    Each line is `LEVEL/file:line`; level 0 is the process's own group, 1 its parent. The first
    line is `version:1` or `version:2`. A limit anywhere on the way to the root holds. The groups'
    names are not kept.
    """
    membership = read(machine.proc(f"{pid}/cgroup"))
    mounts = read(machine.proc("self/mountinfo"))
    wanted = (("cpu", _CPU), ("memory", _MEMORY), ("pids", _PIDS), ("pressure", _PRESSURE))
    answers = []
    for kind, files in wanted:
        broken = next((r for r in (membership, mounts) if r.body is None), None)
        table = [_placed(machine, mount) for mount in parse_mounts(mounts.body or "")]
        reading = broken or _snapshot(membership.body or "", table, kind, files)
        answers.append(machine.answer("cgroup", f"cgroup/{kind}", reading))
    return answers


def _placed(machine: Machine, mount: Mount) -> Mount:
    """The mount with its point below the machine's own root of /sys."""
    if not mount.point.startswith("/sys/"):
        return mount
    return replace(mount, point=machine.sys(mount.point[len("/sys/") :]))


def _snapshot(membership: str, mounts: list[Mount], kind: str, files: tuple[str, ...]) -> Reading:
    version, path = _group(membership, kind)
    mount = _mount(mounts, kind if version == 1 else "")
    if not version or mount is None:
        return Reading(None, "SOURCE_ABSENT", f"no {kind} control group is mounted")
    levels = _directories(mount, path)
    lines = [line for n, folder in enumerate(levels) for line in _level(n, folder, files)]
    if not lines:
        return Reading(None, "SOURCE_ABSENT", f"the process's {kind} control group has no such files here")
    return Reading("\n".join([f"version:{version}", *lines]) + "\n")


def _group(membership: str, kind: str) -> tuple[int, str]:
    """
    The version and path of the group that controls `kind`; version 0 when there is none.

    Lines read `4:memory:/a/b` (version 1) and `0::/a/b` (version 2).
    """
    unified = (0, "")
    for line in membership.splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if kind in controllers.split(","):
            return 1, path
        if number == "0" and not controllers:
            unified = (2, path)
    return unified


def _mount(mounts: list[Mount], controller: str) -> Mount | None:
    for mount in mounts:
        if not controller and mount.type == "cgroup2":
            return mount
        if controller and mount.type == "cgroup" and controller in mount.options.split(","):
            return mount
    return None


def _directories(mount: Mount, path: str) -> list[str]:
    """From the group's own folder up to the mount point, nearest first."""
    inside = posixpath.relpath(path or "/", mount.root or "/")
    if inside.startswith(".."):  # the mount shows another part of the hierarchy
        return []
    steps = [step for step in inside.split("/") if step not in ("", ".")][:_LEVELS]
    below = [os.path.join(mount.point, *steps[:count]) for count in range(len(steps), 0, -1)]
    return [*below, mount.point]


def _level(number: int, folder: str, files: tuple[str, ...]) -> list[str]:
    lines = []
    for file in files:
        body = read(os.path.join(folder, file)).body or ""
        kept = [line for line in body.splitlines() if file != "memory.stat" or _USED.search(line)]
        lines += [f"{number}/{file}:{line}" for line in kept]
    return lines
