"""Latency from core to core as its user sees it: a matrix, what it comes to, and whether it will stay so."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.loops.gate import Span
from engram_diagnose.kernels.measure import cores as module
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.cores import NAMES, Pair, cores
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.kernels.measure.together import Rounds
from engram_diagnose.rulebase import load_rules

HERE = sorted(os.sched_getaffinity(0))
THREE = tuple(HERE * 3)[:3]
DISTINCT = (4, 6, 7)
"""Numbers of CPUs for what is planted: nothing runs on them."""


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    read = read_limits(load_rules((), thorough=False).texts, "kernels")
    return {**read, "repeats": 3, "figure_seconds": 0.03, "meeting_seconds": 2.0}


@pytest.fixture
def bench(limits: Mapping[str, float]) -> Iterator[Bench]:
    with Pool(THREE) as pool:
        yield Bench(limits, THREE, 1 << 20, pool)


def measurements(found: list[Outcome], name: str) -> list[Measurement]:
    return [one for one in found if isinstance(one, Measurement) and one.name == name]


def planted(monkeypatch: pytest.MonkeyPatch, passes: list[Callable[[Pair], float]]) -> None:
    """Nanoseconds of a pair, the same in each repeat, by pass."""
    left = list(passes)

    def matrix(bench: Bench, pairs: list[Pair]) -> Rounds[Pair]:
        distance = left.pop(0)
        return Rounds({pair: (distance(pair) * 1e-9,) * 3 for pair in pairs}, 1, 0.0)

    monkeypatch.setattr(module, "_matrix", matrix)
    monkeypatch.setattr(module, "siblings_of", lambda cpu: frozenset({6, 7} if cpu in (6, 7) else {cpu}))


def test_each_pair_is_measured_twice(bench: Bench) -> None:
    found = cores(bench)
    pairs = measurements(found, "cores.round_trip")
    one, other, last = THREE
    assert [pair.labels["cpus"] for pair in pairs] == [f"{one}-{other}", f"{one}-{last}", f"{other}-{last}"]
    assert all(pair.unit == "s" and pair.better == "lower" and 4 <= len(pair.values) <= 6 for pair in pairs)
    (typical,) = measurements(found, "cores.typical")
    assert min(pair.median for pair in pairs) / 2 < typical.median < max(pair.median for pair in pairs) * 2
    (factor,) = measurements(found, "cores.factor")
    assert factor.median >= 1


def test_what_the_matrix_comes_to(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    distances = {(0, 1): 100.0, (0, 2): 120.0, (1, 2): 10.0}
    planted(monkeypatch, [distances.__getitem__] * 2)
    found = cores(replace(bench, cpus=DISTINCT))
    assert [one.stability for one in found if isinstance(one, Measurement)] == ["stable"] * 5
    (typical,), (factor,) = measurements(found, "cores.typical"), measurements(found, "cores.factor")
    assert typical.median == pytest.approx(100e-9)
    assert factor.median == pytest.approx(12)
    siblings = measurements(found, "cores.round_trip")[2]
    assert (siblings.labels["cpus"], siblings.notes) == ("6-7", ("two threads of one core",))


def test_a_pair_that_has_moved_is_unstable_and_so_is_the_matrix(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, [lambda _: 120, lambda pair: 28 if pair == (0, 2) else 120])
    found = cores(replace(bench, cpus=DISTINCT))
    first, moved, last = measurements(found, "cores.round_trip")
    assert moved.stability == "unstable"
    assert moved.notes == ("placement unstable: 120 ns at first, 28 ns a moment later",)
    assert (first.stability, last.stability) == ("stable", "stable")
    for one in (*measurements(found, "cores.typical"), *measurements(found, "cores.factor")):
        assert one.stability == "unstable"
        assert one.notes == ("placement unstable: 1 of 3 pairs were another distance apart a moment later",)


def test_passes_that_differ_as_any_two_do_are_one_placement(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, [lambda _: 120, lambda _: 130])
    found = cores(replace(bench, cpus=DISTINCT))
    assert not any("placement" in note for one in found if isinstance(one, Measurement) for note in one.notes)


def test_of_many_cpus_some_pairs_are_measured_and_that_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, [lambda _: 100] * 2)
    found = cores(replace(bench, cpus=tuple(range(100, 356)), limits={**bench.limits, "core_pairs": 20}))
    assert len(measurements(found, "cores.round_trip")) == 20
    (typical,) = measurements(found, "cores.typical")
    assert "20 of 32640 pairs were measured" in typical.notes


def test_the_time_of_all_pairs_together_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[float] = []

    def ping(*_: object, window_seconds: float, **__: float) -> Span:
        windows.append(window_seconds)
        return Span(1, 1e-7)

    monkeypatch.setattr(module, "ping_for", ping)
    monkeypatch.setattr(module, "pong_for", ping)
    cores(replace(bench, limits={**bench.limits, "cores_seconds": 0.036, "figure_seconds": 1.0}))
    assert max(windows) == pytest.approx(0.036 / 3 / 3 / 2)


def test_two_cpus_are_nearest_and_farthest_at_once(bench: Bench) -> None:
    found = cores(replace(bench, cpus=bench.cpus[:2]))
    assert [one.name for one in found] == ["cores.round_trip", "cores.typical"]


def test_one_cpu_is_said_to_be_too_few(bench: Bench) -> None:
    found = cores(replace(bench, cpus=bench.cpus[:1]))
    assert [one.name for one in found] == list(NAMES)
    assert all(isinstance(one, Unmeasured) and "one CPU" in one.reason and one.get_by for one in found)


def test_threads_that_are_held_back_are_said_to_be(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pong_for", lambda *_, **__: Span(0, 0.0))
    monkeypatch.setattr(module, "ping_for", lambda *_, **__: Span(0, 0.0))
    found = cores(bench)
    assert [one.name for one in found] == list(NAMES)
    assert all(isinstance(one, Unmeasured) and "at the same time" in one.reason for one in found)


def test_it_ends_when_asked_to(bench: Bench) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cores(replace(bench, check=stop))
