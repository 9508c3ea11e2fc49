"""The matrix of HNSW as its user sees it: recall and speed by setting, the cheapest that suffices, what stops it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.blas import one_blas_thread
from engram_diagnose.kernels.measure.hnsw import MATRIX, exact, hnsw, made, recall_of, sampled
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.rulebase import load_rules

MIB = 1 << 20


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    read = read_limits(load_rules((), thorough=False).texts, "kernels")
    return {
        **read, "repeats": 3, "hnsw_seconds": 0.003, "hnsw_vectors": 600, "hnsw_few": 300, "hnsw_queries": 30,
        "hnsw_dimensions": 40, "hnsw_rows": 100, "hnsw_batch": 8,
    }  # fmt: skip


@pytest.fixture
def bench(limits: Mapping[str, float]) -> Iterator[Bench]:
    with Pool((0,)) as pool:
        yield Bench(limits, (0,), 64 * MIB, pool)


def of(name: str, found: list[Outcome]) -> list[Measurement]:
    return [one for one in found if isinstance(one, Measurement) and one.name == name]


def test_each_setting_has_its_recall_its_queries_and_its_insertions(bench: Bench) -> None:
    found = hnsw(bench)
    for name in ("hnsw.recall", "hnsw.queries", "hnsw.insertions"):
        assert [one.labels["m"] for one in of(name, found)] == ["8", "16", "24", "32"]
        assert all(one.attained > 0 for one in of(name, found))
    assert [one.labels["queries"] for one in of("hnsw.exact", found)] == ["one at a time", "8 at once"]


def test_the_cheapest_setting_that_suffices_is_named_and_held_against_exact_search(bench: Bench) -> None:
    (cheapest,) = of("hnsw.cheapest", hnsw(bench))
    assert "finds 99.0%" in cheapest.notes[0]
    assert any("one at a time" in note and "beat" in note for note in cheapest.notes)
    assert any("8 at once" in note and "600 vectors" in note for note in cheapest.notes)


def test_where_no_setting_suffices_it_says_what_else_there_is(bench: Bench) -> None:
    found = hnsw(replace(bench, limits={**bench.limits, "hnsw_recall": 1.01}))[-1]
    assert isinstance(found, Unmeasured)
    assert "no setting" in found.reason
    assert "exactly" in found.get_by


def test_settings_are_those_of_the_rule() -> None:
    text = next(text for text in load_rules((), thorough=False).texts.values() if "id: fit.hnsw-matrix" in text)
    rule = next(one for one in yaml.safe_load(text)["rules"] if one["id"] == "fit.hnsw-matrix")
    rows = [row["set"] for row in rule["rows"]]
    assert sorted((row["m"], row["construction"], row["search"]) for row in rows) == [
        (one.links, one.construction, one.search) for one in MATRIX
    ]


def test_little_memory_means_fewer_vectors_and_less_than_that_is_said(bench: Bench) -> None:
    few = hnsw(replace(bench, memory=400_000))
    assert "among 300 vectors" in of("hnsw.recall", few)[0].notes[0]
    (none,) = hnsw(replace(bench, memory=1000))
    assert isinstance(none, Unmeasured)
    assert "memory" in none.get_by


def test_several_threads_build_at_once_and_find_the_same(limits: Mapping[str, float], bench: Bench) -> None:
    with Pool((0, 0, 0)) as pool:
        together = hnsw(replace(bench, pool=pool))
    alone = hnsw(bench)
    assert [one.values for one in of("hnsw.recall", together)] == [one.values for one in of("hnsw.recall", alone)]
    assert "while 2 other indexes were built" in of("hnsw.insertions", together)[0].notes[0]


def test_it_can_be_stopped_while_it_builds(bench: Bench) -> None:
    said: list[str] = []

    def stop() -> None:
        if any("inserted" in line for line in said):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hnsw(replace(bench, say=said.append, check=stop))
    assert not any("recall" in line for line in said)


def test_vectors_made_are_always_the_same_of_length_one_and_hard() -> None:
    one, other = made(500, 40, 20), made(500, 40, 20)
    assert np.array_equal(one.vectors, other.vectors)
    assert np.linalg.norm(one.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert one.vectors.shape == (500, 40)
    assert one.queries.shape == (20, 40)


def test_exact_search_is_exact() -> None:
    sample = made(300, 40, 25)
    found = exact(sample.vectors, sample.queries, batch=8, check=lambda: None)
    expected = np.argsort(-(sample.queries.astype(float) @ sample.vectors.T.astype(float)), axis=1)[:, :10]
    assert np.array_equal(np.sort(found, axis=1), np.sort(expected, axis=1))
    assert recall_of(found.astype(np.int32), expected) == 1
    assert recall_of(np.full((25, 10), -1, np.int32), expected) == 0


def test_a_sample_of_the_users_vectors_is_measured(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "mine.npy"
    np.save(path, np.random.default_rng(1).standard_normal((200, 12)).astype(np.float32))
    notes = of("hnsw.recall", hnsw(bench, sample=path))[0].notes
    assert "sampled from mine.npy" in notes[0]
    assert "170 vectors" in notes[0]


def test_rows_are_searched_in_or_for_and_never_both(tmp_path: Path) -> None:
    path = tmp_path / "mine.npy"
    np.save(path, np.eye(50, dtype=np.float32) + 1)
    sample = sampled(path, 30, 10)
    rows = np.concatenate([sample.vectors, sample.queries])
    assert sample.queries.shape == (10, 50)
    assert len(np.unique(rows, axis=0)) == len(rows) == 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no array of numpy's"),
        (b"\x93NUMPY\x01\x00\x76\x00{'descr'", "no array of numpy's"),
        (b"PK\x03\x04", "no array of numpy's|no rows of float32"),
        (np.zeros((50, 3)), "rows of float32"),
        (np.zeros(50, np.float32), "rows of float32"),
        (np.zeros((50, 0), np.float32), "rows of float32"),
        (np.zeros((5, 3), np.float32), "5 rows"),
        (np.full((50, 3), np.nan, np.float32), "row [0-9]+ of .* is not finite"),
        (np.array([{}] * 50, object), "no array of numpy's"),
    ],
)
def test_what_is_no_sample_is_refused(bench: Bench, tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "mine.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        hnsw(bench, sample=path)


def test_a_sample_that_is_missing_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        hnsw(bench, sample=tmp_path / "none.npy")


def test_blas_is_kept_to_one_thread_and_let_go() -> None:
    with one_blas_thread() as first, one_blas_thread() as second:
        assert first == second
