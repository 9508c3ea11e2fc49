"""Similarities: each layout gives what numpy gives, whatever the batch, and refuses what is no such layout."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.kernels.loops import similarity
from engram_diagnose.kernels.loops.similarity import (
    DIMENSIONS,
    aligned,
    by_rows,
    by_tiles,
    in_tiles,
    loaded_bytes,
    scalar,
)

Floats = npt.NDArray[np.float32]
Compare = Callable[..., None]
ROWS = 24


def some(count: int, seed: int) -> Floats:
    found = aligned((count, DIMENSIONS))
    found[:] = np.random.default_rng(seed).standard_normal(found.shape)
    return found


def plain(rows: Floats, queries: Floats) -> Any:
    """Every query with every row, in double precision."""
    return queries.astype(np.float64) @ rows.astype(np.float64).T


def tiled(lanes: int) -> Compare:
    def compare(rows: Floats, queries: Floats, scores: Floats, **more: Any) -> None:
        by_tiles(in_tiles(rows), queries, scores, lanes=lanes, **more)

    return compare


EVERY = pytest.mark.parametrize(
    "compare", [scalar, by_rows, tiled(8), tiled(16), tiled(0)], ids=["scalar", "rows", "tiles 8", "tiles 16", "tiles"]
)


@EVERY
@pytest.mark.parametrize("batch", range(1, 12))
def test_every_layout_and_batch_gives_every_score(compare: Compare, batch: int) -> None:
    rows, queries, scores = some(ROWS, 1), some(batch, 2), aligned((batch, ROWS))
    compare(rows, queries, scores)
    np.testing.assert_allclose(scores, plain(rows, queries), atol=1e-4)


def test_the_scalar_loop_adds_up_in_order() -> None:
    rows, queries, scores = some(8, 3), some(2, 4), aligned((2, 8))
    scalar(rows, queries, scores)
    for query, row in np.ndindex(2, 8):
        total = np.float32(0)
        for one, other in zip(rows[row], queries[query], strict=True):
            total += one * other
        assert scores[query, row] == total


@EVERY
@settings(deadline=None, max_examples=25)
@given(first=st.integers(0, 2), groups=st.integers(0, 7))
def test_groups_are_visited_in_a_circle(compare: Compare, first: int, groups: int) -> None:
    rows, queries, scores = some(ROWS, 5), some(3, 6), aligned((3, ROWS))
    scores[:] = -1
    compare(rows, queries, scores, first=first, groups=groups)
    visited = {(first + number) % 3 for number in range(groups)}
    expected = np.where([[row // 8 in visited for row in range(ROWS)]] * 3, plain(rows, queries), -1)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@EVERY
def test_what_is_not_a_number_is_not_hidden(compare: Compare) -> None:
    rows, queries, scores = some(8, 7), some(4, 8), aligned((4, 8))
    rows[2, 700], rows[5, 3], queries[:] = np.nan, np.inf, 1
    compare(rows, queries, scores)
    assert np.isnan(scores[:, 2]).all()
    assert np.isposinf(scores[:, 5]).all()
    assert np.isfinite(scores[:, [0, 1, 3, 4, 6, 7]]).all()


def test_tiles_hold_eight_lanes_of_eight_rows() -> None:
    rows = some(16, 9)
    tiles = in_tiles(rows)
    assert tiles.shape == (2, 96, 8, 8)
    assert tiles.ctypes.data % 64 == 0
    for group, tile, row, lane in [(0, 0, 0, 0), (1, 95, 7, 7), (1, 3, 2, 5)]:
        assert tiles[group, tile, row, lane] == rows[group * 8 + row, tile * 8 + lane]


def shifted(array: Floats) -> Floats:
    """The same at four bytes beyond a cache line."""
    whole = aligned((array.size + 1,))
    found = whole[1:].reshape(array.shape)
    found[:] = array
    return found


def read_only(array: Floats) -> Floats:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: by_rows(aligned((8, 700)), some(1, 1), aligned((1, 8))), "rows are .* not float32 of shape"),
        (lambda: by_rows(aligned((7, 768)), some(1, 1), aligned((1, 7))), "a multiple of 8"),
        (lambda: by_rows(aligned((0, 768)), some(1, 1), aligned((1, 0))), "no rows"),
        (lambda: scalar(aligned((8, 768)), aligned((1, 700)), aligned((1, 8))), "queries are"),
        (lambda: scalar(some(8, 1), some(2, 1), aligned((1, 8))), r"scores are \(2, 8\)"),
        (lambda: by_rows(some(8, 1).astype(np.float64), some(1, 1), aligned((1, 8))), "float32, not float64"),
        (lambda: by_rows(some(16, 1)[::2], some(1, 1), aligned((1, 8))), "not contiguous"),
        (lambda: by_rows(some(8, 1), some(1, 1), read_only(aligned((1, 8)))), "read-only"),
        (lambda: by_rows(some(8, 1), some(1, 1), aligned((1, 8)), first=1), "no group 1"),
        (lambda: by_rows(some(8, 1), some(1, 1), aligned((1, 8)), groups=-1), "fewer than 0"),
        (lambda: by_tiles(some(8, 1), some(1, 1), aligned((1, 8))), "tiles are"),
        (lambda: by_tiles(shifted(in_tiles(some(8, 1))), some(1, 1), aligned((1, 8))), "tiles do not begin"),
        (lambda: by_tiles(in_tiles(some(8, 1)), shifted(some(1, 1)), aligned((1, 8))), "queries do not begin"),
        (lambda: by_tiles(in_tiles(some(8, 1)), some(1, 1), shifted(aligned((1, 8)))), "scores do not begin"),
        (lambda: by_tiles(in_tiles(some(8, 1)), some(1, 1), aligned((1, 8)), lanes=5), "8 or 16, not 5"),
        (lambda: in_tiles(aligned((9, 768))), "a multiple of 8"),
    ],
)
def test_what_is_no_such_array_is_refused(call: Callable[[], None], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        call()


def test_tiles_load_less_than_rows_and_batches_less_than_one_query() -> None:
    row = similarity.ROW_BYTES
    assert loaded_bytes("scalar", 1, 16) == loaded_bytes("rows", 64, 16) == 2 * row
    assert [loaded_bytes("tiles", batch, 8) / row for batch in (1, 2, 64)] == [1.125, 0.75, 0.75]
    assert [loaded_bytes("tiles", batch, 16) / row for batch in (1, 2, 4, 64)] == [1.125, 0.625, 0.375, 0.375]
