"""The engine without its HTTP front: what is stored is found, whatever happens meanwhile or to the process."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import answers, ask, fill, linked, running, settings, submit

from engram_diagnose.lab.asking import DONE, Busy, NoSuchSpace, TooManySpaces
from engram_diagnose.lab.engine import Engine
from engram_diagnose.lab.loops import world as at
from engram_diagnose.lab.loops.embed import WORDS, embed, word_vectors
from engram_diagnose.lab.loops.rings import TICKETS
from engram_diagnose.lab.preload import texts
from engram_diagnose.lab.snapshot import SnapshotError

SCALAR = {"activation_simd_enabled": False}


def embedding(text: str) -> Any:
    """The obvious way: FNV-1a of each word, folded to a row of the table; the sum of the rows at length 1."""
    vectors, total = word_vectors(), np.zeros(768)
    for word in text.split():
        hashed = 0xCBF29CE484222325
        for letter in word.lower().encode():
            hashed = (hashed ^ letter) * 0x100000001B3 % (1 << 64)
        total += vectors[hashed * 0x9E3779B97F4A7C15 % (1 << 64) * WORDS >> 64]
    return total / (np.linalg.norm(total) or 1)


def stopped_dead(engine: Engine) -> None:
    """End the threads without the snapshot, as if the process had been killed after a flush."""
    engine._save = lambda world: None  # type: ignore[method-assign]
    engine.stop()


@pytest.mark.parametrize("text", ["", "one", "One  two\tthree one", "ünïcode words, and more words " * 20])
def test_an_embedding_is_the_sum_of_its_words(text: str) -> None:
    out, letters = np.zeros(768, np.float32), np.frombuffer(text.encode() + b"\0", np.uint8)
    embed(word_vectors(), letters, len(letters) - 1, out)
    assert np.allclose(out, embedding(text), atol=1e-5)


def test_recalls_find_nearly_all_that_an_exact_search_finds(tmp_path: Path) -> None:
    with running(tmp_path, hnsw_index_m=16, hnsw_index_ef_construction=150, hnsw_index_ef_search=150) as engine:
        stored = np.array([embedding(text) for text in fill(engine, 1500)])
        shares = []
        for text in texts(100, seed=3):
            best = ask(engine, "recall", text, limit=10)
            scores = stored @ embedding(text)
            shares.append(len(set(best.rows) & set(np.argsort(-scores)[:10].tolist())) / 10)
            assert np.allclose(best.scores, scores[list(best.rows)], atol=1e-4)
            assert list(best.scores) == sorted(best.scores, reverse=True)
    assert np.mean(shares) > 0.9


def test_every_way_of_computing_similarities_finds_the_same(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        fill(engine, 600)
    found = []
    for changed in ({}, SCALAR, {"activation_simd_batch_size": 1}, {"activation_simd_batch_size": 13},
                    {"activation_avx_version": "avx512"}, {"activation_prefetch_distance": 0},
                    {"storage_hot_tier_shards": 1}, {"storage_hot_tier_size_mb": 0.25}):  # fmt: skip
        with running(tmp_path, **changed) as engine:
            each = [ask(engine, operation, text) for text in texts(20, seed=9)
                    for operation in ("recall", "activation", "pattern_completion")]  # fmt: skip
        found.append([[round(score, 3) for score in one.scores] for one in each if one.status == DONE])
    assert len(found[0]) == 60
    assert all(one == found[0] for one in found[1:])


def test_what_was_just_stored_is_found_while_others_store_and_recall(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        for number, text in enumerate(texts(300)):
            own = f"okapi{number} zebra{number} quagga{number}"
            row = ask(engine, "store", own).rows[0]
            for _ in range(5):
                submit(engine, "store", f"{text} {number}")
                submit(engine, "recall", text)
            last = submit(engine, "recall", own)
            best = next(done for done in answers(engine, 11) if done.ticket == last)
            assert best.rows[0] == row
            assert best.scores[0] > 0.99


def test_all_tickets_come_back_and_one_more_is_turned_away(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        ask(engine, "store", "something")
        wanted = {submit(engine, "recall" if number % 2 else "store", f"text {number}") for number in range(TICKETS)}
        if not engine._free:  # else some were answered already
            with pytest.raises(Busy):
                submit(engine, "recall", "one more")
        assert {done.ticket for done in answers(engine, TICKETS)} == wanted
        figures = engine.figures()
        assert set(figures.in_flight.values()) == {0}
        assert figures.latency["default", "recall"].count == TICKETS // 2
        assert figures.latency["default", "store"].count == TICKETS // 2 + 1


@pytest.mark.parametrize("mode", ["batch", "immediate"])
def test_memories_outlast_a_clean_end(tmp_path: Path, mode: str) -> None:
    with running(tmp_path, wal_sync_mode=mode) as engine:
        stored = fill(engine, 300)
        given = ask(engine, "store", "", embedding=np.arange(768, dtype=np.float32), confidence=0.25).rows[0]
    for _ in range(2):
        with running(tmp_path, wal_sync_mode=mode) as engine:
            assert [engine._kept[row].content for row in range(300)] == stored
            assert engine.memory(given).confidence == 0.25  # type: ignore[union-attr]
            assert ask(engine, "recall", stored[7]).rows[0] in [n for n, text in enumerate(stored) if text == stored[7]]
            assert ask(engine, "recall", "", embedding=np.arange(768, dtype=np.float32)).rows[0] == given


@pytest.mark.parametrize("mode", ["immediate", "batch"])
def test_a_kill_loses_nothing_that_was_answered_but_the_last_interval_of_a_batch(tmp_path: Path, mode: str) -> None:
    program = [sys.executable, str(Path(__file__).with_name("engines.py")), str(tmp_path), mode]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(200)]
        if mode == "batch":
            time.sleep(0.5)  # an interval is 20 ms: what was told until now is on the disk
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().splitlines(keepends=True)
    told += [line for line in rest if line.endswith("\n") and mode == "immediate"]
    with running(tmp_path, wal_sync_mode=mode) as engine:
        for line in told:
            row, _, content = line.rstrip("\n").partition(" ")
            assert engine.memory(int(row)).content == content  # type: ignore[union-attr]
        for space in ("default", "other"):
            assert len(ask(engine, "recall", "killed memory", space=space).rows) == 10


def test_another_shape_of_the_index_links_all_memories_anew(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        stored = fill(engine, 500)
        before = engine.figures().spaces["default"].edges_per_node
    with running(tmp_path, hnsw_index_m=16) as engine:
        figures = engine.figures().spaces["default"]
        assert (figures.index_nodes, figures.coverage) == (500, 1)
        assert figures.edges_per_node > before * 1.3  # type: ignore[operator]
        assert ask(engine, "recall", stored[3]).scores[0] > 0.99


def test_a_stop_in_the_midst_of_work_ends_and_keeps_what_was_answered(tmp_path: Path) -> None:
    engine = Engine(settings(), tmp_path)
    engine.start()
    for number, text in enumerate(texts(3000)):
        submit(engine, ("store", "activation", "pattern_completion")[number % 3], text)
    done = answers(engine, 300, exactly=False)
    kept = {one.rows[0]: engine.memory(one.rows[0]) for one in done if one.rows and engine.memory(one.rows[0])}
    engine.stop()
    engine.stop()
    with running(tmp_path) as again:
        assert {row: again.memory(row) for row in kept} == kept


def test_a_removed_space_is_gone_and_its_name_begins_anew(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        fill(engine, 200, space="bench-a")
        for number in range(50):
            submit(engine, "store", f"late {number}", space="bench-a")
        assert engine.remove_space("bench-a")
        with pytest.raises(NoSuchSpace):
            submit(engine, "recall", "late", space="bench-a")
        ask_new = submit(engine, "store", "the first of the new one", space="bench-a")
        assert ask_new in {done.ticket for done in answers(engine, 51)}
        found = ask(engine, "recall", "late 7", space="bench-a")
        assert [engine.memory(row).content for row in found.rows] == ["the first of the new one"]  # type: ignore[union-attr]
        assert not engine.remove_space("default")
        assert not engine.remove_space("nobody")
        time.sleep(0.2)
        engine.completed()
        stopped_dead(engine)
    with running(tmp_path) as engine:
        found = ask(engine, "recall", "late 7", space="bench-a")
        assert [engine.memory(row).content for row in found.rows] == ["the first of the new one"]  # type: ignore[union-attr]
        assert engine.tier_counts("bench-a") == (1, 0, 0)


def test_spaces_come_and_go_for_ever_but_not_too_many_at_once(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        for turn in range(2):
            for number in range(at.SPACES - 1):
                assert ask(engine, "store", "a memory", space=f"bench-{turn}-{number}").status == DONE
            with pytest.raises(TooManySpaces):
                submit(engine, "store", "a memory", space="bench-one-too-many")
            for number in range(at.SPACES - 1):
                assert engine.remove_space(f"bench-{turn}-{number}")
            until = time.monotonic() + 30
            while (engine._world.spaces[1:, at.IS_THERE] != 0).any() and time.monotonic() < until:
                engine.completed()
                time.sleep(0.01)
        assert engine.spaces() == ["default"]


def test_a_thousand_memories_that_are_hot_take_less_than_twice_their_size(tmp_path: Path) -> None:
    with running(tmp_path, hnsw_index_m=24) as engine:
        fill(engine, 1000)
        figures = engine.figures()
        assert figures.tiers["hot"].memories == 1000
        assert 1 < figures.memory_bytes / figures.data_bytes < 2


def test_consolidation_blends_memories_and_they_are_still_found(tmp_path: Path) -> None:
    with running(tmp_path, consolidation_enabled=True, consolidation_interval_seconds=0.05) as engine:
        stored = fill(engine, 400)
        until = time.monotonic() + 30
        figures = engine.figures()  # a run is counted when it ends, after what it blended
        while ("default", "consolidation") not in figures.latency and time.monotonic() < until:
            time.sleep(0.02)
            figures = engine.figures()
        while engine._world.upkeep[at.BLENDED] < 400 and time.monotonic() < until:
            time.sleep(0.02)
        assert figures.latency["default", "consolidation"].count >= 1
        assert figures.consolidation_freshness is not None
        assert ask(engine, "recall", stored[3]).scores[0] > 0.9


def test_an_activation_goes_as_far_whatever_the_hot_tier_holds(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        fill(engine, 600)
    visits, hits = [], []
    for size in (64.0, 0.25):
        with running(tmp_path, storage_hot_tier_size_mb=size, tiers_warm_to_hot_accesses_per_hour=0.0) as engine:
            for text in texts(20, seed=6):
                ask(engine, "activation", text)
            figures = engine.figures().spaces["default"]
            visits.append(figures.visits)
            hits.append(figures.cache_hits / figures.cache_requests)
    assert visits[0] == visits[1] > 0
    assert hits[0] == 1 > 0.5 > hits[1]


def test_bounds_of_a_completion_are_kept(tmp_path: Path) -> None:
    with running(tmp_path, pattern_completion_max_candidates=40) as engine:
        fill(engine, 500)
        for text in texts(10, seed=4):
            ask(engine, "pattern_completion", text)
        assert engine.figures().completion_candidates == 40
    with running(tmp_path, pattern_completion_max_candidates=100_000, pattern_completion_max_depth=1000) as engine:
        ask(engine, "pattern_completion", "anything")
        assert engine.figures().completion_candidates > 450  # type: ignore[operator]


def test_a_damaged_snapshot_is_told_and_not_loaded(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        fill(engine, 20)
    document = tmp_path / "snapshot" / "contents.json"
    document.write_text(document.read_text()[:-30])
    with pytest.raises(SnapshotError, match="remove it"), running(tmp_path):
        pass


def test_memories_are_linked_by_the_background_alone(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        for text in texts(200):
            submit(engine, "store", text, space="bench-b")
        answers(engine, 200)
        linked(engine, space="bench-b")
        assert engine.figures().spaces["bench-b"].index_nodes == 200
