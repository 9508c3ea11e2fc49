"""Keys counted under sharded locks, against the same keys counted by numpy."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from engram_diagnose.kernels.loops.gate import Span, new_gate
from engram_diagnose.kernels.loops.locks import STRIDE, count_for, new_locks, shard_of

TIMES = {"gate_seconds": 2.0, "window_seconds": 0.002}


def counted(keys: Any, count: int, keys_in_all: int) -> list[int]:
    """The first `count` keys of a row that begins anew at its end, by key."""
    return np.bincount(np.resize(keys, count), minlength=keys_in_all).tolist()


def test_one_thread_counts_its_keys_in_their_order() -> None:
    keys = np.array([4, 0, 4, 2, 9, 9, 9], np.int32)
    counts = np.zeros(10, np.int64)
    span = count_for(new_locks(4), counts, keys, new_gate(), 1, **TIMES)
    assert span.count > 0
    assert counts.tolist() == counted(keys, span.count, 10)


@pytest.mark.parametrize("shards", [1, 2, 16])
def test_several_threads_lose_no_count_and_leave_all_locks_free(shards: int) -> None:
    rows = [np.random.default_rng(seed).integers(0, 50, 777).astype(np.int32) for seed in range(4)]
    locks, counts, gate = new_locks(shards), np.zeros(50, np.int64), new_gate()
    count_for(new_locks(1), np.zeros(50, np.int64), rows[0], new_gate(), 1, gate_seconds=0, window_seconds=0)
    spans = dict[int, Span]()

    def run(thread: int) -> None:
        spans[thread] = count_for(locks, counts, rows[thread], gate, len(rows), **TIMES)

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = sum(np.array(counted(row, spans[thread].count, 50)) for thread, row in enumerate(rows))
    assert counts.tolist() == list(wanted)
    assert not locks.any()


def test_a_key_waits_for_the_lock_of_its_own_shard_alone() -> None:
    keys = np.arange(64, dtype=np.int32)
    for key in keys:
        locks, counts = new_locks(8), np.zeros(64, np.int64)
        locks[shard_of(int(key), 8) * STRIDE] = 1  # somebody holds it, for ever
        span = count_for(locks, counts, keys, new_gate(), 1, gate_seconds=0, window_seconds=0.0005)
        first_held = next(one for one in keys if shard_of(int(one), 8) == shard_of(int(key), 8))
        assert span.count == first_held
        assert counts.tolist() == [1] * int(first_held) + [0] * (64 - int(first_held))


def test_a_lock_that_is_never_freed_ends_the_wait_with_the_window() -> None:
    locks = new_locks(1)
    locks[0] = 1
    begun = time.monotonic()
    span = count_for(locks, np.zeros(1, np.int64), np.zeros(1, np.int32), new_gate(), 1, **TIMES)
    assert span.count == 0
    assert time.monotonic() - begun < 60  # it ended


def test_neighbouring_keys_fall_into_all_shards() -> None:
    for shards in (2, 16, 256):
        fallen = np.bincount([shard_of(key, shards) for key in range(100 * shards)], minlength=shards)
        assert fallen.min() > 50


def test_locks_lie_on_lines_of_their_own() -> None:
    for shards in (1, 2, 64):
        assert new_locks(shards).ctypes.data % 128 == 0
        assert new_locks(shards).nbytes == shards * 128


@pytest.mark.parametrize("shards", [0, -1, 3, 12])
def test_shards_are_a_power_of_two(shards: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        new_locks(shards)


def test_what_does_not_fit_together_is_named() -> None:
    locks, counts, keys = new_locks(2), np.zeros(4, np.int64), np.zeros(4, np.int32)
    for given, problem in (
        ((locks[:24], counts, keys), "those that new_locks"),
        ((np.zeros(3 * STRIDE, np.int64), counts, keys), "those that new_locks"),
        ((locks, counts.astype(np.int32), keys), "counts are a contiguous, aligned row of int64"),
        ((locks, counts, keys.astype(np.int64)), "keys are a contiguous, aligned row of int32"),
        ((locks, counts, keys[::2]), "keys are a contiguous"),
        ((locks, counts, keys[:0]), "there are no keys"),
        ((locks, counts, keys + 4), "keys are 0 to 3"),
        ((locks, counts, keys - 1), "keys are 0 to 3"),
    ):
        with pytest.raises(ValueError, match=problem):
            count_for(*given, new_gate(), 1, **TIMES)
