"""
The workers' loops: take a ticket, do what it asks for, tell the front.
"""

from typing import Any, Final

import numpy as np

from engram_diagnose.kernels.loops.atomics import atomic_add, load_atomic, nanoseconds
from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.hnsw import COUNT as LINKED
from engram_diagnose.lab.asking import DISK_FULL, DONE, FAILED, NO_ROOM
from engram_diagnose.lab.loops import world as at
from engram_diagnose.lab.loops.complete import complete
from engram_diagnose.lab.loops.embed import embed, normalise
from engram_diagnose.lab.loops.locks import release, take
from engram_diagnose.lab.loops.log import append, settle
from engram_diagnose.lab.loops.native import ENOSPC, copy_items, reserve, set_thread_name, sleep_for
from engram_diagnose.lab.loops.rings import RECALLS, STORES, answer, call_linkers, pop, push, stopping
from engram_diagnose.lab.loops.search import seeds_of, spread
from engram_diagnose.lab.loops.tiers import admit, forget
from engram_diagnose.lab.loops.world import bucket_of

RECORD_HEAD: Final = 20
STORED: Final = 1
REMOVED: Final = 2
"""
Bytes of a record before the name of its space: what it tells (1), whether it has an embedding (1), the name's length
(1), nothing (1), the text's length (4), the place in the space (4), the confidence in millionths (4), the space's
number (4). After the name come the text and the embedding.
"""
_ROW_BYTES: Final = at.DIMENSIONS * 4
_A_MILLISECOND: Final = 1_000_000


@loop
def hand_in(rings: Any, tickets: Any, spaces: Any, times: Any, ticket: Any, ring: Any) -> None:
    """Count an operation as under way in its space, and give its ticket to the workers of a ring."""
    space, operation = tickets[ticket, at.SPACE], tickets[ticket, at.OPERATION]
    if operation < at.OPERATIONS:
        atomic_add(spaces[space], at.IN_FLIGHT, 1)
        atomic_add(times[space, operation], at.UNDER_WAY, 1)
    push(rings, ring, ticket)


@loop
def serve_recalls(world: Any, scratch: Any, desk: Any, worker: Any) -> Any:
    """A recall worker: recalls, activations and completions."""
    set_thread_name(desk.name)
    while True:
        ticket = pop(world.rings, RECALLS)
        if ticket >= 0:
            _begin(world, desk, worker, ticket, RECALLS)
            _recall(world, scratch, desk, worker, ticket)
            _end(world, worker, ticket)
        elif stopping(world.rings):
            return 0


@loop
def serve_stores(world: Any, scratch: Any, desk: Any, worker: Any) -> Any:
    """A store worker."""
    set_thread_name(desk.name)
    while True:
        ticket = pop(world.rings, STORES)
        if ticket >= 0:
            _begin(world, desk, worker, ticket, STORES)
            if world.tickets[ticket, at.OPERATION] == at.REMOVAL:
                _remove(world, desk, ticket)
            else:
                _store(world, desk, worker, ticket)
            _end(world, worker, ticket)
        elif stopping(world.rings):
            return 0


@loop
def _begin(world: Any, desk: Any, worker: Any, ticket: Any, ring: Any) -> None:
    """Count how long it waited, and make the query."""
    told = world.tickets[ticket]
    now = nanoseconds()
    world.counts[worker, at.BUSY] = now
    waited = now - told[at.ARRIVED]
    atomic_add(world.waits[ring], bucket_of(world.bounds, waited), 1)
    atomic_add(world.waits[ring], at.TIME_SUM, waited)
    if told[at.IS_GIVEN]:
        desk.query[:] = world.queries[ticket]
        normalise(desk.query)
    else:
        embed(world.words, world.texts[ticket], told[at.LENGTH], desk.query)


@loop
def _end(world: Any, worker: Any, ticket: Any) -> None:
    told = world.tickets[ticket]
    took = nanoseconds() - told[at.ARRIVED]
    told[at.TOOK] = took
    space, operation = told[at.SPACE], told[at.OPERATION]
    if operation < at.OPERATIONS:
        times = world.times[space, operation]
        atomic_add(times, bucket_of(world.bounds, took), 1)
        atomic_add(times, at.TIME_SUM, took)
        if told[at.STATUS] != DONE:
            atomic_add(times, at.FAILED, 1)
        atomic_add(times, at.UNDER_WAY, -1)
        atomic_add(world.spaces[space], at.IN_FLIGHT, -1)
    answer(world.rings, ticket)  # waking the front takes a worker's time as well
    world.counts[worker, at.BUSY_NS] += nanoseconds() - world.counts[worker, at.BUSY]
    world.counts[worker, at.BUSY] = 0


@loop
def _recall(world: Any, scratch: Any, desk: Any, worker: Any, ticket: Any) -> None:
    told = world.tickets[ticket]
    space, limit, operation = told[at.SPACE], told[at.LIMIT], told[at.OPERATION]
    seeds = seeds_of(world, scratch, desk, space, limit)
    if operation == at.COMPLETION:
        found = complete(world, desk, worker, space, seeds, limit)
    else:
        found = spread(world, desk, worker, space, seeds, limit, operation == at.ACTIVATION)
    low = world.spaces[space, at.BASE]
    for one in range(found):
        world.rows[ticket, one] = low + desk.best_rows[one]
        world.scores[ticket, one] = desk.best[one]
    told[at.COUNT] = found
    told[at.STATUS] = DONE
    counts = world.counts[worker]
    counts[at.RESULTS] += found
    counts[at.RECALLED] += 1


