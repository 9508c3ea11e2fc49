"""
The supervisor: sees to it that one worker process diagnoses, whatever becomes of it.

A worker that crashes, hangs or uses too much memory is replaced. What it had in hand is tried again, later each time,
and put aside after so many attempts, so that the others go on.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from engram_diagnose.engine.language.problem import RuleBaseError
from engram_diagnose.history.incidents import StoreError, open_incidents
from engram_diagnose.history.model import Job
from engram_diagnose.service.log import Log
from engram_diagnose.service.order import OUT_OF_MEMORY, REFUSED, STORELESS, Order, backoff, order_of
from engram_diagnose.service.settings import MEBIBYTE, Settings
from engram_diagnose.service.worker_process import Event, WorkerProcess, cause_of_death

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
"""How long a job in hand may take when the service stops."""
_END: Final = "the service stops"
_OWN_ENDS: Final = 4
"""How much more often than a worker's a service's own end must have met a diagnosis for that to be suspicious."""

_LEVELS: Final = {"postponed": "warning", "parked": "error", "storeless": "error", "outdated": "error",
                  "refused": "error", "out of memory": "error"}  # fmt: skip
_UNTOLD: Final = frozenset({"idle", "standing by"})


class WorkerError(ValueError):
    """The worker cannot be started as things are; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """
    What the worker is doing: `state` is "starting", "idle", "busy", "waiting" (it failed and is started again soon) or
    "stopped".

    `problem` is why it last ended by itself, until it answers again; `reload_problem` why the last reload was refused,
    until one succeeds. The counts are since the service started.
    """

    state: str = "stopped"
    pid: int = 0
    incident: str = ""
    problem: str = ""
    reload_problem: str = ""
    rules: int = 0
    started: int = 0
    crashed: int = 0
    hung: int = 0
    finished: int = 0
    postponed: int = 0
    parked: int = 0
    packs: dict[str, Any] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether a worker is there that takes jobs."""
        return self.state in ("idle", "busy")


def _no_one(_: Event) -> None:
    return


def _no_objection() -> str | None:
    return None


class Supervisor:
    """
    Keeps one worker. All of it runs in one event loop.

    `heard` is called with each event of the worker that lasts, such as {"event": "finished", "incident": …}; then there
    may be messages to send. `diagnose` names another function to diagnose with, as `module:function`, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        store_path: Path | None,
        log: Log,
        *,
        heard: Callable[[Event], None] = _no_one,
        clock: Callable[[], float] = time.time,
        diagnose: str = "",
    ) -> None:
        self._settings = settings
        self._path = store_path
        self._log = log
        self._told = heard
        self._clock = clock
        self._diagnose = diagnose
        self._order: Order | None = None
        self._worker: WorkerProcess | None = None
        self._coming: WorkerProcess | None = None
        self._state = WorkerState()
        self._lock = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._failures = 0
        self._owed: _Reclaim | None = None
        self._reloads: set[asyncio.Task[str | None]] = set()

    @property
    def state(self) -> WorkerState:
        """What the worker is doing."""
        return self._state

    async def start(self) -> None:
        """
        Start the first worker, and keep one from here on. What was in hand when the service last ended is queued again.

        Raises `WorkerError` for rules that cannot be used, and `StoreError`.
        """
        try:
            self._order = await asyncio.to_thread(order_of, self._settings, self._path, diagnose=self._diagnose)
        except RuleBaseError as error:
            raise WorkerError(f"the rules cannot be used: {error}") from None
        attempts = self._settings.worker.attempts * _OWN_ENDS
        await self._reclaim(_Reclaim(attempts, "the service ended each time it was diagnosed"))
        worker = await self._launch(self._order)
        if worker is not None and not worker.ready.result():
            if worker.ended.result() == REFUSED:
                raise WorkerError(f"the rules cannot be used: {worker.refusal}")
            await self._bury(worker)
        elif worker is not None:
            self._take_over(worker)
        self._keeping = asyncio.create_task(self._keep())

    def wake(self) -> None:
        """There is a new job."""
        if self._worker is not None:
            self._worker.wake()

    async def reload(
        self, settings: Settings | None = None, *, seal: Callable[[], str | None] = _no_objection
    ) -> str | None:
        """
        Change over to the rules as they are in their files now, and to other settings where they are given.

        A new worker has to come up with them first. Where it does not, the old one stays, and the reason is returned.
        `seal` is called last, when nothing else can fail; where it returns a reason, the old rules and settings stay.
        A caller that is cancelled leaves nothing half done: the change goes on, and `stop` waits for it.
        """
        task = asyncio.create_task(self._changed(settings, seal))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)
        return await asyncio.shield(task)

    async def _changed(self, settings: Settings | None, seal: Callable[[], str | None]) -> str | None:
        async with self._lock:
            problem = _END if self._stopping.is_set() else await self._reload(settings or self._settings, seal)
        self._state = replace(self._state, reload_problem=problem or "")
        if problem:
            self._log.error("reload refused", error=problem)
        return problem

    async def stop(self) -> None:
        """End the worker once it is done with the job in hand, or after a while; that job is then queued again."""
        self._stopping.set()
        if self._coming is not None:
            self._coming.kill(_END)
            await asyncio.wait([self._coming.ended])
        async with self._lock:
            worker, self._worker = self._worker, None
            if worker is not None and not await self._ended(worker, _STOP_SECONDS):
                await self._give_back()
        await asyncio.gather(*self._reloads, return_exceptions=True)
        if self._keeping is not None:
            await self._keeping
        self._state = replace(self._state, state="stopped", pid=0, incident="")

    async def _give_back(self) -> None:
        """Queue again what the service's end broke off; where that fails, the next start does it."""
        try:
            await self._reclaim(_Reclaim(counted=False))
        except StoreError as error:
            self._log.error("job not given back", error=str(error))

    # Keeping one alive

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            if self._worker is None:
                await self._pause()
            else:
                await asyncio.wait([self._worker.ended])
            async with self._lock:
                worker = self._worker
                if not self._stopping.is_set() and (worker is None or worker.ended.done()):
                    await self._replace(worker)

    async def _replace(self, dead: WorkerProcess | None) -> None:
        """Another worker in the place of a dead one; none, for now, where workers keep dying."""
        try:
            if dead is not None:
                self._worker = None
                await self._bury(dead)
            if self._order is None or (dead is not None and self._failures > 1):
                return
            await self._settle()
            worker = await self._launch(self._order)
            if worker is not None and worker.ready.result():
                self._take_over(worker)
            elif worker is not None:
                await self._bury(worker)
        except Exception as error:  # whatever it is, without a worker nothing is diagnosed any more
            self._note_failure(str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}")
            self._log.error("worker not replaced", reason=self._state.problem)

    async def _pause(self) -> None:
        wait = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures, 20), _LONGEST_PAUSE_SECONDS)
        self._state = replace(self._state, state="waiting", pid=0, incident="")
        await self._unless_stopping(wait)

    async def _unless_stopping(self, seconds: float, *others: "asyncio.Task[int]") -> None:
        """Wait for one of the others, for so long at most, and no longer once the service stops."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopping, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _launch(self, order: Order) -> WorkerProcess | None:
        """A worker that is ready, or has ended already; None when the system cannot start one."""
        self._state = replace(self._state, started=self._state.started + 1)
        if self._worker is None:
            self._state = replace(self._state, state="starting", pid=0, incident="")
        try:
            worker = self._coming = await WorkerProcess.start(order, self._hear)
        except OSError as error:
            self._note_failure(f"no process can be started: {error.strerror or error}")
            return None
        if self._stopping.is_set():  # only now is there something to end
            worker.kill(_END)
        if not await worker.ready:
            await worker.ended
        self._coming = None
        return worker

    def _take_over(self, worker: WorkerProcess) -> None:
        self._worker, self._order = worker, worker.order
        self._state = replace(self._state, state="idle", pid=worker.pid, incident="", problem="")
        worker.begin()
        worker.wake()

    async def _reload(self, settings: Settings, seal: Callable[[], str | None]) -> str | None:
        try:
            order = await asyncio.to_thread(order_of, settings, self._path, diagnose=self._diagnose)
            await self._settle()
        except (RuleBaseError, StoreError) as error:
            return str(error)
        new = await self._launch(order)
        if new is None:
            return self._state.problem
        if not new.ready.result():
            return cause_of_death(new, new.ended.result())
        if problem := await self._make_room(settings.worker.deadline_seconds) or seal():
            new.kill(problem)
            await new.ended
            return problem
        self._settings = settings
        self._take_over(new)
        return None

    async def _make_room(self, seconds: float) -> str | None:
        """End the worker there is, so that another can take its place; the reason why none can."""
        old, self._worker = self._worker, None
        clean = old is None or await self._ended(old, seconds)
        if self._stopping.is_set():
            if not clean:
                await self._give_back()
            return _END
        try:
            if old is not None and not clean:
                await self._bury(old)
        except StoreError as error:
            self._note_failure(str(error))
            return str(error)
        return None

    async def _ended(self, worker: WorkerProcess, seconds: float) -> bool:
        """Have a worker end; whether it did so by itself, and has nothing in hand."""
        worker.finish()
        await self._unless_stopping(seconds, worker.ended)
        if self._stopping.is_set():
            seconds = _STOP_SECONDS
            await asyncio.wait([worker.ended], timeout=seconds)
        if not worker.ended.done():
            worker.kill(f"it did not end within {seconds:g} s")
        return await worker.ended == 0

    # What happens to it

    def _hear(self, worker: WorkerProcess, event: Event) -> None:
        kind, state = event["event"], self._state
        if kind == "ready":
            state = replace(state, rules=event["rules"], packs=dict(event["packs"]))
        elif kind == "taken":
            state = replace(state, state="busy", incident=str(event["incident"]))
        elif kind == "idle":
            state = replace(state, state="idle", incident="")
        elif kind in ("finished", "postponed", "parked"):
            state = replace(state, incident="", **{kind: getattr(state, kind) + 1})
        self._state = state
        if kind in ("finished", "superseded", "idle"):
            self._failures = 0
        if kind not in _UNTOLD:
            self._write(kind, worker, event)
            self._told(event)

    def _write(self, kind: str, worker: WorkerProcess, event: Event) -> None:
        write = getattr(self._log, _LEVELS.get(kind, "info"))
        write(f"worker {kind}", pid=worker.pid, **{name: value for name, value in event.items() if name != "event"})

    async def _bury(self, worker: WorkerProcess) -> None:
        """Log why a worker is gone, and see that what it had in hand is done again; raises `StoreError`."""
        code = await worker.ended
        reason = self._reason(worker, code)
        self._note_failure(reason)
        self._state = replace(self._state, crashed=self._state.crashed + 1, hung=self._state.hung + bool(worker.why))
        self._log.error("worker ended", pid=worker.pid, reason=reason, incident=worker.job, said=worker.talk)
        wait = backoff(self._settings.worker.backoff_seconds, worker.attempt)
        error = f"its diagnosis was broken off each time; the last time: {reason}"
        blamed = code != STORELESS
        await self._reclaim(_Reclaim(self._settings.worker.attempts if blamed else None, error, wait, blamed))

    def _reason(self, worker: WorkerProcess, code: int) -> str:
        if code == OUT_OF_MEMORY:
            return f"it used more than the {self._settings.worker.memory_bytes / MEBIBYTE:,.0f} MiB it may have"
        return cause_of_death(worker, code)

    def _note_failure(self, problem: str) -> None:
        self._failures += 1
        self._state = replace(self._state, problem=problem)

    async def _reclaim(self, how: "_Reclaim") -> None:
        """
        Queue again what was in hand; there must be no worker that has begun.

        Raises `StoreError`; then it is still owed, and no worker is started before it is done.
        """
        self._owed = how
        for job in await asyncio.to_thread(self._reclaimed, how, self._clock()):
            if job.state == "parked":
                self._state = replace(self._state, parked=self._state.parked + 1)
                self._log.error("job parked", incident=job.incident, attempt=job.attempts, error=job.error)
            else:
                self._log.warning("job queued again", incident=job.incident, attempt=job.attempts)
        self._owed = None

    async def _settle(self) -> None:
        """Queue again what could not be, the last time; raises `StoreError`."""
        if self._owed is not None:
            await self._reclaim(self._owed)

    def _reclaimed(self, how: "_Reclaim", now: float) -> tuple[Job, ...]:
        with open_incidents(self._path) as store:
            return store.reclaim(now, park_after=how.park_after, not_before=now + how.wait, error=how.error,
                                 counted=how.counted)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Reclaim:
    """How to queue again what a worker had in hand; see `IncidentStore.reclaim`."""

    park_after: int | None = None
    error: str = ""
    wait: float = 0.0
    counted: bool = True
