"""
A load that several machines send: the workers of one load on the machines of a Dask cluster.

Each is the process that it is on a single machine, held there by a Dask actor that passes on what goes in and out. All
begin at one instant: the clocks of the machines are compared before the load, by who answers quickest. A process that
nobody asks for its figures any more ends: whoever wanted the load is gone, or the network between.

Needs the extra `cluster` here and on every machine, in the same version.
"""

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from engram_diagnose import __version__
from engram_diagnose.bench.sending.processes import LaunchError, ProcessWorker, Say
from engram_diagnose.bench.sending.task import Task

_ANSWERS_WITHIN: Final = 10.0
"""Seconds for a scheduler or a machine to answer."""
_POLLS: Final = 0.1
_LEAD: Final = 0.3
_SLOWER: Final = 5
"""Seconds between telling when to begin and beginning, and how many slow answers more."""
_FORGOTTEN: Final = 10.0
"""Seconds without being asked for its figures after which a worker process ends."""
_COMPARED: Final = 9
"""How often two clocks are compared; the quickest answer counts."""
_NOT_INSTALLED: Final = "loading from a cluster needs the extra `cluster`: pip install 'engram-diagnose[cluster]'"
_HOW: Final = "start one with `dask scheduler`, and `dask worker tcp://HOST:8786` on each machine that is to send"


class ClusterError(LaunchError):
    """A cluster that cannot send a load; says why, and what to do."""


# On the machines


@dataclass(frozen=True, slots=True)
class Machine:
    """One that can send: its name, and the version of this program there."""

    host: str
    version: str


def about() -> Machine:
    """The machine that this is called on."""
    return Machine(socket.gethostname(), __version__)


class Held:
    """A worker process on the machine that a Dask worker runs on; an actor."""

    def __init__(self, task: Task) -> None:
        self._said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked = time.monotonic()
        self._over = threading.Event()
        self._process = ProcessWorker(task, self._said.put)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(_POLLS):
            if time.monotonic() - self._asked > _FORGOTTEN:
                self._process.end()
                return

    def now(self) -> int:
        """The monotonic clock of the machine, in nanoseconds."""
        return time.monotonic_ns()

    def said(self) -> list[Any]:
        """What the process said since this was last asked."""
        self._asked = time.monotonic()
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self._said.get_nowait())
        return found

    def begin(self, start: int) -> None:
        """Send from then on, of this machine's clock."""
        self._process.begin(start)

    def close(self) -> None:
        """Tell it to end."""
        self._process.close()

    def end(self) -> None:
        """See to it that it is gone."""
        self._over.set()
        self._process.end()


# Here


