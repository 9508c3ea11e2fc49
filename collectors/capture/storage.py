"""The file system and the block device under the server's data directory."""

from __future__ import annotations

import os

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.mounts import mount_of, parse_mounts
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
    Answers `storage/filesystem` (lines `type`, `device`, `total_bytes`, `free_bytes`) and
    `storage/device` (queue attributes).

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
    kind, source = _file_system(machine, data_dir, pid)
    total, free = space.f_frsize * space.f_blocks, space.f_frsize * space.f_bavail
    body = f"type {kind}\ndevice {_number(number)}\ntotal_bytes {total}\nfree_bytes {free}\n"
    device = _device(machine, number, kind, source)
    return [
        machine.answer("storage", "storage/filesystem", Reading(body)),
        machine.answer("storage", "storage/device", device),
    ]


def _neither(machine: Machine, why: Reading) -> list[Answer]:
    names = ("storage/filesystem", "storage/device")
    return [machine.answer("storage", name, why) for name in names]


def _as_seen_by(machine: Machine, data_dir: str, pid: int | None) -> str:
    inside = machine.proc(f"{pid}/root{os.path.abspath(data_dir)}")
    return inside if pid is not None and os.path.isdir(inside) else data_dir


def _file_system(machine: Machine, data_dir: str, pid: int | None) -> tuple[str, str]:
    table = read(machine.proc(f"{pid or 'self'}/mountinfo")).body
    mount = mount_of(os.path.realpath(data_dir), parse_mounts(table or ""))
    return (mount.type, mount.source) if mount else ("unknown", "")


def _number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def _device(machine: Machine, number: int, kind: str, source: str) -> Reading:
    link = machine.sys(f"dev/block/{_number(number)}")
    if not os.path.exists(link):
        link = _by_source(machine, source) or link
    if not os.path.exists(link):
        detail = f"a {kind} file system is on no block device of its own"
        return Reading(None, "SOURCE_ABSENT", detail)
    folder = os.path.realpath(link)
    if os.path.exists(os.path.join(folder, "partition")):
        folder = os.path.dirname(folder)
    attributes = gather(folder, _QUEUE).body or ""
    return Reading(f"name:{os.path.basename(folder)}\n{attributes}")


def _by_source(machine: Machine, source: str) -> str:
    """On btrfs every subvolume has its own number; the mount table names the device."""
    if not source.startswith("/dev/"):
        return ""
    try:
        return machine.sys(f"dev/block/{_number(os.stat(source).st_rdev)}")
    except OSError:
        return ""
