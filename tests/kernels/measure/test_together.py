"""Threads that run at once, in turns with others, and what is said when they did not."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import NoReturn

import pytest

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.loops.gate import Span
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Unmeasured
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.kernels.measure.together import ApartError, Gate, LostError, at_once, rounds_of
from engram_diagnose.rulebase import load_rules

CPUS = tuple(sorted(os.sched_getaffinity(0)) * 2)[:2]


@pytest.fixture
def bench() -> Iterator[Bench]:
    limits = read_limits(load_rules((), thorough=False).texts, "kernels")
    with Pool(CPUS) as pool:
        yield Bench({**limits, "repeats": 4}, CPUS, 1 << 24, pool)


def test_each_thread_is_told_its_number_and_all_have_one_gate(bench: Bench) -> None:
    gates: list[Gate] = []

    def call(number: int, gate: Gate) -> Span:
        gates.append(gate)
        return Span(number + 1, 0.5)

    assert at_once(bench.pool, (1, 0), call) == [Span(1, 0.5), Span(2, 0.5)]
    assert gates[0] is gates[1]
    assert not gates[0].any()


def test_threads_that_did_not_meet_have_no_figure(bench: Bench) -> None:
    with pytest.raises(ApartError, match="same time"):
        at_once(bench.pool, (0, 1), lambda number, _: Span(number, 0.5 * number))


def test_each_repeat_takes_all_figures_and_the_first_is_not_counted(bench: Bench) -> None:
    taken: list[tuple[str, int]] = []

    def run(name: str) -> object:
        def figure(number: int) -> float:
            taken.append((name, number))
            return float(number)

        return figure

    rounds = rounds_of(bench, {"a": run("a"), "b": run("b")})  # type: ignore[dict-item]
    assert rounds.values == {"a": (1.0, 2.0, 3.0, 4.0), "b": (1.0, 2.0, 3.0, 4.0)}
    assert [number for _, number in taken] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [name for name, _ in taken] == ["b", "a", "a", "b", "b", "a", "a", "b", "b", "a"]


def test_a_repeat_without_all_threads_is_left_out_of_every_figure(bench: Bench) -> None:
    def misses(number: int) -> float:
        if number == 2:
            raise ApartError
        return float(number)

    rounds = rounds_of(bench, {"whole": float, "misses": misses})
    assert rounds.values == {"whole": (1.0, 3.0, 4.0), "misses": (1.0, 3.0, 4.0)}


def test_threads_that_seldom_meet_are_given_up(bench: Bench) -> None:
    tried: list[int] = []

    def misses(number: int) -> float:
        tried.append(number)
        raise ApartError

    with pytest.raises(ApartError):
        rounds_of(bench, {"misses": misses})
    assert len(tried) == 3


def test_lost_updates_are_no_figure_to_repeat(bench: Bench) -> None:
    def loses(_: int) -> NoReturn:
        raise LostError(99, 100)

    with pytest.raises(LostError) as raised:
        rounds_of(bench, {"loses": loses})
    found = raised.value.of("sharing.add", {"threads": "2"})
    assert isinstance(found, Unmeasured)
    assert "of 100 updates 99 arrived" in found.reason
    assert found.labels == {"threads": "2"}


def test_on_a_busy_host_there_are_fewer_repeats_but_never_too_few(bench: Bench) -> None:
    slow = replace(bench, limits={**bench.limits, "repeats": 9, "turns_longest": 1e-9, "turns_least": 3})
    assert rounds_of(slow, {"slow": float}).values == {"slow": (1.0, 2.0, 3.0)}
