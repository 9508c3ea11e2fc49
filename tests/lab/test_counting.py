"""Averages over time: how many workers were at work from one tick to the next."""

from types import SimpleNamespace

import numpy as np
import pytest

from engram_diagnose.lab import counting
from engram_diagnose.lab.counting import Occupation
from engram_diagnose.lab.loops import world as at

SECOND = 1_000_000_000


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 50 * SECOND

    def monotonic_ns(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(counting, "time", made)
    return made


def world_of(*, worked: tuple[float, ...], began: tuple[float, ...] = ()) -> SimpleNamespace:
    """Workers that worked for so many seconds so far, and began what they are at when it was so late (0: nothing)."""
    counts = np.zeros((len(worked), at.WORKER_FIGURES), np.int64)
    counts[:, at.BUSY_NS] = np.array(worked) * SECOND
    counts[:, at.BUSY] = np.array(began or (0,) * len(worked)) * SECOND
    return SimpleNamespace(counts=counts)


def test_before_the_first_tick_it_is_the_average_since_the_start(clock: Clock) -> None:
    occupation = Occupation()
    clock.now += 4 * SECOND
    assert occupation.shares(world_of(worked=(1, 4, 0))) == pytest.approx([0.25, 1, 0])


def test_from_then_on_it_is_that_of_the_last_whole_stretch_however_often_it_is_asked_for(clock: Clock) -> None:
    occupation = Occupation()
    clock.now += 10 * SECOND
    occupation.tick(world_of(worked=(1, 10)))
    clock.now += SECOND
    occupation.tick(world_of(worked=(1.5, 10)))
    clock.now += SECOND // 10
    for _ in range(3):
        assert occupation.shares(world_of(worked=(1.6, 10.1))) == pytest.approx([0.5, 0])


def test_what_a_worker_is_at_counts_as_far_as_it_is(clock: Clock) -> None:
    occupation = Occupation()
    occupation.tick(world_of(worked=(0, 0)))
    clock.now += SECOND
    occupation.tick(world_of(worked=(0, 0), began=(50.25, 0)))
    assert occupation.shares(world_of(worked=(0, 0))) == pytest.approx([0.75, 0])
