"""False sharing as its user sees it: a figure for each layout, what padding gains, and no figure of what is broken."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.loops.gate import Span
from engram_diagnose.kernels.measure import sharing as module
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.sharing import UPDATES, sharing
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.rulebase import load_rules

HERE = sorted(os.sched_getaffinity(0))
THREE = tuple(HERE * 3)[:3]


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    read = read_limits(load_rules((), thorough=False).texts, "kernels")
    # Threads of other tests may have the CPUs for a while.
    return {**read, "repeats": 5, "sharing_seconds": 0.02, "meeting_seconds": 2.0}


@pytest.fixture
def bench(limits: Mapping[str, float]) -> Iterator[Bench]:
    with Pool(THREE) as pool:
        yield Bench(limits, THREE, 1 << 20, pool)


def of(found: list[Outcome], name: str) -> list[Measurement]:
    return [one for one in found if isinstance(one, Measurement) and one.name == name]


def planted(monkeypatch: pytest.MonkeyPatch, nanoseconds: Mapping[int, float], *, lost: int = 0) -> None:
    """Counters that take so long by the bytes from one to the next, of which some get lost."""

    def add(counters: Any, which: int, gate: Any, threads: int, **_: float) -> Span:
        counters[which] += 1000 - (lost if which else 0)
        step = which * counters.itemsize
        return Span(1000, nanoseconds[step] * 1e-6)

    monkeypatch.setattr(module, "UPDATES", tuple(replace(update, add=add) for update in UPDATES))


def test_two_threads_and_all_have_a_figure_for_each_layout(bench: Bench) -> None:
    found = sharing(bench)
    for name in ("sharing.add", "sharing.float_add"):
        figures = of(found, name)
        assert [(one.labels["threads"], one.labels["layout"]) for one in figures] == [
            (threads, layout) for threads in ("2", "3") for layout in ("adjacent", "64 B", "128 B")
        ]
        assert all(one.unit == "s" and one.better == "lower" and len(one.values) <= 5 for one in figures)
        assert [one.threads for one in figures] == [2, 2, 2, 3, 3, 3]
    factors = of(found, "sharing.factor")
    assert [(one.labels["update"], one.labels["threads"]) for one in factors] == [
        ("add", "2"), ("float add", "2"), ("add", "3"), ("float add", "3")
    ]  # fmt: skip
    assert all(one.unit == "" and one.better == "higher" for one in factors)


def test_two_cpus_are_told_once(limits: Mapping[str, float]) -> None:
    with Pool(THREE[:2]) as pool:
        found = sharing(Bench(limits, THREE[:2], 1 << 20, pool))
    assert len(of(found, "sharing.add")) == 3
    assert {one.labels["threads"] for one in found} == {"2"}


def test_the_factor_is_that_of_the_widest_padding(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    two = replace(bench, cpus=bench.cpus[:2])
    planted(monkeypatch, {0: 5, 4: 60, 8: 40, 64: 10, 128: 5})
    factor, float_factor = of(sharing(two), "sharing.factor")
    assert factor.median == pytest.approx((40 + 5) / (5 + 5))
    assert float_factor.median == pytest.approx((60 + 5) / (5 + 5))
    assert "128 B apart takes 33% less time than 64 B" in factor.notes


def test_padding_that_gains_nothing_is_said_to(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, {0: 5, 4: 60, 8: 40, 64: 5.1, 128: 5})
    (factor, _) = of(sharing(replace(bench, cpus=bench.cpus[:2])), "sharing.factor")
    assert "128 B apart gains nothing over 64 B" in factor.notes


def test_a_lost_update_is_no_figure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, {0: 5, 4: 60, 8: 40, 64: 10, 128: 5}, lost=1)
    found = sharing(replace(bench, cpus=bench.cpus[:2]))
    assert not any(isinstance(one, Measurement) for one in found)
    assert {one.name for one in found} == {"sharing.add", "sharing.float_add", "sharing.factor"}
    assert all("of 2000 updates 1999 arrived" in one.reason for one in found if isinstance(one, Unmeasured))


def test_threads_of_one_core_are_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, {0: 5, 4: 60, 8: 40, 64: 10, 128: 5})
    monkeypatch.setattr(module, "siblings_of", lambda _: frozenset(THREE))
    found = sharing(replace(bench, cpus=bench.cpus[:2]))
    assert all("one core" in one.notes[0] for one in found if isinstance(one, Measurement))


def test_one_cpu_is_said_to_be_too_few(bench: Bench) -> None:
    found = sharing(replace(bench, cpus=bench.cpus[:1]))
    assert [one.name for one in found] == ["sharing.add", "sharing.float_add", "sharing.factor"]
    assert all(isinstance(one, Unmeasured) and "one CPU" in one.reason and one.get_by for one in found)


def test_threads_that_are_held_back_are_said_to_be(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    late = tuple(replace(update, add=lambda *_, **__: Span(0, 0.0)) for update in UPDATES)
    monkeypatch.setattr(module, "UPDATES", late)
    found = sharing(bench)
    assert all(isinstance(one, Unmeasured) and "at the same time" in one.reason for one in found)


def test_it_ends_when_asked_to(bench: Bench) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sharing(replace(bench, check=stop))


def test_what_it_does_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, {0: 5, 4: 60, 8: 40, 16: 40, 64: 10, 128: 5, 256: 5})
    said: list[str] = []
    sharing(replace(bench, say=said.append))
    assert said == ["false sharing: counters of 2 threads", "false sharing: counters of 3 threads"]
