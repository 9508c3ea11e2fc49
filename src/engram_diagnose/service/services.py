"""
What the running service is made of, as its parts see one another.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

from engram_diagnose.history.database import HistoryError
from engram_diagnose.history.model import Notification
from engram_diagnose.service.log import Log
from engram_diagnose.service.settings import Settings

if TYPE_CHECKING:
    from engram_diagnose.history.records import Accepted
    from engram_diagnose.service.metrics import Metrics, Running
    from engram_diagnose.service.supervisor import WorkerState

_READERS: Final = 4
"""Threads that read the database for pages and the API."""

T = TypeVar("T")


class Commit(Protocol):
    """The writer: `service.commit.GroupCommit`. A future that has a result is on the disk."""

    def submit(
        self, notification: Notification, received: float, *, source: Literal["webhook", "reconciled"] = "webhook"
    ) -> "Future[Accepted]":
        """Queue one notification; raises `service.commit.Full`."""

    def keep(self, notification: Notification, received: float) -> "asyncio.Future[Accepted]":
        """As `submit`, for a caller on an event loop."""


class Supervisor(Protocol):
    """Looks after the worker process."""

    @property
    def state(self) -> "WorkerState":
        """What the worker is doing."""

    def wake(self) -> None:
        """There is a new job."""


class Courier(Protocol):
    """Sends what is to be sent."""

    def wake(self) -> None:
        """There is a new message, or an incident was closed."""


class Reconciler(Protocol):
    """Asks Alertmanager for what never arrived."""

    async def run(self) -> None:
        """Ask until cancelled."""


class Readers:
    """Threads that ask the database, each over its own connection, so that the event loop never waits for a disk."""

    def __init__(self, store: Callable[[], Any], *, threads: int = _READERS) -> None:
        self._store = store
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[Any], Any]] | None] = SimpleQueue()

    async def ask(self, question: Callable[[Any], T]) -> T:
        """What `question` says of the store; raises what it raises."""
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._answer, name="reader", daemon=True)
            self._threads.append(thread)
            thread.start()
        future: Future[T] = Future()
        self._asked.put((future, question))
        return await asyncio.wrap_future(future)

    def _answer(self) -> None:
        store = None
        while (asked := self._asked.get()) is not None:
            future, question = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                store = self._current(store)
                future.set_result(question(store))
            except BaseException as error:
                future.set_exception(error)
                if _is_of_database(error):
                    _close(store)
                    store = None  # the next question gets a fresh one
        _close(store)

    def _current(self, store: Any) -> Any:
        """The store, or another one where its file is no longer the one at its path."""
        if store is not None and store.is_current():
            return store
        _close(store)
        return self._store()

    def stop(self) -> None:
        """End the threads; a question that was asked is answered. Asking again starts them again."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._asked.put(None)
        for thread in threads:
            thread.join()


def _is_of_database(error: BaseException) -> bool:
    """Whether the connection may be at fault: not where there is no such incident, say, or a note does not fit."""
    return isinstance(error, HistoryError) and not error.by_entry


def _close(store: Any) -> None:
    if store is not None:
        store.close()


async def _nothing_to_reload() -> str | None:
    return None


def _nothing_runs() -> "Running":
    from engram_diagnose.service.metrics import Running

    return Running()


@dataclass(slots=True)
class Services:
    """
    The parts of one running service. `settings` is replaced by a reload; ask for it each time.

    `store` opens the database for the calling thread; `await services.ask(question)` runs `question(store)` in a thread
    that has it open, for reading and for the odd write such as a note; `ask_apart` does not wait behind the others'
    questions. `clock` gives seconds since the epoch.
    `not_ready` gives reasons why the service should not be sent alerts; `running` says what the parts do now; `reload`
    gives the reason why it failed. `failed_at` is when a notification could last not be written (monotonic clock).
    """

    settings: Settings
    commit: Commit
    store: Callable[[], Any]
    supervisor: Supervisor
    courier: Courier
    reconciler: Reconciler
    clock: Callable[[], float]
    log: Log
    metrics: "Metrics"
    reload: Callable[[], Awaitable[str | None]] = _nothing_to_reload
    not_ready: Callable[[], tuple[str, ...]] = tuple
    running: "Callable[[], Running]" = _nothing_runs
    failed_at: float | None = None
    readers: Readers = field(init=False)
    apart: Readers = field(init=False)

    def __post_init__(self) -> None:
        self.readers = Readers(self.store)
        self.apart = Readers(self.store, threads=1)

    async def ask(self, question: Callable[[Any], T]) -> T:
        """What `question` says of the store, asked in another thread."""
        return await self.readers.ask(question)

    async def ask_apart(self, question: Callable[[Any], T]) -> T:
        """The same for a scrape, in a thread of its own: what watches the service must not wait for its pages."""
        return await self.apart.ask(question)

    def stop_reading(self) -> None:
        """End the threads that read, once they have answered."""
        self.readers.stop()
        self.apart.stop()
