"""
One worker process, as the service sees it: started, heard, woken, and killed when nothing is heard of it for too long.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from typing import Any, Final

from engram_diagnose.service.order import BEGIN, FINISH, WAKE, Order, packed

Event = Mapping[str, Any]

_LONGEST_LINE: Final = 1 << 20
_KEPT_TALK: Final = 2000
"""Characters of what a worker printed to standard error that are kept, to tell why it died."""
_START_SECONDS: Final = 60.0
"""How long a start may take on a busy machine; most take one."""
_GRACE_SECONDS: Final = 0.2
"""How long what was said may take to be read here, before silence is taken for silence."""


class WorkerProcess:
    """
    A worker that was started. `heard` is called with each event, in the event loop.

    `ready` is true once it can take jobs, false when it ended before.
    `ended` is done with the exit code (negative for a signal) once it is gone; `why` then says why it was killed, where
    it was killed from here. `job` is the incident it has in hand, `attempt` the number of the attempt.
    """

    def __init__(self, process: Process, order: Order, heard: Callable[["WorkerProcess", Event], None]) -> None:
        self.order = order
        self.pid = process.pid
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.why = ""
        self.refusal = ""
        self.job = ""
        self.attempt = 0
        self.talk = ""
        self._process = process
        self._heard = heard
        self._last_heard = asyncio.get_running_loop().time()
        self._wake_underway = False
        self._wake_wanted = False
        self.ended: asyncio.Task[int] = asyncio.create_task(self._live())

    @classmethod
    async def start(cls, order: Order, heard: Callable[["WorkerProcess", Event], None]) -> "WorkerProcess":
        """Start one; raises `OSError` when the system cannot."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "engram_diagnose.service.worker", stdin=PIPE, stdout=PIPE, stderr=PIPE,
            limit=_LONGEST_LINE, env=_environment(),
        )  # fmt: skip
        worker = cls(process, order, heard)
        worker._tell(packed(order))
        return worker

    def begin(self) -> None:
        """Let it take jobs."""
        self._tell(BEGIN)

    def finish(self) -> None:
        """Have it end after the job in hand."""
        self._tell(FINISH)

    def wake(self) -> None:
        """
        Say that there may be a new job.

        While it has not answered the last time, it is told once more after it did, not each time.
        """
        self._wake_wanted = self._wake_underway
        if not self._wake_underway:
            self._wake_underway = True
            self._tell(WAKE)

    def kill(self, why: str) -> None:
        """End it now, whatever it does; the first reason given stays."""
        self.why = self.why or why
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _tell(self, message: bytes) -> None:
        """Written by the event loop as the pipe takes it; a worker that is gone has no use for it."""
        pipe = self._process.stdin
        if pipe is not None and not pipe.is_closing():
            pipe.write(message)

    # Its life

    async def _live(self) -> int:
        others = [asyncio.create_task(self._watch()), asyncio.create_task(self._overhear())]
        try:
            await self._listen()
            code = await self._process.wait()
            # The last words of one that crashed.
            await asyncio.wait(others[1:], timeout=_GRACE_SECONDS)
            return code
        finally:
            for task in others:
                task.cancel()
            self._settle(False)
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _settle(self, ready: bool) -> None:
        if not self.ready.done():
            self.ready.set_result(ready)

    async def _listen(self) -> None:
        """Until its standard output ends, as that of a dead process does."""
        stream = self._process.stdout
        while stream is not None:
            try:
                line = await stream.readline()
            except ValueError:
                self.kill("it said something endless")
                continue
            if not line:
                return
            self._last_heard = asyncio.get_running_loop().time()
            event = _event(line)
            if event is not None:
                self._note(event)

    def _note(self, event: Event) -> None:
        kind = event["event"]
        if kind == "taken":
            self.job, self.attempt = str(event["incident"]), int(event["attempt"])
        elif kind in ("refused", "storeless"):
            self.refusal = str(event["error"])
        elif kind == "ready":
            self._settle(True)
        elif kind == "idle":
            self._answer_wakes()
        elif "incident" in event:
            self.job, self.attempt = "", 0
        self._heard(self, event)

    def _answer_wakes(self) -> None:
        self._wake_underway = False
        if self._wake_wanted:
            self.wake()

    async def _watch(self) -> None:
        """Kill it once it has been silent for longer than any diagnosis may take; a start may take longer."""
        deadline, loop = self.order.settings.worker.deadline_seconds, asyncio.get_running_loop()
        first = max(deadline, _START_SECONDS)
        await asyncio.wait([self.ready], timeout=first)
        if not self.ready.done():
            self.kill(f"it did not come up within {first:g} s")
            return
        while True:
            await asyncio.sleep(max(self._last_heard + deadline - loop.time(), _GRACE_SECONDS))
            if self._last_heard + deadline <= loop.time():
                self.kill(f"it did not answer for {deadline:g} s")
                return

    async def _overhear(self) -> None:
        stream = self._process.stderr
        while stream is not None and (said := await stream.read(4096)):
            self.talk = (self.talk + said.decode("utf-8", "replace"))[-_KEPT_TALK:]


def _event(line: bytes) -> Event | None:
    """What a line says; None for one that is no event."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("event"), str) else None


def cause_of_death(worker: WorkerProcess, code: int) -> str:
    """Why a worker that was not told to end is gone, in words."""
    if worker.why:
        return worker.why
    if worker.refusal:
        return worker.refusal
    if code < 0:
        try:
            return f"it was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"it was killed by signal {-code}"
    return f"it ended with code {code}"


def _environment() -> dict[str, str]:
    """Without this the C library reserves 64 MiB of address space for each thread, which the memory cap would count."""
    return {**os.environ, "MALLOC_ARENA_MAX": "2"}
