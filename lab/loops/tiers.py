"""
Where embeddings live: a hot tier in memory, a warm one in a mapped file, a cold one in columns of one byte a value.

Every memory has a number, its row, and one home: a slot of the warm file, or a column of the cold one. The hot tier
holds nodes over their homes. It is cut into shards, each with a lock, a table (open addressing, linear probing), slots
of its own, and a clock hand that goes round them to find the next victim. Whatever changes where a row is happens under
the lock of its shard, so that a visit never meets a node that is half moved. Locks of free slots are taken inside of
it, never the other way round.

A node is 3,200 bytes: a header of 32 words (its row, its activations) and 768 float32. In the cold tier a block has 64
memories: their scales, and then for each dimension one line of 64 bytes. Reading one of them touches every line.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.atomics import atomic_add, compare_exchange, load_atomic, nanoseconds
from engram_diagnose.kernels.loops.compiled import inlined, loop
from engram_diagnose.kernels.loops.prefetch import prefetch
from engram_diagnose.lab.loops.locks import release, take
from engram_diagnose.lab.loops.native import EINVAL, ENOSPC, copy_items, reserve

DIMENSIONS: Final = 768
HEADER: Final = 32
NODE: Final = HEADER + DIMENSIONS
NODE_BYTES: Final = NODE * 4
BLOCK: Final = 64
"""Memories of a cold block."""
BLOCK_BYTES: Final = BLOCK * 4 + DIMENSIONS * BLOCK
_SCALES: Final = BLOCK_BYTES // 4
_MOST_CODE: Final = 127
_LANES: Final = 8
_TILE: Final = _LANES * _LANES
_TILES: Final = DIMENSIONS // _LANES
_GROUP: Final = _TILES * _TILE

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

_FREE: Final = 0
_NEXT: Final = 1
_BACKED: Final = 2
_HAND: Final = 3
_REFUSED: Final = 4
_USED: Final = 8
LEVELS: Final = 16
"""
Of each file: free slots on the stack, the first that was never used, those the disk keeps room for, a clock hand, when
the disk said that it was full; and 64 bytes from these, how many are used.
"""
WARM_NEXT: Final = _NEXT
WARM_USED: Final = _USED
COLD_USED: Final = LEVELS + _USED
LEVEL_WORDS: Final = 2 * LEVELS

_KEPT_FREE: Final = 16
"""One warm slot in so many is kept free."""
_ASKED_AGAIN_NS: Final = 100_000_000
"""A full disk takes its time to say so: it is not asked for each store."""
_CHUNK: Final = 4096
"""Slots of the warm file the disk is asked for at once: 12.5 MiB. Cold columns: as many."""

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
_SAMPLE: Final = 15

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MOST_TOUCHES: Final = 65_535


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


@inlined
def visit(tiers: Any, row: Any, out: Any, worker: Any) -> Any:
    """
    Copy the embedding of a row to `out` (768 float32), count that it was visited, and bring it to the hot tier.

    Gives the tier it was found in, or `UNKNOWN`, which leaves `out` as it was. `worker` is the thread's own number.
    """
    return gather(tiers, row, out, worker, out, -1)


@inlined
def gather(tiers: Any, row: Any, out: Any, worker: Any, tiles: Any, place: Any) -> Any:
    """
    `visit`, with the embedding also at a place (from 0 on; none below) of `tiles` (96 x 8 x 8 float32 each).

    The lock of the shard is held until the node was read, as by whoever holds a reference into a map of locked shards.
    """
    limits, row = tiers.limits, np.int64(row)
    if row < 0 or row >= limits[ROWS] or len(out) < DIMENSIONS or worker < 0 or worker >= limits[WORKERS]:
        return UNKNOWN
    counted = np.int64(worker) * FIGURES
    tiers.figures[counted + VISITS] += 1
    sampled = tiers.figures[counted + VISITS] & _SAMPLE == 0
    started = nanoseconds() if sampled else 0
    shard = _shard_of(row, limits[SHARDS])
    tiers.figures[counted + SLEEPS] += take(tiers.locks, shard)
    slot = _slot_of(tiers, shard, row)
    tier = HOT
    if slot >= 0:
        tiers.referenced[slot] = 1
        copy_items(out, 0, tiers.hot, slot * NODE + HEADER, DIMENSIONS)
        tiers.hot[slot * NODE + 1] += np.float32(1)
    else:
        tier = _missed(tiers, shard, row, out, counted)
    if tier >= 0:
        if place >= 0:
            _into_tiles(tiles, place, out)
        if tiers.touches[row] < _MOST_TOUCHES:
            tiers.touches[row] += np.uint16(1)
    release(tiers.locks, shard)
    if tier < 0:
        tiers.figures[counted + UNKNOWNS] += 1
        return tier
    tiers.figures[counted + HITS + tier] += 1
    _activate(tiers, worker)
    if sampled:
        _sample(tiers, counted, tier, nanoseconds() - started)
    return tier


@inlined
def _into_tiles(tiles: Any, place: Any, values: Any) -> None:
    """Put an embedding into its place of the tiles, eight floats at a time."""
    to = (place // _LANES) * _GROUP + (place % _LANES) * _LANES
    for tile in range(_TILES):
        copy_items(tiles, to + tile * _TILE, values, tile * _LANES, 8)


@loop
def admit(tiers: Any, row: Any, vector: Any) -> Any:
    """
    Store an embedding (768 float32) under a row, whatever was there before: it is hot; 0, or minus errno.

    -ENOSPC says that the disk is full; then the row is as it was.
    """
    if row < 0 or row >= tiers.limits[ROWS] or len(vector) < DIMENSIONS:
        return -ENOSPC
    shard = _shard_of(row, tiers.limits[SHARDS])
    take(tiers.locks, shard)
    if tiers.homes[row] == NOWHERE:
        home = _new_home(tiers, HOT)
        if home == NOWHERE:
            release(tiers.locks, shard)
            return -ENOSPC
        _settle_in(tiers, row, home)
    slot = _slot_of(tiers, shard, row)
    if slot < 0:
        slot = _slot_for(tiers, shard, row, tiers.limits[WORKERS] * FIGURES)
        tiers.hot[slot * NODE + 1] = 0
    tiers.referenced[slot] = 1
    tiers.dirty[slot] = 1
    copy_items(tiers.hot, slot * NODE + HEADER, vector, 0, DIMENSIONS)
    release(tiers.locks, shard)
    return 0


@inlined
def prefetch_node(tiers: Any, row: Any) -> None:
    """Ask for the lines of a row's node ahead of its visit, as far as its slot is known without its lock."""
    if 0 <= row < tiers.limits[ROWS]:
        slot = _slot_of(tiers, _shard_of(row, tiers.limits[SHARDS]), row)
        if slot >= 0:
            node = slot * NODE
            for line in range(NODE // 16):
                prefetch(tiers.hot, node + line * 16)
        else:
            home = tiers.homes[row]
            if home >= 0:
                for line in range(NODE // 16):
                    prefetch(tiers.warm, np.int64(home) * NODE + line * 16)


@loop
def forget(tiers: Any, low: Any, high: Any) -> Any:
    """Take the rows from `low` up to `high` out of all tiers; how many there were."""
    count = 0
    for row in range(max(0, low), min(high, tiers.limits[ROWS])):
        if tiers.homes[row] != NOWHERE:
            shard = _shard_of(row, tiers.limits[SHARDS])
            take(tiers.locks, shard)
            if tiers.homes[row] != NOWHERE:
                slot = _slot_of(tiers, shard, row)
                if slot >= 0:
                    _take_out(tiers, shard, row, slot)
                _give_up_home(tiers, row)
                tiers.homes[row] = NOWHERE
                tiers.states[row] = 0
                tiers.touches[row] = 0
                tiers.idle[row] = 0
                count += 1
            release(tiers.locks, shard)
    return count


@loop
def peek(tiers: Any, row: Any, out: Any) -> Any:
    """As `visit`, for those who are no workers: nothing is counted, and the memory stays where it is."""
    if row < 0 or row >= tiers.limits[ROWS] or len(out) < DIMENSIONS:
        return UNKNOWN
    shard = _shard_of(row, tiers.limits[SHARDS])
    take(tiers.locks, shard)
    slot, home = _slot_of(tiers, shard, row), np.int64(tiers.homes[row])
    if slot >= 0:
        copy_items(out, 0, tiers.hot, slot * NODE + HEADER, DIMENSIONS)
    elif home >= 0:
        copy_items(out, 0, tiers.warm, home * NODE + HEADER, DIMENSIONS)
    elif home != NOWHERE:
        _thaw(tiers, -2 - home, out)
    release(tiers.locks, shard)
    if slot >= 0:
        return HOT
    return WARM if home >= 0 else (COLD if home != NOWHERE else UNKNOWN)


@loop
def peek_many(tiers: Any, rows: Any, found: Any, out: Any) -> None:
    """`peek` of many: the tier of each in `found` (int8), its embedding in its row of `out`."""
    for at in range(min(len(rows), len(found), len(out))):
        found[at] = peek(tiers, rows[at], out[at])


@loop
def put_back_many(tiers: Any, rows: Any, vectors: Any, found: Any, touches: Any) -> Any:
    """`put_back` of many; 0, or minus errno of the first that could not be."""
    for at in range(min(len(rows), len(vectors), len(found), len(touches))):
        failed = put_back(tiers, rows[at], vectors[at], found[at], touches[at])
        if failed < 0:
            return failed
    return 0


@loop
def put_back(tiers: Any, row: Any, vector: Any, tier: Any, touches: Any) -> Any:
    """
    Store an embedding under a row that nothing is stored under, in a tier if that has room, else below it; 0, or minus
    errno. This is how tiers are filled again after a start.
    """
    if row < 0 or row >= tiers.limits[ROWS] or len(vector) < DIMENSIONS or tiers.homes[row] != NOWHERE:
        return -EINVAL
    shard = _shard_of(row, tiers.limits[SHARDS])
    take(tiers.locks, shard)
    home = _new_home(tiers, tier)
    if home != NOWHERE:
        _settle_in(tiers, row, home)
        tiers.touches[row] = min(max(touches, 0), _MOST_TOUCHES)
        if home >= 0:
            tiers.warm[home * NODE] = row
            tiers.warm[home * NODE + 1] = 0
            copy_items(tiers.warm, home * NODE + HEADER, vector, 0, DIMENSIONS)
        else:
            _freeze(tiers, -2 - home, vector, 0)
        if tier == HOT and tiers.hands[shard * 8 + 1] < tiers.limits[SLOTS]:
            slot = _slot_for(tiers, shard, row, tiers.limits[WORKERS] * FIGURES)
            copy_items(tiers.hot, slot * NODE + HEADER, vector, 0, DIMENSIONS)
            tiers.hot[slot * NODE + 1] = 0
    release(tiers.locks, shard)
    return 0 if home != NOWHERE else -ENOSPC


@loop
def make_room(tiers: Any, most: Any) -> Any:
    """
    Move up to `most` memories that are not hot to the cold tier, until one warm slot in 16 is free; how many were.

    The hand goes round; a memory that was visited since it came by last is passed over once. One thread at a time.
    """
    slots = tiers.limits[WARM_SLOTS]
    moved = 0
    for _ in range(2 * slots):
        if moved >= most or tiers.levels[WARM_USED] <= slots - slots // _KEPT_FREE:
            break
        slot = tiers.levels[_HAND]
        tiers.levels[_HAND] = slot + 1 if slot + 1 < slots else 0
        row = np.int64(tiers.warm_rows[slot])
        if row < 0 or tiers.states[row] != 1 + WARM:
            continue
        if tiers.touches[row] > tiers.seen[row]:
            tiers.seen[row] = tiers.touches[row]
        elif _cool(tiers, row):
            moved += 1
    return moved


@loop
def age(tiers: Any) -> None:
    """
    An hour is over: memories that were visited too seldom go down a tier, and visits are counted anew.

    Hot ones go where they came from; warm ones go to the cold tier after so many hours of too few visits.
    """
    limits = tiers.limits
    for row in range(limits[ROWS]):
        state, touches = tiers.states[row], tiers.touches[row]
        if state == 1 + HOT and touches < limits[KEPT_HOT]:
            _cool(tiers, row)
        if state != 0:
            tiers.idle[row] = 0 if touches >= limits[KEPT_WARM] else min(tiers.idle[row] + 1, 255)
            if state == 1 + WARM and tiers.idle[row] >= limits[IDLE_HOURS]:
                _cool(tiers, row)
        tiers.touches[row] = 0
        tiers.seen[row] = 0


@loop
def _cool(tiers: Any, row: Any) -> Any:
    """Move a row down by a tier; False where it is not in the hot or warm one, or there is no room."""
    counted = tiers.limits[WORKERS] * FIGURES
    shard = _shard_of(row, tiers.limits[SHARDS])
    take(tiers.locks, shard)
    moved = False
    slot, home = _slot_of(tiers, shard, row), np.int64(tiers.homes[row])
    if slot >= 0:
        _evict(tiers, shard, slot, counted)
        moved = True
    elif home >= 0:
        column = _take_slot(tiers, COLD)
        if column >= 0:
            _freeze(tiers, column, tiers.warm, home * NODE + HEADER)
            _give_up_home(tiers, row)
            _settle_in(tiers, row, -2 - column)
            atomic_add(tiers.figures, counted + EVICTIONS + WARM, 1)
            atomic_add(tiers.figures, counted + MIGRATIONS + COLD, 1)
            moved = True
    release(tiers.locks, shard)
    return moved


# --- the hot tier -------------------------------------------------------------------------------------------------


@inlined
def _shard_of(row: Any, shards: Any) -> Any:
    """Neighbouring rows fall into different shards, of any number (D. Lemire: a product's upper half)."""
    return np.int64((((np.uint64(row) * _GOLDEN) >> np.uint64(32)) * np.uint64(shards)) >> np.uint64(32))


@inlined
def _begin_of(row: Any, places: Any) -> Any:
    """Where in the table of its shard a row is looked for first."""
    return np.int64(((np.uint64(row) * _GOLDEN) >> np.uint64(20)) & np.uint64(places - 1))


@inlined
def _slot_of(tiers: Any, shard: Any, row: Any) -> Any:
    """The hot slot of a row, or -1. Without the lock it may be wrong, but is a slot."""
    places = tiers.limits[TABLE]
    table = shard * places
    at = _begin_of(row, places)
    for _ in range(places):
        slot = np.int64(load_atomic(tiers.table, table + at)) - 1
        if slot < 0:
            return np.int64(-1)
        if tiers.slot_rows[slot] == row:
            return slot
        at = (at + 1) & (places - 1)
    return np.int64(-1)


@inlined
def _slot_for(tiers: Any, shard: Any, row: Any, counted: Any) -> Any:
    """A slot of the shard for a row that has none, in the table already; another may have to leave for it."""
    slots = tiers.limits[SLOTS]
    first, hand = shard * slots, tiers.hands[shard * 8]
    while True:
        slot = first + hand
        hand = hand + 1 if hand + 1 < slots else 0
        if tiers.slot_rows[slot] < 0:
            break
        if tiers.referenced[slot] == 0:
            _evict(tiers, shard, slot, counted)
            break
        tiers.referenced[slot] = 0
    tiers.hands[shard * 8] = hand
    places = tiers.limits[TABLE]
    at = _begin_of(row, places)
    while tiers.table[shard * places + at] != 0:
        at = (at + 1) & (places - 1)
    tiers.slot_rows[slot] = row
    tiers.table[shard * places + at] = slot + 1
    tiers.hands[shard * 8 + 1] += 1
    tiers.states[row] = 1 + HOT
    tiers.hot[slot * NODE] = row
    tiers.referenced[slot] = 0
    tiers.dirty[slot] = 0
    return slot


@inlined
def _evict(tiers: Any, shard: Any, slot: Any, counted: Any) -> None:
    """Take a node out of the hot tier; what it holds that its home does not is written there."""
    row = np.int64(tiers.slot_rows[slot])
    home = np.int64(tiers.homes[row])
    wanted = home < 0 and tiers.touches[row] > tiers.limits[TO_WARM]
    if home < 0 and (wanted or tiers.dirty[slot] != 0):
        taken = _take_slot(tiers, WARM)
        if taken >= 0:
            _give_up_home(tiers, row)
            _settle_in(tiers, row, taken)
            home = taken
            tiers.dirty[slot] = 1
            atomic_add(tiers.figures, counted + MIGRATIONS + WARM, 1)
    if home >= 0:
        count = NODE if tiers.dirty[slot] != 0 else HEADER
        copy_items(tiers.warm, home * NODE, tiers.hot, slot * NODE, count)
    elif tiers.dirty[slot] != 0:
        _freeze(tiers, -2 - home, tiers.hot, slot * NODE + HEADER)
    _take_out(tiers, shard, row, slot)
    tiers.states[row] = 1 + WARM if home >= 0 else 1 + COLD
    atomic_add(tiers.figures, counted + EVICTIONS + HOT, 1)


@inlined
def _take_out(tiers: Any, shard: Any, row: Any, slot: Any) -> None:
    """Free a row's slot and its place in the table; those behind it that it was in the way of move up."""
    places = tiers.limits[TABLE]
    table, last = shard * places, places - 1
    gap = _begin_of(row, places)
    while tiers.table[table + gap] != slot + 1:
        gap = (gap + 1) & last
    at = gap
    while True:
        at = (at + 1) & last
        other = np.int64(tiers.table[table + at])
        if other == 0:
            break
        begin = _begin_of(tiers.slot_rows[other - 1], places)
        if (at - begin) & last >= (at - gap) & last:
            tiers.table[table + gap] = other
            gap = at
    tiers.table[table + gap] = 0
    tiers.slot_rows[slot] = -1
    tiers.hands[shard * 8 + 1] -= 1


@loop
def _missed(tiers: Any, shard: Any, row: Any, out: Any, counted: Any) -> Any:
    """A visit of a row that is not hot."""
    home = np.int64(tiers.homes[row])
    if home == NOWHERE:
        return UNKNOWN
    if home >= 0:
        copy_items(out, 0, tiers.warm, home * NODE + HEADER, DIMENSIONS)
        tiers.warm[home * NODE + 1] += np.float32(1)
    else:
        _thaw(tiers, -2 - home, out)
    least = tiers.limits[TO_HOT] if home >= 0 else tiers.limits[TO_WARM]
    if tiers.touches[row] >= least or tiers.hands[shard * 8 + 1] < tiers.limits[SLOTS]:
        slot = _slot_for(tiers, shard, row, counted)
        copy_items(tiers.hot, slot * NODE + HEADER, out, 0, DIMENSIONS)
        tiers.hot[slot * NODE + 1] = tiers.warm[home * NODE + 1] if home >= 0 else np.float32(1)
        tiers.figures[counted + MIGRATIONS + HOT] += 1
    return WARM if home >= 0 else COLD


# --- the files ----------------------------------------------------------------------------------------------------


@loop
def _new_home(tiers: Any, tier: Any) -> Any:
    """A free warm slot, unless it is to be cold, else a cold column, else `NOWHERE`: the disk is full."""
    slot = _take_slot(tiers, WARM) if tier != COLD else np.int64(-1)
    if slot >= 0:
        return slot
    column = _take_slot(tiers, COLD)
    return -2 - column if column >= 0 else np.int64(NOWHERE)


@inlined
def _settle_in(tiers: Any, row: Any, home: Any) -> None:
    """The row has a new home, which was free; its shard is locked."""
    tiers.homes[row] = home
    if home >= 0:
        tiers.warm_rows[home] = row
    tiers.states[row] = 1 + WARM if home >= 0 else 1 + COLD
    atomic_add(tiers.levels, WARM_USED if home >= 0 else COLD_USED, 1)


@inlined
def _take_slot(tiers: Any, tier: Any) -> Any:
    """A free slot of the warm file, or column of the cold one, that the disk keeps room for; -1 where there is none."""
    free = tiers.free_warm if tier == WARM else tiers.free_cold
    most = tiers.limits[WARM_SLOTS] if tier == WARM else tiers.limits[COLD_SLOTS]
    level = 0 if tier == WARM else LEVELS
    lock = tiers.limits[SHARDS] + tier - 1
    found = np.int64(-1)
    take(tiers.locks, lock)
    if tiers.levels[level + _FREE] > 0:
        tiers.levels[level + _FREE] -= 1
        found = np.int64(free[tiers.levels[level + _FREE]])
    elif tiers.levels[level + _NEXT] < most and _is_backed(tiers, tier, level, most):
        found = tiers.levels[level + _NEXT]
        tiers.levels[level + _NEXT] += 1
    release(tiers.locks, lock)
    return found


@inlined
def _is_backed(tiers: Any, tier: Any, level: Any, most: Any) -> Any:
    """Whether the disk keeps room for the next slot; it is asked for many at once."""
    backed = tiers.levels[level + _BACKED]
    if tiers.levels[level + _NEXT] < backed:
        return True
    now = nanoseconds()
    if now - tiers.levels[level + _REFUSED] < _ASKED_AGAIN_NS:
        return False
    upto = min(most, backed + _CHUNK)
    if tier == WARM:
        failed = reserve(tiers.limits[WARM_FILE], backed * NODE_BYTES, (upto - backed) * NODE_BYTES)
    else:
        low, high = backed // BLOCK * BLOCK_BYTES, (upto + BLOCK - 1) // BLOCK * BLOCK_BYTES
        failed = reserve(tiers.limits[COLD_FILE], low, high - low)
    if failed < 0:
        tiers.levels[level + _REFUSED] = now
        return False
    tiers.levels[level + _BACKED] = upto
    return True


@inlined
def _give_up_home(tiers: Any, row: Any) -> None:
    """The slot or column of a row is free for others; the row's shard is locked."""
    home = np.int64(tiers.homes[row])
    if home >= 0:
        tiers.warm_rows[home] = -1
        take(tiers.locks, tiers.limits[SHARDS] + WARM - 1)
        tiers.free_warm[tiers.levels[_FREE]] = home
        tiers.levels[_FREE] += 1
        release(tiers.locks, tiers.limits[SHARDS] + WARM - 1)
        atomic_add(tiers.levels, WARM_USED, -1)
    elif home != NOWHERE:
        take(tiers.locks, tiers.limits[SHARDS] + COLD - 1)
        tiers.free_cold[tiers.levels[LEVELS + _FREE]] = -2 - home
        tiers.levels[LEVELS + _FREE] += 1
        release(tiers.locks, tiers.limits[SHARDS] + COLD - 1)
        atomic_add(tiers.levels, COLD_USED, -1)


@inlined
def _freeze(tiers: Any, column: Any, vectors: Any, at: Any) -> None:
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
def _thaw(tiers: Any, column: Any, out: Any) -> None:
    """Gather an embedding from a cold column."""
    block, lane = column // BLOCK, column % BLOCK
    scale = tiers.scales[block * _SCALES + lane]
    codes = block * BLOCK_BYTES + BLOCK * 4 + lane
    for dimension in range(DIMENSIONS):
        out[dimension] = np.float32(tiers.cold[codes + dimension * BLOCK]) * scale


# --- what is counted ----------------------------------------------------------------------------------------------


@inlined
def _activate(tiers: Any, worker: Any) -> None:
    """
    Add 1 to the worker's activation counter: a float32, by comparing and exchanging its bits.

    Side by side, the counters of all workers are in one line, which then goes from core to core at each visit.
    """
    place = np.int64(worker) * tiers.limits[ACTIVATION_STRIDE]
    while True:
        was = load_atomic(tiers.activations, place)
        new = np.float32(np.int32(was).view(np.float32) + np.float32(1)).view(np.int32)
        if compare_exchange(tiers.activations, place, was, new) == was:
            break


@loop
def _sample(tiers: Any, counted: Any, tier: Any, took: Any) -> None:
    bucket = 0
    while bucket < len(tiers.bounds) and took > tiers.bounds[bucket]:
        bucket += 1
    tiers.figures[counted + SAMPLED_NS + tier] += took
    tiers.figures[counted + BUCKETS + tier * BUCKET_COUNT + bucket] += 1
