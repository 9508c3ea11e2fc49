"""Atomic access against a lock of Python's: what several threads do to one item, none undoes for another."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engram_diagnose.kernels.loops.atomics import (
    atomic_add,
    compare_exchange,
    load_atomic,
    nanoseconds,
    pause,
    store_atomic,
    ticks,
)
from engram_diagnose.kernels.loops.compiled import loop

THREADS, TIMES = 4, 20_000


@loop
def _add(row: Any, index: Any, by: Any, times: Any) -> Any:
    before = row[index]
    for _ in range(times):
        before = atomic_add(row, index, by)
    return before


@loop
def _add_by_exchange(row: Any, times: Any) -> None:
    for _ in range(times):
        while True:
            seen = load_atomic(row, 0)
            if compare_exchange(row, 0, seen, seen + 1) == seen:
                break
            pause()


@loop
def _exchange(row: Any, index: Any, expected: Any, new: Any) -> Any:
    return compare_exchange(row, index, expected, new)


@loop
def _swap(row: Any) -> Any:
    first = load_atomic(row, 0)
    store_atomic(row, 0, load_atomic(row, 1))
    store_atomic(row, 1, first)


@loop
def _clocks() -> Any:
    return nanoseconds(), ticks(), ticks(), nanoseconds()


@loop
def _wait_for(row: Any, until: Any) -> Any:
    while load_atomic(row, 0) == 0:
        if nanoseconds() > until:
            return False
    return True


def on_threads(call: Any, *given: Any) -> None:
    threads = [threading.Thread(target=call, args=given) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint32, np.uint64])
def test_additions_of_several_threads_all_arrive(kind: type) -> None:
    row = np.zeros(3, kind)
    on_threads(_add, row, 1, 1, TIMES)
    assert row.tolist() == [0, THREADS * TIMES, 0]


def test_an_addition_gives_what_was_there_before() -> None:
    row = np.array([10, 20], np.int64)
    assert _add(row, 1, -3, 1) == 20
    assert row.tolist() == [10, 17]


def test_additions_by_exchange_all_arrive() -> None:
    row = np.zeros(1, np.int64)
    on_threads(_add_by_exchange, row, TIMES)
    assert row[0] == THREADS * TIMES


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_an_exchange_is_made_only_of_what_was_expected(kind: type) -> None:
    row = np.array([5, 6], kind)
    assert _exchange(row, 1, 6, 9) == 6
    assert row.tolist() == [5, 9]
    assert _exchange(row, 1, 6, 7) == 9
    assert row.tolist() == [5, 9]


def test_loads_and_stores_take_the_item_they_are_told() -> None:
    row = np.array([1, 2, 3], np.int32)
    _swap(row)
    assert row.tolist() == [2, 1, 3]


def test_the_clock_is_that_of_python() -> None:
    before = time.monotonic_ns()
    first, _, _, last = _clocks()
    assert before <= first <= last <= time.monotonic_ns()


def test_ticks_go_up_or_there_are_none() -> None:
    _, first, second, _ = _clocks()
    assert second >= first > 0 or first == second == 0


def test_a_spin_sees_what_another_thread_writes() -> None:
    row = np.zeros(1, np.int64)
    _wait_for(row, 0)  # compiled before the clock matters
    writer = threading.Timer(0.01, lambda: row.__setitem__(0, 1))
    writer.start()
    assert _wait_for(row, time.monotonic_ns() + 10_000_000_000)
    writer.join()


CACHED = """
import numpy as np
from engram_diagnose.kernels.loops.gate import new_gate
from engram_diagnose.kernels.loops import sharing
sharing.add_for(np.zeros(1, np.int64), 0, new_gate(), 1, gate_seconds=0, window_seconds=0)
print(sum(sharing._add.stats.cache_hits.values()), sum(sharing._add.stats.cache_misses.values()))
"""


def test_a_loop_with_them_is_compiled_once_and_kept(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    told = [
        subprocess.run(
            [sys.executable, "-c", CACHED], env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert told == [["0", "1"], ["1", "0"]]