@loop
def _store(world: Any, desk: Any, worker: Any, ticket: Any) -> None:
    """Into the tiers and the log, and then for all to find."""
    told = world.tickets[ticket]
    space = told[at.SPACE]
    told[at.COUNT] = 0
    of = world.spaces[space]
    while load_atomic(of, at.STORED) - load_atomic(of, at.SEARCHABLE) > at.MOST_FRESH:
        if stopping(world.rings) or load_atomic(of, at.IS_THERE) != 1:
            break
        call_linkers(world.rings)
        sleep_for(_A_MILLISECOND)
    row = _new_row(world, space)
    if row < 0:
        told[at.STATUS] = NO_ROOM if row == -1 else DISK_FULL
        return
    world.vectors[row] = desk.query
    status = DONE
    failed = admit(world.tiers, row, desk.query)
    if failed == 0:
        count = _record(world, desk, ticket, row)
        sequence = append(world.log, desk.record, count)
        failed = settle(world.log, sequence) if sequence > 0 else sequence
        if failed < 0:
            forget(world.tiers, row, row + 1)
    if failed < 0:
        status = DISK_FULL if failed == -ENOSPC else FAILED
        world.vectors[row] = 0  # a row of its own that nothing is like
    size = told[at.LENGTH] + _ROW_BYTES
    if status == DONE:
        atomic_add(world.spaces[space], at.DATA, size)
        world.counts[worker, at.STORED_BYTES] += told[at.LENGTH] + told[at.IS_GIVEN] * _ROW_BYTES
        world.rows[ticket, 0] = row
        world.scores[ticket, 0] = 1
        told[at.COUNT] = 1
    told[at.STATUS] = status
    world.ready[row] = 1
    call_linkers(world.rings)


@loop
def _new_row(world: Any, space: Any) -> Any:
    """The next row of a space, for which the disk keeps room; -1 where there is none, -2 where the disk is full."""
    of = world.spaces[space]
    lock = np.int64(len(world.spaces))
    take(world.locks, lock)
    row = np.int64(-1)
    node = of[at.STORED]
    if node < of[at.ROWS]:
        row = of[at.BASE] + node
        if node >= of[at.BACKED]:
            if reserve(world.vector_file[0], row * _ROW_BYTES, at.CHUNK * _ROW_BYTES) == 0:
                of[at.BACKED] += at.CHUNK
            else:
                row = np.int64(-2)
        if row >= 0:
            of[at.STORED] = node + 1
    release(world.locks, lock)
    return row


@loop
def _record(world: Any, desk: Any, ticket: Any, row: Any) -> Any:
    """Make the record of a store on the desk; its length."""
    told, record = world.tickets[ticket], desk.record
    space, length = told[at.SPACE], told[at.LENGTH]
    end = _head(world, desk, space, STORED, length)
    record[1] = told[at.IS_GIVEN]
    _put_number(record, 8, row - world.spaces[space, at.BASE])
    _put_number(record, 12, told[at.CONFIDENCE])
    copy_items(record, end, world.texts[ticket], 0, length)
    end += length
    if told[at.IS_GIVEN]:
        bytes_ = world.queries[ticket].view(np.uint8)
        copy_items(record, end, bytes_, 0, _ROW_BYTES)
        end += _ROW_BYTES
    return end


@loop
def _head(world: Any, desk: Any, space: Any, kind: Any, length: Any) -> Any:
    """Begin a record with what all have, and the name of its space; how long that is."""
    record, name = desk.record, world.spaces[space, at.NAME_LENGTH]
    record[:RECORD_HEAD] = 0
    record[0], record[2] = kind, name
    _put_number(record, 4, length)
    _put_number(record, 16, world.spaces[space, at.SERIAL])
    copy_items(record, RECORD_HEAD, world.names[space], 0, name)
    return RECORD_HEAD + name


@loop
def _put_number(record: Any, place: Any, number: Any) -> None:
    for byte in range(4):
        record[place + byte] = np.uint8((number >> (8 * byte)) & 255)


@loop
def _remove(world: Any, desk: Any, ticket: Any) -> None:
    """
    Empty a space that no name leads to any more, once nothing of it is under way.

    The log learns of it after all that was stored there, and before anything is stored in its place.
    """
    space = world.tickets[ticket, at.SPACE]
    while load_atomic(world.spaces[space], at.IN_FLIGHT) > 0:
        sleep_for(_A_MILLISECOND)
    append(world.log, desk.record, _head(world, desk, space, REMOVED, 0))
    empty(world, space)
    world.tickets[ticket, at.STATUS] = DONE
    world.tickets[ticket, at.COUNT] = 0


@loop
def empty(world: Any, space: Any) -> None:
    """Forget all memories of a space that nobody works on, except for those who link."""
    of = world.spaces[space]
    take(world.locks, space)
    low, many = of[at.BASE], of[at.STORED]
    forget(world.tiers, low, low + many)
    world.ready[low : low + many] = 0
    world.bottom[low : low + many, 0] = 0
    world.layers[low : low + many] = 0
    world.states[space, : LINKED + 4] = 0
    for field in (at.STORED, at.SEARCHABLE, at.HITS, at.VISITS, at.SPREAD_VISITS, at.SPREADS, at.HOPS, at.DATA):
        of[field] = 0
    world.times[space] = 0
    release(world.locks, space)
