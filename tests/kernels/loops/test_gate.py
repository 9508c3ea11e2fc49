"""The gate lets threads through together, and none waits for ever."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from engram_diagnose.kernels.loops.atomics import nanoseconds
from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.gate import arrive, checked_gate, nanoseconds_of, new_gate


@loop
def _pass(gate: Any, threads: Any, patience: Any) -> Any:
    begun = nanoseconds()
    came = arrive(gate, threads, patience)
    return came, begun, nanoseconds()


def test_nobody_passes_before_all_have_come() -> None:
    gate, passed = new_gate(), []
    _pass(new_gate(), 1, 0)
    threads = [threading.Thread(target=lambda: passed.append(_pass(gate, 3, 10_000_000_000))) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.005)
    for thread in threads:
        thread.join()
    assert all(came for came, _, _ in passed)
    assert max(begun for _, begun, _ in passed) <= min(ended for _, _, ended in passed)


def test_who_waits_in_vain_gives_up() -> None:
    came, _, _ = _pass(new_gate(), 2, 1_000_000)
    assert not came


def test_one_alone_does_not_wait() -> None:
    came, _, _ = _pass(new_gate(), 1, 0)
    assert came


@pytest.mark.parametrize(
    ("gate", "threads", "problem"),
    [
        (np.zeros(8, np.int32), 2, "int64"),
        (np.zeros((2, 8), np.int64), 2, "array of int64"),
        (np.zeros(0, np.int64), 2, "array of int64"),
        (np.zeros(16, np.int64)[::2], 2, "array of int64"),
        (np.zeros(8, np.int64), 0, "one thread at least"),
    ],
)
def test_what_is_no_gate_is_named(gate: Any, threads: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        checked_gate(gate, threads)


@pytest.mark.parametrize("seconds", [-0.1, 2.1, float("nan"), float("inf")])
def test_a_loop_that_cannot_be_interrupted_is_not_started_for_long(seconds: float) -> None:
    with pytest.raises(ValueError, match="window_seconds is 0 to 2"):
        nanoseconds_of(seconds, "window_seconds")
