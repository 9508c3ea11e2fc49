"""
All arrays that the lab's threads work on, and where in them things lie.

Every memory is a row. A space has a block of rows, whose vectors, codes and links are those of an index of its own: its
node n is row `base + n`. A row is used for once, in the order in which stores came; what was stored and is not linked
yet is looked at by searches one by one.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.compiled import inlined
from engram_diagnose.kernels.loops.hnsw import Graph
from engram_diagnose.lab.asking import MOST_CONTENT_BYTES, MOST_RESULTS
from engram_diagnose.lab.loops.layout import Tiers
from engram_diagnose.lab.loops.log import Log
from engram_diagnose.lab.loops.rings import Rings

DIMENSIONS: Final = 768
SPACES: Final = 64
FIRST_ROWS: Final = 1 << 18
SPACE_ROWS: Final = 1 << 16
"""Rows of the first space, and of each other."""
ALL_ROWS: Final = FIRST_ROWS + (SPACES - 1) * SPACE_ROWS
CHUNK: Final = 4096
"""Rows the disk is asked to keep room for at once."""
MOST_FRESH: Final = 4096
"""Memories of a space that are stored and not linked; beyond, stores wait."""

STORE: Final = 0
RECALL: Final = 1
ACTIVATION: Final = 2
COMPLETION: Final = 3
CONSOLIDATION: Final = 4
REMOVAL: Final = 5
OPERATIONS: Final = 5
"""As in `asking.OPERATIONS`; a removal is of a whole space, and nobody waits for it."""

OPERATION: Final = 0
SPACE: Final = 1
LIMIT: Final = 2
ARRIVED: Final = 3
LENGTH: Final = 4
IS_GIVEN: Final = 5
CONFIDENCE: Final = 6
STATUS: Final = 7
COUNT: Final = 8
TOOK: Final = 9
QUEUED: Final = 10
TICKET_FIELDS: Final = 16
"""
Of a ticket: what is wanted, the space, how many results, when it came (ns), bytes of its text, whether an embedding was
given, the confidence in millionths; then how it ended, how many results, how long it took (ns).
"""

BASE: Final = 0
ROWS: Final = 1
STORED: Final = 2
BACKED: Final = 3
ABOVE: Final = 4
ABOVE_ROWS: Final = 5
IS_THERE: Final = 6
IN_FLIGHT: Final = 7
HITS: Final = 8
VISITS: Final = 9
SPREAD_VISITS: Final = 10
SPREADS: Final = 11
HOPS: Final = 12
DATA: Final = 13
NAME_LENGTH: Final = 14
SERIAL: Final = 15
SEARCHABLE: Final = 16
SPACE_FIELDS: Final = 32
"""
Of a space: its first row, how many it has, how many were stored, rows the disk keeps room for; its rows above the
index's bottom layer; whether it is there; operations under way; visits of the hot tier and all; visits of activations,
how many there were, their hops; bytes stored; the length of its name, and a number that no other space ever had; how
many memories are linked for good.
"""

MODE_SCALAR: Final = 0
BATCH: Final = 1
PREFETCH: Final = 2
DEPTH: Final = 3
BUDGET: Final = 4
SEARCH: Final = 7
CONSTRUCTION: Final = 8
INTERVAL: Final = 9
CONSOLIDATED: Final = 10
MOST_DEPTH: Final = 11
MOST_CANDIDATES: Final = 12
KIND: Final = 13
WIDE: Final = 14
SETTINGS: Final = 16
"""Settings as whole numbers; the budgets are three, by tier. KIND is that of distances, WIDE says AVX-512."""

SIMILAR_NS: Final = 0
SIMILARITIES: Final = 1
BATCHES: Final = 2
BATCHED: Final = 3
CANDIDATES: Final = 4
COMPLETIONS: Final = 5
COMPLETION_DEPTH: Final = 6
RESULTS: Final = 7
RECALLED: Final = 8
BUSY: Final = 9
STORED_BYTES: Final = 10
BUSY_NS: Final = 11
WORKER_FIGURES: Final = 16
"""What each worker counts for itself; BUSY is when it began what it is at, or 0."""

BOUNDS_NS: Final = (
    *(100_000, 250_000, 500_000, 750_000, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000),
    *(6_000_000, 7_000_000, 8_000_000, 9_000_000, 10_000_000, 12_500_000, 15_000_000, 20_000_000, 25_000_000),
    *(35_000_000, 50_000_000, 75_000_000, 100_000_000, 150_000_000, 250_000_000, 500_000_000, 1_000_000_000),
    *(2_500_000_000, 5_000_000_000, 10_000_000_000),
)
BUCKETS: Final = len(BOUNDS_NS) + 1
TIMES: Final = 40
TIME_SUM: Final = BUCKETS
FAILED: Final = BUCKETS + 1
UNDER_WAY: Final = BUCKETS + 2
"""Of times: counts by bucket, their sum in nanoseconds, operations that failed, and those under way."""


class World(NamedTuple):
    """Everything. `times` is by space and operation, `waits` by ring, `counts` by worker."""

    rings: Rings
    tiers: Tiers
    log: Log
    vectors: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int8]
    figures: npt.NDArray[np.float32]
    bottom: npt.NDArray[np.int32]
    above: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    layers: npt.NDArray[np.uint8]
    states: npt.NDArray[np.int64]
    ready: npt.NDArray[np.uint8]
    spaces: npt.NDArray[np.int64]
    names: npt.NDArray[np.uint8]
    locks: npt.NDArray[np.int32]
    words: npt.NDArray[np.float32]
    settings: npt.NDArray[np.int64]
    vector_file: npt.NDArray[np.int32]
    tickets: npt.NDArray[np.int64]
    queries: npt.NDArray[np.float32]
    texts: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    times: npt.NDArray[np.int64]
    waits: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    upkeep: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]


CONSOLIDATED_AT: Final = 0
CURSOR: Final = 1
AGED_AT: Final = 2
BLENDED: Final = 3
MOVER: Final = 4
UPKEEP: Final = 16
"""
Of upkeep: when consolidation last ended (0: never), where it goes on, when the tiers last aged, what was blended,
the worker that moves memories between tiers.
"""


class Desk(NamedTuple):
    """What one worker needs for itself: the memory it looks at, tiles of eight, and what it found."""

    query: npt.NDArray[np.float32]
    node: npt.NDArray[np.float32]
    tiles: npt.NDArray[np.float32]
    products: npt.NDArray[np.float32]
    batch: npt.NDArray[np.int32]
    order: npt.NDArray[np.int32]
    seen: npt.NDArray[np.uint8]
    epoch: npt.NDArray[np.int64]
    best_rows: npt.NDArray[np.int32]
    best: npt.NDArray[np.float32]
    heap: npt.NDArray[np.uint64]
    depths: npt.NDArray[np.uint8]
    record: npt.NDArray[np.uint8]
    name: npt.NDArray[np.uint8]


MOST_VISITS: Final = 16_384
"""Of one spread."""
MOST_BATCH: Final = 1024
TEXT_ROOM: Final = MOST_CONTENT_BYTES + 96
RESULT_ROOM: Final = MOST_RESULTS


@inlined
def graph_of(world: Any, space: Any) -> Any:
    """The index of a space: views of its rows."""
    of = world.spaces[space]
    low, high = of[BASE], of[BASE] + of[ROWS]
    above = of[ABOVE]
    return Graph(
        world.vectors[low:high],
        world.codes[low:high],
        world.figures[low:high],
        world.bottom[low:high],
        world.above[above : above + of[ABOVE_ROWS]],
        world.first[low:high],
        world.layers[low:high],
        world.states[space],
    )


@inlined
def bucket_of(bounds: Any, took: Any) -> Any:
    """The bucket of a time in nanoseconds."""
    bucket = 0
    while bucket < len(bounds) and took > bounds[bucket]:
        bucket += 1
    return bucket
