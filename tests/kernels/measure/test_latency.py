"""The latency ladder as its user sees it: what is measured, what is said where something cannot be."""

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure import latency as module
from engram_diagnose.kernels.measure.bench import Bench, Cache
from engram_diagnose.kernels.measure.latency import latency, shown, sizes_of
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.memory import Buffer
from engram_diagnose.kernels.measure.sampling import Repeats
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.rulebase import load_rules

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CLAIMED = (Cache(1, 48 * KIB, 1), Cache(2, 2 * MIB, 1), Cache(3, 480 * MIB, 4))


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    read = read_limits(load_rules((), thorough=False).texts, "kernels")
    return {**read, "repeats": 3, "ladder_seconds": 0.0005}


@pytest.fixture
def bench(limits: Mapping[str, float]) -> Iterator[Bench]:
    with Pool((0,)) as pool:
        yield Bench(limits, (0,), 4 * MIB, pool, CLAIMED)


def of(name: str, found: list[Outcome], **labels: str) -> list[Measurement]:
    return [
        one
        for one in found
        if isinstance(one, Measurement) and one.name == name and labels.items() <= one.labels.items()
    ]


def missing(found: list[Outcome]) -> list[Unmeasured]:
    return [one for one in found if isinstance(one, Unmeasured)]


# ── on this machine ──────────────────────────────────────────────────────────────────────────────


def test_loads_are_measured_on_both_kinds_of_pages_up_to_what_memory_allows(bench: Bench) -> None:
    found = latency(bench)
    small = [one.labels["size"] for one in of("latency.load", found, pages="small")]
    huge = [one.labels["size"] for one in of("latency.load", found, pages="huge")]
    told = [one for one in missing(found) if one.labels.get("pages") == "huge"]
    assert (small[0], small[-1]) == ("16 KiB", "4 MiB")
    assert told or (set(small) < set(huge) and huge[-1] == "4 MiB")
    assert all(one.unit == "s" and len(one.values) == 3 for one in of("latency.load", found))


@pytest.mark.parametrize("memory", [1, 4096, 32 * KIB])
def test_memory_that_is_all_cache_is_said_to_be_too_little(bench: Bench, memory: int) -> None:
    found = latency(replace(bench, memory=memory))
    assert [one.name for one in missing(found)] == ["latency.load"] == [getattr(one, "name", "") for one in found]
    assert "inside the caches" in missing(found)[0].reason


def test_a_ladder_that_does_not_leave_the_caches_says_that_memory_was_not_reached(bench: Bench) -> None:
    for _ in range(5):  # who else empties the caches meanwhile makes a step where there is none
        found = latency(replace(bench, memory=MIB, caches=CLAIMED[:2]))
        if not of("latency.plateau", found, level="memory"):
            break
    told = [one for one in missing(found) if one.labels.get("level") == "memory"]
    assert not of("latency.plateau", found, level="memory")
    assert [one.get_by for one in told] == ["give this program more memory"]


def test_whoever_ends_the_measuring_ends_it_between_two_sizes(bench: Bench) -> None:
    left = 5

    def check() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        latency(replace(bench, check=check))
    assert bench.pool.run(lambda: 7) == [7]


def test_memory_of_the_first_ladder_is_free_before_the_second_takes_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[weakref.ref[Any]] = []
    alive: list[int] = []
    real = module.buffer

    def watched(size: int, **options: Any) -> Buffer:
        alive.append(sum(one() is not None for one in taken))
        made = real(size, **options)
        taken.append(weakref.ref(made.bytes))
        return made

    monkeypatch.setattr(module, "buffer", watched)
    latency(bench)
    assert alive == [0, 0]


# ── on planted curves ────────────────────────────────────────────────────────────────────────────


def planted(
    monkeypatch: pytest.MonkeyPatch, edges: Mapping[int, float], *, huge: float | None = 1.0, repeats: int = 3
) -> None:
    """Every load takes what the first edge at or above its size says, in nanoseconds; nothing is allocated."""

    def load(ladder: Any, size: int, _: Bench) -> None:
        ns = next(taken for edge, taken in edges.items() if size <= edge)
        rounds = tuple(ns * 1e-9 * 1024 * (1 + 0.01 * number) for number in range(repeats))
        ladder.curve[size] = Repeats(rounds, 1, 0, 0.0)

    def made(size: int, *, pages: Any) -> Buffer:
        return Buffer(np.zeros(64, np.uint8), pages, huge if pages == "huge" else 0.0)

    monkeypatch.setattr(module._Ladder, "load", load)
    monkeypatch.setattr(module, "buffer", made)


FOUR = {48 * KIB: 1.4, 2 * MIB: 4.5, 8 * MIB: 35.0, GIB: 160.0}


def test_four_levels_show_four_plateaus_and_the_sizes_of_three_caches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, FOUR)
    found = latency(replace(bench, memory=GIB))
    levels = {one.labels["level"]: one for one in of("latency.plateau", found)}
    sizes = {one.labels["level"]: one for one in of("latency.effective_cache", found)}
    assert {level: round(one.median * 1e9) for level, one in levels.items()} == {
        "L1": 1, "L2": 5, "L3": 35, "memory": 162
    }  # fmt: skip
    assert all(one.labels["pages"] == "huge" and one.unit == "s" for one in levels.values())
    assert sizes["L1"].median == pytest.approx(48 * KIB, rel=0.12)
    assert sizes["L2"].median == pytest.approx(2 * MIB, rel=0.12)
    assert sizes["L3"].median == pytest.approx(8 * MIB, rel=0.12)
    assert all(one.unit == "B" for one in sizes.values())
    (last,) = of("latency.last_cache", found)
    assert last.values == sizes["L3"].values
    assert not missing(found)


