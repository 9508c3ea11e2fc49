"""The walk over a graph as its user sees it: a distance to choose for each amount of work, and what it gains."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.loops.walk import DIMENSIONS, NODE, Graph
from engram_diagnose.kernels.measure import walk as module
from engram_diagnose.kernels.measure.bench import Bench, Cache
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.sampling import Repeats
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.kernels.measure.walk import DISTANCES, WORKS, Walker, graph_of, walk
from engram_diagnose.rulebase import load_rules

MIB = 1 << 20


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    read = read_limits(load_rules((), thorough=False).texts, "kernels")
    return {**read, "repeats": 3, "walk_seconds": 0.0003, "walk_size": 4 * MIB}


@pytest.fixture
def bench(limits: Mapping[str, float]) -> Iterator[Bench]:
    with Pool((0,)) as pool:
        yield Bench(limits, (0,), 4 * MIB, pool, (Cache(1, 32 << 10, 1), Cache(2, MIB, 1)))


def of(name: str, found: list[Outcome], **labels: str) -> list[Measurement]:
    return [
        one
        for one in found
        if isinstance(one, Measurement) and one.name == name and labels.items() <= one.labels.items()
    ]


def planted(
    monkeypatch: pytest.MonkeyPatch, visit: Callable[[int], float], *, jitter: Sequence[float] = (1, 1, 1)
) -> None:
    """A visit takes so many nanoseconds, by distance."""

    def in_turns(works: Sequence[Any], bench: Bench, *, seconds: float) -> list[Repeats]:
        assert len(works) == len(DISTANCES)
        return [Repeats(tuple(visit(one) * 64e-9 * by for by in jitter), 1, 0, 0.0) for one in DISTANCES]

    monkeypatch.setattr(module, "in_turns", in_turns)


def test_every_amount_of_work_has_its_visits_its_distance_and_its_gain(bench: Bench) -> None:
    found = walk(bench)
    for name, _ in WORKS:
        visits = of("walk.visit", found, work=name)
        assert [one.labels["distance"] for one in visits] == ["0", "1", "2", "4", "8", "16", "24", "32"]
        assert all(one.unit == "s" and one.better == "lower" and len(one.values) == 3 for one in visits)
        assert len(of("walk.distance", found, work=name)) == len(of("walk.gain", found, work=name)) == 1
    assert not [one for one in found if isinstance(one, Unmeasured)]


def test_the_smallest_of_the_distances_that_are_about_as_good_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {0: 200.0, 1: 150.0, 2: 120.0, 4: 104.0, 8: 101.0, 16: 100.0, 24: 102.0, 32: 180.0}
    planted(monkeypatch, times.__getitem__)
    found = walk(bench)
    chosen = of("walk.distance", found, work="full dot")[0]
    gain = of("walk.gain", found, work="full dot")[0]
    assert (chosen.median, chosen.unit) == (4, "count")
    assert chosen.notes[0] == "16 is the fastest, 4 within 5% of it"
    assert gain.labels["distance"] == "4"
    assert gain.median == pytest.approx(200 / 104)


def test_a_walk_that_prefetching_slows_is_told_to_do_without(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda distance: 100.0 + 20 * bool(distance))
    found = walk(bench)
    gain = of("walk.gain", found, work="header")[0]
    assert of("walk.distance", found, work="header")[0].median == 0
    assert gain.median == pytest.approx(100 / 120)
    assert "slower at every distance" in gain.notes[0]


def test_a_distance_taken_from_scattering_visits_is_no_more_certain_than_they_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, lambda distance: 100.0 - distance, jitter=(1, 1.5, 2))
    assert of("walk.distance", walk(bench), work="header")[0].stability == "unstable"


@pytest.mark.parametrize("memory", [1, 3199, MIB])
def test_nodes_that_would_lie_in_the_caches_are_not_walked(bench: Bench, memory: int) -> None:
    found = walk(replace(bench, memory=memory))
    assert [one.name for one in found] == ["walk"]
    assert isinstance(found[0], Unmeasured)
    assert "lie in the caches" in found[0].reason


def test_nodes_that_a_claimed_cache_would_hold_are_said_to_be(bench: Bench) -> None:
    caches = (*bench.caches, Cache(3, 480 * MIB, 4))
    found = of("walk.visit", walk(replace(bench, caches=caches)))
    assert all("would fit the L3 as it is claimed" in one.notes[0] for one in found)


def test_whoever_ends_the_measuring_ends_it_between_two_visits(bench: Bench) -> None:
    left = 7

    def check() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk(replace(bench, check=check))
    assert bench.pool.run(lambda: 7) == [7]


# ── a walk that goes on ──────────────────────────────────────────────────────────────────────────


def noted(graph: Graph, words: int, visits: int, *, at_once: int) -> list[tuple[int, int]]:
    """Where a walk begins each piece of its way: in which word of the nodes, at which of the order."""
    seen: list[tuple[int, int]] = []

    def way(walked: Graph, first: int, count: int, *_: int) -> float:
        offset = (walked.nodes.ctypes.data - graph.nodes.ctypes.data) // 4
        seen.extend((offset, at) for at in range(first, first + count))
        return 0.0

    walker = Walker(graph, words, 8, way)
    for _ in range(visits // at_once):
        walker.visit(at_once, distance=0)
    return seen


def test_a_walk_goes_on_where_it_stopped_and_visits_every_node_in_turn() -> None:
    _, graph = graph_of(40 * 4 * NODE)
    seen = noted(graph, 0, graph.visits * 3, at_once=3)
    assert [at for _, at in seen] == [*range(graph.visits)] * 3


@pytest.mark.parametrize("words", [0, 8, 64, 200, DIMENSIONS])
def test_a_header_is_read_again_only_after_every_line_of_its_node_was_one(words: int) -> None:
    _, graph = graph_of(40 * 4 * NODE)
    seen = noted(graph, words, graph.visits * 50, at_once=graph.visits)
    offsets = [offset for offset, at in seen if at == 0]
    assert sorted(offsets) == [line * 16 for line in range(50)]


def test_a_header_is_not_beside_those_of_the_round_before() -> None:
    _, graph = graph_of(40 * 4 * NODE)
    offsets = [offset // 16 for offset, at in noted(graph, 0, graph.visits * 50, at_once=graph.visits) if at == 0]
    assert all(2 < (later - earlier) % 50 < 48 for earlier, later in pairwise(offsets))


def test_the_same_size_gives_the_same_walk() -> None:
    (_, one), (_, other) = graph_of(MIB), graph_of(MIB)
    assert np.array_equal(one.order, other.order)
    assert np.array_equal(one.nodes, other.nodes)
    assert one.walk(0, 100, words=768, distance=0, lines=0) == other.walk(0, 100, words=768, distance=8, lines=8)
