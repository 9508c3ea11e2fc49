"""
Sketches of vectors: a byte a dimension, a quarter of what has to be read, and how far off they can be.

With x' = scale * code and r = |x - x'|, the product of two vectors is within |q'| * r_x + r_q * |x| of that of their
sketches (Cauchy and Schwarz). So a sketch says that a vector is farther away than another for certain, or that it has
to be looked at: a search that leaves out what is farther away finds what it would have found without sketches.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.compiled import fast_loop, inlined, loop
from engram_diagnose.kernels.loops.hnsw_distances import L2
from engram_diagnose.kernels.loops.prefetch import prefetch

BYTES: Final = 64
"""Codes of a cache line."""

_SCALE: Final = 0
_OFF: Final = 1
_LENGTH: Final = 2
FIGURES: Final = 4
"""What is kept of a sketch: its scale, how far off it is, and how long the vector is; the fourth fills 16 bytes."""

MOST_CODE: Final = 127

_OVERSTATED: Final = np.float32(1.0001)
"""Lengths are sums of floats in any order, which may come out too small."""

_ROUNDING: Final = np.float32(2e-7)
"""What rounding does to a sum of products of floats, by summand and as a share: 2^-24, and as much again."""

_TINY: Final = np.float32(1e-36)
"""More than what is lost where products are too small for a float."""


def codes(rows: int, dimensions: int) -> npt.NDArray[np.int8]:
    """Zeroed sketches, each of them padded, the first at the start of a cache line; memory is taken when written."""
    stride = padded_codes(dimensions)
    room = np.zeros(rows * stride + BYTES, np.int8)
    skipped = -room.ctypes.data % BYTES
    return room[skipped : skipped + rows * stride].reshape(rows, stride)


def padded_codes(dimensions: int) -> int:
    """Bytes that a sketch of so many dimensions takes up."""
    return -(-dimensions // BYTES) * BYTES


def most_word(dimensions: int) -> int:
    """The largest number of the sketch that others are multiplied with: their sum has 32 bits."""
    return int(min(np.iinfo(np.int16).max, np.iinfo(np.int32).max // (MOST_CODE * padded_codes(dimensions))))


def least_distances(
    vectors: npt.NDArray[np.float32], vector: npt.NDArray[np.float32], *, kind: int
) -> npt.NDArray[np.float32]:
    """
    What the distances of `vector` to the rows are at least, by their sketches; `kind` is L2 or INNER.

    Raises `ValueError` where the shapes do not fit.
    """
    if vectors.dtype != np.float32 or vectors.ndim != 2 or not vectors.flags.c_contiguous:
        raise ValueError("vectors are contiguous rows of float32")
    if vector.dtype != np.float32 or vector.shape != vectors.shape[1:] or not vector.flags.c_contiguous:
        raise ValueError(f"the vector has {vectors.shape[1]} contiguous float32, as the rows have")
    words, about = np.zeros(padded_codes(len(vector)), np.int16), np.zeros(FIGURES, np.float32)
    sketches, figures = codes(*vectors.shape), np.zeros((len(vectors), FIGURES), np.float32)
    _encode(vector, most_word(len(vector)), words, about)
    _encode_all(vectors, 0, len(vectors), sketches, figures)
    least = np.empty(len(vectors), np.float32)
    _all_at_least(words, about, sketches, figures, kind, least)
    return least


@fast_loop
def _encode(vector: Any, most: Any, code: Any, figures: Any) -> Any:
    """Round a vector to whole numbers up to `most` into `code`; how good that is, overstated, in `figures`."""
    largest = np.float32(0)
    for at in range(np.uint64(len(vector))):
        largest = max(largest, abs(vector[at]))
    scale, inverse = np.float32(largest / np.float32(most)), np.float32(0)
    if scale > _TINY:  # else every number of it is 0, and off by what it was
        inverse = np.float32(np.float32(most) / largest)
    off = square = np.float32(0)
    for at in range(np.uint64(len(vector))):
        whole = np.rint(vector[at] * inverse)
        code[at] = np.int32(whole)
        missing = vector[at] - scale * whole
        off += missing * missing
        square += vector[at] * vector[at]
    figures[_SCALE] = scale
    # What is missing was rounded as well, by up to 2^-24 of each number.
    figures[_LENGTH] = np.sqrt(square)
    figures[_OFF] = (np.sqrt(off) + np.float32(1.2e-7) * figures[_LENGTH]) * _OVERSTATED


@loop
def _encode_all(vectors: Any, low: Any, high: Any, codes: Any, figures: Any) -> Any:
    for node in range(low, high):
        _encode(vectors[node], MOST_CODE, codes[node], figures[node])


@inlined
def _product(words: Any, codes: Any, node: Any) -> Any:
    # The sum is cut back to 32 bits each time: numba counts in 64, for which there is no vector multiplication.
    total = np.int32(0)
    for at in range(np.uint64(len(words))):
        total = np.int32(total + np.int32(words[at]) * np.int32(codes[node, at]))
    return total


@inlined
def _fetch_code(codes: Any, node: Any) -> Any:
    start = np.intp(node) * codes.shape[1]
    for byte in range(start, start + codes.shape[1], BYTES):
        prefetch(codes, byte)


@inlined
def _at_least(words: Any, about: Any, codes: Any, figures: Any, node: Any, kind: Any) -> Any:
    """What the distance to a node is at least, rounding included: L2 is |q|^2 + |x|^2 - 2qx."""
    product = np.float32(_product(words, codes, node)) * (about[_SCALE] * figures[node, _SCALE])
    length, other = about[_LENGTH], figures[node, _LENGTH]
    slack = np.float32(len(words)) * _ROUNDING
    most = product + (length + about[_OFF]) * figures[node, _OFF] * _OVERSTATED + about[_OFF] * other * _OVERSTATED
    if kind == L2:
        both = length * length + other * other
        return both - np.float32(2) * most - slack * both - _TINY
    return np.float32(1) - most - slack * (np.float32(1) + length * other) - _TINY


@loop
def _all_at_least(words: Any, about: Any, codes: Any, figures: Any, kind: Any, least: Any) -> Any:
    for node in range(len(codes)):
        least[node] = _at_least(words, about, codes, figures, np.uint64(node), kind)
