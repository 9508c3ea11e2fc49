"""A clock that is set back is noticed once, whatever time passes."""

import math

from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.service.clock import ClockWatch


class Clocks:
    """A time of day that can be set, and a clock that runs on."""

    def __init__(self) -> None:
        self.day = 1_790_000_000.0
        self.running = 5.0
        self.watch = ClockWatch(clock=lambda: self.day, monotonic=lambda: self.running)

    def pass_(self, seconds: float) -> None:
        self.day += seconds
        self.running += seconds


def test_time_that_passes_is_no_setting() -> None:
    clocks = Clocks()
    for _ in range(100):
        clocks.pass_(86_400.3)
        assert clocks.watch.set_back_seconds() == 0


def test_a_clock_that_is_set_back_is_told_once() -> None:
    clocks = Clocks()
    clocks.pass_(10)
    clocks.day -= 7200
    assert math.isclose(clocks.watch.set_back_seconds(), 7200, abs_tol=1e-3)
    clocks.pass_(10)
    assert clocks.watch.set_back_seconds() == 0


def test_a_clock_that_is_set_forward_is_what_it_is_set_back_from() -> None:
    clocks = Clocks()
    clocks.day += 3600
    assert clocks.watch.set_back_seconds() == 0
    clocks.day -= 3600
    assert math.isclose(clocks.watch.set_back_seconds(), 3600, abs_tol=1e-3)


@given(st.lists(st.floats(0.01, 0.9), min_size=1, max_size=40))
def test_small_steps_back_add_up(steps: list[float]) -> None:
    clocks = Clocks()
    told = 0.0
    for step in steps:
        clocks.pass_(60)
        clocks.day -= step
        told += clocks.watch.set_back_seconds()
    assert sum(steps) - 1.001 < told < sum(steps) + 0.001
