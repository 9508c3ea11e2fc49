"""HNSW as its user sees it: what it finds, what it refuses; and what holds of every graph."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.kernels.loops import hnsw
from engram_diagnose.kernels.loops.hnsw_distances import METRICS, Metric, distances, kind_of, table
from engram_diagnose.kernels.loops.hnsw_index import HnswIndex, bytes_for
from engram_diagnose.kernels.loops.hnsw_sketches import least_distances


def vectors_of(count: int, dimensions: int, seed: int = 1) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((10, dimensions))
    return (centres[random.integers(0, 10, count)] + random.standard_normal((count, dimensions))).astype(np.float32)


def plain_distances(vectors: Any, query: Any, metric: Metric) -> Any:
    """In double precision, one at a time."""
    found = []
    for vector in vectors.astype(np.float64):
        one, other = vector, np.asarray(query, np.float64)
        if metric == "cosine":
            one, other = (each / (np.linalg.norm(each) or 1.0) for each in (one, other))
        found.append(np.sum((one - other) ** 2) if metric == "l2" else 1 - np.sum(one * other))
    return np.array(found)


def built(vectors: Any, **how: Any) -> HnswIndex:
    index = HnswIndex(vectors.shape[1], capacity=max(1, len(vectors)), **how)
    index.add(vectors)
    return index


def recall(index: HnswIndex, vectors: Any, queries: Any, width: int) -> float:
    ids, _ = index.search(queries, width=width)
    truth = [np.argsort(plain_distances(vectors, query, index.metric))[:10] for query in queries]
    return float(np.mean([len(set(one) & set(other)) / 10 for one, other in zip(ids, truth, strict=True)]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dimensions", [1, 15, 16, 17, 768])
def test_distances_are_those_of_the_formula(metric: Metric, dimensions: int) -> None:
    rows, query = table(23, dimensions), table(1, dimensions)[0]
    rows[:, :dimensions], query[:dimensions] = vectors_of(23, dimensions), vectors_of(1, dimensions, 2)[0]
    ids = np.array([22, 0, 3, 3, 7, 9, 1, 2, 11], np.int32)
    expected = plain_distances(rows[ids], query, "l2" if metric == "l2" else "inner")
    for count in range(len(ids) + 1):
        found = distances(rows, ids[:count], query, metric=metric)
        assert found == pytest.approx(expected[:count], rel=1e-4, abs=1e-3)


def test_distances_refuse_rows_that_do_not_exist() -> None:
    rows = table(3, 4)
    with pytest.raises(ValueError, match="between 0 and 2"):
        distances(rows, np.array([3], np.int32), rows[0], metric="l2")
    with pytest.raises(ValueError, match="no metric 'far'"):
        distances(rows, np.array([0], np.int32), rows[0], metric="far")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 contiguous float32"):
        distances(rows, np.array([0], np.int32), np.zeros(4, np.float32), metric="l2")


@given(
    st.integers(1, 200), st.integers(0, 1000), st.sampled_from(["l2", "inner"]),
    st.sampled_from([1e-30, 1e-19, 1e-3, 1.0, 1e9, 1e15]), st.sampled_from([1, 10]),
)  # fmt: skip
def test_no_sketch_says_that_a_vector_is_farther_than_it_is(
    dimensions: int, seed: int, metric: Metric, size: float, power: int
) -> None:
    rows, query = table(8, dimensions), table(1, dimensions)[0]
    made = vectors_of(9, dimensions, seed).astype(np.float64) ** power  # some numbers tower above the others
    made *= size / np.abs(made).max()
    rows[:, :dimensions], query[:dimensions] = made[:8], made[8]
    rows[0] = query
    rows[1] = 0
    ids = np.arange(8, dtype=np.int32)
    least = least_distances(rows, query, kind=kind_of(metric))
    assert (least <= distances(rows, ids, query, metric=metric)).all()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2))
def test_candidates_are_ordered_by_their_distance(apart: list[float]) -> None:
    words = [hnsw._word.py_func(np.float32(one), np.uint64(7)) for one in apart]
    assert [hnsw._distance_in.py_func(word) for word in words] == apart
    if apart[0] < apart[1]:
        assert words[0] < words[1]


@pytest.mark.parametrize("metric", METRICS)
def test_most_of_the_true_neighbours_are_found(metric: Metric) -> None:
    vectors, queries = vectors_of(2000, 24), vectors_of(50, 24, 2)
    index = built(vectors, links=12, construction=100, metric=metric)
    # The longest vectors are everybody's nearest by inner product, and hard to come to.
    assert recall(index, vectors, queries, 100) > (0.9 if metric == "inner" else 0.98)
    assert recall(index, vectors, queries, 10) < recall(index, vectors, queries, 100)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_a_search_as_wide_as_the_index_finds_what_exact_search_finds(metric: Metric) -> None:
    vectors, queries = vectors_of(300, 8), vectors_of(20, 8, 2)
    ids, apart = built(vectors, metric=metric).search(queries, count=300, width=300)
    for query, found, far in zip(queries, ids, apart, strict=True):
        expected = plain_distances(vectors, query, metric)
        assert sorted(found) == list(range(300))
        assert far == pytest.approx(np.sort(expected), rel=1e-4, abs=1e-5)
        assert expected[found] == pytest.approx(np.sort(expected), rel=1e-4, abs=1e-5)


def test_sketches_change_nothing_of_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = vectors_of(1500, 100), vectors_of(100, 100, 2)
    index = built(vectors, links=8, construction=40)
    found = index.search(queries, width=20)
    index._graph.figures[:, 1] = 1e9  # so far off that no sketch says anything
    looked_at = index.search(queries, width=20)
    assert np.array_equal(found[0], looked_at[0])
    assert np.array_equal(found[1], looked_at[1])


def test_recall_is_that_of_the_reference_implementation() -> None:
    hnswlib = pytest.importorskip("hnswlib")
    vectors, queries = vectors_of(3000, 64), vectors_of(200, 64, 2)
    theirs = hnswlib.Index("l2", 64)
    theirs.init_index(3000, M=8, ef_construction=60, random_seed=1)
    theirs.set_num_threads(1)
    theirs.add_items(vectors)
    theirs.set_ef(40)
    ours = built(vectors, links=8, construction=60, metric="l2")
    truth = np.array([np.argsort(plain_distances(vectors, query, "l2"))[:10] for query in queries])
    found = [ours.search(queries, width=40)[0], theirs.knn_query(queries, 10)[0]]
    mine, other = (np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, truth, strict=True)]) for ids in found)
    assert mine == pytest.approx(other, abs=0.03)


def test_the_same_vectors_give_the_same_index_however_they_are_added() -> None:
    vectors = vectors_of(500, 12)
    whole, pieces = built(vectors, seed=3), HnswIndex(12, capacity=200, seed=3)
    for vector in vectors[:200]:
        pieces.add(vector)
    pieces.grow(500)
    pieces.add(vectors[200:])
    for one, other in zip(whole.arrays().values(), pieces.arrays().values(), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(whole.arrays()["layers"], built(vectors, seed=4).arrays()["layers"])


@settings(max_examples=40)
@given(st.integers(1, 120), st.integers(2, 6), st.integers(1, 30), st.integers(0, 99), st.sampled_from(METRICS))
def test_links_are_few_and_lead_to_nodes_of_their_layer(
    count: int, links: int, construction: int, seed: int, metric: Metric
) -> None:
    vectors = np.round(vectors_of(count, 3, seed), 1)  # with some that are equal
    kept = built(vectors, links=links, construction=construction, seed=seed, metric=metric).arrays()
    layers, state = kept["layers"], kept["state"]
    assert layers[state[hnsw.ENTRY]] == layers.max() == state[hnsw.TOP]
    for node in range(count):
        for layer in range(layers[node] + 1):
            row = kept["bottom"][node] if layer == 0 else kept["above"][kept["first"][node] + layer - 1]
            leads = row[1 : 1 + row[0]]
            assert row[0] <= (2 * links if layer == 0 else links)
            assert len(set(leads)) == len(leads)
            assert node not in leads
            assert all(layers[to] >= layer for to in leads)
            assert row[0] > 0 or (layers >= layer).sum() == 1
    assert HnswIndex.from_arrays(kept).arrays()["bottom"].tolist() == kept["bottom"].tolist()


@settings(max_examples=40)
@given(st.integers(1, 100), st.integers(0, 99))
def test_every_node_is_reached_from_the_entry_where_links_abound(count: int, seed: int) -> None:
    index = built(vectors_of(count, 4, seed), links=16, seed=seed, metric="l2")
    ids, _ = index.search(np.zeros(4), count=count, width=count)
    assert sorted(ids[0]) == list(range(count))


def test_vectors_that_are_all_equal_are_found() -> None:
    index = built(np.ones((100, 5), np.float32), links=4, construction=10)
    ids, apart = index.search(np.ones(5), count=10, width=20)
    assert len(set(ids[0])) == 10
    assert apart[0] == pytest.approx(0, abs=1e-6)


def test_few_vectors_leave_the_rest_of_the_row_empty() -> None:
    index = HnswIndex(2, capacity=3)
    assert index.search([1.0, 0.0], count=2)[0].tolist() == [[-1, -1]]
    assert index.add([3.0, 4.0]) == range(1)
    ids, apart = index.search([1.0, 0.0], count=3)
    assert ids.tolist() == [[0, -1, -1]]
    assert apart[0].tolist() == pytest.approx([0.4, np.inf, np.inf])


@pytest.mark.parametrize("metric", METRICS)
def test_zeros_and_one_dimension_are_vectors_as_well(metric: Metric) -> None:
    vectors = np.array([[0.0], [1.0], [-2.0], [1e-40], [5.0]], np.float32)
    ids, apart = built(vectors, metric=metric).search([[0.0], [1.0]], count=5, width=5)
    assert all(sorted(row) == list(range(5)) for row in ids)
    assert np.isfinite(apart).all()
    if metric == "l2":
        assert ids[1, 0] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_finite_vector_is_refused_and_nothing_added(bad: float) -> None:
    index = HnswIndex(3, capacity=10)
    with pytest.raises(ValueError, match=r"row 1 of the vectors is (not finite|too large)"):
        index.add([[1, 2, 3], [1, bad, 3]])
    with pytest.raises(ValueError, match="row 0 of the queries"):
        index.search([1, bad, 3])
    assert len(index) == 0
    assert index.add([1, 2, 3]) == range(1)


def test_what_does_not_fit_is_refused() -> None:
    index = HnswIndex(3, capacity=2)
    for call, message in (
        (lambda: index.add([[1, 2]]), "have 3 dimensions"),
        (lambda: index.add([["a", "b", "c"]]), "rows of numbers"),
        (lambda: index.add(np.zeros((3, 3))), "capacity of 2: grow"),
        (lambda: index.search([1, 2, 3], count=0), "count lies between 1"),
        (lambda: index.search([1, 2, 3], width=0), "ef_search"),
        (lambda: index.grow(1), "does not shrink"),
        (lambda: HnswIndex(0, capacity=1), "dimensions lies between 1"),
        (lambda: HnswIndex(3, capacity=0), "capacity lies between 1"),
        (lambda: HnswIndex(3, capacity=1, links=1), "between 2"),
        (lambda: HnswIndex(3, capacity=1, metric="far"), "no metric 'far'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert len(index.add(np.zeros((0, 3)))) == 0


def test_memory_is_known_before() -> None:
    assert HnswIndex(100, capacity=1000, links=7).nbytes == bytes_for(1000, dimensions=100, links=7)


def test_an_index_comes_back_from_its_arrays() -> None:
    vectors, queries = vectors_of(400, 20), vectors_of(10, 20, 2)
    for metric in METRICS:
        index = built(vectors[:300], metric=metric, seed=5)
        again = HnswIndex.from_arrays(index.arrays(), capacity=400)
        for one in (index, again):
            if one.capacity < 400:
                one.grow(400)
            one.add(vectors[300:])
        assert np.array_equal(index.search(queries)[0], again.search(queries)[0])


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("bottom", (3, 1), 300), ("bottom", (3, 1), -1), ("bottom", (0, 0), 33), ("first", 0, 5), ("layers", 2, 200),
        ("vectors", (1, 1), np.nan), ("above", (0, 1), 10**6), ("state", hnsw.ENTRY, 10**9), ("state", hnsw.METRIC, 7),
        ("state", hnsw.COUNT, 301), ("state", hnsw.ROWS, 10**9), ("state", hnsw.TOP, 9), ("state", hnsw.DIMENSIONS, 3),
        ("state", hnsw.CONSTRUCTION, -1), ("state", hnsw.SEED, -1),
    ],
)  # fmt: skip
def test_arrays_that_are_no_graph_are_refused(name: str, at: Any, value: Any) -> None:
    arrays = built(vectors_of(300, 4)).arrays()
    arrays[name][at] = value
    with pytest.raises(ValueError, match=r"this is no index|lies between"):
        HnswIndex.from_arrays(arrays)


def test_arrays_that_lack_one_are_refused() -> None:
    arrays = built(vectors_of(30, 4)).arrays()
    with pytest.raises(ValueError, match="kept as vectors"):
        HnswIndex.from_arrays({**arrays, "vectors": arrays["vectors"].astype(np.float64)})
    with pytest.raises(ValueError, match="kept as layers"):
        HnswIndex.from_arrays({name: array for name, array in arrays.items() if name != "layers"})
    empty = HnswIndex(4, capacity=3).arrays()
    assert len(HnswIndex.from_arrays(empty)) == 0


def test_threads_search_while_another_adds_and_grows() -> None:
    vectors, queries = vectors_of(2000, 16), vectors_of(100, 16, 2)
    index = HnswIndex(16, capacity=500, links=8, construction=50)
    index.add(vectors[:500])
    failed: list[BaseException] = []
    ended = threading.Event()

    def search() -> None:
        try:
            while not ended.is_set():
                ids, apart = index.search(queries, width=40)
                assert ((ids >= 0) & (ids < 2000)).all()
                assert (np.diff(apart, axis=1) >= 0).all()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for low in range(500, 2000, 100):
        index.grow(low + 100)
        index.add(vectors[low : low + 100])
    ended.set()
    for thread in threads:
        thread.join()
    assert not failed
    alone = built(vectors, links=8, construction=50)
    assert np.array_equal(alone.search(queries)[0], index.search(queries)[0])
