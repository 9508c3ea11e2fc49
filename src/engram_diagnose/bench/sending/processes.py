"""
The worker processes of one load: started together, watched, ended in any case.
"""

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Final

from engram_diagnose.bench.sending.task import STOPPED, Progress, Result, Task
from engram_diagnose.bench.sending.worker import read, write

_NS: Final = 1_000_000_000
_BEFORE_START: Final = 0.05
_LOOK_EVERY: Final = 0.1
_GONE: Final = "a worker of the client ended by itself; look for the kernel's OOM killer, or who else ended it"
_SILENT: Final = "a worker of the client says nothing any more; this machine is too busy, or somebody stopped it"
_LOOKED_UP: Final = 30.0
"""Seconds that looking up a name may take, and starting."""
_LAST_WORD: Final = 3.0
"""Seconds that a worker has for its figures once it was told to end."""


def send(tasks: Sequence[Task], stopping: threading.Event, on_progress: Callable[[Progress], None]) -> list[Result]:
    """
    Run the tasks, each in a process of its own, and give what they found.

    `stopping` ends them early; what they have done until then is kept. A worker that ends by itself ends the others,
    and stands as a result that says so. `on_progress` is called in this thread, four times a second.
    """
    return _Sending(tasks, stopping, on_progress).results()


class _Sending:
    """Worker processes of one load, in a session of their own so that Ctrl-C reaches this process alone."""

    def __init__(
        self, tasks: Sequence[Task], stopping: threading.Event, on_progress: Callable[[Progress], None]
    ) -> None:
        self._stopping = stopping
        self._on_progress = on_progress
        # Longer than this no worker takes that is well.
        self._most = max(task.seconds + task.drain for task in tasks) + _LAST_WORD
        self._most_before = max(task.wait for task in tasks) + _LOOKED_UP
        self._said: queue.Queue[tuple[int, Any]] = queue.Queue()
        self._processes = [self._start(number, task) for number, task in enumerate(tasks)]

    def _start(self, number: int, task: Task) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "engram_diagnose.bench.sending.worker"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603
        threading.Thread(target=self._listen, args=(number, process), daemon=True).start()
        _tell(process, task)
        return process

    def _listen(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        source: BinaryIO = process.stdout  # type: ignore[assignment]  # it is a pipe
        while (value := read(source)) is not None:
            self._said.put((number, value))
        source.close()
        self._said.put((number, None))

    def results(self) -> list[Result]:
        """What all workers found; ends them in any case."""
        try:
            return self._run()
        finally:
            for process in self._processes:
                _close(process)
            for process in self._processes:
                try:
                    process.wait(_LAST_WORD)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _run(self) -> list[Result]:
        count = len(self._processes)
        ready = self._all_ready()
        if ready is None or any(ready.values()):
            reasons = sorted({one for one in (ready or {}).values() if one}) or [STOPPED]
            return [_nothing(reasons[0])]
        start = time.monotonic_ns() + int(_BEFORE_START * _NS)
        for process in self._processes:
            _tell(process, start)
        found: dict[int, Result] = {}
        gone: set[int] = set()
        progress: dict[int, Progress] = {}
        closed = False
        until = time.monotonic() + self._most
        while len(found) + len(gone) < count and time.monotonic() < until:
            number, value = self._next()
            if isinstance(value, Progress):
                progress[number] = value
                self._on_progress(Progress(*(sum(getattr(one, name) for one in progress.values())
                                             for name in ("sent", "ok", "failed"))))  # fmt: skip
            elif isinstance(value, Result):
                found[number] = value
            elif value is None and number >= 0 and number not in found:
                gone.add(number)
            ended = self._stopping.is_set() or gone or any(one.aborted for one in found.values())
            if ended and not closed:
                closed, until = True, time.monotonic() + _LAST_WORD
                for process in self._processes:
                    _close(process)
        results = [found[number] for number in sorted(found)]
        results += [_nothing(_GONE if gone else _SILENT)] * (len(found) < count)
        # Why it ended comes first; that the other workers were told to end then is no reason.
        return sorted(results, key=lambda one: one.aborted in ("", STOPPED))

    def _next(self) -> tuple[int, Any]:
        try:
            return self._said.get(timeout=_LOOK_EVERY)
        except queue.Empty:
            return -1, None

    def _all_ready(self) -> dict[int, str] | None:
        """Why each worker cannot begin, empty when it can; None when stopped."""
        ready: dict[int, str] = {}
        until = time.monotonic() + self._most_before
        while len(ready) < len(self._processes) and time.monotonic() < until:
            if self._stopping.is_set():
                return None
            number, value = self._next()
            if number >= 0:
                ready[number] = value if isinstance(value, str) else _GONE
        return ready if len(ready) == len(self._processes) else {-1: _SILENT}


def _tell(process: "subprocess.Popen[bytes]", value: object) -> None:
    try:
        write(process.stdin, value)  # type: ignore[arg-type]  # it is a pipe
    except (BrokenPipeError, ValueError):
        return  # it is gone, which its silence says


def _close(process: "subprocess.Popen[bytes]") -> None:
    try:
        if process.stdin is not None:
            process.stdin.close()
    except BrokenPipeError:
        return


def _nothing(why: str) -> Result:
    return Result((), {}, 0, 0, 0.0, 0.0, why)
