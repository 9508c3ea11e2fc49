"""
Group commit: one thread writes what many callers bring, as many at a time as wait, with one wait for the disk.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Final

from engram_diagnose.history.database import refuse_damaged
from engram_diagnose.history.incidents import Accepted, Grouping, IncidentStore, Source, StoreError
from engram_diagnose.history.model import Notification

BATCH: Final = 256
"""Notifications in one transaction at most."""


class Full(Exception):  # noqa: N818 -- like queue.Full
    """As much is waiting to be written as may wait, or the service is stopping: the sender has to try again."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A notification, and who waits for it."""

    notification: Notification
    received: float
    source: Source
    future: Future[Accepted] | asyncio.Future[Accepted] = field(default_factory=Future)

    def begin(self) -> bool:
        """Its turn has come; False for one that was given up. On an event loop nothing is given up: see `keep`."""
        return not isinstance(self.future, Future) or self.future.set_running_or_notify_cancel()


class GroupCommit:
    """
    Accepts notifications from any thread and writes them in one.

    `store` opens the database; it is called in the writing thread, again after the database failed. `grouping` may be
    replaced at any time. As many as `waiting` notifications may wait to be written.
    """

    def __init__(self, store: Callable[[], IncidentStore], grouping: Grouping, *, waiting: int = 4096) -> None:
        self.grouping = grouping
        self._open = store
        self._most = waiting
        self._store: IncidentStore | None = None
        self._queue: deque[_Waiting] = deque()
        self._changed = Condition()
        self._accepting = False
        self._thread = Thread(target=self._run, name="commit", daemon=True)
        self._started: Future[None] = Future()

    def start(self) -> None:
        """Open the database and begin; raises `StoreError`, for one that is damaged as well."""
        self._accepting = True
        self._thread.start()
        self._started.result()

    def submit(self, notification: Notification, received: float, *, source: Source = "webhook") -> Future[Accepted]:
        """
        Bring a notification; the future is done once it is on the disk, or has the error why it is not: `StoreError`.

        A future that is cancelled before its turn is left out. Raises `Full`.
        """
        future: Future[Accepted] = Future()
        self._queue_up(_Waiting(notification, received, source, future))
        return future

    def keep(self, notification: Notification, received: float) -> "asyncio.Future[Accepted]":
        """
        As `submit`, for a caller on an event loop, which is told of a whole batch at once: waking it for each of many
        notifications costs more than reading them.

        What was taken is written, whether or not anybody still waits for it.
        """
        future = asyncio.get_running_loop().create_future()
        self._queue_up(_Waiting(notification, received, "webhook", future))
        return future

    def _queue_up(self, waiting: _Waiting) -> None:
        with self._changed:
            if not self._accepting:
                raise Full("no more is taken: the service is stopping; try again when it is back")
            if len(self._queue) >= self._most:
                raise Full(f"{self._most} notifications wait to be written; try again in a moment")
            self._queue.append(waiting)
            self._changed.notify()

    def stop(self) -> None:
        """Take no more, write what waits, and end."""
        with self._changed:
            self._accepting = False
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def depth(self) -> int:
        """How many notifications wait."""
        return len(self._queue)

    # The writing thread

    def _run(self) -> None:
        try:
            self._store = self._opened()
        except Exception as error:
            self._accepting = False
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        while batch := self._next():
            self._commit(batch)
        self._close()

    def _next(self) -> list[_Waiting]:
        """What waits, of one source; nothing when the end has come."""
        with self._changed:
            while True:
                if batch := self._taken():
                    return batch
                if not self._accepting:
                    return []
                self._changed.wait()

    def _taken(self) -> list[_Waiting]:
        """All that waits, or what fits: nothing is left waiting where this is empty."""
        batch: list[_Waiting] = []
        while self._queue and len(batch) < BATCH:
            if batch and self._queue[0].source != batch[0].source:
                break
            waiting = self._queue.popleft()
            if waiting.begin():
                batch.append(waiting)
        return batch

    def _commit(self, batch: list[_Waiting]) -> None:
        """Where one of several cannot be kept, each is written by itself, so that it takes no other with it."""
        try:
            accepted = self._written(batch)
        except Exception as error:
            if len(batch) > 1 and _is_by_entry(error):
                for waiting in batch:
                    self._commit([waiting])
                return
            _tell(batch, [error] * len(batch))
            return
        _tell(batch, accepted)

    def _written(self, batch: list[_Waiting]) -> list[Accepted]:
        if self._store is None:
            self._store = self._opened()
        try:
            notifications = [(waiting.notification, waiting.received) for waiting in batch]
            return self._store.accept_many(notifications, self.grouping, source=batch[0].source)
        except Exception as error:
            if not _is_by_entry(error):
                self._close()
            raise

    def _opened(self) -> IncidentStore:
        """What is accepted into a damaged database may be lost."""
        store = self._open()
        try:
            refuse_damaged(store.path, StoreError)
        except BaseException:
            store.close()
            raise
        return store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _tell(batch: Sequence[_Waiting], outcomes: Sequence[Accepted | Exception]) -> None:
    """Tell everybody what became of theirs; each event loop is woken once."""
    on_loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Accepted], Accepted | Exception]]]
    on_loops = defaultdict(list)
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if isinstance(waiting.future, Future):
            _settle(waiting.future, outcome)
        else:
            on_loops[waiting.future.get_loop()].append((waiting.future, outcome))
    for loop, told in on_loops.items():
        try:
            loop.call_soon_threadsafe(_settle_all, told)
        except RuntimeError:  # it is closed: nobody waits there any more
            continue


def _settle_all(told: Sequence[tuple["asyncio.Future[Accepted]", Accepted | Exception]]) -> None:
    for future, outcome in told:
        if not future.done():  # its caller may have gone
            _settle(future, outcome)


def _settle(future: "Future[Accepted] | asyncio.Future[Accepted]", outcome: Accepted | Exception) -> None:
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _is_by_entry(error: Exception) -> bool:
    """Whether one entry is at fault: the database is not, and neither are the others."""
    return error.by_entry if isinstance(error, StoreError) else True
