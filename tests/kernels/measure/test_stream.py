"""Bandwidth as its user sees it: what is measured, how large its arrays are, what is said where they are too small."""

import os
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.loops.stream import Windows
from engram_diagnose.kernels.measure import stream as module
from engram_diagnose.kernels.measure.bench import Bench, Cache
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.memory import Buffer
from engram_diagnose.kernels.measure.sampling import Took
from engram_diagnose.kernels.measure.stream import ALL, ONE, OPERATIONS, READ, Walk, level_size, stream, wanted_size
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.rulebase import load_rules

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LIMITS = {
    **read_limits(load_rules((), thorough=False).texts, "kernels"),
    "repeats": 3,
    "stream_seconds": 0.0003,
    "meeting_seconds": 0.05,
}
CPUS = (tuple(sorted(os.sched_getaffinity(0))) * 2)[:2]
CLAIMED = (Cache(1, 32 * KIB, 1), Cache(2, 128 * KIB, 1), Cache(3, MIB, 2))


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Pool(CPUS) as pool:
        yield Bench(LIMITS, CPUS, 16 * MIB, pool, CLAIMED)


@pytest.fixture(scope="module")
def found(bench: Bench) -> list[Outcome]:
    return stream(bench)


@pytest.fixture
def alone() -> Iterator[Bench]:
    with Pool(CPUS[:1]) as pool:
        yield Bench(LIMITS, CPUS[:1], 16 * MIB, pool, CLAIMED)


def of(found: list[Outcome], name: str, **labels: str) -> Outcome:
    (one,) = [one for one in found if one.name == name and one.labels == labels]
    return one


def measurement(found: list[Outcome], name: str, **labels: str) -> Measurement:
    one = of(found, name, **labels)
    assert isinstance(one, Measurement)
    return one


# ── what is measured ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("who", [ONE, ALL])
def test_every_operation_is_measured_by_one_thread_and_by_all(found: list[Outcome], who: str) -> None:
    for name in ("stream.copy", "stream.scale", "stream.add", "stream.triad", "stream.triad_past_caches"):
        one = measurement(found, name, threads=who)
        assert (one.unit, one.better, one.threads, len(one.values)) == ("B/s", "higher", 1 if who == ONE else 2, 3)
        assert one.median > 0
    for level in ("L1", "L2", "L3", "memory"):
        assert measurement(found, "stream.read", threads=who, level=level).median > 0
    assert len(found) == 2 * 9


def test_no_two_outcomes_have_the_same_name_and_labels(found: list[Outcome]) -> None:
    keys = [(one.name, *sorted(one.labels.items())) for one in found]
    assert len(set(keys)) == len(keys)


