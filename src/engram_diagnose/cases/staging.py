"""
Cases staged with the lab: started with the fault, loaded as the fault wants it, looked at meanwhile, ended.
"""

import math
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

from engram_diagnose import __version__
from engram_diagnose.cases.label import Loaded as LoadOf
from engram_diagnose.cases.making import Collected, NotMadeError, Planned, parts_of
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.demo import carrying
from engram_diagnose.demo.clients import clients
from engram_diagnose.demo.felt import Felt, compared, figures_felt
from engram_diagnose.demo.pace import Pace
from engram_diagnose.demo.stage import CannotPlayError, Scene, healthy_config, lab, rooms, sick_config
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.lab.fault import Fault, Hidden, Severity
from engram_diagnose.lab.faults import settings_of
from engram_diagnose.lab.process import LabProcess

_CARRIED: Final = "carried.json"
_RATE_STEP: Final = 1.1
"""From one rate at which the healthy lab is measured to the next."""

Json = Mapping[str, Any]


class _TookTooLongError(NotMadeError):
    """A case that hangs."""


@dataclass(frozen=True, slots=True)
class LabStage:
    """Stages cases under `base`, which keeps memories to begin with and what healthy labs carry."""

    base: Path
    loaded: Loaded
    although_busy: bool = False

    def collected(self, planned: Planned) -> Collected:
        """Stage a case; raises `NotMadeError` where the lab cannot, or takes too long."""
        limits = read_limits(self.loaded.texts, "cases")
        pace = Pace(memories=round(limits["memories"]), settle_seconds=limits["warm_seconds"],
                    look_seconds=limits["load_seconds"], probe_seconds=limits["probe_seconds"])  # fmt: skip
        try:
            with within(limits["case_seconds"]), rooms(self.base, pace) as here:
                return _Staging(self, planned, pace, here, limits=limits).collected()
        except CannotPlayError as error:
            raise NotMadeError(shortened(str(error))) from None


