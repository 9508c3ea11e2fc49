"""A number raised in turns: both threads count the same round trips, and neither waits for ever."""

import threading
from typing import Any

import numpy as np
import pytest

from engram_diagnose.kernels.loops.cores import new_lines, ping_for, pong_for
from engram_diagnose.kernels.loops.gate import Span, new_gate

TIMES = {"gate_seconds": 2.0, "window_seconds": 0.2}
"""Long enough for a host that is busy with other tests: the two must get their CPUs at the same time at all."""


def compiled() -> None:
    for play in (ping_for, pong_for):
        play(new_lines(1), new_gate(), gate_seconds=0, window_seconds=0)


def played(lines: Any) -> tuple[Span, Span]:
    compiled()
    gate, pongs = new_gate(), list[Span]()
    other = threading.Thread(target=lambda: pongs.append(pong_for(lines, gate, **TIMES)))
    other.start()
    ping = ping_for(lines, gate, **TIMES)
    other.join()
    return ping, pongs[0]


@pytest.mark.parametrize("count", [1, 3])
def test_every_number_is_answered(count: int) -> None:
    lines = new_lines(count)
    ping, pong = played(lines)
    assert 0 < ping.count <= pong.count <= ping.count + 1
    assert lines.max() in (2 * ping.count, 2 * ping.count + 1, 2 * pong.count)
    assert ping.seconds > 0


def test_the_number_moves_over_all_lines() -> None:
    lines = new_lines(3)
    ping, _ = played(lines)
    written = np.count_nonzero(lines.reshape(-1, 16)[:-1, 0])
    assert written == 3 or ping.count < 3 * 64
    assert np.count_nonzero(lines.reshape(-1, 16)[:, 1:]) == 0


def test_lines_lie_on_cache_lines() -> None:
    assert all(new_lines(count).ctypes.data % 128 == 0 for count in range(1, 9))


def test_a_partner_that_does_not_come_ends_both_sides() -> None:
    for play in (ping_for, pong_for):
        assert play(new_lines(1), new_gate(), gate_seconds=0.001, window_seconds=0.001) == Span(0, 0.0)


def test_a_partner_that_comes_and_then_does_nothing_ends_both_sides() -> None:
    compiled()
    for play in (ping_for, pong_for):
        gate = new_gate()
        gate[0] = 1  # as if it had come
        assert play(new_lines(1), gate, gate_seconds=0.001, window_seconds=0.001).count == 0


def test_one_who_begins_says_when_it_has_ended() -> None:
    lines, gate = new_lines(1), new_gate()
    gate[0] = 1
    ping_for(lines, gate, gate_seconds=0, window_seconds=0)
    assert lines[16] == 1


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (np.zeros(32, np.int32), "row of int64"),
        (np.zeros(16, np.int64), "for the end"),
        (np.zeros(40, np.int64), "for the end"),
        (np.zeros(64, np.int64)[::2], "contiguous"),
    ],
)
def test_what_are_no_lines_is_named(lines: Any, problem: str) -> None:
    for play in (ping_for, pong_for):
        with pytest.raises(ValueError, match=problem):
            play(lines, new_gate(), **TIMES)


def test_no_lines_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="one line at least"):
        new_lines(0)
