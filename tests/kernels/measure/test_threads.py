"""The pool: each thread on its CPU, none left behind, whatever happens to a call or to who waits for it."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import pytest

from engram_diagnose.kernels.measure import threads as module
from engram_diagnose.kernels.measure.threads import Pool, pin_to

CPUS = tuple(sorted(os.sched_getaffinity(0)))
SOME = (CPUS * 3)[:3]
"""Three threads wherever this runs; on one CPU they share it."""


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(SOME) as made:
        yield made
    assert not left_over()


def left_over() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kernel-")]


def affinity() -> set[int]:
    return os.sched_getaffinity(0)


def test_each_call_runs_on_the_cpu_of_its_thread(pool: Pool) -> None:
    assert pool.run(affinity, affinity, affinity) == [{cpu} for cpu in SOME]
    assert pool.run_on([2, 0], [affinity, affinity]) == [{SOME[2]}, {SOME[0]}]


def test_calls_run_at_the_same_time_on_threads_that_stay(pool: Pool) -> None:
    meeting = threading.Barrier(3)

    def meet() -> int:
        meeting.wait(20)
        return threading.get_ident()

    first, again = pool.run(meet, meet, meet), pool.run(meet, meet, meet)
    assert len(set(first)) == 3
    assert first == again


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU has nowhere to move to")
def test_a_thread_that_a_library_moved_is_back_on_its_cpu_for_the_next_call(pool: Pool) -> None:
    def move() -> None:
        os.sched_setaffinity(0, CPUS)  # what a runtime of OpenMP does to the threads that it meets

    pool.run(move, move, move)
    assert pool.run(affinity, affinity, affinity) == [{cpu} for cpu in SOME]


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU has nowhere to move to")
def test_openmp_that_binds_threads_does_not_unpin_the_pool() -> None:
    script = """
import ctypes, os
from engram_diagnose.kernels.measure.threads import Pool
cpus = sorted(os.sched_getaffinity(0))
with Pool(cpus) as pool:
    try:
        openmp = ctypes.CDLL("libgomp.so.1")
    except OSError:
        openmp = None
    for _ in range(2):
        if openmp is not None:
            pool.run(*[openmp.omp_get_num_places] * len(cpus))
            openmp.omp_get_num_places()
        print(pool.run(*[lambda: os.sched_getaffinity(0)] * len(cpus)) == [{cpu} for cpu in cpus])
"""
    for bound in ("true", "close", "spread"):
        done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "OMP_PROC_BIND": bound},
                              capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
        assert done.stdout.split() == ["True", "True"]


def test_where_pinning_is_not_allowed_the_calls_run_nonetheless(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert pin_to(CPUS[0]) is False
    assert pool.run(lambda: 1, lambda: 2) == [1, 2]


def test_what_a_call_raises_reaches_the_caller_once_all_have_ended(pool: Pool) -> None:
    ended = []

    def fail() -> NoReturn:
        raise MemoryError("no room")

    def take_longer() -> None:
        time.sleep(0.1)
        ended.append(True)

    with pytest.raises(MemoryError, match="no room"):
        pool.run(take_longer, fail, take_longer)
    assert ended == [True, True]
    assert pool.run(lambda: "still there") == ["still there"]


def test_of_several_that_fail_the_first_is_raised(pool: Pool) -> None:
    def fail(number: int) -> NoReturn:
        raise ValueError(f"number {number}")

    with pytest.raises(ValueError, match="number 1"):
        pool.run(lambda: None, lambda: fail(1), lambda: fail(2))


def test_ctrl_c_is_raised_once_the_calls_have_ended(pool: Pool) -> None:
    ended = []

    def work() -> None:
        time.sleep(0.3)
        ended.append(True)

    interrupt = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        pool.run(work, work)
    interrupt.join()
    assert ended == [True, True]
    assert pool.run(affinity) == [{SOME[0]}]


def test_ctrl_c_while_calls_are_handed_out_leaves_none_at_the_gate(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    do = module._Pinned.do

    def interrupted(self: Any, call: Any, gate: Any) -> Any:
        if len(given) == 2:
            raise KeyboardInterrupt
        given.append(call)
        return do(self, call, gate)

    monkeypatch.setattr(module._Pinned, "do", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.run(affinity, affinity, affinity)
    monkeypatch.undo()
    assert pool.run(affinity, affinity, affinity) == [{cpu} for cpu in SOME]


def test_ctrl_c_while_the_pool_closes_still_ends_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, interrupts = module._Pinned.ended, iter([KeyboardInterrupt()])

    def interrupted(self: Any, seconds: float) -> bool:
        for error in interrupts:
            raise error
        return ended(self, seconds)

    pool = Pool(SOME)
    monkeypatch.setattr(module._Pinned, "ended", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.close()
    assert not left_over()


def test_where_no_more_threads_are_allowed_those_that_began_end(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def refuse(self: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Pool(SOME)
    assert len(started) == 2
    assert not left_over()


def test_an_error_in_the_block_ends_the_threads() -> None:
    with pytest.raises(KeyError), Pool(SOME):
        raise KeyError
    assert not left_over()


def test_a_closed_pool_refuses_calls_instead_of_waiting_for_ever() -> None:
    with Pool(SOME) as pool:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        pool.run(affinity)
    pool.close()


def test_a_call_for_which_there_is_no_thread_is_refused(pool: Pool) -> None:
    for threads in ([0, 0], [0, 3], [0, -1], [0]):
        with pytest.raises(ValueError, match="a thread of its own"):
            pool.run_on(threads, [affinity, affinity])
    with pytest.raises(ValueError, match="a thread of its own"):
        pool.run(*[affinity] * 4)
    with pytest.raises(ValueError, match="one CPU at least"):
        Pool([])


def test_no_calls_give_nothing(pool: Pool) -> None:
    assert pool.run() == []


def test_a_thread_does_not_keep_what_its_last_call_held(pool: Pool) -> None:
    held = np.zeros(8)
    gone = weakref.ref(held)
    pool.run(lambda held=held: None, lambda held=held: float(held.sum()))  # type: ignore[misc]  # bound now
    del held
    deadline = time.monotonic() + 5
    while gone() is not None and time.monotonic() < deadline:
        time.sleep(0.001)  # the thread lets go of it just after it has said that it is done
    assert gone() is None
