"""The machine that is read: where its files are, what it is called, and what time it is."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from dataclasses import dataclass, field

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.reading import Reading, line_of, read

TYPE_CHECKING = False
if TYPE_CHECKING:  # subscripting collections.abc at run time needs Python 3.9
    from collections.abc import Callable


@dataclass(frozen=True)
class HostIdentity:
    """
    Which machine facts speak of.

    `id` is 16 hexadecimal digits of the SHA-256 of the machine id (of the boot id or the host
    name where there is none); `name` is the host name, for display only.
    """

    id: str
    name: str


def host_identity(*, proc_root: str = "/proc", etc_root: str = "/etc") -> HostIdentity:
    """The identity of the machine whose files these are."""
    name = line_of(os.path.join(proc_root, "sys/kernel/hostname")) or platform.node()
    sources = (
        os.path.join(etc_root, "machine-id"),
        os.path.join(proc_root, "sys/kernel/random/boot_id"),
    )
    seed = next((text for text in map(line_of, sources) if text), name)
    digest = hashlib.sha256(b"engram-diagnose host " + seed.encode("utf-8", "surrogateescape"))
    return HostIdentity(digest.hexdigest()[:16], name)


def steady_clock() -> Callable[[], float]:
    """Seconds since the epoch that never jump while they are counted."""
    start, origin = time.time(), time.monotonic()
    return lambda: start + (time.monotonic() - origin)


@dataclass(frozen=True)
class Machine:
    """
    Roots of the trees to read, the id of the host they belong to, and a clock (seconds since the
    epoch).
    """

    host: str = ""
    proc_root: str = "/proc"
    sys_root: str = "/sys"
    now: Callable[[], float] = field(default_factory=steady_clock)

    def proc(self, path: str) -> str:
        """The place of a path below /proc."""
        return os.path.join(self.proc_root, path)

    def sys(self, path: str) -> str:
        """The place of a path below /sys."""
        return os.path.join(self.sys_root, path)

    def answer(self, collector: str, name: str, reading: Reading) -> Answer:
        """A reading as an answer of this machine, now."""
        body, reason, detail = reading.body, reading.reason, reading.detail
        return Answer(collector, name, self.now(), self.host, body, reason, detail)

    def file(self, collector: str, name: str, path: str) -> Answer:
        """One file as an answer; `name` is what it is called on a real machine."""
        return self.answer(collector, name, read(path))
