"""When a run counts, and when the figures have settled."""

from typing import Any

import pytest
from tests.bench.made import run

from engram_diagnose.bench.validity import validity
from engram_diagnose.bench.warming import Warmed, alike, warm_up

P99 = {"store": 0.1, "recall": 0.01}
SOUND: dict[str, Any] = {"lag_p99": 0.0005, "delivered": 1.0, "worker_cpu": 0.5, "aborted": False, "unstable": False}


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({}, []),
        ({"lag_p99": 0.00099}, []),
        ({"lag_p99": 0.0011}, ["client-lag"]),  # a tenth of the smaller limit
        ({"worker_cpu": 0.86}, ["client-cpu"]),
        ({"delivered": 0.98}, ["not-delivered"]),
        ({"unstable": True}, ["unstable"]),
        ({"aborted": True, "worker_cpu": 1.0}, ["client-cpu", "aborted"]),
    ],
)
def test_a_run_whose_bottleneck_was_the_client_says_so(
    change: dict[str, Any], reasons: list[str], limits: dict[str, float]
) -> None:
    found = validity(**(SOUND | change), p99=P99, limits=limits)
    assert (found["reasons"], found["valid"]) == (reasons, not reasons)


def test_without_a_limit_to_hold_it_to_no_lag_is_too_much(limits: dict[str, float]) -> None:
    assert validity(**(SOUND | {"lag_p99": 9.0}), p99={}, limits=limits)["valid"]


class Windows:
    """Windows with these medians, and the clock that they pass on."""

    def __init__(self, *medians: float, served: float = 1.0) -> None:
        self.now = 0.0
        self._made = iter(medians)
        self._served = served

    def __call__(self, seconds: float) -> dict[str, Any]:
        self.now += seconds
        return run("recall", seconds=seconds, fast=next(self._made), served=self._served)

    def warm_up(self, limits: dict[str, float]) -> Warmed:
        return warm_up(self, limits, clock=lambda: self.now)


def test_a_warm_up_ends_as_soon_as_the_last_windows_are_alike(limits: dict[str, float]) -> None:
    assert Windows(0.02, 0.01, 0.005, 0.0051, 0.0049).warm_up(limits) == Warmed(True, 5)


def test_what_does_not_settle_is_told(limits: dict[str, float]) -> None:
    found = Windows(*(0.001 * 1.3**step for step in range(20))).warm_up(limits)
    assert (found.stable, found.ended) == (False, False)
    assert found.windows * limits["warm_window"] <= limits["warm_longest"]


def test_where_a_queue_grows_only_the_rates_are_looked_at(limits: dict[str, float]) -> None:
    assert Windows(*(0.1 * 2**step for step in range(20)), served=0.7).warm_up(limits) == Warmed(True, 3)


def test_a_warm_up_that_is_ended_is_told(limits: dict[str, float]) -> None:
    assert warm_up(lambda seconds: None, limits) == Warmed(False, 0, ended=True)


def test_runs_without_a_good_answer_are_not_alike(limits: dict[str, float]) -> None:
    dead = run("recall", served=0.0, errors={"timeout": 5})
    assert not alike([dead, dead, dead], limits)
