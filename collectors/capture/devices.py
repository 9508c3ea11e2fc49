"""Which block devices a file system stands on, through everything that may lie between."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass

from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.reading import entries, line_of

_DEEPEST = 8
"""Layers between a file system and its disks; a mapping that goes round ends here."""


@dataclass(frozen=True)
class Devices:
    """
    The disks below a file system, as folders of /sys, and how they are reached.

    `disks` are the lowest devices, whose queues and counters tell what the hardware does. `path` names the layers from
    the top, such as `dm-0 (lvm) > nvme0n1`. `paths` are, by disk, the hidden devices that carry its requests where it
    has several ways to go (NVMe multipath): they alone count flushes.
    """

    disks: tuple[str, ...]
    path: str
    paths: tuple[tuple[str, str], ...] = ()


def devices_below(machine: Machine, number: str, kind: str, source: str) -> Devices | None:
    """The devices of a file system by its number `major:minor`, or by the mount table's source; None without any."""
    tops = _tops(machine, number, kind, source)
    if not tops:
        return None
    disks: list[str] = []
    for top in tops:
        disks += [disk for disk in _lowest(top, _DEEPEST) if disk not in disks]
    ways = tuple((name_of(disk), name_of(way)) for disk in disks for way in _ways(disk))
    return Devices(tuple(disks), _path(tops, disks), ways)


def name_of(folder: str) -> str:
    """What a device is called: a `/` in its name is a `!` in its folder's."""
    return os.path.basename(folder).replace("!", "/")


def _tops(machine: Machine, number: str, kind: str, source: str) -> list[str]:
    link = machine.sys(f"dev/block/{number}")
    found = link if os.path.exists(link) else _by_source(machine, source)
    if not found:
        return []
    members = _btrfs_members(machine, os.path.basename(os.path.realpath(found))) if kind == "btrfs" else []
    return [_whole(os.path.realpath(one)) for one in members or [found]]


def _by_source(machine: Machine, source: str) -> str:
    """On btrfs and overlays a file system has no number of a device; the mount table names one."""
    if not source.startswith("/dev/"):
        return ""
    places = [machine.sys(f"class/block/{os.path.basename(os.path.realpath(source))}")]
    try:
        rdev = os.stat(source).st_rdev
        places.append(machine.sys(f"dev/block/{os.major(rdev)}:{os.minor(rdev)}"))
    except OSError:
        pass
    places += [
        os.path.dirname(os.path.dirname(name))
        for name in sorted(glob.glob(machine.sys("class/block/dm-*/dm/name")))
        if line_of(name) == os.path.basename(source)
    ]
    return next((place for place in places if os.path.exists(place)), "")


def _btrfs_members(machine: Machine, device: str) -> list[str]:
    """All devices of the file system that a device belongs to."""
    for folder in sorted(glob.glob(machine.sys("fs/btrfs/*/devices"))):
        names = entries(folder)
        if device in names:
            return [os.path.join(folder, name) for name in names]
    return []


def _whole(folder: str) -> str:
    """The disk of a partition: a partition has no queue of its own."""
    return os.path.dirname(folder) if os.path.exists(os.path.join(folder, "partition")) else folder


def _lowest(folder: str, deepest: int) -> list[str]:
    """The disks that a device is made of; itself when it is one."""
    slaves = os.path.join(folder, "slaves")
    below = [_whole(os.path.realpath(os.path.join(slaves, name))) for name in entries(slaves)]
    if not below or not deepest:
        return [folder]
    return [disk for one in below for disk in _lowest(one, deepest - 1)]


def _ways(disk: str) -> list[str]:
    """The paths of an NVMe namespace that is reached by several controllers."""
    subsystem, head = os.path.split(disk)
    found = re.fullmatch(r"nvme([0-9]+)n([0-9]+)", head)
    if not found or not os.path.basename(subsystem).startswith("nvme-subsys"):
        return []
    return sorted(glob.glob(os.path.join(glob.escape(subsystem), "nvme*", f"nvme*c*n{found.group(2)}")))


def _path(tops: list[str], disks: list[str]) -> str:
    layers: list[str] = []
    level = tops
    for _ in range(_DEEPEST):
        layers.append(" + ".join(dict.fromkeys(map(_described, level))))
        below = [
            _whole(os.path.realpath(os.path.join(one, "slaves", name)))
            for one in level
            for name in entries(os.path.join(one, "slaves"))
        ]
        if not below or set(level) == set(disks):
            break
        level = below
    return " > ".join(layers)


def _described(folder: str) -> str:
    kind = _kind(folder)
    return f"{name_of(folder)} ({kind})" if kind else name_of(folder)


def _kind(folder: str) -> str:
    """What a device that is no disk does: `lvm`, `crypt`, `mpath`, a RAID level."""
    mapped = line_of(os.path.join(folder, "dm/uuid")).partition("-")[0].lower()
    if mapped:
        return re.sub("[^a-z0-9]", "", mapped)[:16]
    level = re.sub("[^a-z0-9]", "", line_of(os.path.join(folder, "md/level")))[:16]
    return level or ("multipath" if _ways(folder) else "")
