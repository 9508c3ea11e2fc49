"""
Where embeddings live: a hot tier in memory, a warm one in a mapped file, a cold one in columns of one byte a value.

Every memory has a number, its row, and one home: a slot of the warm file, or a column of the cold one. The hot tier
holds nodes over their homes. It is cut into shards, each with a lock, a table (open addressing, linear probing), slots
of its own, and a clock hand that goes round them to find the next victim. Whatever changes where a row is happens under
the lock of its shard, so that a visit never meets a node that is half moved.
"""

from typing import Any, Final

import numpy as np

from engram_diagnose.kernels.loops.atomics import atomic_add, compare_exchange, load_atomic, nanoseconds
from engram_diagnose.kernels.loops.compiled import inlined, loop
from engram_diagnose.kernels.loops.prefetch import prefetch
from engram_diagnose.lab.loops.homes import freeze, give_up_home, new_home, settle_in, take_slot, thaw
from engram_diagnose.lab.loops.layout import (
    ACTIVATION_STRIDE,
    BUCKET_COUNT,
    BUCKETS,
    COLD,
    DIMENSIONS,
    EVICTIONS,
    FIGURES,
    HAND,
    HEADER,
    HITS,
    HOT,
    IDLE_HOURS,
    KEPT_HOT,
    KEPT_WARM,
    MIGRATIONS,
    NODE,
    NOWHERE,
    ROWS,
    SAMPLED_NS,
    SHARDS,
    SLEEPS,
    SLOTS,
    TABLE,
    TO_HOT,
    TO_WARM,
    UNKNOWN,
    UNKNOWNS,
    VISITS,
    WARM,
    WARM_SLOTS,
    WARM_USED,
    WORKERS,
)
from engram_diagnose.lab.loops.locks import release, take
from engram_diagnose.lab.loops.native import EINVAL, ENOSPC, copy_items

_LANES: Final = 8
_TILE: Final = _LANES * _LANES
_TILES: Final = DIMENSIONS // _LANES
_GROUP: Final = _TILES * _TILE

_KEPT_FREE: Final = 16
"""One warm slot in so many is kept free."""
_SAMPLE: Final = 15
"""Of so many visits and one more the latency of one is taken."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MOST_TOUCHES: Final = 65_535


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
        home = new_home(tiers, HOT)
        if home == NOWHERE:
            release(tiers.locks, shard)
            return -ENOSPC
        settle_in(tiers, row, home)
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
                give_up_home(tiers, row)
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
        thaw(tiers, -2 - home, out)
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
    home = new_home(tiers, tier)
    if home != NOWHERE:
        settle_in(tiers, row, home)
        tiers.touches[row] = min(max(touches, 0), _MOST_TOUCHES)
        if home >= 0:
            tiers.warm[home * NODE] = row
            tiers.warm[home * NODE + 1] = 0
            copy_items(tiers.warm, home * NODE + HEADER, vector, 0, DIMENSIONS)
        else:
            freeze(tiers, -2 - home, vector, 0)
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
        slot = tiers.levels[HAND]
        tiers.levels[HAND] = slot + 1 if slot + 1 < slots else 0
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
        column = take_slot(tiers, COLD)
        if column >= 0:
            freeze(tiers, column, tiers.warm, home * NODE + HEADER)
            give_up_home(tiers, row)
            settle_in(tiers, row, -2 - column)
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
        taken = take_slot(tiers, WARM)
        if taken >= 0:
            give_up_home(tiers, row)
            settle_in(tiers, row, taken)
            home = taken
            tiers.dirty[slot] = 1
            atomic_add(tiers.figures, counted + MIGRATIONS + WARM, 1)
    if home >= 0:
        count = NODE if tiers.dirty[slot] != 0 else HEADER
        copy_items(tiers.warm, home * NODE, tiers.hot, slot * NODE, count)
    elif tiers.dirty[slot] != 0:
        freeze(tiers, -2 - home, tiers.hot, slot * NODE + HEADER)
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
        thaw(tiers, -2 - home, out)
    least = tiers.limits[TO_HOT] if home >= 0 else tiers.limits[TO_WARM]
    if tiers.touches[row] >= least or tiers.hands[shard * 8 + 1] < tiers.limits[SLOTS]:
        slot = _slot_for(tiers, shard, row, counted)
        copy_items(tiers.hot, slot * NODE + HEADER, out, 0, DIMENSIONS)
        tiers.hot[slot * NODE + 1] = tiers.warm[home * NODE + 1] if home >= 0 else np.float32(1)
        tiers.figures[counted + MIGRATIONS + HOT] += 1
    return WARM if home >= 0 else COLD


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
