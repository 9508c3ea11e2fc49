"""The file system and the block device under the server's data directory."""

from __future__ import annotations

import os
import re

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.devices import Devices, devices_below, name_of
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.mounts import Mount, mount_of, parse_mounts, unescape
from engram_diagnose.collectors.capture.reading import Reading, entries, failure, gather, read

_QUEUE = ("queue/rotational", "queue/scheduler", "queue/write_cache", "queue/nr_requests", "size")
_NOT_GIVEN = Reading(None, "SOURCE_ABSENT", "the server's data directory is not known; give --data-dir")


def data_directory(pid: int, *, proc_root: str = "/proc") -> str:
    """The folder of a write-ahead log that the process holds open; empty where none can be seen."""
    folder = os.path.join(proc_root, str(pid), "fd")
    paths = sorted(filter(None, (_target(os.path.join(folder, name)) for name in entries(folder))))
    return next((os.path.dirname(path) for path in paths if "wal" in path.lower()), "")


def _target(link: str) -> str:
    try:
        path = os.readlink(link)
    except OSError:
        return ""
    return path if path.startswith("/") and not path.startswith(("/dev/", "/proc/")) else ""


def storage(machine: Machine, data_dir: str, *, pid: int | None = None) -> list[Answer]:
    """
    Answers `storage/filesystem` (lines `type`, `device`, `total_bytes`, `free_bytes`, `options`) and
    `storage/device`: a line `name:DISK` for each disk below it, one `path:` that tells what lies between, and queue
    attributes as `DISK/queue/…`.

    The directory is looked at as the process sees it, through /proc/PID/root, where that is
    allowed.
    """
    if not data_dir:
        return _neither(machine, _NOT_GIVEN)
    place = _as_seen_by(machine, data_dir, pid)
    try:
        number, space = os.stat(place).st_dev, os.statvfs(place)
    except (OSError, ValueError) as error:
        known = error if isinstance(error, OSError) else OSError(None, str(error))
        return _neither(machine, failure(known, data_dir))
    mount = _mount(machine, data_dir, pid)
    kind = mount.type if mount else "unknown"
    total, free = space.f_frsize * space.f_blocks, space.f_frsize * space.f_bavail
    body = f"type {kind}\ndevice {_number(number)}\ntotal_bytes {total}\nfree_bytes {free}\n"
    if mount:
        body += f"options {_told(mount)}\n"
    return [
        machine.answer("storage", "storage/filesystem", Reading(body)),
        machine.answer("storage", "storage/device", _device(machine, number, kind, mount)),
    ]


def _neither(machine: Machine, why: Reading) -> list[Answer]:
    names = ("storage/filesystem", "storage/device")
    return [machine.answer("storage", name, why) for name in names]


def _as_seen_by(machine: Machine, data_dir: str, pid: int | None) -> str:
    inside = machine.proc(f"{pid}/root{os.path.abspath(data_dir)}")
    return inside if pid is not None and os.path.isdir(inside) else data_dir


def _mount(machine: Machine, data_dir: str, pid: int | None) -> Mount | None:
    table = read(machine.proc(f"{pid or 'self'}/mountinfo")).body
    return mount_of(os.path.realpath(data_dir), parse_mounts(table or ""))


def _told(mount: Mount) -> str:
    """The options that say how the file system is used; folders, addresses and names are nobody's business."""
    options = f"{mount.flags},{mount.options}".split(",")
    return ",".join(dict.fromkeys(option for option in options if re.fullmatch(_OPTION, option)))


_OPTION = r"[a-z0-9_]{1,32}(=[a-z0-9_]{1,16})?"


def _number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def _device(machine: Machine, number: int, kind: str, mount: Mount | None) -> Reading:
    source, lead = (mount.source if mount else ""), ""
    if kind == "overlay" and mount:
        number, kind, source = _upper(machine, mount) or (number, kind, source)
        lead = "overlay > "
    found = devices_below(machine, _number(number), kind, source)
    if found is None:
        return Reading(None, "SOURCE_ABSENT", _no_device(kind, source))
    return Reading(_described(found, lead))


def _upper(machine: Machine, mount: Mount) -> tuple[int, str, str] | None:
    """Number, type and source of the file system that an overlay writes to, where its folder can be seen from here."""
    options = (option.partition("=") for option in mount.options.split(","))
    folder = next((unescape(value) for name, _, value in options if name == "upperdir"), "")
    try:
        number = os.stat(folder).st_dev
    except (OSError, ValueError):
        return None
    below = _mount(machine, folder, None)
    return number, below.type if below else "unknown", below.source if below else ""


def _no_device(kind: str, source: str) -> str:
    if kind == "zfs":
        pool = source.partition("/")[0]
        return f"the kernel does not tell which disks the ZFS pool {pool} stands on; see zpool status"
    if kind == "overlay":
        return "the folder that the overlay writes to is not to be seen from here; look from the host"
    return f"a {kind} file system is on no block device of its own"


def _described(found: Devices, lead: str) -> str:
    lines = [f"name:{name_of(disk)}" for disk in found.disks]
    lines.append(f"path:{lead}{found.path}")
    lines += [f"{disk}/flushes:{way}" for disk, way in found.paths]
    for disk in found.disks:
        attributes = gather(disk, _QUEUE).body or ""
        lines += [f"{name_of(disk)}/{line}" for line in attributes.splitlines()]
    return "\n".join(lines) + "\n"
