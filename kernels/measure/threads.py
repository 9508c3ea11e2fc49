"""
Threads that stay on their CPUs: one for each, made once, since a new thread reads low until it has settled.

The loops they run let go of the GIL and end by themselves within a fraction of a second: a jitted loop cannot be
interrupted, so that every one that waits for another is bounded by time.
"""

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

_POLL_SECONDS = 0.2
"""How often the caller, who waits, looks whether it was interrupted."""


class Pool:
    """One thread for each CPU, pinned to it as far as that is allowed. A context manager: its end ends the threads."""

    def __init__(self, cpus: Sequence[int]) -> None:
        if not cpus:
            raise ValueError("a pool has one CPU at least")
        self._threads = [_Pinned(cpu) for cpu in cpus]

    def __len__(self) -> int:
        return len(self._threads)

    @property
    def cpus(self) -> tuple[int, ...]:
        """The CPU of each thread."""
        return tuple(thread.cpu for thread in self._threads)

    def run(self, *calls: Callable[[], Any]) -> list[Any]:
        """
        Run the calls at the same time, the first on the first CPU; what each gave.

        Raises what the first that failed raised, once all have ended. There must not be more calls than threads.
        """
        return self.run_on(range(len(calls)), calls)

    def run_on(self, threads: Sequence[int], calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """As `run`, on these threads of the pool."""
        if len(set(threads)) != len(calls):
            raise ValueError("each call has a thread of its own")
        gate = threading.Barrier(len(calls))
        done = [self._threads[thread].do(call, gate) for thread, call in zip(threads, calls, strict=True)]
        interrupted: BaseException | None = None
        for one in done:
            while not one.is_set():
                try:
                    one.wait(_POLL_SECONDS)
                except BaseException as error:  # Ctrl-C: the loops end by themselves, their buffers must outlive them
                    interrupted = error
        if interrupted is not None:
            raise interrupted
        return [one.outcome() for one in done]

    def close(self) -> None:
        """End the threads."""
        for thread in self._threads:
            thread.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Done(threading.Event):
    """What became of a call."""

    result: Any = None
    error: BaseException | None = None

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


class _Pinned:
    def __init__(self, cpu: int) -> None:
        self.cpu = cpu
        self._calls: SimpleQueue[tuple[Callable[[], Any], threading.Barrier, _Done] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"kernel-{cpu}", daemon=True)
        self._thread.start()

    def do(self, call: Callable[[], Any], gate: threading.Barrier) -> _Done:
        done = _Done()
        self._calls.put((call, gate, done))
        return done

    def end(self) -> None:
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        pin_to(self.cpu)
        while (asked := self._calls.get()) is not None:
            call, gate, done = asked
            try:
                gate.wait()
                done.result = call()
            except BaseException as error:
                done.error = error
            done.set()


def pin_to(cpu: int) -> bool:
    """
    Keep the calling thread on a CPU; whether that was allowed.

    It is asked for before each run of threads that other libraries may have moved (OMP_PROC_BIND does that).
    """
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return False
    return True