class Cluster:
    """
    The machines of a Dask cluster, by its scheduler's address; used as a context.

    Raises `ClusterError` where there is none, it has no machines, or one of them lacks this program in this version.
    """

    def __init__(self, address: str) -> None:
        self._client = _connected(address)
        self._slowest = 0.0
        try:
            self._machines = self._looked_at(address)
            self._threads: Mapping[str, int] = self._client.nthreads()
        except ClusterError:
            self.close()
            raise
        except Exception as error:  # whatever the connection was lost by
            self.close()
            raise ClusterError(f"the Dask cluster at {address} does not answer: {_words(error)}") from None
        self._places = sorted(self._machines)

    def _looked_at(self, address: str) -> dict[str, Machine]:
        found: Mapping[str, Any] = self._client.run(about, on_error="return")
        if not found:
            raise ClusterError(f"the scheduler at {address} has no workers; {_HOW}")
        for place, machine in found.items():
            if not isinstance(machine, Machine):
                raise ClusterError(f"the Dask worker {place} cannot send: {_words(machine)}; install engram-diagnose "
                                   f"{__version__} there, with the extra `cluster`")  # fmt: skip
            if machine.version != __version__:
                raise ClusterError(f"the Dask worker {place} has engram-diagnose {machine.version}, and this is "
                                   f"{__version__}; install the same on all machines")  # fmt: skip
        return dict(found)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the machines, each once."""
        return tuple(sorted({one.host for one in self._machines.values()}))

    @property
    def places(self) -> tuple[int, int]:
        """How many workers it takes for each Dask worker to have one, and how many have a core of their own."""
        return len(self._places), max(len(self._places), sum(self._threads.get(one, 1) for one in self._places))

    @property
    def lead(self) -> float:
        """By the slowest of those who were launched: they are told one after the other, and none is waited for."""
        return _LEAD + _SLOWER * self._slowest

    def launch(self, number: int, task: Task, say: Say) -> "RemoteWorker":
        """Start the worker of that number; they go round the machines."""
        place = self._places[number % len(self._places)]
        try:
            future = self._client.submit(Held, task, actor=True, workers=[place], allow_other_workers=False, pure=False)
            found = RemoteWorker(future.result(timeout=_ANSWERS_WITHIN), future, say)
        except Exception as error:
            raise ClusterError(f"the Dask worker {place} could not start to send: {_words(error)}") from None
        self._slowest = max(self._slowest, found.round_trip)
        return found

    def close(self) -> None:
        """Leave the cluster; it goes on."""
        with suppress(Exception):
            self._client.close()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RemoteWorker:
    """A worker on a machine of the cluster."""

    def __init__(self, actor: Any, future: Any, say: Say) -> None:
        self._actor = actor
        self._future = future
        self._say = say
        self._ahead, self.round_trip = ahead(lambda: _answer(actor.now()))
        self._over = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def begin(self, start: int) -> None:
        """Send from an instant of this machine's clock on."""
        with suppress(Exception):  # one that is gone says so by its silence
            self._actor.begin(start + self._ahead)

    def close(self) -> None:
        """Tell it to end."""
        with suppress(Exception):
            self._actor.close()

    def end(self) -> None:
        """See to it that it is gone."""
        self._over.set()
        with suppress(Exception):
            _answer(self._actor.end())
        self._future.release()

    def _listen(self) -> None:
        while not self._over.wait(_POLLS):
            try:
                said = _answer(self._actor.said())
            except Exception:  # whatever became of the machine, it is not there
                self._say(None)
                return
            for value in said:
                self._say(value)
            if None in said:
                return


def ahead(now: Callable[[], int]) -> tuple[int, float]:
    """
    By how many nanoseconds another clock is ahead of this one, half-way between asking and the quickest answer; and how
    many seconds the slowest answer took.
    """
    best, slowest = None, 0
    for _ in range(_COMPARED):
        before = time.monotonic_ns()
        there = now()
        after = time.monotonic_ns()
        slowest = max(slowest, after - before)
        if best is None or after - before < best[0]:
            best = after - before, there - (before + after) // 2
    assert best is not None  # noqa: S101 -- narrows the type
    return best[1], slowest / 1e9


def _connected(address: str) -> Any:
    try:
        import distributed
        from distributed.comm.core import connect as reached
    except ImportError:
        raise ClusterError(_NOT_INSTALLED) from None
    reach: Any = reached
    secured: Any = distributed.Security

    async def knock() -> None:
        found = await reach(address, timeout=_ANSWERS_WITHIN, **secured().get_connection_args("client"))
        await found.close()

    connect: Any = distributed.Client
    try:
        # Before there is a client: one that fails on its address stays open, and closes when it is collected, for which
        # it needs a lock that the next client holds while it begins.
        asyncio.run(knock())
        # The default one, since an actor finds its client so.
        return connect(address, timeout=_ANSWERS_WITHIN, set_as_default=True)
    except Exception as error:  # also of what is no address, or has no certificate
        raise ClusterError(f"no Dask scheduler answers at {address}: {_words(error)}; {_HOW}") from None


def _answer(asked: Any) -> Any:
    return asked.result(timeout=_ANSWERS_WITHIN)


def _words(error: object) -> str:
    """What went wrong, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