def shortened(text: str) -> str:
    """The first and the last line of a text: what failed, and what the lab said of it in the end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else f"{lines[0]}: {lines[-1]}" if lines else ""


class _Staging:
    def __init__(
        self, stage: LabStage, planned: Planned, pace: Pace, here: Any, *, limits: Mapping[str, float]
    ) -> None:
        self._stage = stage
        self._planned = planned
        self._here = here
        self._noise = limits["rate_noise"]
        self._least = {"lower": limits["felt_slower"], "higher": limits["felt_missing"]}
        self._wait = pace.drain_seconds
        self._most_others = limits["others_most"] * len(os.sched_getaffinity(0))
        step = planned.fault.severity(planned.severity)
        changed = settings_of(step, cores=planned.cores, memories=pace.memories)
        self._scene = Scene(
            planned.fault, step, pace, frozenset(sorted(os.sched_getaffinity(0))[: planned.cores]), changed
        )
        self._config = healthy_config(here.base, cores=planned.cores)

    def collected(self) -> Collected:
        carried, memory = self._carried()
        scene, fault = self._scene, self._planned.fault
        noise = random.Random(self._planned.name).uniform(1 - self._noise, 1 + self._noise)  # noqa: S311 -- no secret
        rate = max(1.0, carried * fault.load.rate * scene.severity.heavier * noise)
        with self._lab(scene, memory) as (process, impossible):
            if impossible:
                raise NotMadeError("; ".join(impossible))
            with beside(scene.cores), clients(process, scene, self._stage.loaded) as loading:
                loading.offer(rate, scene.pace.settle_seconds, told=self._planned.name)
                others = Others(process.pid)
                run, bundle = loading.watched(rate, scene.pace.look_seconds, told=self._planned.name)
                busy = others.cores()
        disturbed = self._disturbed(busy)
        felt = self._felt(run, bundle, rate, memory)
        load = LoadOf(dict(fault.load.mix), round(rate, 1), fault.load.connections, scene.pace.look_seconds,
                      round(carried, 1))  # fmt: skip
        told = f"the rate is {noise - 1:+.0%} off; others used {busy:.1f} of {os.cpu_count()} cores"
        return Collected(bundle, load, _processor(), told, 1, disturbed=disturbed, felt=felt)

    def _felt(self, run: Json, bundle: Bundle, rate: float, memory: int) -> tuple[Felt, ...]:
        """
        What clients feel beside the healthy lab. Raises `NotMadeError` where that is nothing, so that it could not be
        diagnosed; of two faults, where nobody would feel one of them taken away while the other stays.
        """
        fault, catalogue = self._planned.fault, self._stage.loaded.catalogue
        sick = figures_felt(run, bundle, fault.breaches, wait=self._wait)
        healthy = self._figures_of(self._alone(None), rate, memory) if fault.breaches else {}
        parts = parts_of(fault)
        for part in parts:
            others = [one for one in parts if one is not part]
            without = self._figures_of(self._alone(others[0]), rate, memory) if others else healthy
            own = [one for one in compared(without, sick, catalogue) if one.figure in part.breaches]
            if not own and part.breaches:
                raise NotMadeError(f"what {part.name} is to breach could not be measured: {', '.join(part.breaches)}")
            if own and not any(one.harms(self._least[one.better]) for one in own):
                raise NotMadeError(f"nobody feels {part.name} here: {own[0]}")
        return compared(healthy, sick, catalogue)

    def _alone(self, fault: Fault | None) -> Scene:
        """The scene with one of its faults alone, under the same load; with none the healthy lab."""
        scene = self._scene
        if fault is None:
            healthy = Severity(scene.severity.name)
            return replace(scene, fault=replace(scene.fault, name="", hidden=Hidden()), severity=healthy, changed={})
        step = fault.severity(scene.severity.name)
        changed = settings_of(step, cores=scene.cores, memories=scene.pace.memories)
        return replace(scene, fault=replace(fault, load=scene.fault.load), severity=step, changed=changed)

    def _figures_of(self, scene: Scene, rate: float, memory: int) -> dict[str, float]:
        """The figures that the fault is to breach, of another scene under as much load, within 5 %; measured once."""
        load = scene.fault.load
        step = _RATE_STEP ** math.floor(math.log(rate) / math.log(_RATE_STEP) + 0.5)
        planted = f";{scene.fault.name};{scene.severity.name}" if scene.fault.name else ""
        key = ";".join((carrying.key_of(load.mix, memories=scene.pace.memories, cores=scene.cores, model=_processor()),
                        __version__, f"{scene.pace.look_seconds:g}", f"{load.connections}", f"{load.skew:g}",
                        f"{step:.0f}")) + planted  # fmt: skip
        path, names = self._here.base / _CARRIED, self._planned.fault.breaches
        found = {name: value for name in names if (value := carrying.kept(path, f"{key};{name}")) is not None}
        if len(found) == len(names):
            return found
        told = scene.fault.name or "the healthy lab"
        with (
            self._lab(scene, memory) as (process, _),
            beside(scene.cores),
            clients(process, scene, self._stage.loaded) as loading,
        ):
            loading.offer(step, scene.pace.settle_seconds, told=told)
            others = Others(process.pid)
            run, bundle = loading.watched(step, scene.pace.look_seconds, told=told)
            busy = others.cores()
        found = figures_felt(run, bundle, names, wait=self._wait)
        if busy <= self._most_others or scene.severity.around.neighbours:
            for name, value in found.items():
                carrying.keep(path, f"{key};{name}", value)
        return found

    def _disturbed(self, others: float) -> bool:
        """Whether others used the host beyond what was planted; raises `NotMadeError` where that is not allowed."""
        if self._scene.severity.around.neighbours or others <= self._most_others:
            return False
        if not self._stage.although_busy:
            raise NotMadeError(f"others used {others:.1f} cores meanwhile, and would look like what was planted; "
                               "make cases on a host of their own, or add --although-busy")  # fmt: skip
        return True

    def _carried(self) -> tuple[float, int]:
        """Operations a second that the healthy lab carries on this shape, and the bytes that it takes."""
        scene, path = self._scene, self._here.base / _CARRIED
        key = carrying.key_of(scene.fault.load.mix, memories=scene.pace.memories, cores=scene.cores,
                              model=_processor())  # fmt: skip
        rate, memory = carrying.kept(path, key), carrying.kept(path, f"{key};bytes")
        if rate is not None and memory is not None:
            return rate, round(memory)
        healthy = self._alone(None)
        with self._lab(healthy, 0) as (process, _):
            with beside(scene.cores), clients(process, healthy, self._stage.loaded) as loading:
                rate = carrying.carried(
                    lambda offered: loading.offer(offered, scene.pace.probe_seconds, told="the healthy lab"),
                    first=scene.pace.probe_from,
                )
            memory = float(_resident(process.pid))
        carrying.keep(path, key, rate)
        carrying.keep(path, f"{key};bytes", memory)
        return rate, round(memory)

    @contextmanager
    def _lab(self, scene: Scene, memory: int) -> Iterator[tuple[LabProcess, tuple[str, ...]]]:
        try:
            started = lab(self._here, scene, sick_config(self._config, scene.changed), around=scene.severity.around,
                          memory=memory, environment=scene.environment)  # fmt: skip
            with started as (process, ground):
                yield process, tuple(map(str, ground.impossible))
        finally:  # what this one was told to store is not the next one's
            shutil.rmtree(self._here.data, ignore_errors=True)


@contextmanager
def beside(cores: int) -> Iterator[None]:
    """Run this process, and what it starts, on the cores that a server on the first so many leaves, if any."""
    own = sorted(os.sched_getaffinity(0))
    left = own[cores:]
    if left:
        os.sched_setaffinity(0, left)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


class Others:
    """
    The cores that are used from now on by neither this process, its children that have ended, nor another one.

    By the host's own counters, and so by nothing that a rule reads.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = time.monotonic()
        self._before = self._seconds()

    def cores(self) -> float:
        """How many, on average."""
        return max(0.0, (self._seconds() - self._before) / max(1e-3, time.monotonic() - self._began))

    def _seconds(self) -> float:
        """CPU seconds of everybody else since the host was started, give or take a constant."""
        return (
            busy_seconds(Path("/proc/stat").read_text())
            - process_seconds(Path(f"/proc/{self._pid}/stat").read_text())
            - sum(os.times()[:4])
        )


_TICKS: Final = os.sysconf("SC_CLK_TCK")


def busy_seconds(stat: str) -> float:
    """
    CPU seconds that were used, by `/proc/stat`; guests count in what runs them, waiting for a disk is no use.

        cpu  user nice system idle iowait irq softirq steal guest guest_nice
    """
    user, nice, system, _, _, irq, softirq = (int(word) for word in stat.split("\n", 1)[0].split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS


def process_seconds(stat: str) -> float:
    """CPU seconds of a process and of its threads, by `/proc/PID/stat`; its name may hold blanks and brackets."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give up after so many seconds; raises `NotMadeError`. In the main thread alone."""

    def late(number: int, frame: FrameType | None) -> None:
        raise _TookTooLongError(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown"
