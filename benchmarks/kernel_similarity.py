"""
Similarities of 768-dimensional vectors: our tiles against the same loops in C, and against simsimd's dot product.

Rows lie in the first or second level of cache. All sides are called once for thousands of similarities; simsimd's
function is called by C, pair by pair, through the pointer that it gives, so that none of its time is Python's.
"""

import ctypes
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import simsimd
from outcome import Outcome
from pairs import paired, speed
from reference_c import NoReferenceError, function, library

from engram_diagnose.kernels.loops import similarity, stream
from engram_diagnose.kernels.loops.vectors import lanes_here

NAME = "similarity"
LEVELS = (("L1", 1), ("L2", 8))
"""Groups of eight rows: 24 KiB, and 192."""
BATCHES = (1, 2, 8, 64)
BATCH = 8
"""
The guide's batch. A single query waits for the second level itself: where this was written, not even reading the rows,
and doing nothing with them, was twice as fast as simsimd's function for AVX-512, which is what is promised; fetching
lines ahead did not help, in C either. Against its function for AVX2 the promise is kept.
"""
WIDE = 16
WIDER = ("skylake", "ice", "genoa", "sapphire", "turin")
"""What simsimd calls the kinds of AVX-512."""
SECONDS = 5e-3
"""How long a side of a pair takes, about."""
POINTER = ctypes.c_void_p
SIZE = ctypes.c_size_t
SETS = [POINTER, POINTER, POINTER, SIZE, SIZE, SIZE, SIZE]


def outcomes(*, quick: bool) -> list[Outcome]:
    """A line for each level, batch and side."""
    try:
        reference = library(NAME)
    except NoReferenceError as error:
        return [Outcome(NAME, f"nothing to compare with: {error}", 0.0, unit="n")]
    pairs = 5 if quick else 41
    return [
        line for level, groups in LEVELS for batch in BATCHES for line in _lines(reference, level, groups, batch, pairs)
    ]


def _lines(reference: ctypes.CDLL, level: str, groups: int, batch: int, pairs: int) -> Iterator[Outcome]:
    vectors = _Vectors(groups, batch)
    visits = max(1, int(SECONDS / (10e-9 * similarity.ROWS * batch)))
    work = float(visits * similarity.ROWS * batch)
    where = f"{level}, {batch} {'query' if batch == 1 else 'queries'} at once"
    widest = max(similarity.LANES, lanes_here())
    for lanes in sorted({widest, similarity.LANES} if batch == BATCH else {widest}):
        both = paired(
            vectors.ours(lanes, visits),
            vectors.theirs(function(f"tiles_{lanes}", reference, SETS), vectors.tiles, visits),
            pairs=pairs,
        )
        floor = 0.97 if lanes == widest else None
        yield speed(NAME, f"tiles of {lanes} lanes, {where}", "gcc, vector types", both, work=work, floor=floor)
    if batch in (1, BATCH):
        for lanes in sorted({widest, similarity.LANES}):
            dot = ctypes.c_void_p(_simsimd(lanes))
            others = vectors.theirs(partial(function("others", reference, [POINTER, *SETS]), dot), vectors.rows, visits)
            against = f"simsimd, {lanes} lanes"
            both = paired(vectors.ours(lanes, visits), others, pairs=pairs)
            yield speed(NAME, f"tiles of {lanes} lanes, {where}", against, both, work=work, floor=2.0)
            if batch == 1:  # what no arithmetic at all would make of it
                both = paired(vectors.read(visits), others, pairs=pairs)
                yield speed(NAME, f"reading the rows alone, {where}", against, both, work=work)


def _simsimd(lanes: int) -> int:
    """Its function for CPUs whose registers hold so many floats."""
    if lanes >= WIDE:
        return simsimd.pointer_to_dot("float32")
    there = [name for name in WIDER if simsimd.get_capabilities()[name]]
    for name in there:
        simsimd.disable_capability(name)
    found = simsimd.pointer_to_dot("float32")
    for name in there:
        simsimd.enable_capability(name)
    return found


class _Vectors:
    """Rows, the same in tiles, queries, and where scores go."""

    def __init__(self, groups: int, batch: int) -> None:
        random = np.random.default_rng(1)
        self.rows = similarity.aligned((groups * similarity.ROWS, similarity.DIMENSIONS))
        self.rows[:] = random.standard_normal(self.rows.shape)
        self.queries = similarity.aligned((batch, similarity.DIMENSIONS))
        self.queries[:] = random.standard_normal(self.queries.shape)
        self.tiles = similarity.in_tiles(self.rows)
        self.scores = similarity.aligned((batch, len(self.rows)))

    def ours(self, lanes: int, visits: int) -> Callable[[], object]:
        return lambda: similarity.by_tiles(self.tiles, self.queries, self.scores, groups=visits, lanes=lanes)

    def read(self, visits: int) -> Callable[[], object]:
        """As many rows read, and no more done with them than to add them up."""
        doubles = self.tiles.reshape(-1).view(np.float64)
        return lambda: stream.read(doubles, stream.Windows(len(doubles) // len(self.tiles), 0, visits))

    def theirs(self, compiled: Callable[..., Any], vectors: Any, visits: int) -> Callable[[], object]:
        at = [array.ctypes.data for array in (vectors, self.queries, self.scores)]
        groups = len(self.rows) // similarity.ROWS
        return lambda: compiled(*at, groups, len(self.queries), 0, visits)
