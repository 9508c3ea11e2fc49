"""All steps together: how long they may take, and what follows what."""

import os
from collections.abc import Callable

import pytest
from hosts import LIMITS

from engram_diagnose.collectors.capture import deep
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.step import Context, Step
from engram_diagnose.collectors.capture.target import LocalTarget, local_target


@pytest.fixture
def budgets(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """The seconds that each group of steps is given."""

    def of(seconds: float, *, profile: bool, took: float = 0.0, **limits: float) -> list[float]:
        given: list[float] = []
        time = [1000.0]

        def run_steps(context: Context, steps: list[Step], *, seconds: float, **_: object) -> list[object]:
            given.append(seconds)
            time[0] += took
            return []

        monkeypatch.setattr(deep, "run_steps", run_steps)
        target = local_target(pid=os.getpid())
        assert isinstance(target, LocalTarget)
        machine = Machine("h", now=lambda: time[0])
        deep.capture_target(machine, target, limits=LIMITS | limits, events={}, seconds=seconds, profile=profile)
        return given

    return of


def test_at_the_defaults_the_budgets_are_those_of_the_limits(budgets) -> None:
    assert budgets(LIMITS["watch"], profile=False) == [LIMITS["budget"]]
    assert set(budgets(LIMITS["profile_watch"], profile=True)) == {LIMITS["profile_budget"]}


def test_a_long_profile_has_the_time_to_be_read_back_and_what_follows_has_its_own(budgets) -> None:
    watched, *afterwards = budgets(120.0, profile=True, took=130.0)
    assert watched > 1.5 * 120 + 30
    assert afterwards[0] > 10


def test_what_is_left_once_the_time_is_over_is_said_to_be_for_want_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    time = [1000.0]

    def run_steps(context: Context, steps: list[Step], **_: object) -> list[str]:
        time[0] += 100.0
        return [context.stop.why if context.stop.is_set() else step.name for step in steps]

    monkeypatch.setattr(deep, "run_steps", run_steps)
    target = local_target(pid=os.getpid())
    assert isinstance(target, LocalTarget)
    machine = Machine("h", now=lambda: time[0])
    answers = deep.capture_target(machine, target, limits=LIMITS, events={}, seconds=1.0, profile=True)
    assert answers[-3] == "the 60 s of a profile were over"
