"""Counters that threads add to: what they show is how often each thread says that it added."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engram_diagnose.kernels.loops.gate import Span, new_gate
from engram_diagnose.kernels.loops.sharing import BATCH, add_for, float_add_for

TIMES = {"gate_seconds": 2.0, "window_seconds": 0.002}
BOTH = pytest.mark.parametrize(("add", "kind"), [(add_for, np.int64), (float_add_for, np.float32)])
Add = Callable[..., Span]


def on_threads(add: Add, counters: Any, numbers: list[int]) -> list[Span]:
    add(np.zeros_like(counters), 0, new_gate(), 1, gate_seconds=0, window_seconds=0)  # compiled before they meet
    gate, spans = new_gate(), dict[int, Span]()

    def run(thread: int) -> None:
        spans[thread] = add(counters, numbers[thread], gate, len(numbers), **TIMES)

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(len(numbers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [spans[thread] for thread in range(len(numbers))]


@BOTH
def test_each_thread_counts_on_its_own_counter(add: Add, kind: type) -> None:
    counters = np.zeros(24, kind)
    spans = on_threads(add, counters, [3, 19])
    assert all(span.count and span.count % BATCH == 0 and span.seconds >= 0.002 for span in spans)
    wanted = np.zeros(24)
    wanted[[3, 19]] = [span.count for span in spans]
    assert counters.tolist() == wanted.tolist()


@BOTH
def test_threads_on_one_counter_lose_nothing(add: Add, kind: type) -> None:
    counters = np.zeros(1, kind)
    spans = on_threads(add, counters, [0, 0, 0])
    assert counters[0] == sum(span.count for span in spans)


@BOTH
def test_a_thread_that_waits_in_vain_counts_nothing(add: Add, kind: type) -> None:
    counters = np.zeros(1, kind)
    assert add(counters, 0, new_gate(), 2, gate_seconds=0.001, window_seconds=0.001) == Span(0, 0.0)
    assert counters[0] == 0


def test_a_float_ends_where_it_would_count_no_further() -> None:
    counters = np.zeros(1, np.float32)
    span = float_add_for(counters, 0, new_gate(), 1, gate_seconds=0, window_seconds=2.0)
    assert counters[0] == span.count <= 1 << 24


@BOTH
def test_what_is_no_counter_is_named(add: Add, kind: type) -> None:
    gate = new_gate()
    other = np.int32 if kind is np.int64 else np.float64
    readonly = np.zeros(4, kind)
    readonly.setflags(write=False)
    unaligned = np.zeros(33, np.uint8)[1:].view(kind)
    for counters, which, problem in (
        (np.zeros(4, other), 0, "counters are a row of"),
        (np.zeros((2, 2), kind), 0, "2-dimensional"),
        (np.zeros(4, kind)[::2], 0, "contiguous"),
        (readonly, 0, "writeable"),
        (unaligned, 0, "aligned"),
        (np.zeros(4, kind), 4, "none has the number 4"),
        (np.zeros(4, kind), -1, "none has the number -1"),
    ):
        with pytest.raises(ValueError, match=problem):
            add(counters, which, gate, 1, **TIMES)
