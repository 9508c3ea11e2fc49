"""
What is put around a server's process to plant a fault: limits of control groups, fewer cores, neighbours.

    with planted(limits, scratch=folder, cores=2, neighbours=4) as ground:
        LabProcess(config, folder, prepare=ground.prepare)

Whatever happens to whoever planted it, it is taken away again: a warden, a small process of its own, waits for the end
of its input, which comes with the end of this process however that comes, and only then clears up.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engram_diagnose.lab.cgroups import Group, Impossible, Limits, group_of, mounted, own_groups, place_of

__all__ = ["Ground", "Impossible", "Limits", "core_set", "end_with", "planted", "scratch_kept_clean"]

_PR_SET_PDEATHSIG: Final = 1
_WARDEN_SECONDS: Final = 20.0

_WARDEN: Final = """
import json, os, shutil, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups, folders = json.loads(sys.stdin.readline())
sys.stdin.read()
until = time.monotonic() + 10
while groups and time.monotonic() < until:
    for group in list(groups):
        try:
            with open(os.path.join(group, "cgroup.procs")) as listed:
                for process in listed:
                    os.kill(int(process), signal.SIGKILL)
        except (OSError, ValueError):
            pass
        try:
            os.rmdir(group)
        except OSError:
            pass
        if not os.path.isdir(group):
            groups.remove(group)
    if groups:
        time.sleep(0.02)
for folder in folders:
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.isdir(folder) or time.monotonic() > until:
            break
        time.sleep(0.1)
sys.exit(1 if groups else 0)
"""
"""Kills what is left in the groups and removes them, and then the folders."""

_NEIGHBOUR: Final = """
much = bytearray(1 << 24)
while True:
    other = bytes(much)
    sum(range(50000))
"""
"""Takes a core, and moves more through the caches than they hold."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Ground:
    """What has been planted: where a child belongs, and what could not be done here."""

    groups: tuple[Path, ...] = ()
    cores: frozenset[int] = frozenset()
    impossible: tuple[Impossible, ...] = ()
    prepare: Callable[[], None] = field(default=lambda: None)


@contextmanager
def planted(limits: Limits, *, cores: int = 0, on: frozenset[int] | None = None,
            neighbours: int = 0) -> Iterator[Ground]:  # fmt: skip
    """
    Plant, and take it all away at the end.

    `cores` is how many a child may run on (0: all there are), or `on` says which; `neighbours` is how many processes
    compute on those cores meanwhile. What cannot be planted here is left out, and stands in the ground as such.
    """
    chosen = core_set(cores) if on is None else on
    with ExitStack() as stack:
        groups, impossible = _groups(limits)
        stack.enter_context(_warded([str(group.folder) for group in groups], []))
        made: list[Path] = []
        for group in groups:
            problem = group.make()
            if problem is None:
                made.append(group.folder)
            else:
                impossible.append(problem)
        if neighbours:
            stack.enter_context(_neighbours(neighbours, chosen))
        yield Ground(tuple(made), chosen, tuple(impossible), _prepare(tuple(made), chosen, os.getpid()))


@contextmanager
def scratch_kept_clean(folder: Path) -> Iterator[Path]:
    """The folder, which is gone afterwards however this process ends."""
    with _warded([], [str(folder)]):
        yield folder


def core_set(count: int) -> frozenset[int]:
    """So many of the cores that this process may use, the lowest numbers; all of them for 0 or more than there are."""
    own = sorted(os.sched_getaffinity(0))
    return frozenset(own[:count] if count else own)


def end_with(parent: int) -> None:
    """Let the kernel end this process when the thread that started it ends; `parent` is who should still be there."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prepare(groups: Sequence[Path], cores: frozenset[int], parent: int) -> Callable[[], None]:
    def prepare() -> None:
        end_with(parent)
        os.sched_setaffinity(0, cores)
        for group in groups:
            with open(group / "cgroup.procs", "w") as members:
                members.write("0")

    return prepare


def _groups(limits: Limits) -> tuple[list[Group], list[Impossible]]:
    """The groups to be made, those of one folder as one, and the limits for which there is no place."""
    groups, mounts = own_groups(_text("/proc/self/cgroup")), mounted(_text("/proc/self/mountinfo"))
    found: dict[Path, Group] = {}
    impossible = []
    for controller in limits.controllers:
        if controller == "io" and not limits.device:
            impossible.append(Impossible("a slower disk", "the data does not lie on a disk of its own"))
            continue
        place = place_of(controller, groups, mounts)
        if isinstance(place, Impossible):
            impossible.append(place)
            continue
        group = group_of(controller, place, limits, f"engram-lab-{os.getpid()}")
        before = found.get(group.folder)
        found[group.folder] = Group(group.folder, before.figures + group.figures) if before else group
    return list(found.values()), impossible


@contextmanager
def _warded(groups: Sequence[str], folders: Sequence[str]) -> Iterator[None]:
    """Whatever happens, these are removed afterwards."""
    if not groups and not folders:
        yield
        return
    warden = subprocess.Popen(  # noqa: S603 -- our own interpreter
        [sys.executable, "-I", "-S", "-c", _WARDEN], stdin=subprocess.PIPE, start_new_session=True
    )
    assert warden.stdin is not None  # noqa: S101 -- a pipe was asked for
    warden.stdin.write(json.dumps([list(groups), list(folders)]).encode() + b"\n")
    warden.stdin.flush()
    try:
        yield
    finally:
        warden.stdin.close()
        try:
            warden.wait(_WARDEN_SECONDS)
        except subprocess.TimeoutExpired:
            warden.kill()
            warden.wait()


@contextmanager
def _neighbours(count: int, cores: frozenset[int]) -> Iterator[None]:
    """Processes that compute without a pause."""
    parent = os.getpid()

    def prepare() -> None:
        end_with(parent)
        os.sched_setaffinity(0, cores)

    running: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            running.append(
                subprocess.Popen(  # noqa: S603 -- our own interpreter
                    [sys.executable, "-I", "-S", "-c", _NEIGHBOUR],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    preexec_fn=prepare,
                )
            )
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