def test_a_cache_that_others_use_too_is_told_beside_its_claim(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, FOUR)
    sizes = {one.labels["level"]: one for one in of("latency.effective_cache", latency(replace(bench, memory=GIB)))}
    assert sizes["L2"].notes == ()
    assert sizes["L3"].labels["claimed"] == "480 MiB"
    assert "480 MiB are claimed" in sizes["L3"].notes[0]
    assert "others on the host" in sizes["L3"].notes[0]


def test_a_cache_larger_than_claimed_is_told_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, FOUR)
    claimed = (Cache(1, 48 * KIB, 1), Cache(2, MIB, 1), Cache(3, 7 * MIB, 4))
    found = of("latency.effective_cache", latency(replace(bench, memory=GIB, caches=claimed)), level="L2")
    assert "the claim is another CPU's" in found[0].notes[0]


def test_a_level_that_does_not_show_is_said_not_to(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, {48 * KIB: 1.4, 2 * MIB: 4.5, GIB: 160.0})
    found = latency(replace(bench, memory=GIB))
    assert of("latency.last_cache", found) == []
    assert [(one.name, one.labels) for one in missing(found)] == [("latency.plateau", {"level": "L3"})]
    assert [one.labels["level"] for one in of("latency.plateau", found)] == ["L1", "L2", "memory"]


def test_a_level_that_begins_behind_the_ladder_is_no_fault_of_the_host(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, FOUR)
    told = {one.labels["level"]: one for one in missing(latency(replace(bench, memory=MIB)))}
    assert list(told) == ["L3", "memory"]
    assert told["L3"].reason == "the ladder ends at 1 MiB, before L3 begins"
    assert {one.get_by for one in told.values()} == {"give this program more memory"}


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_where_huge_pages_are_not_given_the_small_ones_show_the_plateaus(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    planted(monkeypatch, FOUR, huge=share)
    found = latency(replace(bench, memory=GIB))
    assert [(one.name, one.labels) for one in missing(found)] == [("latency.load", {"pages": "huge"})]
    assert "transparent_hugepage" in missing(found)[0].get_by
    assert {one.labels["pages"] for one in of("latency.plateau", found)} == {"small"}
    assert len(of("latency.plateau", found)) == 4


def test_pages_that_nobody_can_see_are_measured_and_said_to_be_unknown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, FOUR, huge=None)
    found = of("latency.load", latency(replace(bench, memory=GIB)), pages="huge")
    assert "does not say" in found[0].notes[0]


def test_without_claimed_caches_the_levels_are_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, FOUR)
    found = latency(replace(bench, memory=GIB, caches=()))
    assert [one.labels["level"] for one in of("latency.plateau", found)] == ["L1", "L2", "L3", "memory"]
    assert all("claimed" not in one.labels for one in of("latency.effective_cache", found))


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────

CACHES = st.lists(st.integers(8 * KIB, 2 * GIB), max_size=4, unique=True).map(
    lambda sizes: tuple(Cache(level, size, 1) for level, size in enumerate(sorted(sizes), start=1))
)


@given(caches=CACHES, largest=st.integers(64 * KIB, GIB))
def test_the_sizes_ascend_in_whole_lines_within_what_is_allowed(caches: tuple[Cache, ...], largest: int) -> None:
    sizes = sizes_of(16 * KIB, largest, caches, 0.1)
    assert list(sizes) == sorted(set(sizes))
    assert all(16 * KIB <= size <= largest and size % 64 == 0 for size in sizes)


@given(largest=st.integers(256 * KIB, GIB), edge=st.integers(20 * KIB, GIB))
def test_no_size_lies_at_the_edge_of_a_claimed_cache(largest: int, edge: int) -> None:
    sizes = sizes_of(16 * KIB, largest, (Cache(1, edge, 1),), 0.1)
    assert all(size < edge * 0.92 or size > edge * 1.08 for size in sizes)


def test_nor_at_that_of_any_usual_cache_that_is_not_claimed() -> None:
    usual = [kib * KIB for kib in (32, 48, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 32768, 65536)]
    sizes = sizes_of(16 * KIB, GIB, (), 0.1)
    assert all(abs(size / edge - 1) > 0.08 for size in sizes for edge in usual)


def test_the_whole_ladder_reaches_from_16_kib_to_1_gib() -> None:
    sizes = sizes_of(16 * KIB, GIB, CLAIMED, 0.1)
    assert (sizes[0], sizes[-1]) == (16 * KIB, GIB)
    assert max(above / below for below, above in pairwise(sizes)) < 2.1


@pytest.mark.parametrize(
    ("size", "said"),
    [(64, "0.0625 KiB"), (27_554, "26.9 KiB"), (1023 * KIB, "0.999 MiB"), (GIB, "1 GiB"), (638_450_688, "609 MiB")],
)
def test_sizes_are_told_in_three_digits(size: int, said: str) -> None:
    assert shown(size) == said
