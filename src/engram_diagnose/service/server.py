"""
The running service: starts every part in its order, reloads them, and ends them in the reverse order.
"""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from starlette.routing import BaseRoute

from engram_diagnose.history.database import usual_path
from engram_diagnose.history.incidents import Accepted, Grouping, IncidentStore, StoreError, open_incidents
from engram_diagnose.service.app import create_app
from engram_diagnose.service.clock import ClockWatch
from engram_diagnose.service.commit import GroupCommit
from engram_diagnose.service.courier import Courier
from engram_diagnose.service.doors import unusable_secrets
from engram_diagnose.service.hidden import Secrets
from engram_diagnose.service.holding import Hold, hold
from engram_diagnose.service.lasting import Lasting
from engram_diagnose.service.listening import (
    ListenError,
    Server,
    bound_socket,
    bounds_of,
    load_certificate,
    log_through,
    server_of,
    tls_context,
)
from engram_diagnose.service.log import Log
from engram_diagnose.service.metrics import Metrics, Running
from engram_diagnose.service.order import LONGEST_BACKOFF_SECONDS
from engram_diagnose.service.reading import SettingsError, contradictions, weakened
from engram_diagnose.service.reconcile import Reconciler
from engram_diagnose.service.services import Services
from engram_diagnose.service.settings import DAY, Settings
from engram_diagnose.service.supervisor import Supervisor
from engram_diagnose.service.systemd import notify, reloading, watchdog_seconds

FIXED: Final = ("listen", "database", "tls.certificate", "tls.key", "limits.connections", "limits.deadline_seconds",
                "limits.queue")  # fmt: skip
"""What a reload cannot change; a changed certificate behind the same name it can."""
_FAILED_SECONDS: Final = 30.0
"""How long the service is not ready after a notification could not be written."""
_PRUNE_SECONDS: Final = 600.0
_AGAIN_SECONDS: Final = 5.0
_CLOCK_SECONDS: Final = 5.0
"""How often to look whether the clock was set back."""


def serve(settings: Settings, *, reread: Callable[[], Settings] | None = None, log: Log | None = None) -> None:
    """
    Run until SIGTERM or SIGINT. `reread` reads the settings again for a reload.

    Raises `HeldError`, `ListenError`, `StoreError`, `WorkerError` and `SecretFileError` where the service cannot start.
    """
    log = log or Log()
    log_through(log)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(Service(settings, reread or (lambda: settings), log).run())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def grouping_of(settings: Settings) -> Grouping:
    """How alerts become incidents."""
    about = settings.incidents
    return Grouping(
        about.labels, about.window_seconds, about.instance_labels, about.tolerance_seconds, about.severities
    )


