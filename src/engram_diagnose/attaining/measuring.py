"""
Measuring this host: whether it is quiet enough, the parts one after another, and the record they leave.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engram_diagnose.attaining.record import GATE, part_entry, read_record, record_of, write_record
from engram_diagnose.collectors.capture.attained import host_now
from engram_diagnose.collectors.capture.cgroup import cgroup_moving
from engram_diagnose.collectors.capture.machine import Machine, host_identity
from engram_diagnose.collectors.capture.reading import read
from engram_diagnose.collectors.parse.cgroup import cpu_quota, memory_left
from engram_diagnose.collectors.parse.figures import UnparsedError
from engram_diagnose.collectors.parse.host import is_guest
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure.measurement import Measurement, Stability, Unmeasured
from engram_diagnose.kernels.measure.suite import INDEX, Done, Part, measure, parts_of
from engram_diagnose.rulebase import load_rules
from engram_diagnose.state import StateError

if TYPE_CHECKING:
    from engram_diagnose.kernels.measure.bench import Bench
    from engram_diagnose.kernels.measure.measurement import Outcome
    from engram_diagnose.kernels.measure.noise import Gate

Json = dict[str, Any]
Say = Callable[[str], None]


class BusyHostError(ValueError):
    """Others use the host, so that its figures would be those of what is left; says how much, and what to do."""


class NoCompilerError(ValueError):
    """What compiles the loops cannot be had here; says why, and what to do."""


class SampleError(ValueError):
    """The file of vectors is none; says why, and what to do."""


class NoFolderError(ValueError):
    """The folder to write into is none; says what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """
    What to measure: the parts by name (none: the usual ones), the folder to write into ("": nowhere), whether also on a
    host that others use, and for the index a file of the user's own vectors and the recall that is wanted (0: as the
    limits say).
    """

    parts: tuple[str, ...] = ()
    folder: str = ""
    although_busy: bool = False
    vectors: str = ""
    recall: float = 0.0


def measure_host(wish: Wish, packs: Sequence[Path], *, say: Say, progress: Say) -> Json:
    """
    Measure, keep the record, and give it: what was measured before Ctrl-C is kept as well.

    Raises `ValueError` for a part that there is none of, `NoCompilerError`, `BusyHostError`, `SampleError`, and
    `RuleBaseError`. A record that cannot be kept is said, and its figures are given all the same.
    """
    _need_compiler()
    from engram_diagnose.kernels.measure.host import bench_here
    from engram_diagnose.kernels.measure.noise import gate

    parts = parts_of(wish.parts)
    limits = read_limits(load_rules(packs, thorough=False).texts, "kernels")
    limits |= {"hnsw_recall": wish.recall} if wish.recall else {}
    machine = Machine(host=host_identity().id)
    keeping = _Keeping(machine, wish.folder, limits["expiry"], say)
    group = _group(machine)
    with bench_here(limits, folder=wish.folder, memory_left=group.memory_left, say=progress) as bench:
        progress("is this host quiet?")
        found = gate(bench, quota=group.quota, guest=is_guest(read(machine.proc("cpuinfo")).body or ""))
        _refuse(found, although_busy=wish.although_busy, say=say)
        keeping.keep(Done(GATE, found.outcomes, 0.0))
        try:
            measure(_wished(parts, wish), bench, done=lambda done: keeping.keep(trusted(done, found)))
        except KeyboardInterrupt:
            say(f"interrupted; kept is what was measured until then: {keeping.names or 'nothing'}")
            raise
        finally:
            keeping.write()
    return keeping.record


def trusted(done: Done, gate: "Gate") -> Done:
    """
    A part as far as the gate lets its figures be trusted.

    Those of several threads are left out where they mean nothing. Those of a host that was too busy are noisy at best,
    however little they scatter: what others take all the time is missing in every repeat.
    """
    return replace(done, outcomes=tuple(_trusted(one, gate) for one in done.outcomes))


