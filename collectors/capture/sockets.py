"""Listening sockets, and the processes that hold them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from engram_diagnose.collectors.capture.reading import entries, line_of, read

_LISTEN = "0A"


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket."""

    port: int
    inode: str
    uid: int


def parse_listeners(text: str) -> list[Listener]:
    """
    The listening sockets of `/proc/net/tcp` or `tcp6`.

    `0: 0100007F:1D08 00000000:0000 0A 00000000:00000000 00:00000000 00000000 998 0 31337 1 …`
    """
    return [found for found in map(_listener, text.splitlines()) if found is not None]


def _listener(line: str) -> Listener | None:
    fields = line.split()
    if len(fields) < 10 or fields[3] != _LISTEN:
        return None
    port = fields[1].rpartition(":")[2]
    if not re.fullmatch("[0-9A-Fa-f]{4}", port) or not re.fullmatch("[0-9]{1,10}", fields[7]):
        return None
    return Listener(int(port, 16), fields[9], int(fields[7]))


def listeners(*, proc_root: str = "/proc", pid: int | None = None) -> list[Listener]:
    """The listening sockets of this network namespace, or of `pid`'s."""
    base = os.path.join(proc_root, "net" if pid is None else f"{pid}/net")
    texts = (read(os.path.join(base, name)).body or "" for name in ("tcp", "tcp6"))
    return [found for text in texts for found in parse_listeners(text)]


def socket_inodes(pid: int, *, proc_root: str = "/proc") -> frozenset[str] | None:
    """The inodes of the sockets that a process holds; None where that may not be seen."""
    folder = os.path.join(proc_root, str(pid), "fd")
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    links = (_link(os.path.join(folder, name)) for name in names)
    return frozenset(link[8:-1] for link in links if link.startswith("socket:["))


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def processes(*, proc_root: str = "/proc") -> list[int]:
    """The ids of all processes, ascending."""
    return [int(name) for name in entries(proc_root) if name.isdigit()]


def process_name(pid: int, *, proc_root: str = "/proc") -> str:
    """The kernel's name of a process (15 bytes); empty when it is gone."""
    return line_of(os.path.join(proc_root, str(pid), "comm"))


def process_uid(pid: int, *, proc_root: str = "/proc") -> int | None:
    """The user a process runs as."""
    status = read(os.path.join(proc_root, str(pid), "status")).body or ""
    found = re.search(r"^Uid:\s+[0-9]+\s+([0-9]{1,10})", status, re.MULTILINE)
    return int(found.group(1)) if found else None