def test_what_all_reach_on_one_cpu_is_what_one_reaches(alone: Bench) -> None:
    found = stream(alone)
    for name in ("stream.copy", "stream.triad_past_caches"):
        one, every = (measurement(found, name, threads=who) for who in (ONE, ALL))
        assert (one.values, one.threads) == (every.values, every.threads)


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("stream.copy", 16), ("stream.scale", 16), ("stream.add", 24), ("stream.triad", 24),
        ("stream.triad_past_caches", 24), ("stream.read", 8),
    ],
)  # fmt: skip
def test_the_bytes_that_count_are_those_of_the_formula(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, counted: int
) -> None:
    """As STREAM has it: not the line that a store reads before it."""
    monkeypatch.setattr(module, "together", lambda _, operation, walks, rounds: Took(rounds * 2.0))
    one = next(one for one in module._by(bench, ALL) if one.name == name)
    assert isinstance(one, Measurement)
    window = min(4 * MIB, LIMITS["stream_window"], 4 * MIB // 2)
    assert one.median == 2 * counted * window / 8 / 2.0


# ── how large, and where ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def buffers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any, set[int]]]:
    """The size of each buffer as it was got, a reference to it, and the CPUs of the thread that got it."""
    got: list[tuple[int, Any, set[int]]] = []
    original = module.buffer

    def record(size: int, **options: Any) -> Buffer:
        made = original(size, **options)
        got.append((size, weakref.ref(made.bytes.base), os.sched_getaffinity(0)))
        return made

    monkeypatch.setattr(module, "buffer", record)
    return got


def test_each_thread_touches_its_own_arrays_first(bench: Bench, buffers: list[tuple[int, Any, set[int]]]) -> None:
    module._by(bench, ALL)
    assert sorted(min(cpus) for _, _, cpus in buffers) == sorted(CPUS)
    assert all(len(cpus) == 1 for _, _, cpus in buffers)


def test_an_array_is_four_times_the_last_caches_together(
    buffers: list[tuple[int, Any, set[int]]], bench: Bench
) -> None:
    found = stream(bench)
    assert sorted(size for size, _, _ in buffers) == [3 * 2 * MIB, 3 * 2 * MIB, 3 * 4 * MIB]
    assert not measurement(found, "stream.triad", threads=ONE).notes or "huge" in " ".join(
        measurement(found, "stream.triad", threads=ONE).notes
    )


def test_all_buffers_together_stay_within_what_memory_allows(
    bench: Bench, buffers: list[tuple[int, Any, set[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = []
    original = module._of_memory

    def record(*given: Any) -> list[Outcome]:
        most.append(sum(size for size, gone, _ in buffers if gone() is not None))
        return original(*given)

    monkeypatch.setattr(module, "_of_memory", record)
    found = stream(replace(bench, memory=6 * MIB, caches=(*CLAIMED[:2], Cache(3, 480 * MIB, 4))))
    assert len(most) == 2
    assert all(5 * MIB < each <= 6 * MIB for each in most)
    notes = measurement(found, "stream.copy", threads=ONE).notes
    assert "L3 is claimed to be 480 MiB: arrays should have 1.88 GiB, and memory allows 2 MiB" in notes[0]


def test_arrays_that_the_inner_caches_hold_are_not_taken_for_memory(bench: Bench) -> None:
    found = stream(replace(bench, memory=MIB // 2))
    one = of(found, "stream.triad", threads=ONE)
    assert isinstance(one, Unmeasured)
    assert "most of which L2 holds" in one.reason
    assert one.get_by == "give this program more memory"
    assert measurement(found, "stream.read", threads=ONE, level="L1").median > 0


def test_with_no_memory_at_all_nothing_is_measured_and_everything_is_said_to_be(bench: Bench) -> None:
    found = stream(replace(bench, memory=1000))
    assert all(isinstance(one, Unmeasured) for one in found)
    assert {one.name for one in found} == {one.name for one in OPERATIONS}


def test_where_no_cache_is_claimed_arrays_are_as_large_as_memory_allows(bench: Bench) -> None:
    found = stream(replace(bench, caches=(), memory=3 * MIB))
    assert "no cache is claimed: arrays of 1024 KiB" in measurement(found, "stream.add", threads=ONE).notes[0].replace(
        "1 MiB", "1024 KiB"
    )
    assert [one.labels["level"] for one in found if one.name == "stream.read"] == ["memory", "memory"]


def test_huge_pages_that_were_not_given_are_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    original = module.buffer
    monkeypatch.setattr(module, "buffer", lambda size, **options: replace(original(size, **options), huge=0.25))
    notes = measurement(stream(bench), "stream.copy", threads=ONE).notes
    assert any("25% of the arrays lie on huge pages" in note for note in notes)


# ── levels of cache ──────────────────────────────────────────────────────────────────────────────


def test_a_level_is_read_at_half_of_what_a_thread_has_of_it() -> None:
    last = Cache(3, 32 * MIB, 8)
    assert level_size(last, 1, LIMITS) == 16 * MIB
    assert level_size(last, 4, LIMITS) == 4 * MIB
    assert level_size(last, 64, LIMITS) == 2 * MIB  # eight share it, however many there are


def test_of_a_level_that_claims_to_be_huge_a_few_times_the_one_below_are_read() -> None:
    assert level_size(Cache(3, 480 * MIB, 4), 1, LIMITS, below=Cache(2, 2 * MIB, 1)) == 8 * MIB
    assert level_size(Cache(3, 4 * MIB, 1), 1, LIMITS, below=Cache(2, 2 * MIB, 1)) == 2 * MIB


@given(size=st.integers(0, 1 << 30), sharers=st.integers(1, 256), threads=st.integers(1, 256))
def test_no_level_is_read_at_its_edge(size: int, sharers: int, threads: int) -> None:
    cache = Cache(1, size, sharers)
    assert level_size(cache, threads, LIMITS) * min(sharers, threads) <= size * LIMITS["level_share"]


def test_a_level_of_which_a_thread_has_less_than_of_the_one_below_is_not_measured(bench: Bench) -> None:
    found = stream(replace(bench, caches=(*CLAIMED[:2], Cache(3, 512 * KIB, 2))))
    one = of(found, "stream.read", threads=ALL, level="L3")
    assert isinstance(one, Unmeasured)
    assert "inside the level below" in one.reason


def test_a_level_that_memory_has_no_room_for_is_not_measured(bench: Bench) -> None:
    found = stream(replace(bench, memory=6 * MIB, caches=(CLAIMED[0], Cache(2, 1 * MIB, 1), Cache(3, 480 * MIB, 2))))
    one = of(found, "stream.read", threads=ONE, level="L3")
    assert isinstance(one, Unmeasured)
    assert "4 MiB of it are needed, and memory allows 2 MiB" in one.reason


def test_a_cache_that_is_no_faster_than_memory_is_said_not_to_be_had(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "together", lambda _, __, walks, rounds: Took(rounds * sum(walk.window for walk in walks) / 1e9)
    )
    found = module._by(bench, ALL)
    assert (
        "does not have the 1 MiB that are claimed"
        in measurement(found, "stream.read", threads=ALL, level="L3").notes[1]
    )


def test_the_last_cache_is_shared_out_among_the_threads_and_all_of_several_count(bench: Bench) -> None:
    one_of_two = replace(bench, cpus=tuple(range(8)), caches=(Cache(3, 32 * MIB, 4),))
    assert wanted_size(one_of_two, 8) == 4 * 2 * 32 * MIB // 8
    assert wanted_size(one_of_two, 1) == 4 * 32 * MIB


# ── walking and stopping ─────────────────────────────────────────────────────────────────────────


@given(count=st.integers(1, 50), rounds=st.lists(st.integers(0, 120), max_size=6))
def test_a_walk_goes_on_where_it_stopped_and_comes_round(count: int, rounds: list[int]) -> None:
    seen: list[int] = []

    def go(_: Any, over: Windows) -> None:
        seen.extend((over.first + number) % count for number in range(over.rounds))

    walk = Walk((np.zeros(count * 4),), 32)
    for each in rounds:
        walk.run(replace(READ, run=go), each)
    assert seen == [number % count for number in range(sum(rounds))]


def test_what_check_raises_ends_it_and_leaves_the_pool_usable(bench: Bench) -> None:
    class StopError(Exception):
        pass

    for limit in (1, 5, 40):
        asked = []

        def check(limit: int = limit, asked: list[bool] = asked) -> None:
            asked.append(True)
            if len(asked) == limit:
                raise StopError

        with pytest.raises(StopError):
            stream(replace(bench, check=check))
    assert bench.pool.run(lambda: 1) == [1]


def test_it_says_what_it_does(bench: Bench) -> None:
    said: list[str] = []
    stream(replace(bench, memory=1000, say=said.append))
    assert said == ["memory bandwidth of 2 threads", "memory bandwidth of one thread"]


def test_threads_that_do_not_meet_in_time_are_measured_nonetheless(bench: Bench) -> None:
    walks = [Walk((np.zeros(512),), 4096)]
    late = replace(bench, limits={**LIMITS, "meeting_seconds": 0.001})
    took = module.together(late, READ, walks * 2, 3)
    assert took.seconds > 0
