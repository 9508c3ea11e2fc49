"""
The workers of one load: started together, watched, ended in any case. Here each is a process of this machine.
"""

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO, Final, Protocol

from engram_diagnose.bench.sending.task import STOPPED, Progress, Result, Task
from engram_diagnose.bench.sending.worker import read, write

Say = Callable[[Any], None]
_NS: Final = 1_000_000_000
_LOOK_EVERY: Final = 0.1
_GONE: Final = "a worker of the client ended by itself; look for the kernel's OOM killer, or who else ended it"
_SILENT: Final = "a worker of the client says nothing any more; this machine is too busy, or somebody stopped it"
_LOOKED_UP: Final = 30.0
"""Seconds that looking up a name may take, and starting."""
_LAST_WORD: Final = 3.0
"""Seconds that a worker has for its figures once it was told to end."""


class LaunchError(ValueError):
    """Workers that cannot be started; says why, and what to do."""


class Worker(Protocol):
    """
    One worker, wherever it runs. What it says goes to whoever launched it: why it cannot begin ("" when it can), its
    progress, its result, and None when it is gone.
    """

    def begin(self, start: int) -> None:
        """Send from an instant on, of this machine's monotonic clock in nanoseconds."""

    def close(self) -> None:
        """Tell it to end; what it has done until then it still says."""

    def end(self) -> None:
        """See to it that it is gone."""


class Launcher(Protocol):
    """Where workers run."""

    @property
    def lead(self) -> float:
        """Seconds that it takes until the last of those launched knows when to begin."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the machines."""

    @property
    def places(self) -> tuple[int, int]:
        """The fewest workers that make use of all machines, and the most that have a core of their own."""

    def launch(self, number: int, task: Task, say: Say) -> Worker:
        """Start the worker of that number."""


class ProcessWorker:
    """A worker in a process of this machine, in a session of its own: Ctrl-C reaches whoever launched it alone."""

    def __init__(self, task: Task, say: Say) -> None:
        command = [sys.executable, "-m", "engram_diagnose.bench.sending.worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603
        threading.Thread(target=_listen, args=(self._process.stdout, say), daemon=True).start()
        self._tell(task)

    def begin(self, start: int) -> None:
        """Send from then on."""
        self._tell(start)

    def close(self) -> None:
        """End early: what it reads from ends."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except BrokenPipeError:
            return

    def end(self) -> None:
        """Wait for it, and not for long."""
        self.close()
        try:
            self._process.wait(_LAST_WORD)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, value: object) -> None:
        try:
            write(self._process.stdin, value)  # type: ignore[arg-type]  # it is a pipe
        except (BrokenPipeError, ValueError):
            return  # it is gone, which its silence says


def _listen(source: BinaryIO, say: Say) -> None:
    while (value := read(source)) is not None:
        say(value)
    source.close()
    say(None)


class ThisMachine:
    """Each worker a process here."""

    lead: Final = 0.05

    @property
    def hosts(self) -> tuple[str, ...]:
        """The one that this runs on."""
        return (socket.gethostname(),)

    @property
    def places(self) -> tuple[int, int]:
        """One at least, and as many as there are CPUs."""
        return 1, len(os.sched_getaffinity(0))

    def launch(self, number: int, task: Task, say: Say) -> ProcessWorker:
        """Start one."""
        return ProcessWorker(task, say)


def send(tasks: Sequence[Task], stopping: threading.Event, on_progress: Callable[[Progress], None], *,
         launcher: Launcher | None = None, on_begin: Callable[[], None] = lambda: None) -> list[Result]:  # fmt: skip
    """
    Run the tasks, each by a worker of its own (on this machine, unless `launcher` says otherwise), and give what they
    found.

    `stopping` ends them early; what they have done until then is kept. A worker that ends by itself ends the others,
    and stands as a result that says so. `on_progress` is called in this thread four times a second, `on_begin` once all
    know when to begin. Raises `LaunchError` where workers cannot be started.
    """
    return _Sending(tasks, stopping, on_progress, launcher or ThisMachine(), on_begin).results()


class _Sending:
    """The workers of one load."""

    def __init__(
        self,
        tasks: Sequence[Task],
        stopping: threading.Event,
        on_progress: Callable[[Progress], None],
        launcher: Launcher,
        on_begin: Callable[[], None],
    ) -> None:
        self._stopping = stopping
        self._on_progress = on_progress
        self._on_begin = on_begin
        self._launcher = launcher
        # Longer than this no worker takes that is well.
        self._most = max(task.seconds + task.drain for task in tasks) + _LAST_WORD
        self._most_before = max(task.wait for task in tasks) + _LOOKED_UP
        self._said: queue.Queue[tuple[int, Any]] = queue.Queue()
        self._workers: list[Worker] = []
        try:
            for number, task in enumerate(tasks):
                self._workers.append(launcher.launch(number, task, partial(self._hear, number)))
        except BaseException:
            self._end()
            raise

    def _hear(self, number: int, value: object) -> None:
        self._said.put((number, value))

    def _end(self) -> None:
        for worker in self._workers:
            worker.close()
        for worker in self._workers:
            worker.end()

    def results(self) -> list[Result]:
        """What all workers found; ends them in any case."""
        try:
            return self._run()
        finally:
            self._end()

    def _run(self) -> list[Result]:
        count = len(self._workers)
        ready = self._all_ready()
        if ready is None or any(ready.values()):
            reasons = sorted({one for one in (ready or {}).values() if one}) or [STOPPED]
            return [nothing(reasons[0])]
        lead = self._launcher.lead
        start = time.monotonic_ns() + int(lead * _NS)
        for worker in self._workers:
            worker.begin(start)
        self._on_begin()
        found: dict[int, Result] = {}
        gone: set[int] = set()
        progress: dict[int, Progress] = {}
        closed = False
        until = time.monotonic() + lead + self._most
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
                for worker in self._workers:
                    worker.close()
        results = [found[number] for number in sorted(found)]
        results += [nothing(_GONE if gone else _SILENT)] * (len(found) < count)
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
        while len(ready) < len(self._workers) and time.monotonic() < until:
            if self._stopping.is_set():
                return None
            number, value = self._next()
            if number >= 0:
                ready[number] = value if isinstance(value, str) else _GONE
        return ready if len(ready) == len(self._workers) else {-1: _SILENT}


def nothing(why: str) -> Result:
    """The result of a worker that never sent."""
    return Result((), {}, 0, 0.0, 0.0, why)