def _trusted(one: "Outcome", gate: "Gate") -> "Outcome":
    if not isinstance(one, Measurement):
        return one
    if gate.all_cores and one.threads > 1:
        return Unmeasured(one.name, gate.all_cores, "raise the quota, or measure outside of it", one.labels)
    if not gate.refused:
        return one
    stability: Stability = "noisy" if one.stability == "stable" else one.stability
    return replace(one, stability=stability, notes=(*one.notes, f"measured although {gate.refused}"))


def _need_compiler() -> None:
    """Import what compiles the loops, which takes a moment; raises `NoCompilerError`."""
    try:
        import numba  # noqa: F401 -- only whether it can be
    except (ImportError, OSError) as error:  # OSError: llvmlite's library cannot be loaded
        raise NoCompilerError(
            f"cannot measure: numba cannot be imported ({error}). It is published for Linux with glibc on x86-64 and "
            "ARM64, and not for musl: install engram-diagnose on such a system, such as Debian, with `pip install`"
        ) from None


@dataclass(frozen=True, slots=True)
class _OfSample(Part):
    """The index over vectors of the user's; what is wrong with their file is an error of ours."""

    sample: str = ""

    def measure(self, bench: "Bench") -> "list[Outcome]":
        """Raises `SampleError`."""
        from engram_diagnose.kernels.measure.hnsw import hnsw

        try:
            return hnsw(bench, sample=Path(self.sample))
        except ValueError as error:
            raise SampleError(f"--vectors: {error}") from None


def _wished(parts: Sequence[Part], wish: Wish) -> Sequence[Part]:
    """The parts, the index over the sample if there is one."""
    return [_OfSample(part.name, part.about, part.usual, wish.vectors) if part.name == INDEX and wish.vectors else part
            for part in parts]  # fmt: skip


def _refuse(found: "Gate", *, although_busy: bool, say: Say) -> None:
    """Say what the gate saw; raises `BusyHostError`."""
    for note in found.notes:
        say(f"note: {note}")
    if found.refused and not although_busy:
        raise BusyHostError(f"not measured: {found.refused}; wait until it is idle, or give --although-busy")
    if found.refused:
        say(f"measured all the same, as figures of a busy host: {found.refused}")


class _Keeping:
    """The record, as it grows."""

    def __init__(self, machine: Machine, folder: str, holds_for: float, say: Say) -> None:
        self._machine = machine
        self._folder = folder
        self._holds_for = holds_for
        self._say = say
        self._parts: list[Json] = []
        try:
            self._earlier = read_record(machine.host)
        except StateError as error:
            self._earlier = None
            say(f"note: {error}")

    @property
    def record(self) -> Json:
        """What was measured now, and what of earlier still stands."""
        return record_of(self._machine.host, self._parts, self._earlier)

    @property
    def names(self) -> str:
        """The parts that were measured now."""
        return ", ".join(part["name"] for part in self._parts if part["name"] != GATE)

    def keep(self, done: Done) -> None:
        of = host_now(self._machine, self._folder)
        self._parts.append(part_entry(done, of=of, measured_at=self._machine.now(), holds_for=self._holds_for))

    def write(self) -> None:
        try:
            write_record(self.record)
        except StateError as error:
            self._say(f"note: {error}")


@dataclass(frozen=True, slots=True)
class _Group:
    """What the control groups leave this process: CPUs (None: all), and bytes (0: all)."""

    quota: float | None = None
    memory_left: float = 0.0


def _group(machine: Machine) -> _Group:
    answers = {answer.name: answer.body or "" for answer in cgroup_moving(machine, os.getpid())}
    try:
        cpu, memory = answers.get("cgroup/cpu", ""), answers.get("cgroup/memory", "")
        return _Group(cpu_quota(cpu) if cpu else None, (memory_left(memory) or 0.0) if memory else 0.0)
    except UnparsedError:
        return _Group()


def folder_of(named: str) -> str:
    """The folder to write into; raises `NoFolderError` for one that is not there."""
    if named and not os.path.isdir(named):
        raise NoFolderError(f"--data-dir: there is no folder {named}")
    if named and shutil.disk_usage(named).free == 0:
        raise NoFolderError(f"--data-dir: {named} is full; make room, or name another folder of the same disk")
    return named
