"""
Pattern completion: from what is nearest, the best candidate is always followed next, until so many were weighed.

Without a bound it weighs all that can be reached.
"""

from typing import Any, Final

import numpy as np

from engram_diagnose.kernels.loops.atomics import nanoseconds
from engram_diagnose.kernels.loops.compiled import inlined, loop
from engram_diagnose.kernels.loops.hnsw import _word
from engram_diagnose.kernels.loops.hnsw_distances import _distance
from engram_diagnose.lab.loops import world as at
from engram_diagnose.lab.loops.layout import HOT, UNKNOWN
from engram_diagnose.lab.loops.search import new_epoch, offer
from engram_diagnose.lab.loops.tiers import visit
from engram_diagnose.lab.loops.world import graph_of

_BASE: Final = at.BASE
_KIND: Final = at.KIND
_NODE: Final = np.uint64(0x7FFFFFFF)


@loop
def complete(world: Any, desk: Any, worker: Any, space: Any, seeds: Any, limit: Any) -> Any:
    """The best `limit` memories among the candidates that are weighed, beginning with the desk's order; how many."""
    graph = graph_of(world, space)
    low, kind = world.spaces[space, _BASE], world.settings[_KIND]
    most, deepest = world.settings[at.MOST_CANDIDATES], world.settings[at.MOST_DEPTH]
    epoch = new_epoch(desk)
    waiting = weighed = best = hits = deep = 0
    for one in range(seeds):
        node = desk.order[one]
        desk.seen[node] = epoch
        desk.depths[node] = 0
        waiting = _put(desk.heap, waiting, _word(np.float32(one) * np.float32(1e-6), node))
    began = nanoseconds()
    while waiting and weighed < most:
        word = desk.heap[0]
        waiting = _take_first(desk.heap, waiting)
        node = np.int64(word >> np.uint64(1) & _NODE)
        tier = visit(world.tiers, low + node, desk.node, worker)
        if tier == UNKNOWN:
            continue
        weighed += 1
        hits += tier == HOT
        apart = _distance(desk.node, desk.query, kind)
        best = offer(desk, np.int32(node), np.float32(1) - apart, best, limit)
        depth = desk.depths[node]
        deep = max(deep, depth)
        if depth < deepest:
            row = graph.bottom[node]
            for link in range(1, row[0] + 1):
                other = row[link]
                if desk.seen[other] != epoch and waiting < len(desk.heap):
                    desk.seen[other] = epoch
                    desk.depths[other] = min(depth + 1, 255)
                    waiting = _put(desk.heap, waiting, _word(apart, other))
    world.spaces[space, at.VISITS] += weighed
    world.spaces[space, at.HITS] += hits
    counts = world.counts[worker]
    counts[at.SIMILAR_NS] += nanoseconds() - began
    counts[at.SIMILARITIES] += weighed
    counts[at.CANDIDATES] += weighed
    counts[at.COMPLETIONS] += 1
    counts[at.COMPLETION_DEPTH] += deep
    return best


@inlined
def _put(heap: Any, size: Any, word: Any) -> Any:
    """Into a binary heap whose least is first; its size."""
    place = size
    while place > 0 and heap[(place - 1) >> 1] > word:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = word
    return size + 1


@inlined
def _take_first(heap: Any, size: Any) -> Any:
    """Out of it; its size."""
    size -= 1
    last, place = heap[size], 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= last:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = last
    return size
