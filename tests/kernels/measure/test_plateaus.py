"""Steps in a curve: the fit is the best there is, and each plateau is given to the level that answers there."""

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.kernels.measure.bench import Cache
from engram_diagnose.kernels.measure.plateaus import Plateau, edge, named, plateaus, segments

LIMITS = {"plateau_penalty": 0.3, "plateau_sizes": 3, "plateau_step": 1.5}
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CACHES = (Cache(1, 32 * KIB, 1), Cache(2, 512 * KIB, 1), Cache(3, 32 * MIB, 8))
SIZES = (16 * KIB, *(int(16 * KIB * 2 ** (0.25 + number / 2)) for number in range(31)))


def cost(values: Sequence[float], pieces: Sequence[tuple[int, int]], penalty: float) -> float:
    means = [sum(values[start:end]) / (end - start) for start, end in pieces]
    scatter = [
        (value - mean) ** 2 for (start, end), mean in zip(pieces, means, strict=True) for value in values[start:end]
    ]
    return math.fsum(scatter) + penalty * len(pieces)


def every_way(length: int) -> list[list[tuple[int, int]]]:
    breaks = [
        (0, *chosen, length) for many in range(length) for chosen in itertools.combinations(range(1, length), many)
    ]
    return [list(itertools.pairwise(way)) for way in breaks]


@given(values=st.lists(st.floats(-3, 3), min_size=1, max_size=9), penalty=st.floats(0.01, 4))
def test_no_other_pieces_fit_better(values: list[float], penalty: float) -> None:
    found = segments(values, penalty)
    best = min(cost(values, way, penalty) for way in every_way(len(values)))
    assert cost(values, found, penalty) == pytest.approx(best, abs=1e-9)


@given(values=st.lists(st.floats(-3, 3), min_size=1, max_size=30), penalty=st.floats(0.01, 4))
def test_the_pieces_cover_everything_once(values: list[float], penalty: float) -> None:
    found = segments(values, penalty)
    assert [at for start, end in found for at in range(start, end)] == list(range(len(values)))


def a_curve(*levels: tuple[int, float]) -> list[float]:
    """Latency by size: of each level up to its last size, in nanoseconds."""
    return [next(ns for last, ns in levels if size <= last) * 1e-9 for size in SIZES]


ZEN = a_curve((32 * KIB, 1.9), (512 * KIB, 4.5), (4 * MIB, 15.9), (GIB, 158))


def test_a_machine_with_four_levels_shows_four_plateaus() -> None:
    found = named(plateaus(ZEN, LIMITS), SIZES, CACHES)
    assert {level: round(one.seconds * 1e9, 1) for level, one in found.items()} == {
        "L1": 1.9, "L2": 4.5, "L3": 15.9, "memory": 158.0
    }  # fmt: skip


@given(st.lists(st.floats(0.93, 1.07), min_size=len(SIZES), max_size=len(SIZES)))
def test_scatter_makes_no_plateau_and_hides_none(factors: list[float]) -> None:
    curve = [seconds * factor for seconds, factor in zip(ZEN, factors, strict=True)]
    assert [(one.first, one.last) for one in plateaus(curve, LIMITS)] == [
        (one.first, one.last) for one in plateaus(ZEN, LIMITS)
    ]


def test_two_sizes_of_the_first_level_are_enough() -> None:
    found = plateaus(ZEN[1:], LIMITS)
    assert [(one.first, one.last) for one in found][:2] == [(0, 1), (2, 9)]


def test_the_slope_between_two_levels_is_no_plateau() -> None:
    sloping = [1e-9] * 6 + [3e-9, 9e-9] + [20e-9] * 6 + [60e-9] + [150e-9] * 6
    assert [(one.first, one.last) for one in plateaus(sloping, LIMITS)] == [(0, 5), (8, 13), (15, 20)]


def test_a_slope_down_from_a_shared_cache_is_not_taken_for_memory() -> None:
    sloping = [1.4e-9] * 4 + [4.5e-9] * 10 + [15e-9] + [35e-9] * 4 + [85e-9] * 4 + [165e-9] * 7
    found = named(plateaus(sloping, LIMITS), SIZES, CACHES)
    assert (round(found["L3"].seconds * 1e9), round(found["memory"].seconds * 1e9)) == (35, 165)


def test_what_the_reach_of_the_tlb_adds_does_not_split_a_level() -> None:
    curve = [1e-9] * 5 + [100e-9] * 8 + [130e-9] * 8
    assert [(one.first, one.last) for one in plateaus(curve, LIMITS)] == [(0, 4), (5, 20)]


def test_a_level_that_does_not_show_leaves_the_others_their_names() -> None:
    without = a_curve((32 * KIB, 1.4), (512 * KIB, 4.5), (GIB, 150))
    assert list(named(plateaus(without, LIMITS), SIZES, CACHES)) == ["L1", "L2", "memory"]


def test_a_ladder_that_ends_inside_the_claimed_cache_names_no_memory() -> None:
    sizes = SIZES[:20]
    curve = a_curve((32 * KIB, 1.4), (512 * KIB, 4.5), (GIB, 30))[:20]
    assert list(named(plateaus(curve, LIMITS), sizes, CACHES)) == ["L1", "L2", "L3"]


def test_a_cache_that_is_smaller_than_claimed_shows_memory_inside_the_claim() -> None:
    claimed = (*CACHES[:2], Cache(3, 480 * MIB, 4))
    assert list(named(plateaus(ZEN[:24], LIMITS), SIZES[:24], claimed)) == ["L1", "L2", "L3", "memory"]


def test_without_claims_the_levels_are_counted() -> None:
    assert list(named(plateaus(ZEN, LIMITS), SIZES, ())) == ["L1", "L2", "L3", "memory"]
    assert list(named([Plateau(0, 31, 1e-7)], SIZES, ())) == ["memory"]


def test_without_plateaus_there_is_nothing_to_name() -> None:
    assert named([], SIZES, CACHES) == {}
    assert named([], SIZES, ()) == {}


@given(
    st.lists(st.floats(1e-9, 1e-6), min_size=1, max_size=32),
    st.lists(st.sampled_from(CACHES), unique=True).map(lambda some: tuple(sorted(some, key=lambda one: one.level))),
)
def test_any_curve_is_named_without_fail(curve: list[float], caches: tuple[Cache, ...]) -> None:
    found = plateaus(curve, LIMITS)
    levels = named(found, SIZES[: len(curve)], caches)
    assert list(levels.values()) == sorted(levels.values(), key=lambda one: one.first)
    assert set(levels) <= {"L1", "L2", "L3", "memory"}


def test_the_edge_lies_where_loads_begin_to_miss() -> None:
    found = edge((10, 20, 40, 80), (1e-9, 1e-9, 11e-9, 11e-9), below=1e-9, above=11e-9, missed=0.5)
    assert found == pytest.approx(20 * 2**0.5)


def test_a_disturbed_size_inside_a_cache_is_not_its_edge() -> None:
    found = edge((10, 20, 40, 80), (9e-9, 1e-9, 1e-9, 11e-9), below=1e-9, above=11e-9, missed=0.5)
    assert found == pytest.approx(40 * 2**0.5)


def test_a_curve_that_is_always_above_or_always_below_has_no_edge() -> None:
    assert edge((10, 20), (9e-9, 9e-9), below=1e-9, above=5e-9, missed=0.1) is None
    assert edge((10, 20), (1e-9, 1e-9), below=1e-9, above=5e-9, missed=0.1) is None
