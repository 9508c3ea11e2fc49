"""
Recall and activation: the index gives seeds, and from them activation spreads over its links, through the tiers.

Visited memories are gathered into tiles of eight and compared with the query together; a batch that fills no tile costs
a whole one. Where vector instructions are switched off, each is compared by itself, one product after another.
"""

from typing import Any, Final

import numpy as np

from engram_diagnose.kernels.loops.atomics import nanoseconds
from engram_diagnose.kernels.loops.compiled import inlined, loop
from engram_diagnose.kernels.loops.hnsw import COUNT as LINKED
from engram_diagnose.kernels.loops.hnsw import _descend, _distance_in, _node, _search_layer
from engram_diagnose.kernels.loops.hnsw_distances import _distance, _in_order
from engram_diagnose.kernels.loops.hnsw_sketches import _encode
from engram_diagnose.kernels.loops.similarity import _by_tiles_8, _by_tiles_16
from engram_diagnose.lab.loops import world as at
from engram_diagnose.lab.loops.layout import HOT, UNKNOWN
from engram_diagnose.lab.loops.native import copy_items
from engram_diagnose.lab.loops.tiers import gather, prefetch_node
from engram_diagnose.lab.loops.world import graph_of

_ROWS: Final = 8
_LANES: Final = 8
_TILES: Final = 96
_TILE: Final = _ROWS * _LANES
_GROUP: Final = _TILES * _TILE

_BASE: Final = at.BASE
_STORED: Final = at.STORED
_VISITS: Final = at.VISITS
_HITS: Final = at.HITS
_MODE_SCALAR: Final = at.MODE_SCALAR
_BATCH: Final = at.BATCH
_PREFETCH: Final = at.PREFETCH
_DEPTH: Final = at.DEPTH
_BUDGET: Final = at.BUDGET
_SEARCH: Final = at.SEARCH
_KIND: Final = at.KIND
_WIDE: Final = at.WIDE
_SIMILAR_NS: Final = at.SIMILAR_NS
_SIMILARITIES: Final = at.SIMILARITIES
_BATCHES: Final = at.BATCHES
_BATCHED: Final = at.BATCHED
_MOST_VISITS: Final = at.MOST_VISITS


@inlined
def seeds_of(world: Any, scratch: Any, desk: Any, space: Any, limit: Any) -> Any:
    """What the index finds, nearest first, and what is not linked yet and is nearer; into the desk's order."""
    graph = graph_of(world, space)
    known, stored = graph.state[LINKED], world.spaces[space, _STORED]
    kind = world.settings[_KIND]
    linked = world.spaces[space, at.SEARCHABLE]  # what comes after it may not be reached by links yet
    found = 0
    if known:
        _encode(desk.query, scratch.most[0], scratch.words, scratch.about)
        entry = _descend(graph, scratch, desk.query, 0)
        width = min(max(world.settings[_SEARCH], limit), known)
        found = _search_layer(graph, scratch, desk.query, entry, 0, width)
    count = 0
    for one in range(min(found, limit)):
        count = offer(desk, _node(scratch.pool[one]), np.float32(1) - _distance_in(scratch.pool[one]), count, limit)
    low = world.spaces[space, _BASE]
    for node in range(linked, stored):
        if world.ready[low + node]:
            count = offer(desk, node, np.float32(1) - _distance(graph.vectors[node], desk.query, kind), count, limit)
    for one in range(count):
        desk.order[one] = desk.best_rows[one]
    return count


