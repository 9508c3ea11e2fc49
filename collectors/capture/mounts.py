"""The mount table of a process."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Mount:
    """
    One line of mountinfo: device as `major:minor`, root within the file system, where, type,
    source, options of the file system, and flags of this mount of it.
    """

    device: str
    root: str
    point: str
    type: str
    source: str
    options: str
    flags: str = ""


def parse_mounts(text: str) -> list[Mount]:
    """
    The mounts of `/proc/PID/mountinfo`; lines that are none are left out.

    `27 1 254:0 / /data rw,relatime shared:1 - ext4 /dev/vda rw,discard`
    """
    return [mount for mount in map(_mount, text.splitlines()) if mount is not None]


def _mount(line: str) -> Mount | None:
    left, dash, right = line.partition(" - ")
    fields, tail = left.split(), right.split()
    if not dash or len(fields) < 5 or len(tail) < 2:
        return None
    options = tail[2] if len(tail) > 2 else ""
    flags = fields[5] if len(fields) > 5 else ""
    point, root = unescape(fields[4]), unescape(fields[3])
    return Mount(fields[2], root, point, tail[0], unescape(tail[1]), options, flags)


def unescape(text: str) -> str:
    r"""Blanks and backslashes stand as octal figures, `\040`, in mount tables."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda found: chr(int(found.group(1), 8)), text)


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """
    The mount that a path (absolute, links resolved) lies in: the longest point, the last of
    equals.
    """
    best = None
    for mount in mounts:
        point = mount.point.rstrip("/") + "/"
        inside = (path.rstrip("/") + "/").startswith(point)
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best
