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
from engram_diagnose.collectors.capture.threads import ThreadWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping


def capture_local(
    machine: Machine,
    target: LocalTarget | NoTarget,
    *,
    limits: Mapping[str, float],
    data_dir: str = "",
    seconds: float | None = None,
    stop: threading.Event | None = None,
    sleep: Callable[[float], object] | None = None,
) -> list[Answer]:
    """
    The target, then host, storage, process and cgroup; host and process counters twice, `seconds`
    apart.

    `limits` are those of `rules/catalogue/collection.yaml`: how many threads and states are read, above which size
    mappings are not walked, and how long is watched where `seconds` are not given. Once `stop` is set the second
    snapshot is taken at once. Without a target only that is said: the host of another process is no evidence. A
    process that ends or is replaced meanwhile leaves TARGET_GONE in the place of its second snapshot.
    """
    answers = [target_answer(machine, target)]
    if isinstance(target, NoTarget):
        return answers
    answers += host_static(machine)
    answers += storage(machine, data_dir, pid=target.pid)
    answers += _pinned(machine, target, process_static(machine, target.pid, limits=limits))
    watched = limits["watch"] if seconds is None else seconds
    return answers + _Window(machine, target, limits, stop, sleep).watch(watched)


def capture_host(
    machine: Machine,
    *,
    data_dir: str = "",
    seconds: float = 0.0,
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


class _Window:
    """Two snapshots with sampled states in between, as long as nobody stops it."""

    def __init__(
        self,
        machine: Machine,
        target: LocalTarget,
        limits: Mapping[str, float],
        stop: threading.Event | None,
        sleep: Callable[[float], object] | None,
    ) -> None:
        self._machine = machine
        self._target = target
        self._stop = stop
        self._sleep = sleep or (time.sleep if stop is None else stop.wait)
        self._threads = ThreadWatch(machine, target.pid, limits)

    def watch(self, seconds: float) -> list[Answer]:
        start = self._machine.now()
        before = self._snapshot()
        self._sample(start + seconds, seconds)
        after = self._snapshot()
        return before + after + _pinned(self._machine, self._target, [self._threads.states()])

    def _sample(self, end: float, seconds: float) -> None:
        """Look at the threads' states in turns, evenly over the time there is."""
        while self._machine.now() < end and not (self._stop is not None and self._stop.is_set()):
            pause = self._threads.pause(self._threads.take(), seconds)
            self._sleep(max(0.0, min(pause, end - self._machine.now())))

    def _snapshot(self) -> list[Answer]:
        machine, target = self._machine, self._target
        process = process_moving(machine, target.pid)
        process.append(self._threads.snapshot())
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
