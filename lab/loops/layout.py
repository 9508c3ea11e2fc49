"""
How memories lie: what the arrays of the tiers hold, and at which places their limits, levels and figures stand.

A node is 3,200 bytes: a header of 32 words (its row, its activations) and 768 float32. In the cold tier a block has 64
memories: their scales, and then for each dimension one line of 64 bytes. Reading one of them touches every line.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

DIMENSIONS: Final = 768
HEADER: Final = 32
NODE: Final = HEADER + DIMENSIONS
NODE_BYTES: Final = NODE * 4
BLOCK: Final = 64
"""Memories of a cold block."""
BLOCK_BYTES: Final = BLOCK * 4 + DIMENSIONS * BLOCK

HOT: Final = 0
WARM: Final = 1
COLD: Final = 2
UNKNOWN: Final = -1
"""What a visit gives: where the memory was found."""
TIERS: Final = 3

NOWHERE: Final = -1
"""The home of a row that nothing was stored in. A warm slot is its own number, cold column c is -2 - c."""

SHARDS: Final = 0
SLOTS: Final = 1
TABLE: Final = 2
ROWS: Final = 3
WARM_SLOTS: Final = 4
COLD_SLOTS: Final = 5
WORKERS: Final = 6
ACTIVATION_STRIDE: Final = 7
WARM_FILE: Final = 8
COLD_FILE: Final = 9
TO_HOT: Final = 10
TO_WARM: Final = 11
KEPT_HOT: Final = 12
KEPT_WARM: Final = 13
IDLE_HOURS: Final = 14
LIMITS: Final = 16
"""
What stays as it is: shards, slots and places in the table of each, rows, slots of the files, workers, words between
their activation counters, the files, and accesses an hour: above which a memory goes to the hot and to the warm tier,
and below which it does not stay there, for so many hours in the warm one.
"""

FREE: Final = 0
NEXT: Final = 1
BACKED: Final = 2
HAND: Final = 3
REFUSED: Final = 4
USED: Final = 8
LEVELS: Final = 16
"""
Of each file: free slots on the stack, the first that was never used, those the disk keeps room for, a clock hand, when
the disk said that it was full; and 64 bytes from these, how many are used.
"""
WARM_NEXT: Final = NEXT
WARM_USED: Final = USED
COLD_USED: Final = LEVELS + USED
LEVEL_WORDS: Final = 2 * LEVELS

VISITS: Final = 0
HITS: Final = 1
UNKNOWNS: Final = 4
SLEEPS: Final = 5
EVICTIONS: Final = 6
MIGRATIONS: Final = 9
SAMPLED_NS: Final = 12
BUCKETS: Final = 15
BOUNDS_NS: Final = (250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_000_000)
BUCKET_COUNT: Final = len(BOUNDS_NS) + 1
FIGURES: Final = 64
"""
What each worker counts: visits, hits by tier, rows that were not there, sleeps for a lock, evictions by the tier left,
migrations by the tier arrived at; of one visit in 16 the nanoseconds and the buckets of its latency, by tier. One row
more is of those who are no workers, together.
"""


class Tiers(NamedTuple):
    """
    The arrays of the tiers, as `engram_diagnose.lab.tiers.new_tiers` makes them.

    `slot_rows` (-1: free), `referenced` and `dirty` are of hot slots, `hot` their nodes; `table` has a slot's number
    plus 1, or 0; `hands` has a hand and the used slots of each shard, 64 bytes apart. `homes`, `states` (0: nowhere,
    1 + tier), `touches` in this hour, those `seen` by the hand that makes room, and `idle` hours before
    are of rows; `warm_rows` says whose a warm slot is.
    """

    locks: npt.NDArray[np.int32]
    table: npt.NDArray[np.int32]
    slot_rows: npt.NDArray[np.int32]
    referenced: npt.NDArray[np.uint8]
    dirty: npt.NDArray[np.uint8]
    hands: npt.NDArray[np.int64]
    hot: npt.NDArray[np.float32]
    warm: npt.NDArray[np.float32]
    cold: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    homes: npt.NDArray[np.int32]
    states: npt.NDArray[np.uint8]
    touches: npt.NDArray[np.uint16]
    idle: npt.NDArray[np.uint8]
    seen: npt.NDArray[np.uint16]
    warm_rows: npt.NDArray[np.int32]
    free_warm: npt.NDArray[np.int32]
    free_cold: npt.NDArray[np.int32]
    levels: npt.NDArray[np.int64]
    limits: npt.NDArray[np.int64]
    activations: npt.NDArray[np.int32]
    figures: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