@inlined
def spread(world: Any, desk: Any, worker: Any, space: Any, seeds: Any, limit: Any, is_activation: Any) -> Any:
    """
    Visit the desk's order and what its memories are linked to, hop by hop; the best are on the desk, how many.

    A recall takes no hop: it compares what the index found. An activation takes as many as are set, from each memory to
    as many others as its tier's budget says.
    """
    hops = world.settings[_DEPTH] if is_activation else 0
    settings, tiers = world.settings, world.tiers
    graph = graph_of(world, space)
    low = world.spaces[space, _BASE]
    epoch = new_epoch(desk)
    order, seen = desk.order, desk.seen
    batch, ahead = settings[_BATCH], settings[_PREFETCH]
    last = 0
    for one in range(seeds):  # one that is being linked may have been found twice
        if seen[order[one]] != epoch:
            seen[order[one]] = epoch
            order[last] = order[one]
            last += 1
    first, end = 0, last
    best = gathered = hits = visits = reached = 0
    for hop in range(hops + 1):
        if first == end:
            break
        reached = hop
        for place in range(first, end):
            if ahead and place + ahead < last:
                prefetch_node(tiers, low + order[place + ahead])
            node = np.int64(order[place])
            tier = gather(tiers, low + node, desk.node, worker, desk.tiles, gathered)
            if tier == UNKNOWN:
                continue
            visits += 1
            hits += tier == HOT
            desk.batch[gathered] = node
            gathered += 1
            if gathered == batch:
                best = _compare(world, desk, worker, gathered, best, limit, is_activation)
                gathered = 0
            if hop < hops:
                row = graph.bottom[node]
                links = np.int64(row[0])
                wanted = settings[_BUDGET + tier]
                for link in range(1, links + 1):
                    if wanted == 0 or last == _MOST_VISITS:
                        break
                    other = row[link]
                    if seen[other] != epoch:
                        seen[other] = epoch
                        order[last] = other
                        last += 1
                        wanted -= 1
        first, end = end, last
    if gathered:
        best = _compare(world, desk, worker, gathered, best, limit, is_activation)
    # Sums that nobody decides by: what two workers add at once may count once.
    world.spaces[space, _VISITS] += visits
    world.spaces[space, _HITS] += hits
    if is_activation:
        world.spaces[space, at.SPREAD_VISITS] += visits
        world.spaces[space, at.SPREADS] += 1
        world.spaces[space, at.HOPS] += reached
    return best


@inlined
def _compare(world: Any, desk: Any, worker: Any, count: Any, best: Any, limit: Any, is_activation: Any) -> Any:
    """The similarities of what was gathered, and the best of them onto the desk."""
    began = nanoseconds()
    groups = (count + _ROWS - 1) // _ROWS
    if world.settings[_MODE_SCALAR]:
        for one in range(count):
            desk.products[one] = _scalar_of(desk, one)
    elif world.settings[_WIDE]:
        _by_tiles_16(desk.tiles[: groups * _GROUP], desk.query, desk.products, 0, groups)
    else:
        _by_tiles_8(desk.tiles[: groups * _GROUP], desk.query, desk.products, 0, groups)
    counts = world.counts[worker]
    counts[_SIMILAR_NS] += nanoseconds() - began
    counts[_SIMILARITIES] += count
    if is_activation:
        counts[_BATCHES] += 1
        counts[_BATCHED] += count
    for one in range(count):
        best = offer(desk, desk.batch[one], desk.products[one], best, limit)
    return best


@loop
def _scalar_of(desk: Any, place: Any) -> Any:
    """One product after another; what was gathered is taken apart again for it."""
    from_ = (place // _ROWS) * _GROUP + (place % _ROWS) * _LANES
    for tile in range(_TILES):
        copy_items(desk.node, tile * _LANES, desk.tiles, from_ + tile * _TILE, 8)
    return np.float32(1) - _in_order(desk.node, desk.query)


@inlined
def offer(desk: Any, node: Any, score: Any, count: Any, limit: Any) -> Any:
    """Keep a memory among the `limit` best, which are descending; how many there are."""
    if count == limit and score <= desk.best[count - 1]:
        return count
    place = count if count < limit else limit - 1
    while place > 0 and desk.best[place - 1] < score:
        if place < limit:
            desk.best[place] = desk.best[place - 1]
            desk.best_rows[place] = desk.best_rows[place - 1]
        place -= 1
    desk.best[place] = score
    desk.best_rows[place] = node
    return min(count + 1, limit)


@inlined
def new_epoch(desk: Any) -> Any:
    """A number that no memory was seen with."""
    epoch = desk.epoch[0] + 1
    if epoch > 255:
        desk.seen[:] = 0
        epoch = 1
    desk.epoch[0] = epoch
    return np.uint8(epoch)
