"""Recall at ten: what a server finds of what it should find."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.conftest import StartServer

from engram_diagnose.bench.asking import Asking
from engram_diagnose.bench.guards import checked_address
from engram_diagnose.bench.quality import (
    Quality,
    measured_quality,
    nearest,
    queries_of,
    store_for_quality,
    vectors_of,
)
from engram_diagnose.bench.targets import routes_of

SPACE = "bench-t-quality"


def measured(url: str, *, memories: int = 120, queries: int = 20, seconds: float = 30.0) -> Quality | str:
    with Asking(checked_address(url), wait=2.0) as asking:
        routes, until = routes_of("guide"), time.monotonic() + seconds
        stored = store_for_quality(asking, routes, SPACE, count=memories, seed=1, until=until)
        return measured_quality(asking, routes, stored, k=10, count=queries, seed=1, until=until)


@pytest.mark.parametrize("mode", ["healthy", "release"])
def test_a_server_that_searches_exactly_has_a_recall_of_one(mode: str, start_server: StartServer) -> None:
    assert measured(start_server(mode).url) == Quality(1.0, 10, 20, 120, SPACE)


def test_a_server_that_misses_three_of_ten_has_a_recall_of_seven_tenths(start_server: StartServer) -> None:
    found = measured(start_server("misses", 0, 70).url)
    assert isinstance(found, Quality)
    assert found.recall_at_k == pytest.approx(0.7)


def test_where_recalls_find_nothing_the_recall_is_nought(start_server: StartServer) -> None:
    found = measured(start_server("forgetful").url)
    assert isinstance(found, Quality)
    assert found.recall_at_k == 0.0


def test_a_server_that_refuses_or_dies_leaves_a_reason(start_server: StartServer) -> None:
    assert "refuses a memory" in str(measured(start_server("failing-after", 0, 50).url))
    assert "no" in str(measured(start_server("dies-after", 0, 130).url))


def test_what_there_is_no_time_for_is_left_out(start_server: StartServer) -> None:
    assert "memories were stored in time" in str(measured(start_server().url, seconds=0.0))


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 1000))
def test_the_nearest_are_those_that_comparing_with_every_memory_finds(count: int, k: int, seed: int) -> None:
    vectors = vectors_of(count, seed=seed)
    query = queries_of(vectors, 1, seed=seed)
    near = sorted(
        range(count), key=lambda row: (-float(np.dot(query[0].astype(float), vectors[row].astype(float))), row)
    )
    assert list(nearest(vectors, query, k)[0]) == near[:k]


def test_neighbours_are_neither_all_alike_nor_all_of_one_distance() -> None:
    """Else any answer, or none, would be the true one."""
    vectors = vectors_of(1500, seed=3)
    queries = queries_of(vectors, 50, seed=3)
    near = np.sort(queries @ vectors.T, axis=1)[:, ::-1]
    assert np.all(near[:, 0] > near[:, 9])
    assert np.median(near[:, 9]) > np.median(near[:, 200]) + 0.04