class Service:
    """One running service."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings], log: Log) -> None:
        self._reread = reread
        self._log = log
        self._path: Path | None = settings.database
        self._bounds = bounds_of(settings)
        self._commit = GroupCommit(self._open, grouping_of(settings), waiting=settings.limits.queue)
        self._supervisor = Supervisor(settings, self._path, log, heard=self._heard)
        self._courier = Courier(settings, self._open, log)
        self._reconciler = Reconciler(settings, self._open, self._commit, log, accepted=self._accepted)
        self.services = Services(
            settings=settings,
            commit=self._commit,
            store=self._open,
            supervisor=self._supervisor,
            courier=self._courier,
            reconciler=self._reconciler,
            clock=time.time,
            log=log,
            metrics=Metrics(),
            reload=self.reload,
            not_ready=self._not_ready,
            running=self._running,
        )
        self._bounds.cut = self._cut
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._reloading = asyncio.Lock()
        self._hung_up = asyncio.Event()
        self._watch = ClockWatch()
        self._retention = Lasting("retention", log)
        self._stopping = False
        self._ending = threading.Event()
        log.hide_all_of(Secrets(lambda: self.services.settings))

    def _open(self) -> IncidentStore:
        return open_incidents(self._path)

    async def run(self) -> None:
        """Start, serve until told to stop, and stop; with the database to itself."""
        with await asyncio.to_thread(self._held) as held:
            if held.caution:
                self._log.warning("a second service on this database would not be noticed", reason=held.caution)
            await self._run()

    def _held(self) -> Hold:
        return hold(self._path or usual_path(StoreError))

    async def _run(self) -> None:
        settings = self.services.settings
        listener = bound_socket(settings)
        try:
            self._server = server_of(
                create_app(self.services, _routes(self.services)), settings, listener, self._bounds
            )
            self._commit.start()
        except BaseException:
            listener.close()
            raise
        try:
            await asyncio.to_thread(self._let_run)
            await self._supervisor.start()
            self._begin()
            await self._serve(self._server, listener)
        finally:
            await self._end()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, "SIGTERM")
        loop.add_signal_handler(signal.SIGINT, self._stop, "SIGINT")
        loop.add_signal_handler(signal.SIGHUP, self._hung_up.set)
        self._keep_running("courier", self._courier.run)
        self._keep_running("reconciler", self._reconciler.run)
        self._keep_running("retention", self._retain)
        self._keep_running("reloading", self._reload_on_signals)
        self._keep_running("clock", self._watch_clock)
        if pause := watchdog_seconds():
            self._keep_running("watchdog", lambda: _watchdog(pause))

    async def _serve(self, server: Server, listener: socket.socket) -> None:
        announcing = asyncio.create_task(self._announce(server, listener))
        try:
            await server.serve()
        finally:
            announcing.cancel()

    async def _announce(self, server: Server, listener: socket.socket) -> None:
        await server.up.wait()
        host, port = listener.getsockname()[:2]
        self._log.info("listening", host=host, port=port, tls=self.services.settings.tls.certificate is not None,
                       url=self.services.settings.base_url)  # fmt: skip
        notify("READY=1")

    def _stop(self, name: str) -> None:
        assert self._server is not None  # noqa: S101 -- narrows the type: signals are handled once it is there
        if self._stopping:
            self._server.force_exit = True
            return
        self._stopping = True
        self._log.info("stopping", signal=name)
        notify("STOPPING=1")
        self._server.should_exit = True

    async def _end(self) -> None:
        """End the parts; callers have their answers by now. What is not done is in the database."""
        self._stopping = True
        self._ending.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._supervisor.stop()
        await asyncio.to_thread(self._commit.stop)
        await asyncio.to_thread(self.services.stop_reading)
        self._log.info("stopped")

    def _keep_running(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        async def kept() -> None:
            while True:
                try:
                    await run()
                except Exception as error:  # one part that fails must not take the others along
                    self._log.error(f"{name} failed", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(_AGAIN_SECONDS)

        self._tasks.append(asyncio.create_task(kept(), name=name))

    # What the parts tell one another

    def _heard(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "finished":
            self._courier.wake()

    def _accepted(self, accepted: Accepted) -> None:
        if accepted.opened:
            self._supervisor.wake()
        if accepted.closed:
            self._courier.wake()

    def _cut(self, reason: str) -> None:
        self.services.metrics.cut.labels(reason).inc()
        self._log.seldom("connection cut", reason=reason)

    def _running(self) -> Running:
        state = self._supervisor.state
        return Running(self._bounds.open, self._commit.depth, state.ready, state.started, not self._not_ready())

    def _not_ready(self) -> tuple[str, ...]:
        settings, failed = self.services.settings, self.services.failed_at
        reasons = []
        if self._stopping:
            reasons.append("the service is stopping")
        if self._commit.depth >= settings.limits.queue:
            reasons.append("too many notifications wait to be written")
        if failed is not None and time.monotonic() - failed < _FAILED_SECONDS:
            reasons.append("a notification could not be written")
        for problem in unusable_secrets(settings.auth):
            self._log.seldom("file of secrets cannot be used", reason=problem)
            reasons.append("a file of secrets cannot be used")
        return tuple(dict.fromkeys(reasons))

    async def _retain(self) -> None:
        while True:
            about = self.services.settings.retention
            try:
                removed = await asyncio.to_thread(self._prune, about.days * DAY, about.bytes)
            except StoreError as error:  # on a full disk removing is what makes room, so it is tried again soon
                self._retention.failed(str(error))
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self._retention.worked()
            if removed:
                self._log.info("incidents removed", number=removed)
            await asyncio.sleep(_PRUNE_SECONDS)

    def _prune(self, older_than: float, larger_than_bytes: int) -> int:
        with self._open() as store:
            return store.prune(
                time.time(), older_than=older_than, larger_than_bytes=larger_than_bytes, pause=self._ending.wait
            )

    # The clock

    async def _watch_clock(self) -> None:
        back = 0.0
        while True:
            await asyncio.sleep(_CLOCK_SECONDS)
            back += self._watch.set_back_seconds()
            if not back:
                continue
            try:
                moved = await asyncio.to_thread(self._let_run)
            except StoreError as error:
                self._log.error("the clock was set back, and what waits cannot be let run yet", error=str(error))
                continue
            self._log.warning("the clock was set back", seconds=round(back, 1), let_run=moved)
            back = 0.0
            self._supervisor.wake()
            self._courier.wake()

    def _let_run(self) -> int:
        """What was put off by a clock that has been set back since would wait for a time that is far away now."""
        with self._open() as store:
            return store.clamp(time.time(), furthest=LONGEST_BACKOFF_SECONDS)

    # Reloading

    async def _reload_on_signals(self) -> None:
        """Signals that come during a reload are one reload after it."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await self.reload()

    async def reload(self) -> str | None:
        """
        Settings and rules as they are on the disk now, all of them or none.

        The reason why not, as text, when something of them cannot be used; then everything is as it was.
        """
        async with self._reloading:
            notify(reloading())
            problem = await self._reload()
            notify("READY=1")
        metrics = self.services.metrics
        metrics.reloads.labels("refused" if problem else "done").inc()
        metrics.reloaded.set(0 if problem else 1)
        if problem:
            self._log.error("not reloaded", reason=problem)
        else:
            self._log.info("reloaded")
        return problem

    async def _reload(self) -> str | None:
        try:
            found = await asyncio.to_thread(self._reread)
            before, settings = self.services.settings, _held_over(self.services.settings, found)
            changed = [name for name in FIXED if _at(before, name) != _at(found, name)]
            if problems := list(contradictions(settings)):
                return f"only a restart changes {', '.join(changed) or 'these'}; until then: {'; '.join(problems)}"
            if problems := list(weakened(before, found)):
                return "; ".join(problems)
            await asyncio.to_thread(tls_context, settings.tls)
        except (SettingsError, ListenError) as error:
            return str(error)
        if problems := unusable_secrets(settings.auth):
            return "; ".join(problems)
        if problem := await self._supervisor.reload(settings, seal=self._renew_certificate):
            return problem
        if changed:
            self._log.warning("restart to change these", settings=changed)
        self.services.settings = settings
        self._commit.grouping = grouping_of(settings)
        self._courier.use(settings)
        self._reconciler.use(settings)
        return None

    def _renew_certificate(self) -> str | None:
        """Present the certificate as it is now; the reason why not, and then the former one stays."""
        tls = self.services.settings.tls
        context = self._server.tls if self._server else None
        if context is None or tls.certificate is None or tls.key is None:
            return None
        try:
            load_certificate(context, tls.certificate, tls.key)
        except ValueError as error:
            return str(error)
        return None


def _at(settings: Settings, dotted: str) -> object:
    found: object = settings
    for name in dotted.split("."):
        found = getattr(found, name)
    return found


def _held_over(before: Settings, after: Settings) -> Settings:
    """The settings after a reload: what is fixed stays as it was before."""
    for dotted in FIXED:
        after = _with(after, dotted.split("."), _at(before, dotted))
    return after


def _with(table: Any, names: Sequence[str], value: object) -> Any:
    name, *inner = names
    return replace(table, **{name: _with(getattr(table, name), inner, value) if inner else value})


def _routes(services: Services) -> Sequence[BaseRoute]:
    """The pages and the API."""
    from engram_diagnose.service.api import api_routes
    from engram_diagnose.service.pages import page_routes

    return [*api_routes(services), *page_routes(services)]


async def _watchdog(pause: float) -> None:
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(pause)
