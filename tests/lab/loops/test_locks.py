"""Locks that put their waiters to sleep: nothing is lost under them, and waiting is seen by the kernel."""

import resource
import threading
import time
from typing import Any

import numpy as np
import pytest

from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.lab.loops.locks import STRIDE, new_words, release, take
from engram_diagnose.lab.loops.native import sleep_for


@loop
def count_under(locks: Any, counts: Any, lock: Any, times: Any) -> Any:
    slept = 0
    for _ in range(times):
        slept += take(locks, lock)
        for place in range(len(counts)):
            counts[place] += 1
        release(locks, lock)
    return slept


@loop
def hold(locks: Any, lock: Any, times: Any, held_ns: Any) -> Any:
    slept = 0
    for _ in range(times):
        slept += take(locks, lock)
        sleep_for(held_ns)
        release(locks, lock)
    return slept


def together(*calls: Any) -> list[Any]:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda call=call: found.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("lock", [0, 2])
def test_several_threads_lose_no_count_and_leave_the_lock_free(lock: int) -> None:
    locks, counts = new_words(3), np.zeros(32, np.int64)
    together(*[lambda: count_under(locks, counts, lock, 50_000)] * 4)
    assert counts.tolist() == [200_000] * 32
    assert not locks.any()


def test_who_waits_for_a_held_lock_sleeps_in_the_kernel() -> None:
    locks = new_words(1)
    hold(locks, 0, 0, 0)
    before = resource.getrusage(resource.RUSAGE_SELF)
    slept = together(*[lambda: hold(locks, 0, 50, 500_000)] * 4)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert sum(slept) > 50
    assert after.ru_nvcsw - before.ru_nvcsw > 200 + 50  # each of 200 sleeps under the lock is one, and waiting for it


def test_locks_apart_do_not_wait_for_each_other() -> None:
    locks = new_words(4)
    slept = together(*[lambda lock=lock: hold(locks, lock, 20, 100_000) for lock in range(4)])
    assert slept == [0, 0, 0, 0]


def test_a_lock_that_is_held_keeps_others_out_until_it_is_free() -> None:
    locks, counts = new_words(1), np.zeros(4, np.int64)
    count_under(locks, counts, 0, 0)
    locks[0] = 1  # somebody holds it
    thread = threading.Thread(target=lambda: count_under(locks, counts, 0, 10))
    thread.start()
    time.sleep(0.3)  # longer than the longest sleep: it looks again, and goes on waiting
    assert not counts.any()
    locks[0] = 0  # and frees it without a word
    thread.join(30)
    assert counts.tolist() == [10] * 4


def test_locks_lie_on_lines_of_their_own() -> None:
    for count in (1, 2, 7):
        assert new_words(count).ctypes.data % 128 == 0
        assert len(new_words(count)) == count * STRIDE
    with pytest.raises(ValueError, match="one lock at least"):
        new_words(0)
