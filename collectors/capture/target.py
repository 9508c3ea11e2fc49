"""Which local process is the server that is meant, if it is on this machine at all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.names import names_this_host, resolve, split_instance
from engram_diagnose.collectors.capture.process import start_ticks
from engram_diagnose.collectors.capture.reading import Reading
from engram_diagnose.collectors.capture.sockets import (
    Listener,
    listeners,
    process_name,
    process_uid,
    processes,
    socket_inodes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_PORT = 7432
_PORTS_TRIED = 101  # the server takes the next free port, up to 100 further

_FORWARDERS = frozenset(
    {
        "docker-proxy",
        "envoy",
        "haproxy",
        "kubectl",
        "nginx",
        "rootlessport",
        "slirp4netns",
        "socat",
        "ssh",
        "sshd",
    }
)


@dataclass(frozen=True)
class LocalTarget:
    """
    The server's process on this machine.

    `start_ticks` pins it: a process id may be used again. `port` is 0 where none was asked for or
    found, `how` says how the process was found.
    """

    pid: int
    start_ticks: int
    port: int
    name: str
    how: str


@dataclass(frozen=True)
class NoTarget:
    """Why no local process is the server: the name of a `Reason` member, and the particular."""

    reason: str
    detail: str


def local_target(
    instance: str = "",
    port: int | None = None,
    pid: int | None = None,
    *,
    via: str = "",
    proc_root: str = "/proc",
    resolver: Callable[[str], frozenset[str]] = resolve,
) -> LocalTarget | NoTarget:
    """
    The process that `instance` ("host:port"), `port` and `pid` name, each of which may be
    missing.

    All that are given must agree. `via` is the host of the Prometheus that the instance label
    came from: its "localhost" is not ours. OTHER_HOST means that the server runs elsewhere,
    SOURCE_ABSENT that it was not found here, TARGET_GONE that `pid` does not exist, PTRACE_DENIED
    that the owner of the port may not be seen.
    """
    host, label_port = split_instance(instance)
    if host and not names_this_host(host, via=via, proc_root=proc_root, resolver=resolver):
        said = f" in the answer of {via}" if via else ""
        return NoTarget("OTHER_HOST", f"{instance}{said} is not a name of this machine")
    wanted = port or label_port
    if pid is not None:
        return _given(pid, wanted, proc_root)
    return _listening(wanted or DEFAULT_PORT, proc_root) or _by_name(wanted, proc_root)


def _target(pid: int, port: int, how: str, proc_root: str) -> LocalTarget | NoTarget:
    ticks = start_ticks(pid, proc_root=proc_root)
    if ticks is None:
        return NoTarget("TARGET_GONE", f"there is no process {pid}")
    return LocalTarget(pid, ticks, port, process_name(pid, proc_root=proc_root), how)


def _given(pid: int, port: int | None, proc_root: str) -> LocalTarget | NoTarget:
    target = _target(pid, port or 0, "given by its process id", proc_root)
    if port is None or isinstance(target, NoTarget):
        return target
    holding = _holds(pid, port, proc_root)
    if holding is False:
        detail = f"process {pid} does not listen on port {port}; give the one that does, or no port"
        return NoTarget("SOURCE_ABSENT", detail)
    return target


def _holds(pid: int, port: int, proc_root: str) -> bool | None:
    """
    Whether the process listens on the port in its own network namespace; None where that cannot
    be seen.
    """
    inodes = socket_inodes(pid, proc_root=proc_root)
    open_ = [found for found in listeners(proc_root=proc_root, pid=pid) if found.port == port]
    if not open_:
        return False
    return None if inodes is None else any(found.inode in inodes for found in open_)


def _listening(port: int, proc_root: str) -> LocalTarget | NoTarget | None:
    """Who holds the port in this network namespace; None when nobody does."""
    held = [found for found in listeners(proc_root=proc_root) if found.port == port]
    if not held:
        return None
    pid = _owner(held, proc_root)
    if pid is None:
        return _by_user(held[0], port, proc_root)
    name = process_name(pid, proc_root=proc_root)
    if name in _FORWARDERS:
        detail = f"port {port} is held by {name}, which only forwards it"
        detail += "; give --pid for a server in a container"
        return NoTarget("OTHER_HOST", detail)
    return _target(pid, port, f"listens on port {port}", proc_root)


def _owner(held: list[Listener], proc_root: str) -> int | None:
    wanted = {found.inode for found in held}
    for pid in processes(proc_root=proc_root):
        if wanted & (socket_inodes(pid, proc_root=proc_root) or frozenset()):
            return pid
    return None


def _by_user(held: Listener, port: int, proc_root: str) -> LocalTarget | NoTarget:
    """The sockets of another user's processes cannot be seen: name and user must do."""
    same = [pid for pid in _named(proc_root) if process_uid(pid, proc_root=proc_root) == held.uid]
    if len(same) == 1:
        how = f"named engram, and of the user that listens on port {port}"
        return _target(same[0], port, how, proc_root)
    detail = f"port {port} belongs to user {held.uid}; run as root or as that user, or give --pid"
    return NoTarget("PTRACE_DENIED", detail)


def _by_name(wanted: int | None, proc_root: str) -> LocalTarget | NoTarget:
    """A process called engram that listens where a server would, in its own network namespace."""
    last = wanted or DEFAULT_PORT + _PORTS_TRIED - 1
    ports = range(wanted or DEFAULT_PORT, last + 1)
    found = [
        (pid, port)
        for pid in _named(proc_root)
        for port in _ports_of(pid, proc_root)
        if port in ports and _holds(pid, port, proc_root) is not False
    ]
    if len({pid for pid, _ in found}) == 1:
        pid, port = found[0]
        return _target(pid, port, f"named engram, listens on port {port}", proc_root)
    sought = f"port {wanted}" if wanted else f"a port from {ports.start} to {last}"
    several = ", ".join(str(pid) for pid, _ in found)
    detail = (
        f"several processes named engram listen on {sought}: {several}"
        if found
        else (f"no process here listens on {sought}")
    )
    return NoTarget("SOURCE_ABSENT", f"{detail}; give --pid")


def _named(proc_root: str) -> list[int]:
    return [pid for pid in processes(proc_root=proc_root) if _is_server(process_name(pid, proc_root=proc_root))]


def _is_server(name: str) -> bool:
    # The kernel cuts names at 15 bytes.
    return name.startswith("engram") and not name.startswith("engram-diagnos")


def _ports_of(pid: int, proc_root: str) -> list[int]:
    return sorted({found.port for found in listeners(proc_root=proc_root, pid=pid)})


def target_answer(machine: Machine, target: LocalTarget | NoTarget) -> Answer:
    """
    The finding as an answer, a JSON object of `LocalTarget`'s fields; it stands first in what is
    captured here.
    """
    if isinstance(target, NoTarget):
        return machine.answer("target", "target", Reading(None, target.reason, target.detail))
    return machine.answer("target", "target", Reading(json.dumps(asdict(target), sort_keys=True)))
