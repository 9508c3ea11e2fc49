"""
The stage: a lab with a fault around it, clients that load it, and somebody who looks at it meanwhile.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.demo.pace import Pace
from engram_diagnose.lab.cgroups import Limits, device_of
from engram_diagnose.lab.fault import Fault, Severity, Surroundings, Value
from engram_diagnose.lab.faults import environment_of, settings_of
from engram_diagnose.lab.host import read_host
from engram_diagnose.lab.planting import Ground, planted, scratch_kept_clean
from engram_diagnose.lab.process import LabError, LabProcess
from engram_diagnose.lab.settings import fitting, written
from engram_diagnose.patch.edit import Assignment, edited

Json = Mapping[str, Any]
Say = Callable[[str], None]
_NAME: Final = "demo"


class CannotPlayError(ValueError):
    """The lab cannot be played with on this machine; says why, and what to do instead."""


class Clients(Protocol):
    """Whoever loads the lab; each gives a run of the benchmark format."""

    def offer(self, rate: float, seconds: float, *, told: str) -> Json:
        """Offer the load at a rate."""

    def watched(self, rate: float, seconds: float, *, told: str) -> tuple[Json, Bundle]:
        """Offer it while somebody looks at the server."""


@dataclass(frozen=True, slots=True)
class Scene:
    """
    What is to be staged: a fault at one severity, and the cores that the lab runs `on`.

    `changed` are the keys that differ from the configuration that fits this machine.
    """

    fault: Fault
    severity: Severity
    pace: Pace
    on: frozenset[int]
    changed: Mapping[str, Value] = field(default_factory=dict)

    @property
    def cores(self) -> int:
        """How many cores the lab gets."""
        return len(self.on)

    @property
    def environment(self) -> dict[str, str]:
        """What the lab is started with besides."""
        return environment_of(self.fault, self.severity)


def scene_of(fault: Fault, severity: str, pace: Pace) -> Scene:
    """The scene on this machine; raises `ValueError` for a severity there is not."""
    step, on = fault.severity(severity), sides(os.sched_getaffinity(0))[0]
    return Scene(fault, step, pace, on, settings_of(step, cores=len(on), memories=pace.memories))


def sides(cores: Collection[int]) -> tuple[frozenset[int], frozenset[int]]:
    """
    The cores of the lab, and those of its clients and whoever looks on, the last quarter.

    Apart, since clients on the server's own cores would be neighbours in its way, and rightly be blamed for it.
    """
    listed = sorted(cores)
    own = max(1, len(listed) - max(1, len(listed) // 4))
    return frozenset(listed[:own]), frozenset(listed[own:] or listed)


@contextmanager
def beside_the_lab() -> Iterator[None]:
    """Run here, and let run what is started here, on the cores of the clients."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sides(before)[1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def healthy_config(folder: Path, *, cores: int) -> str:
    """The configuration that fits so many cores of this machine, by the guide's wizard."""
    return written(fitting(replace(read_host(folder), cores=cores)))


def sick_config(healthy: str, changed: Mapping[str, Value]) -> str:
    """The same with the fault's keys in it."""
    keys = [Assignment(key, value) for key, value in changed.items()]
    return edited(healthy.encode(), keys, name="engram.toml").decode()


@dataclass(frozen=True, slots=True)
class Rooms:
    """
    `base` outlives the demo, with memories to begin with; `scratch` and `data` are of this run alone.
    """

    base: Path
    scratch: Path
    data: Path


@contextmanager
def rooms(base: Path, pace: Pace) -> Iterator[Rooms]:
    """
    Folders for one run, gone afterwards however it ends.

    Raises `CannotPlayError` where they cannot be made, or there is no room.
    """
    found = Rooms(base, base / f"run-{os.getpid()}", base / f"data-{os.getpid()}")
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(base).free
        if free < pace.room_bytes:
            raise CannotPlayError(
                f"{base} has {free >> 20} MiB left, and the lab takes up to {pace.room_bytes >> 20}; make room, or set "
                "ENGRAM_DIAGNOSE_STATE to a folder with more"
            )
        with ExitStack() as stack:
            stack.enter_context(scratch_kept_clean(found.scratch))
            stack.enter_context(scratch_kept_clean(found.data))
            found.scratch.mkdir(mode=0o700)
            yield found
    except OSError as error:
        if error.filename is None or not str(error.filename).startswith(str(base)):
            raise
        raise CannotPlayError(
            f"cannot use {error.filename}: {error.strerror}; set ENGRAM_DIAGNOSE_STATE to a folder that can be written"
        ) from None


@contextmanager
def lab(rooms: Rooms, scene: Scene, config: str, *, around: Surroundings, memory: int, environment: Mapping[str, str],
        port: int = 0, on_line: Say = lambda _: None) -> Iterator[tuple[LabProcess, Ground]]:  # fmt: skip
    """
    A lab that runs, with what is planted around it; `memory` is what the healthy lab takes, in bytes.

    Raises `CannotPlayError` where it does not start.
    """
    limits = Limits(
        cpus=around.cpu_quota * scene.cores,
        memory=round(around.memory_limit * memory),
        disk_rate=around.disk_rate,
        device=device_of(rooms.base),
    )
    with planted(limits, on=scene.on, neighbours=round(around.neighbours * scene.cores)) as ground:
        process = LabProcess(config, rooms.scratch, port=port, env=environment, preload=scene.pace.memories,
                             prepare=ground.prepare, on_line=on_line)  # fmt: skip
        process.data_dir = rooms.data
        _start(process, rooms)
        try:
            yield process, ground
        finally:
            process.kill()


def _start(process: LabProcess, rooms: Rooms) -> None:
    """Start it; once more without the memories that were kept, which may be those of an older lab."""
    try:
        process.start()
        return
    except (LabError, OSError) as error:
        if not (kept := list(rooms.base.glob(".engram-lab-*"))):
            raise CannotPlayError(f"the lab did not start: {error}") from None
    for folder in (*kept, rooms.data):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        process.start()
    except (LabError, OSError) as error:
        raise CannotPlayError(f"the lab did not start: {error}") from None


def restart(process: LabProcess, config: str) -> None:
    """
    Start a lab again with a configuration; one that does not end when told to is ended.

    Raises `CannotPlayError` where it does not come up.
    """
    with suppress(LabError):  # it was killed, then
        process.stop()
    try:
        process.restart(config)
    except (LabError, OSError) as error:
        raise CannotPlayError(f"the lab did not come up again: {error}") from None
