"""Everything this machine says about the server on it, within one window."""

from __future__ import annotations

import time
from dataclasses import replace

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.cgroup import cgroup_moving
from engram_diagnose.collectors.capture.host import host_moving, host_static
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.process import (
    process_moving,
    process_static,
    start_ticks,
)
from engram_diagnose.collectors.capture.storage import storage
from engram_diagnose.collectors.capture.target import LocalTarget, NoTarget, target_answer
from engram_diagnose.collectors.capture.threads import MOST_READS, StateSamples, threads_moving

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_SECONDS = 5.0
_SAMPLE_SECONDS = 0.1


def capture_local(
    machine: Machine,
    target: LocalTarget | NoTarget,
    *,
    data_dir: str = "",
    seconds: float = WINDOW_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Answer]:
    """
    The target, then host, storage, process and cgroup; host and process counters twice, `seconds`
    apart.

    Without a target only that is said: the host of another process is no evidence. A process that
    ends or is replaced meanwhile leaves TARGET_GONE in the place of its second snapshot.
    """
    answers = [target_answer(machine, target)]
    if isinstance(target, NoTarget):
        return answers
    answers += host_static(machine)
    answers += storage(machine, data_dir, pid=target.pid)
    answers += _pinned(machine, target, process_static(machine, target.pid))
    return answers + _window(machine, target, seconds, sleep)


def capture_host(
    machine: Machine,
    *,
    data_dir: str = "",
    seconds: float = WINDOW_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Answer]:
    """
    The machine alone, for sizing a server that does not run yet.

    With 0 seconds its counters are read once, and no rate comes of them.
    """
    first = [*host_static(machine), *storage(machine, data_dir), *host_moving(machine)]
    if not seconds:
        return first
    sleep(seconds)
    return first + host_moving(machine)


def _window(machine: Machine, target: LocalTarget, seconds: float, sleep: Callable[[float], None]) -> list[Answer]:
    start = machine.now()
    before = _snapshot(machine, target)
    samples = StateSamples(machine, target.pid)
    _sample_until(machine, samples, start + seconds, sleep)
    after = _snapshot(machine, target)
    return before + after + _pinned(machine, target, [samples.answer()])


def _sample_until(machine: Machine, samples: StateSamples, end: float, sleep: Callable[[float], None]) -> None:
    """Sample thread states every 0.1 s, as long as that costs less than `MOST_READS` reads."""
    left = MOST_READS
    while left > 0 and machine.now() < end:
        left -= max(1, samples.take())
        sleep(max(0.0, min(_SAMPLE_SECONDS, end - machine.now())))
    sleep(max(0.0, end - machine.now()))


def _snapshot(machine: Machine, target: LocalTarget) -> list[Answer]:
    process = process_moving(machine, target.pid)
    process.append(threads_moving(machine, target.pid))
    process += cgroup_moving(machine, target.pid)
    host = host_moving(machine, pid=target.pid)
    return _pinned(machine, target, process) + host


def _pinned(machine: Machine, target: LocalTarget, answers: list[Answer]) -> list[Answer]:
    """
    The answers, or TARGET_GONE in their place when the process id is not this process's any more.
    """
    if start_ticks(target.pid, proc_root=machine.proc_root) == target.start_ticks:
        return answers
    detail = f"process {target.pid} ended while it was measured"
    return [replace(a, body=None, reason="TARGET_GONE", detail=detail) for a in answers]
