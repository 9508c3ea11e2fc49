"""Tiers under threads: a visit gives the embedding of its row, whole, wherever it lies and whoever moves it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.similarity import in_tiles
from engram_diagnose.lab import tiers as lab
from engram_diagnose.lab.loops import layout
from engram_diagnose.lab.loops import tiers as loops
from engram_diagnose.lab.loops.layout import COLD, DIMENSIONS, HOT, UNKNOWN, WARM, Tiers

NODES_A_MEBIBYTE = 327
VERSIONS = 8
"""Embeddings here are 768 times one number: eight times the row plus one, and a version below eight."""


@loop
def visit(tiers: Any, row: Any, out: Any, worker: Any) -> Any:
    loops.prefetch_node(tiers, row)
    return loops.visit(tiers, row, out, worker)


@loop
def gather_all(tiers: Any, rows: Any, out: Any, tiles: Any) -> None:
    for place in range(len(rows)):
        loops.gather(tiers, rows[place], out, 0, tiles, place)


@loop
def store_again(tiers: Any, rows: Any, vector: Any) -> Any:
    """Store versions of rows, one after the other; how many were not."""
    failed = 0
    for at in range(len(rows)):
        vector[:] = np.float32((rows[at] + 1) * VERSIONS + at % VERSIONS)
        failed += loops.admit(tiers, rows[at], vector) != 0
    return failed


@loop
def wrong_visits(tiers: Any, rows: Any, out: Any, worker: Any) -> Any:
    """Visit rows; how many were not there, and how many gave what is no version of their embedding."""
    missing = wrong = 0
    for at in range(len(rows)):
        if at + 8 < len(rows):
            loops.prefetch_node(tiers, rows[at + 8])
        if loops.visit(tiers, rows[at], out, worker) < 0:
            missing += 1
            continue
        first = out[0]
        for dimension in range(DIMENSIONS):
            if out[dimension] != first:
                wrong += 1
                break
        # The scale of a cold column is rounded, so that what comes back is off by a few parts in ten millions.
        if np.int64(np.round(first)) // VERSIONS != rows[at] + 1 or abs(first - np.round(first)) > 0.01:
            wrong += 1
    return missing, wrong


@loop
def housekeeping(tiers: Any, rounds: Any, low: Any, high: Any) -> Any:
    moved = 0
    for _ in range(rounds):
        moved += loops.make_room(tiers, 8)
        loops.age(tiers)
        loops.forget(tiers, low, high)
    return moved


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Tiers]]:
    opened: list[Tiers] = []

    def make(**asked: Any) -> Tiers:
        given = {"rows": 2000, "hot_mb": 1, "shards": 4, "warm_mb": 1, "workers": 4, **asked}
        opened.append(lab.new_tiers(tmp_path / str(len(opened)), **given))
        return opened[-1]

    yield make
    for tiers in opened:
        lab.close(tiers)


def vector_of(row: int, version: int = 0) -> Any:
    return np.full(DIMENSIONS, (row + 1) * VERSIONS + version, np.float32)


def random_vector(seed: int) -> Any:
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)
    return vector / np.linalg.norm(vector)


def run_together(*calls: Callable[[], Any]) -> list[Any]:
    found: list[Any] = [None] * len(calls)

    def run(at: int) -> None:
        found[at] = calls[at]()

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def four_visit(tiers: Tiers, rows: Any) -> None:
    out = np.zeros((4, DIMENSIONS), np.float32)
    run_together(*[lambda worker=worker: wrong_visits(tiers, rows, out[worker], worker) for worker in range(4)])


def test_what_was_stored_is_found_as_it_was_in_the_hot_and_the_warm_tier(made: Callable[..., Tiers]) -> None:
    tiers = made(warm_mb=4)
    for row in range(1000):
        assert loops.admit(tiers, row, random_vector(row)) == 0
    out = np.zeros(DIMENSIONS, np.float32)
    assert sum(lab.memories(tiers)) == 1000
    for row in range(1000):
        assert loops.peek(tiers, row, out) == (HOT if tiers.states[row] == 1 + HOT else WARM)
        assert np.array_equal(out, random_vector(row))
    assert min(lab.memories(tiers)[:2]) > 300


def test_what_is_gathered_lies_in_tiles_as_similarities_want_it(made: Callable[..., Tiers]) -> None:
    """Ten rows fill a tile of eight and begin another, from whichever tier they come."""
    tiers = made(warm_mb=4)
    for row in range(400):
        loops.admit(tiers, row, random_vector(row))
    rows = np.array([0, 399, 7, 8, 250, 3, 390, 391, 100, 42])
    tiles, out = np.zeros(2 * 8 * DIMENSIONS, np.float32), np.zeros(DIMENSIONS, np.float32)
    before = lab.counted(tiers).hits
    gather_all(tiers, rows, out, tiles)
    wanted = np.zeros((16, DIMENSIONS), np.float32)
    wanted[: len(rows)] = [random_vector(int(row)) for row in rows]
    assert np.array_equal(tiles, in_tiles(wanted).reshape(-1))
    assert sum(lab.counted(tiers).hits) - sum(before) == len(rows)


def test_what_is_cold_is_found_within_half_a_step_of_its_scale(made: Callable[..., Tiers]) -> None:
    tiers = made(warm_mb=0)
    for row in range(1000):
        loops.admit(tiers, row, random_vector(row))
    assert lab.memories(tiers)[WARM] == 0
    out, cold = np.zeros(DIMENSIONS, np.float32), 0
    for row in range(1000):
        vector = random_vector(row)
        if loops.peek(tiers, row, out) == COLD:
            cold += 1
            assert np.abs(out - vector).max() <= np.abs(vector).max() / 127 * 0.501
        else:
            assert np.array_equal(out, vector)
    assert cold > 500


def test_a_visit_brings_a_memory_to_the_hot_tier(made: Callable[..., Tiers]) -> None:
    tiers = made(warm_mb=0.5)
    for row in range(1000):
        loops.admit(tiers, row, vector_of(row))
    out = np.zeros(DIMENSIONS, np.float32)
    warm, cold = (int(np.flatnonzero(tiers.states == 1 + tier)[0]) for tier in (WARM, COLD))
    assert [visit(tiers, warm, out, 0), visit(tiers, warm, out, 0)] == [WARM, HOT]
    assert [visit(tiers, cold, out, 0), visit(tiers, cold, out, 0)] == [COLD, HOT]
    counted = lab.counted(tiers)
    assert counted.hits == (2, 1, 1)
    assert counted.migrations[HOT] == 2
    assert sum(lab.memories(tiers)) == 1000


def test_with_a_threshold_a_memory_stays_where_it_is_until_it_was_visited_so_often(made: Callable[..., Tiers]) -> None:
    tiers = made(warm_mb=8, thresholds=lab.Thresholds(to_hot=3))
    for row in range(1500):
        loops.admit(tiers, row, vector_of(row))
    assert lab.memories(tiers)[HOT] == lab.capacity(tiers)[HOT]
    out = np.zeros(DIMENSIONS, np.float32)
    row = int(np.flatnonzero(tiers.states == 1 + WARM)[0])
    assert [visit(tiers, row, out, 0) for _ in range(6)] == [WARM] * 4 + [HOT] * 2


def test_the_victim_is_one_that_was_not_visited_since_the_hand_came_by(made: Callable[..., Tiers]) -> None:
    tiers = made(hot_mb=0.04, shards=1, warm_mb=8)
    slots = lab.capacity(tiers)[HOT]
    out = np.zeros(DIMENSIONS, np.float32)
    for row in range(slots + 1):  # the last one's hand went all the way round, and took every mark away
        loops.admit(tiers, row, vector_of(row))
    kept = [row for row in range(slots + 1) if tiers.states[row] == 1 + HOT][:-2]
    for row in kept:
        visit(tiers, row, out, 0)
    loops.admit(tiers, 500, vector_of(500))
    assert all(tiers.states[row] == 1 + HOT for row in kept)


def test_numbers_that_nobody_has_are_unknown_and_touch_nothing(made: Callable[..., Tiers]) -> None:
    tiers = made()
    loops.admit(tiers, 5, vector_of(5))
    out = np.full(DIMENSIONS, 7, np.float32)
    before = [array.copy() for array in tiers]
    for row in (-1, 2000, 1 << 40, -(1 << 40)):
        assert visit(tiers, row, out, 0) == UNKNOWN
        assert loops.peek(tiers, row, out) == UNKNOWN
        assert loops.admit(tiers, row, out) < 0
        assert loops.put_back(tiers, row, out, HOT, 0) < 0
    for worker in (-1, 4, 1 << 40):
        assert visit(tiers, 5, out, worker) == UNKNOWN
    assert visit(tiers, 5, out[:10], 0) == UNKNOWN
    assert loops.admit(tiers, 6, out[:10]) < 0
    assert loops.forget(tiers, 1 << 40, 1 << 41) == 0
    assert set(out.tolist()) == {7}
    assert all(np.array_equal(was, array) for was, array in zip(before, tiers, strict=True))
    assert visit(tiers, 6, out, 0) == UNKNOWN
    assert lab.counted(tiers).unknown == 1


def test_what_is_forgotten_is_gone_and_leaves_its_room(made: Callable[..., Tiers]) -> None:
    tiers = made(rows=1000, warm_mb=1)
    for _ in range(5):
        assert store_again(tiers, np.arange(1000), np.zeros(DIMENSIONS, np.float32)) == 0
        assert sum(lab.memories(tiers)) == 1000
        assert loops.forget(tiers, 100, 1000) == 900
        assert sum(lab.memories(tiers)) == 100
        assert loops.forget(tiers, -5, 1 << 40) == 100
    assert not tiers.table.any()
    assert set(tiers.slot_rows.tolist()) == {-1}
    assert tiers.levels[layout.WARM_USED] == tiers.levels[layout.COLD_USED] == 0


@pytest.mark.parametrize(("shards", "hot_mb", "warm_mb"), [(1, 0.2, 2), (4, 0.5, 1), (7, 3, 0.5), (4, 0.02, 0)])
def test_threads_that_visit_store_and_move_lose_no_memory_and_tear_none(
    made: Callable[..., Tiers], shards: int, hot_mb: float, warm_mb: float
) -> None:
    tiers = made(shards=shards, hot_mb=hot_mb, warm_mb=warm_mb)
    kept, visits = 1500, 30_000
    assert store_again(tiers, np.arange(2000), np.zeros(DIMENSIONS, np.float32)) == 0
    rows = [np.random.default_rng(seed).integers(0, kept, visits) for seed in range(5)]
    out = np.zeros((5, DIMENSIONS), np.float32)
    found = run_together(
        *[lambda worker=worker: wrong_visits(tiers, rows[worker], out[worker], worker) for worker in range(3)],
        lambda: store_again(tiers, rows[3], out[3]),
        lambda: housekeeping(tiers, 20, kept, 2000),
        lambda: store_again(tiers, kept + rows[4] % 500, out[4]),
    )
    assert found[:3] == [(0, 0)] * 3
    assert (found[3], found[5]) == (0, 0)
    counted = lab.counted(tiers)
    assert counted.visits == counted.activations == sum(counted.hits) == 3 * visits
    assert sum(sum(buckets) for buckets in counted.buckets) == 3 * (visits // 16)
    assert wrong_visits(tiers, np.arange(kept), out[0], 0) == (0, 0)
    hot, warm, cold = lab.memories(tiers)
    assert hot == np.count_nonzero(tiers.slot_rows >= 0) == np.count_nonzero(tiers.table)
    assert np.count_nonzero(tiers.warm_rows >= 0) == tiers.levels[layout.WARM_USED]
    assert np.count_nonzero(tiers.homes >= 0) == tiers.levels[layout.WARM_USED]
    assert np.count_nonzero(tiers.homes < -1) == tiers.levels[layout.COLD_USED]
    assert len(set(tiers.homes[tiers.homes != -1].tolist())) == hot + warm + cold


def test_counters_side_by_side_add_up_as_those_apart_do(made: Callable[..., Tiers]) -> None:
    for false_sharing in (False, True):
        tiers = made(false_sharing=false_sharing)
        loops.admit(tiers, 3, vector_of(3))
        four_visit(tiers, np.full(20_000, 3))
        assert lab.counted(tiers).activations == 80_000
        places = np.flatnonzero(tiers.activations)
        assert (np.diff(places) == (1 if false_sharing else 32)).all()


def test_visits_of_one_shard_put_threads_to_sleep_and_of_many_hardly(made: Callable[..., Tiers]) -> None:
    def sleeps(shards: int) -> int:
        tiers = made(shards=shards, hot_mb=8)
        store_again(tiers, np.arange(2000), np.zeros(DIMENSIONS, np.float32))
        four_visit(tiers, np.random.default_rng(1).integers(0, 2000, 100_000))
        return lab.counted(tiers).sleeps

    # On a busy machine the four may hardly run at once.
    assert any(sleeps(1) > 5 * sleeps(64) for _ in range(8))


def test_room_is_made_in_the_warm_tier_by_moving_what_is_not_visited(made: Callable[..., Tiers]) -> None:
    tiers = made(rows=1000, hot_mb=0.05, shards=1, warm_mb=1)
    store_again(tiers, np.arange(327), np.zeros(DIMENSIONS, np.float32))
    out = np.zeros(DIMENSIONS, np.float32)
    assert lab.memories(tiers)[COLD] == 0
    warm = np.flatnonzero(tiers.states == 1 + WARM)
    visited = warm[::2]
    tiers.touches[visited] = 5
    assert loops.make_room(tiers, 1000) == 327 // 16
    assert not (tiers.states[visited] == 1 + COLD).any()
    assert loops.make_room(tiers, 1000) == 0
    assert sum(lab.memories(tiers)) == 327
    assert wrong_visits(tiers, np.arange(327), out, 0) == (0, 0)


def test_an_hour_without_visits_moves_memories_down(made: Callable[..., Tiers]) -> None:
    tiers = made(rows=100, warm_mb=1, thresholds=lab.Thresholds(kept_hot=2, kept_warm=1 / 3))
    store_again(tiers, np.arange(10), np.zeros(DIMENSIONS, np.float32))
    out = np.zeros(DIMENSIONS, np.float32)
    for _ in range(3):
        visit(tiers, 4, out, 0)
    loops.age(tiers)
    assert lab.memories(tiers) == (1, 9, 0)
    assert tiers.states[4] == 1 + HOT
    loops.age(tiers)
    assert lab.memories(tiers) == (0, 10, 0)
    loops.age(tiers)
    assert lab.memories(tiers) == (0, 1, 9)
    assert wrong_visits(tiers, np.arange(10), out, 0) == (0, 0)


Action = tuple[str, int]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["store", "visit", "forget", "room", "age", "peek"]), st.integers(0, 39)),
        max_size=200,
    ),
    st.sampled_from([1, 3]),
    st.sampled_from([0.0, 0.03, 1.0]),
)
def test_whatever_is_done_in_any_order_tiers_are_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, actions: list[Action], shards: int, warm_mb: float
) -> None:
    folder = tmp_path_factory.mktemp("tiers")
    tiers = lab.new_tiers(folder, rows=40, hot_mb=0.02, shards=shards, warm_mb=warm_mb, workers=1)
    stored: dict[int, float] = {}
    out = np.zeros(DIMENSIONS, np.float32)
    for number, (action, row) in enumerate(actions):
        if action == "store":
            stored[row] = float(vector_of(row, number % VERSIONS)[0])
            assert loops.admit(tiers, row, vector_of(row, number % VERSIONS)) == 0
        elif action == "forget":
            assert loops.forget(tiers, row, row + 3) == sum(
                stored.pop(r, None) is not None for r in range(row, row + 3)
            )
        elif action == "room":
            loops.make_room(tiers, row)
        elif action == "age":
            loops.age(tiers)
        else:
            tier = visit(tiers, row, out, 0) if action == "visit" else loops.peek(tiers, row, out)
            assert (tier != UNKNOWN) == (row in stored)
            if row in stored:
                assert np.allclose(out, stored[row], rtol=1e-6)
        assert sum(lab.memories(tiers)) == len(stored)
    lab.close(tiers)
