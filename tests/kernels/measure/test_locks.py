"""Sharded locks as their user sees them: how many shards to have, and that hot keys gain nothing from more."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure import locks as module
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.locks import KEYS, SKEWS, enough_shards, locks, numbers_of_shards
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.kernels.measure.together import ApartError, Rounds
from engram_diagnose.rulebase import load_rules

CPUS = tuple(sorted(os.sched_getaffinity(0)) * 2)[:2]
PATIENT = 2.0
"""Seconds to wait for threads of other tests that have the CPUs."""
WORDS = ["uniform", "zipf 0.99", "zipf 1.3"]
ADVICE = ["locks.shards", "locks.best_rate", "locks.gain", "locks.further_gain"]


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    read = read_limits(load_rules((), thorough=False).texts, "kernels")
    return {**read, "repeats": 5, "locks_seconds": 0.02, "meeting_seconds": PATIENT}


@pytest.fixture
def bench(limits: Mapping[str, float]) -> Iterator[Bench]:
    with Pool(CPUS) as pool:
        yield Bench(limits, CPUS, 64 << 20, pool)


def of(found: list[Outcome], name: str, keys: str) -> list[Measurement]:
    return [
        one for one in found if isinstance(one, Measurement) and one.name == name and one.labels.get("keys") == keys
    ]


def planted(monkeypatch: pytest.MonkeyPatch, rate: Callable[[int], float]) -> None:
    """Operations per second by number of shards, the same with all keys."""

    def rounds(bench: Bench, runs: Mapping[int, object]) -> Rounds[int]:
        return Rounds({shards: tuple(rate(shards) * by for by in (0.99, 1.0, 1.01)) for shards in runs}, 0, 0.0)

    monkeypatch.setattr(module, "rounds_of", rounds)


def test_each_skew_has_its_rates_its_number_of_shards_and_its_gains(bench: Bench) -> None:
    found = locks(bench)
    for word in WORDS:
        rates = of(found, "locks.rate", word)
        assert [one.labels["shards"] for one in rates] == ["1", "2", "4", "8", "16", "32"]
        assert all(one.unit == "/s" and one.better == "higher" and one.threads == 2 for one in rates)
        assert [len(of(found, name, word)) for name in ADVICE] == [1, 1, 1, 1]
        (shards,), (best,) = of(found, "locks.shards", word), of(found, "locks.best_rate", word)
        (same,) = [rate for rate in rates if rate.labels["shards"] == str(int(shards.median))]
        assert best.values == same.values


def test_shards_go_to_sixteen_a_core() -> None:
    assert numbers_of_shards(2) == (1, 2, 4, 8, 16, 32)
    assert numbers_of_shards(6) == (1, 2, 4, 8, 16, 32, 64, 128)
    assert numbers_of_shards(1) == (1,)


def test_the_least_that_are_nearly_as_good_are_enough() -> None:
    assert enough_shards({1: 10, 2: 19, 4: 37, 8: 40, 16: 39}, 0.10) == 4
    assert enough_shards({1: 10, 2: 19, 4: 37, 8: 40, 16: 39}, 0.01) == 8
    assert enough_shards({1: 10, 2: 9, 4: 8}, 0.10) == 1


def test_even_keys_gain_with_every_shard(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda shards: 1e6 * shards)
    found = locks(bench)
    (shards,), (gain,) = of(found, "locks.shards", "uniform"), of(found, "locks.gain", "uniform")
    (further,) = of(found, "locks.further_gain", "uniform")
    assert (shards.values, shards.unit, shards.notes) == ((32.0,), "count", ())
    assert gain.median == pytest.approx(32)
    assert gain.notes == ("32 shards over one",)
    assert further.median == pytest.approx(8)
    assert further.notes == ("32 shards over 4",)


def test_hot_keys_are_said_to_gain_nothing_from_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda shards: 1e6 * min(shards, 2))
    (shards,) = of(found := locks(bench), "locks.shards", "zipf 1.3")
    (further,) = of(found, "locks.further_gain", "zipf 1.3")
    assert shards.values == (2.0,)
    assert further.median == pytest.approx(1)
    for one in (shards, further):
        assert "the hottest key is 26% of all operations, and has one lock however many there are" in one.notes[-1]


def test_advice_is_as_sure_as_the_rates_it_follows_from(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def rounds(bench: Bench, runs: Mapping[int, object]) -> Rounds[int]:
        return Rounds({shards: (1.0, 2.0, 5.0) if shards == 2 else (1.0, 1.0, 1.0) for shards in runs}, 0, 0.0)

    monkeypatch.setattr(module, "rounds_of", rounds)
    found = locks(bench)
    for name in ("locks.shards", "locks.gain"):
        assert [one.stability for one in of(found, name, "uniform")] == ["unstable"]


def test_even_keys_have_no_hot_one_to_blame(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda shards: 1e6)
    found = locks(bench)
    assert of(found, "locks.shards", "uniform")[0].notes == ()
    assert of(found, "locks.gain", "uniform")[0].notes == ("one shard is enough",)


@pytest.mark.parametrize("skew", SKEWS, ids=lambda skew: skew.word)
def test_keys_are_drawn_as_often_as_their_skew_says(skew: module.Skew) -> None:
    count = 200_000
    drawn = np.sort(np.bincount(skew.draw(count), minlength=KEYS))[::-1]
    assert drawn.sum() == count
    shares = skew.shares()
    assert shares.sum() == pytest.approx(1)
    hot = int(np.searchsorted(np.cumsum(shares), 0.3)) + 1
    if skew.exponent:
        assert drawn[:hot].sum() / count == pytest.approx(shares[:hot].sum(), abs=0.02)
    else:
        assert drawn.max() < 20


def test_hot_keys_lie_apart_and_the_same_keys_are_drawn_each_time() -> None:
    drawn = SKEWS[2].draw(50_000)
    assert (drawn == SKEWS[2].draw(50_000)).all()
    assert drawn.dtype == np.int32
    hottest = np.argsort(np.bincount(drawn, minlength=KEYS))[::-1][:10]
    assert np.diff(np.sort(hottest)).min() > 8  # a line holds eight counts


def test_one_cpu_has_its_rate_and_no_gain(bench: Bench) -> None:
    found = locks(replace(bench, cpus=bench.cpus[:1]))
    for word in WORDS:
        (rate,) = of(found, "locks.rate", word)
        (best,) = of(found, "locks.best_rate", word)
        assert (rate.labels["shards"], rate.threads, rate.values) == ("1", 1, best.values)
    unmeasured = [one for one in found if isinstance(one, Unmeasured)]
    assert [one.name for one in unmeasured] == ["locks.shards", "locks.gain", "locks.further_gain"] * 3
    assert all("one CPU" in one.reason and one.get_by for one in unmeasured)


def test_too_little_memory_is_said(bench: Bench) -> None:
    (only,) = locks(replace(bench, memory=1 << 20))
    assert isinstance(only, Unmeasured)
    assert "memory" in only.reason


def test_threads_that_are_held_back_are_said_to_be(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def rounds(*_: object) -> Rounds[int]:
        raise ApartError

    monkeypatch.setattr(module, "rounds_of", rounds)
    found = locks(bench)
    assert [one.name for one in found] == ["locks.rate", *ADVICE] * 3
    assert all(isinstance(one, Unmeasured) and "at the same time" in one.reason for one in found)


def test_it_ends_when_asked_to(bench: Bench) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        locks(replace(bench, check=stop))
