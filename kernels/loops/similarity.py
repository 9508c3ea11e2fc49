"""
Similarities (dot products) of 768-dimensional vectors in three layouts, each the faster for being easier on the CPU.

`scalar` adds up one product after another, as code does that may not reorder sums. `by_rows` has the same vectors, and
adds in lanes. `by_tiles` has groups of eight rows side by side: 96 tiles, each of eight lanes of every row (an array of
structures of arrays), so that one load of a query serves eight rows, and eight sums hide the latency of each other.

All of them visit groups of eight rows in a circle, so that a caller who times them can go on where it stopped: a set
that is larger than the caches is then never met where it is still in one.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.compiled import fast_loop, loop
from engram_diagnose.kernels.loops.vectors import (
    add_products,
    added,
    lanes_here,
    load,
    load_twice,
    not_unrolled,
    store_totals,
    zeros,
)

DIMENSIONS: Final = 768
ROWS: Final = 8
"""Rows of a group."""
LANES: Final = 8
TILES: Final = DIMENSIONS // LANES
ROW_BYTES: Final = DIMENSIONS * 4
GROUP_BYTES: Final = ROWS * ROW_BYTES
CACHE_LINE: Final = 64

# What loops give to `zeros` are names: numba takes no expression for a constant.
_HALF: Final = ROWS // 2
_PAIRS: Final = ROWS // 2
_WIDE: Final = 2 * LANES
_TILE: Final = ROWS * LANES
_GROUP: Final = ROWS * DIMENSIONS

Floats = npt.NDArray[np.float32]


def scalar(rows: Floats, queries: Floats, scores: Floats, *, first: int = 0, groups: int | None = None) -> None:
    """
    scores[q, r] = sum(queries[q, i] * rows[r, i] for i in range(768)), in this order, for the rows of `groups` groups
    of eight from group `first` on, in a circle (None: of all).

    `rows` (n, 768), n a multiple of eight, `queries` (q, 768) and `scores` (q, n) are contiguous arrays of float32;
    raises `ValueError` where one is not.
    """
    _check_rows(rows)
    _check(rows, queries, scores, count=len(rows))
    _scalar(rows, queries, scores, *_visits(len(rows) // ROWS, first, groups))


def by_rows(rows: Floats, queries: Floats, scores: Floats, *, first: int = 0, groups: int | None = None) -> None:
    """As `scalar`, in any order of addition."""
    _check_rows(rows)
    _check(rows, queries, scores, count=len(rows))
    _by_rows(rows, queries, scores, *_visits(len(rows) // ROWS, first, groups))


def by_tiles(
    tiles: Floats, queries: Floats, scores: Floats, *, first: int = 0, groups: int | None = None, lanes: int = 0
) -> None:
    """
    As `by_rows`, of rows in tiles (`in_tiles`): `tiles` is (n / 8, 96, 8, 8), and all arrays begin at a cache line.

    `lanes` is how many floats a register holds, 8 or 16; 0 is as many as this CPU's.
    """
    if tiles.ndim != 4 or tiles.shape[1:] != (TILES, ROWS, LANES):
        raise ValueError(f"tiles are (groups, {TILES}, {ROWS}, {LANES}), not {_shown(tiles)}")
    _check(tiles, queries, scores, count=len(tiles) * ROWS)
    for name, array in (("tiles", tiles), ("queries", queries), ("scores", scores)):
        if array.ctypes.data % CACHE_LINE:
            raise ValueError(f"{name} do not begin at a cache line; `aligned` makes arrays that do")
    by_lanes = {8: _by_tiles_8, 16: _by_tiles_16}
    compiled = by_lanes.get(lanes or max(LANES, lanes_here()))
    if compiled is None:
        raise ValueError(f"lanes are 8 or 16, not {lanes}")
    compiled(tiles.reshape(-1), queries.reshape(-1), scores.reshape(-1), *_visits(len(tiles), first, groups))


def in_tiles(rows: Floats) -> Floats:
    """Rows (n, 768), n a multiple of eight, in tiles: [group, tile, row, lane], aligned to 64 bytes."""
    _check_rows(rows)
    found = aligned((len(rows) // ROWS, TILES, ROWS, LANES))
    found[:] = rows.reshape(-1, ROWS, TILES, LANES).swapaxes(1, 2)
    return found


def aligned(shape: tuple[int, ...]) -> Floats:
    """An array of zeros that begins at a cache line."""
    size = 4 * int(np.prod(shape))
    whole = np.zeros(size + CACHE_LINE, np.uint8)
    skipped = -whole.ctypes.data % CACHE_LINE
    return whole[skipped : skipped + size].view(np.float32).reshape(shape)


def loaded_bytes(layout: str, batch: int, lanes: int) -> float:
    """
    How many bytes the core loads for a similarity of `layout` ("scalar", "rows", "tiles"), computed for so many queries
    at once in registers of so many floats: what the first level of cache has to deliver.
    """
    if layout != "tiles":
        return 2.0 * ROW_BYTES
    queries = max(count for count in (1, 2, 4) if count <= min(batch, 4 if lanes == 16 else 2))
    rows = _HALF if lanes != 16 and queries == 2 else ROWS
    return ROW_BYTES / queries + ROW_BYTES / rows


def _check_rows(rows: Floats) -> None:
    if rows.ndim != 2 or rows.shape[1] != DIMENSIONS or len(rows) % ROWS:
        raise ValueError(f"rows are (a multiple of {ROWS}, {DIMENSIONS}), not {_shown(rows)}")


def _check(vectors: Floats, queries: Floats, scores: Floats, *, count: int) -> None:
    if not count:
        raise ValueError("there are no rows")
    if queries.ndim != 2 or queries.shape[1] != DIMENSIONS:
        raise ValueError(f"queries are (any number, {DIMENSIONS}), not {_shown(queries)}")
    if scores.shape != (len(queries), count):
        raise ValueError(f"scores are ({len(queries)}, {count}), one for each query and row, not {_shown(scores)}")
    for name, array in (("the vectors", vectors), ("queries", queries), ("scores", scores)):
        if array.dtype != np.float32 or not array.flags.c_contiguous:
            raise ValueError(f"{name} are a contiguous array of float32, not {_shown(array)}")
    if not scores.flags.writeable:
        raise ValueError("scores are read-only")


def _visits(there: int, first: int, groups: int | None) -> tuple[int, int]:
    """Where to begin, and how many to visit."""
    if not 0 <= first < there:
        raise ValueError(f"there is no group {first}; there are {there}")
    if groups is not None and groups < 0:
        raise ValueError("no fewer than 0 groups can be visited")
    return first, there if groups is None else groups


def _shown(array: npt.NDArray[Any]) -> str:
    contiguous = "" if array.flags.c_contiguous else ", not contiguous"
    return f"{array.dtype} of shape {array.shape}{contiguous}"


@loop
def _scalar(vectors: Floats, queries: Floats, scores: Floats, first: int, visits: int) -> None:
    group = first
    for _ in range(visits):
        for number in range(group * ROWS, group * ROWS + ROWS):
            for query in range(len(queries)):
                scores[query, number] = _in_order(vectors[number], queries[query])
        group = group + 1 if group * ROWS + ROWS < len(vectors) else 0


@loop
def _in_order(row: Floats, query: Floats) -> Any:
    found = np.float32(0)
    for dimension in range(DIMENSIONS):
        found += row[dimension] * query[dimension]
    return found


@loop
def _by_rows(vectors: Floats, queries: Floats, scores: Floats, first: int, visits: int) -> None:
    group = first
    for _ in range(visits):
        for number in range(group * ROWS, group * ROWS + ROWS):
            for query in range(len(queries)):
                scores[query, number] = _in_lanes(vectors[number], queries[query])
        group = group + 1 if group * ROWS + ROWS < len(vectors) else 0


@fast_loop
def _in_lanes(row: Floats, query: Floats) -> Any:
    found = np.float32(0)
    for dimension in range(DIMENSIONS):
        found += row[dimension] * query[dimension]
    return found


@loop
def _by_tiles_8(tiles: Floats, queries: Floats, scores: Floats, first: int, visits: int) -> None:
    batch = len(queries) // DIMENSIONS
    groups = len(tiles) // _GROUP
    group = first
    for _ in range(visits):
        at, score = group * _GROUP, group * ROWS
        query = 0
        while query + 2 <= batch:
            _two(tiles, at, queries, query * DIMENSIONS, scores, score + query * groups * ROWS, groups * ROWS)
            query += 2
        if query < batch:
            _one(tiles, at, queries, query * DIMENSIONS, scores, score + query * groups * ROWS)
        group = group + 1 if group + 1 < groups else 0


@loop
def _one(tiles: Floats, group: int, queries: Floats, query: int, scores: Floats, score: int) -> None:
    """One load of the query, one of each row: eight sums hide the latency of an FMA."""
    sums = zeros(LANES, ROWS)
    for tile in range(TILES):
        sums = add_products(sums, load(queries, query + tile * LANES, LANES), tiles, group + tile * _TILE)
    store_totals(sums, scores, score)


@loop
def _two(tiles: Floats, group: int, queries: Floats, query: int, scores: Floats, score: int, width: int) -> None:
    """Half of the rows at a time: six loads for eight products, in the sixteen registers that AVX has."""
    for half in range(2):
        skipped = half * _HALF
        first = zeros(LANES, _HALF)
        second = zeros(LANES, _HALF)
        for tile in range(TILES):
            at, lanes = group + skipped * LANES + tile * _TILE, query + tile * LANES
            first = add_products(first, load(queries, lanes, LANES), tiles, at)
            second = add_products(second, load(queries, lanes + DIMENSIONS, LANES), tiles, at)
        store_totals(first, scores, score + skipped)
        store_totals(second, scores, score + width + skipped)


@loop
def _by_tiles_16(tiles: Floats, queries: Floats, scores: Floats, first: int, visits: int) -> None:
    batch = len(queries) // DIMENSIONS
    groups = len(tiles) // _GROUP
    group = first
    for _ in range(visits):
        at, score = group * _GROUP, group * ROWS
        query = 0
        while query + 4 <= batch:
            _four_wide(tiles, at, queries, query * DIMENSIONS, scores, score + query * groups * ROWS, groups * ROWS)
            query += 4
        if query + 2 <= batch:
            _two_wide(tiles, at, queries, query * DIMENSIONS, scores, score + query * groups * ROWS, groups * ROWS)
            query += 2
        if query < batch:
            _one_wide(tiles, at, queries, query * DIMENSIONS, scores, score + query * groups * ROWS)
        group = group + 1 if group + 1 < groups else 0


@loop
def _one_wide(tiles: Floats, group: int, queries: Floats, query: int, scores: Floats, score: int) -> None:
    """Two rows a register: four sums would wait for themselves, so that every other tile has its own."""
    even = zeros(_WIDE, _PAIRS)
    odd = zeros(_WIDE, _PAIRS)
    for tile in range(0, TILES, 2):
        at, lanes = group + tile * _TILE, query + tile * LANES
        even = add_products(even, load_twice(queries, lanes), tiles, at)
        odd = add_products(odd, load_twice(queries, lanes + LANES), tiles, at + _TILE)
    store_totals(added(even, odd), scores, score)


@loop
def _two_wide(tiles: Floats, group: int, queries: Floats, query: int, scores: Floats, score: int, width: int) -> None:
    """Six loads for eight products."""
    first = zeros(_WIDE, _PAIRS)
    second = zeros(_WIDE, _PAIRS)
    for tile in range(TILES):
        not_unrolled()
        at, lanes = group + tile * _TILE, query + tile * LANES
        first = add_products(first, load_twice(queries, lanes), tiles, at)
        second = add_products(second, load_twice(queries, lanes + DIMENSIONS), tiles, at)
    store_totals(first, scores, score)
    store_totals(second, scores, score + width)


@loop
def _four_wide(tiles: Floats, group: int, queries: Floats, query: int, scores: Floats, score: int, width: int) -> None:
    """Eight loads for sixteen products."""
    first = zeros(_WIDE, _PAIRS)
    second = zeros(_WIDE, _PAIRS)
    third = zeros(_WIDE, _PAIRS)
    fourth = zeros(_WIDE, _PAIRS)
    for tile in range(TILES):
        at, lanes = group + tile * _TILE, query + tile * LANES
        # Rows are loaded once, and each query just before its products: all loads first are 5 % slower.
        first = add_products(first, load_twice(queries, lanes), tiles, at)
        second = add_products(second, load_twice(queries, lanes + DIMENSIONS), tiles, at)
        third = add_products(third, load_twice(queries, lanes + 2 * DIMENSIONS), tiles, at)
        fourth = add_products(fourth, load_twice(queries, lanes + 3 * DIMENSIONS), tiles, at)
    store_totals(first, scores, score)
    store_totals(second, scores, score + width)
    store_totals(third, scores, score + 2 * width)
    store_totals(fourth, scores, score + 3 * width)
