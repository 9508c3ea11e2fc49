"""
Distances of one vector to many of a table, four rows at a time.

Rows are padded with zeros to whole cache lines, so that no loop has a tail and no load crosses a line. An L2 distance
is the squared one, an inner product is turned into `1 - product`: smaller is nearer either way.
"""

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.compiled import fast_loop, inlined, loop
from engram_diagnose.kernels.loops.prefetch import prefetch

Metric = Literal["l2", "inner", "cosine"]
"""How far two vectors are apart: squared Euclidean distance, 1 - inner product, and that of vectors of length 1."""

METRICS: Final[tuple[Metric, ...]] = ("l2", "inner", "cosine")
L2: Final = METRICS.index("l2")
COSINE: Final = METRICS.index("cosine")
SCALAR: Final = len(METRICS)
"""As cosine, with products added up one after another, as code does that has no vector instructions."""
LINE: Final = 16
"""Floats of a cache line."""


def padded(dimensions: int) -> int:
    """Floats that a row of so many takes up."""
    return -(-dimensions // LINE) * LINE


def table(rows: int, dimensions: int) -> npt.NDArray[np.float32]:
    """Zeroed rows, each of them padded, the first at the start of a cache line; memory is taken when it is written."""
    stride = padded(dimensions)
    room = np.zeros(rows * stride + LINE, np.float32)
    skipped = -(room.ctypes.data // 4) % LINE
    return room[skipped : skipped + rows * stride].reshape(rows, stride)


def distances(
    vectors: npt.NDArray[np.float32], ids: npt.NDArray[np.int32], vector: npt.NDArray[np.float32], *, metric: Metric
) -> npt.NDArray[np.float32]:
    """
    The distance of `vector` to the rows `ids` of `vectors`, a `table`.

    Raises `ValueError` where the shapes do not fit, or a row does not exist.
    """
    if vectors.dtype != np.float32 or vectors.ndim != 2 or not vectors.flags.c_contiguous or vectors.shape[1] % LINE:
        raise ValueError(f"vectors are contiguous rows of float32, padded to multiples of {LINE}; use table()")
    if vector.dtype != np.float32 or vector.shape != vectors.shape[1:] or not vector.flags.c_contiguous:
        raise ValueError(f"the vector has {vectors.shape[1]} contiguous float32, as the rows have")
    if ids.dtype != np.int32 or ids.ndim != 1 or not ids.flags.c_contiguous:
        raise ValueError("ids are a contiguous row of int32")
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(vectors):
        raise ValueError(f"ids lie between 0 and {len(vectors) - 1}")
    found = np.empty(len(ids), np.float32)
    _distances(vectors, ids, len(ids), vector, kind_of(metric), found)
    return found


def kind_of(metric: Metric) -> int:
    """The number of a metric; raises `ValueError`."""
    if metric not in METRICS:
        raise ValueError(f"there is no metric {metric!r}; known: {', '.join(METRICS)}")
    return METRICS.index(metric)


@fast_loop
def _inner(one: Any, other: Any) -> Any:
    total = np.float32(0)
    for at in range(np.uint64(len(one))):
        total += one[at] * other[at]
    return np.float32(1) - total


@fast_loop
def _squared(one: Any, other: Any) -> Any:
    total = np.float32(0)
    for at in range(np.uint64(len(one))):
        apart = one[at] - other[at]
        total += apart * apart
    return total


@fast_loop
def _four_inner(vector: Any, first: Any, second: Any, third: Any, fourth: Any, out: Any, at: Any) -> Any:
    """Each line of the vector is loaded once, and four sums hide how long an addition takes."""
    a = b = c = d = np.float32(0)
    for here in range(np.uint64(len(vector))):
        value = vector[here]
        a += value * first[here]
        b += value * second[here]
        c += value * third[here]
        d += value * fourth[here]
    out[at], out[at + 1] = np.float32(1) - a, np.float32(1) - b
    out[at + 2], out[at + 3] = np.float32(1) - c, np.float32(1) - d


@fast_loop
def _four_squared(vector: Any, first: Any, second: Any, third: Any, fourth: Any, out: Any, at: Any) -> Any:
    a = b = c = d = np.float32(0)
    for here in range(np.uint64(len(vector))):
        value = vector[here]
        apart = value - first[here]
        a += apart * apart
        apart = value - second[here]
        b += apart * apart
        apart = value - third[here]
        c += apart * apart
        apart = value - fourth[here]
        d += apart * apart
    out[at], out[at + 1], out[at + 2], out[at + 3] = a, b, c, d


@inlined
def _fetch(vectors: Any, ids: Any, low: Any, high: Any) -> Any:
    for at in range(low, high):
        start = np.intp(ids[at]) * vectors.shape[1]
        for line in range(start, start + vectors.shape[1], LINE):
            prefetch(vectors, line)


@loop
def _in_order(one: Any, other: Any) -> Any:
    total = np.float32(0)
    for at in range(len(one)):
        total += one[at] * other[at]
    return np.float32(1) - total


@inlined
def _distances(vectors: Any, ids: Any, count: Any, vector: Any, kind: Any, out: Any) -> Any:
    """Distances of `vector` to `count` rows; ids and out hold as many."""
    whole = count & ~3 if kind != SCALAR else 0
    for at in range(0, whole, 4):
        first, second = vectors[ids[at]], vectors[ids[at + 1]]
        third, fourth = vectors[ids[at + 2]], vectors[ids[at + 3]]
        if kind == L2:
            _four_squared(vector, first, second, third, fourth, out, at)
        else:
            _four_inner(vector, first, second, third, fourth, out, at)
    for at in range(whole, count):
        out[at] = _distance(vectors[ids[at]], vector, kind)


@inlined
def _distance(one: Any, other: Any, kind: Any) -> Any:
    if kind == SCALAR:
        return _in_order(one, other)
    return _squared(one, other) if kind == L2 else _inner(one, other)
