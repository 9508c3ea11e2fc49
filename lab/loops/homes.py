"""
The homes of memories in the files: free slots of the warm one and columns of the cold one, and what is written there.

Free slots are a stack with a lock of its own, which is taken inside of a shard's, never the other way round.
"""

from typing import Any, Final

import numpy as np

from engram_diagnose.kernels.loops.atomics import atomic_add, nanoseconds
from engram_diagnose.kernels.loops.compiled import inlined, loop
from engram_diagnose.lab.loops.layout import (
    BACKED,
    BLOCK,
    BLOCK_BYTES,
    COLD,
    COLD_FILE,
    COLD_SLOTS,
    COLD_USED,
    DIMENSIONS,
    FREE,
    LEVELS,
    NEXT,
    NODE_BYTES,
    NOWHERE,
    REFUSED,
    SHARDS,
    WARM,
    WARM_FILE,
    WARM_SLOTS,
    WARM_USED,
)
from engram_diagnose.lab.loops.locks import release, take
from engram_diagnose.lab.loops.native import reserve

_SCALES: Final = BLOCK_BYTES // 4
_MOST_CODE: Final = 127
_ASKED_AGAIN_NS: Final = 100_000_000
"""A full disk takes its time to say so: it is not asked for each store."""
_CHUNK: Final = 4096
"""Slots of the warm file the disk is asked for at once: 12.5 MiB. Cold columns: as many."""


@loop
def new_home(tiers: Any, tier: Any) -> Any:
    """A free warm slot, unless it is to be cold, else a cold column, else `NOWHERE`: the disk is full."""
    slot = take_slot(tiers, WARM) if tier != COLD else np.int64(-1)
    if slot >= 0:
        return slot
    column = take_slot(tiers, COLD)
    return -2 - column if column >= 0 else np.int64(NOWHERE)


@inlined
def settle_in(tiers: Any, row: Any, home: Any) -> None:
    """The row has a new home, which was free; its shard is locked."""
    tiers.homes[row] = home
    if home >= 0:
        tiers.warm_rows[home] = row
    tiers.states[row] = 1 + WARM if home >= 0 else 1 + COLD
    atomic_add(tiers.levels, WARM_USED if home >= 0 else COLD_USED, 1)


@inlined
def take_slot(tiers: Any, tier: Any) -> Any:
    """A free slot of the warm file, or column of the cold one, that the disk keeps room for; -1 where there is none."""
    free = tiers.free_warm if tier == WARM else tiers.free_cold
    most = tiers.limits[WARM_SLOTS] if tier == WARM else tiers.limits[COLD_SLOTS]
    level = 0 if tier == WARM else LEVELS
    lock = tiers.limits[SHARDS] + tier - 1
    found = np.int64(-1)
    take(tiers.locks, lock)
    if tiers.levels[level + FREE] > 0:
        tiers.levels[level + FREE] -= 1
        found = np.int64(free[tiers.levels[level + FREE]])
    elif tiers.levels[level + NEXT] < most and _is_backed(tiers, tier, level, most):
        found = tiers.levels[level + NEXT]
        tiers.levels[level + NEXT] += 1
    release(tiers.locks, lock)
    return found


@inlined
def _is_backed(tiers: Any, tier: Any, level: Any, most: Any) -> Any:
    """Whether the disk keeps room for the next slot; it is asked for many at once."""
    backed = tiers.levels[level + BACKED]
    if tiers.levels[level + NEXT] < backed:
        return True
    now = nanoseconds()
    if now - tiers.levels[level + REFUSED] < _ASKED_AGAIN_NS:
        return False
    upto = min(most, backed + _CHUNK)
    if tier == WARM:
        failed = reserve(tiers.limits[WARM_FILE], backed * NODE_BYTES, (upto - backed) * NODE_BYTES)
    else:
        low, high = backed // BLOCK * BLOCK_BYTES, (upto + BLOCK - 1) // BLOCK * BLOCK_BYTES
        failed = reserve(tiers.limits[COLD_FILE], low, high - low)
    if failed < 0:
        tiers.levels[level + REFUSED] = now
        return False
    tiers.levels[level + BACKED] = upto
    return True


@inlined
def give_up_home(tiers: Any, row: Any) -> None:
    """The slot or column of a row is free for others; the row's shard is locked."""
    home = np.int64(tiers.homes[row])
    if home >= 0:
        tiers.warm_rows[home] = -1
        take(tiers.locks, tiers.limits[SHARDS] + WARM - 1)
        tiers.free_warm[tiers.levels[FREE]] = home
        tiers.levels[FREE] += 1
        release(tiers.locks, tiers.limits[SHARDS] + WARM - 1)
        atomic_add(tiers.levels, WARM_USED, -1)
    elif home != NOWHERE:
        take(tiers.locks, tiers.limits[SHARDS] + COLD - 1)
        tiers.free_cold[tiers.levels[LEVELS + FREE]] = -2 - home
        tiers.levels[LEVELS + FREE] += 1
        release(tiers.locks, tiers.limits[SHARDS] + COLD - 1)
        atomic_add(tiers.levels, COLD_USED, -1)


@inlined
def freeze(tiers: Any, column: Any, vectors: Any, at: Any) -> None:
    """Write an embedding to a cold column: code = round(value / scale), scale = the largest magnitude / 127."""
    most = np.float32(0)
    for dimension in range(DIMENSIONS):
        most = max(most, abs(vectors[at + dimension]))
    block, lane = column // BLOCK, column % BLOCK
    tiers.scales[block * _SCALES + lane] = most / np.float32(_MOST_CODE)
    turned = np.float32(_MOST_CODE) / most if most > 0 else np.float32(0)
    codes = block * BLOCK_BYTES + BLOCK * 4 + lane
    for dimension in range(DIMENSIONS):
        value = vectors[at + dimension] * turned
        tiers.cold[codes + dimension * BLOCK] = np.int8(np.floor(value + np.float32(0.5)))


@inlined
def thaw(tiers: Any, column: Any, out: Any) -> None:
    """Gather an embedding from a cold column."""
    block, lane = column // BLOCK, column % BLOCK
    scale = tiers.scales[block * _SCALES + lane]
    codes = block * BLOCK_BYTES + BLOCK * 4 + lane
    for dimension in range(DIMENSIONS):
        out[dimension] = np.float32(tiers.cold[codes + dimension * BLOCK]) * scale
