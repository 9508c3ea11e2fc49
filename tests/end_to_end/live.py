"""
Faults made on this machine: a program that has one of them, or has not, the limits it runs under, and who looks at it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stage import COMMAND, ROOT, Said, environment, folder_on_disk

from engram_diagnose.collectors.capture.mounts import parse_mounts

SOURCE = Path(__file__).parent / "faults" / "faults.c"
HEAVY = {"v1_cpu.shares": "262144", "v2_cpu.weight": "10000"}
"""Weighs more than all that others of this machine do, so that a fault is not lost in their noise."""

OTHERS = frozenset({"host.noisy-neighbour", "host.run-queue-starvation", "host.disk-saturated-by-others"})
"""What a machine that others keep busy has as well, and is named for rightly."""


@dataclass(frozen=True)
class Faulty:
    """A program at work."""

    pid: int
    url: str
    folder: Path
    config: Path


@contextmanager
def at_work(
    program: Path,
    fault: str,
    mode: str,
    *,
    config: str = "",
    groups: Sequence[Path] = (),
    cpus: Sequence[int] = (),
    seconds: float = 60,
) -> Iterator[Faulty]:
    """The program with a fault, or healthy, once it is at work; it ends by itself should nobody end it."""

    def confine() -> None:
        _join(groups)
        if cpus:
            os.sched_setaffinity(0, cpus)

    with folder_on_disk() as folder:
        settings = folder / "engram.toml"
        settings.write_text(config)
        command = [str(program), fault, mode, str(folder), str(seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=confine) as process:
            try:
                assert process.stdout is not None
                word, pid, port = process.stdout.readline().split()
                assert (word, int(pid)) == ("ready", process.pid)
                yield Faulty(process.pid, f"http://127.0.0.1:{port}/metrics", folder, settings)
            finally:
                process.kill()


@contextmanager
def control_group(controller: str, limits: Mapping[str, str], *, name: str) -> Iterator[Path]:
    """
    A control group with limits: files by name, `v1_` or `v2_` before it. Skips where none may be made.

    What is still in it at the end goes to the group above.
    """
    mounts = parse_mounts(Path("/proc/self/mountinfo").read_text())
    old = [mount.point for mount in mounts if mount.type == "cgroup" and controller in mount.options.split(",")]
    new = [mount.point for mount in mounts if mount.type == "cgroup2"]
    folder = Path((old or new or ["/nowhere"])[0]) / f"engram-diagnose-live-{os.getpid()}-{name}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        for key, text in limits.items():
            version, _, file = key.partition("_")
            if version == ("v1" if old else "v2"):
                _limit(folder / file, text)
        yield folder
    finally:
        _empty(folder)
        for _ in range(200):  # the kernel takes a moment to see that it is empty
            with suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.02)


def _limit(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        pytest.skip(f"this control group takes no such limit: {error}")


def _empty(folder: Path) -> None:
    for pid in (folder / "cgroup.procs").read_text().split():
        with suppress(OSError):
            (folder.parent / "cgroup.procs").write_text(pid)


def look(at: Faulty, command: str, *, seconds: float = 3, groups: Sequence[Path] = ()) -> Any:
    """The diagnosis of a program by `run` or `profile`, as the command line gives it."""
    said = command_line(at, command, seconds=seconds, groups=groups)
    assert not said.has_traceback, said.err
    assert said.code in (0, 1), said.err
    return said.document.get("diagnosis", said.document)


def command_line(at: Faulty, command: str, *, seconds: float = 3, groups: Sequence[Path] = ()) -> Said:
    """What the command line says of a program, run in these control groups."""
    with looking(at, command, seconds=seconds, groups=groups) as process:
        out, err = process.communicate(timeout=120)
    return Said(process.returncode, out, err)


@contextmanager
def looking(
    at: Faulty,
    command: str,
    *,
    seconds: float = 3,
    groups: Sequence[Path] = (),
    with_environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The command line while it looks at a program; ended when it does not end."""
    options = ["--metrics", at.url, "--pid", str(at.pid), "--config", str(at.config), "--data-dir", str(at.folder),
               "--seconds", str(seconds), "--format", "json"]  # fmt: skip
    files = ["--no-files"] if command == "profile" else []
    with subprocess.Popen(
        [*COMMAND, command, *options, *files],
        cwd=ROOT,
        env={**environment(), **(with_environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: _join(groups),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _join(groups: Sequence[Path]) -> None:
    for group in groups:
        (group / "cgroup.procs").write_text(str(os.getpid()))


def figure(diagnosis: Any, name: str) -> float | None:
    """A fact's value, the lower end where it is a span; None where it is unknown."""
    value = next((fact["value"] for fact in diagnosis["facts"] if fact["name"] == name), None)
    return value[0] if isinstance(value, list) else value


def confidence(diagnosis: Any, cause: str) -> float:
    """How sure the report is of a cause; 0 where it does not conclude it."""
    found = (one["confidence"]["probability"] for one in diagnosis["causes"] if one["rule"] == cause)
    return float(next(found, 0.0))


def named_first(diagnosis: Any, causes: Sequence[str]) -> bool:
    """
    Whether one of the causes stands first, or ties with the first.

    Where others use a core and more of this machine, what that causes may stand before it or mask it.
    """
    crowded = (figure(diagnosis, "cpu.neighbour_cores") or 0) >= 1
    others = OTHERS - {*causes} if crowded else frozenset()
    ranked = [one for one in diagnosis["causes"] if one["rule"] not in others]
    first = [one["rule"] for one in ranked if one["rank"] == ranked[0]["rank"]]
    masked = [one["rule"] for one in diagnosis["masked"]] if crowded else []
    return bool({*causes} & {*first, *masked})


def until_named_first(watch: Callable[[], Any], causes: Sequence[str]) -> Any:
    """
    A diagnosis that names one of the causes first: of a noisy window a second one is taken, and up to two more while
    others are seen to disturb this machine.
    """
    diagnosis = watch()
    for again in range(3):
        if named_first(diagnosis, causes) or (again and not OTHERS & {one["rule"] for one in diagnosis["causes"]}):
            break
        diagnosis = watch()
    ranked = [(one["rule"], one["confidence"]["probability"]) for one in diagnosis["causes"]]
    assert named_first(diagnosis, causes), ranked
    return diagnosis


def descendants(pid: int) -> dict[int, str]:
    """The processes under a process, and what each is called."""
    parents: dict[int, tuple[int, str]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            start, _, rest = stat.read_text(errors="replace").rpartition(")")
            parents[int(stat.parent.name)] = (int(rest.split()[1]), start.partition("(")[2])
    found = {pid: ""}
    while more := {one: name for one, (above, name) in parents.items() if above in found and one not in found}:
        found |= more
    del found[pid]
    return found


def with_this_environment(name: str, value: str) -> list[int]:
    """The processes that were started with a variable of this value."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{name}={value}".encode() in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
    return sorted(found)


def build(folder: Path) -> Path:
    """The program, built; skips without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    built = folder / "faults"
    subprocess.run([compiler, "-O2", "-pthread", "-o", str(built), str(SOURCE)], check=True)
    return built
