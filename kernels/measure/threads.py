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
        self._threads: list[_Pinned] = []
        self._open = True
        try:
            self._threads.extend(_Pinned(cpu) for cpu in cpus)
        except BaseException:  # no more threads are allowed, or Ctrl-C: those that there are must not stay
            self.close()
            raise

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
        """As `run`, on these threads of the pool. One caller at a time, and none of the pool's own threads."""
        if len(set(threads)) != len(calls) or not set(threads) <= set(range(len(self._threads))):
            raise ValueError(f"each call has a thread of its own: {len(calls)} calls, {len(self._threads)} threads")
        if not self._open:
            raise RuntimeError("the pool is closed: its threads have ended")
        gate = threading.Barrier(max(1, len(calls)))
        done: list[_Done] = []
        try:
            done.extend(self._threads[thread].do(call, gate) for thread, call in zip(threads, calls, strict=True))
        except BaseException:
            gate.abort()  # those that are at the gate wait for some that do not come any more
            _until_all([one.wait for one in done])
            raise
        _until_all([one.wait for one in done])
        return [one.outcome() for one in done]

    def close(self) -> None:
        """End the threads; a second time does nothing."""
        if self._open:
            self._open = False
            for thread in self._threads:
                thread.end()
        _until_all([thread.ended for thread in self._threads])

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

    def ended(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (asked := self._calls.get()) is not None:
            call, gate, done = asked
            pin_to(self.cpu)  # anew each time: what the last call used may have moved the thread
            try:
                gate.wait()
                done.result = call()
            except BaseException as error:
                done.error = error
            done.set()
            del asked, call, gate, done  # what they hold, such as a gigabyte, is not kept until the next call


def _until_all(waits: Sequence[Callable[[float], bool]]) -> None:
    """
    Wait until each says that it has ended.

    What interrupts it, such as Ctrl-C, is raised at the end: the loops end by themselves, and use buffers until then.
    """
    interrupted: BaseException | None = None
    pending = list(waits)
    while pending:
        try:
            while pending:
                if pending[-1](_POLL_SECONDS):
                    pending.pop()
        except BaseException as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted


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
