"""Works that are compared are timed in turns."""

import time
import weakref
from collections.abc import Callable

import pytest

from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.sampling import in_turns
from engram_diagnose.kernels.measure.threads import Pool

LIMITS = {"repeats": 4.0, "figure_seconds": 1e-6}


def noting(name: str, seen: list[str]) -> Callable[[int], object]:
    def work(rounds: int) -> None:
        seen.extend([name] * (rounds > 0))

    return work


def test_each_repeat_has_a_turn_of_every_work() -> None:
    seen: list[str] = []
    with Pool((0,)) as pool:
        bench = Bench(LIMITS, (0,), 1, pool)
        found = in_turns([noting("a", seen), noting("b", seen), noting("c", seen)], bench)
    assert seen[-12:] == ["a", "b", "c"] * 4
    assert [len(one.seconds) for one in found] == [4, 4, 4]


def test_all_are_done_as_often_as_the_first() -> None:
    with Pool((0,)) as pool:
        found = in_turns([lambda rounds: sum(range(100 * rounds)), lambda _: None], Bench(LIMITS, (0,), 1, pool))
    assert found[0].rounds == found[1].rounds


def test_whoever_ends_the_measuring_ends_it_between_two_repeats() -> None:
    seen: list[str] = []
    calls = iter([None, None])

    def check() -> None:
        if next(calls, "end") == "end":
            raise KeyboardInterrupt

    with Pool((0,)) as pool, pytest.raises(KeyboardInterrupt):
        in_turns([noting("a", seen)], Bench(LIMITS, (0,), 1, pool, check=check), repeats=9)
    assert len(seen) < 9


def test_what_a_call_held_is_let_go_when_it_has_ended() -> None:
    class Large:
        pass

    made: list[weakref.ref[Large]] = []

    def call() -> Large:
        large = Large()
        made.append(weakref.ref(large))
        return large

    with Pool((0,)) as pool:
        pool.run(call)
        deadline = time.monotonic() + 10  # the thread lets go just after it has said that it is done
        while made[0]() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert made[0]() is None
