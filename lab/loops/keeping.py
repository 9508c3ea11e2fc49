"""
What threads do in the background: link what was stored, move memories between tiers, consolidate.
"""

from typing import Any, Final

import numpy as np

from engram_diagnose.kernels.loops.atomics import atomic_add, compare_exchange, load_atomic, nanoseconds, store_atomic
from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.hnsw import COUNT as LINKED
from engram_diagnose.kernels.loops.hnsw import _insert
from engram_diagnose.kernels.loops.hnsw_distances import _distance
from engram_diagnose.lab.loops import world as at
from engram_diagnose.lab.loops.embed import normalise
from engram_diagnose.lab.loops.locks import STRIDE
from engram_diagnose.lab.loops.native import set_thread_name
from engram_diagnose.lab.loops.rings import rest, stopping
from engram_diagnose.lab.loops.tiers import admit, age, make_room, peek
from engram_diagnose.lab.loops.world import bucket_of, graph_of

_AT_ONCE: Final = 16
"""Memories linked before another space has its turn."""
_REST_NS: Final = 100_000_000
_HOUR_NS: Final = 3_600_000_000_000
_MARK_NS: Final = 50_000_000
_MOVED: Final = 256
_WEIGHT: Final = np.float32(0.02)
"""What a memory takes over from the one it is blended with."""


@loop
def link_and_move(world: Any, scratch: Any, desk: Any, worker: Any) -> Any:
    """A thread in the background: link memories, of all spaces in turn; the first one moves them between tiers too."""
    set_thread_name(desk.name)
    while not stopping(world.rings):
        linked = 0
        for space in range(len(world.spaces)):
            if world.spaces[space, at.IS_THERE] and load_atomic(world.locks, space * STRIDE) == 0:
                linked += _link_some(world, scratch, space)
        if worker == world.upkeep[at.MOVER]:
            make_room(world.tiers, _MOVED)
            if nanoseconds() - world.upkeep[at.AGED_AT] > _HOUR_NS:
                age(world.tiers)
                world.upkeep[at.AGED_AT] = nanoseconds()
        if not linked:
            rest(world.rings, _REST_NS)
    return 0


@loop
def _link_some(world: Any, scratch: Any, space: Any) -> Any:
    """Link a few of what is stored, unless another thread is at it; how many."""
    if compare_exchange(world.locks, space * STRIDE, np.int32(0), np.int32(1)) != 0:
        return 0
    graph = graph_of(world, space)
    low = world.spaces[space, at.BASE]
    linked = 0
    while linked < _AT_ONCE and not stopping(world.rings) and world.spaces[space, at.IS_THERE] == 1:
        node = graph.state[LINKED]
        if node >= world.spaces[space, at.STORED] or not world.ready[low + node]:
            break
        _insert(graph, scratch, node, node + 1, world.settings[at.CONSTRUCTION])
        store_atomic(world.spaces[space], at.SEARCHABLE, node + 1)
        linked += 1
    store_atomic(world.locks, space * STRIDE, np.int32(0))
    return linked


@loop
def consolidate(world: Any, scratch: Any, desk: Any, worker: Any) -> Any:
    """A thread of consolidation: one of them at a time runs when it is due."""
    set_thread_name(desk.name)
    last = nanoseconds()
    while not stopping(world.rings):
        if nanoseconds() - last < world.settings[at.INTERVAL]:
            rest(world.rings, min(100_000_000, world.settings[at.INTERVAL]))
            continue
        began = nanoseconds()
        space = _next_space(world)
        if space >= 0:
            atomic_add(world.spaces[space], at.IN_FLIGHT, 1)
            times = world.times[space, at.CONSOLIDATION]
            atomic_add(times, at.UNDER_WAY, 1)
            counted = _consolidate(world, desk, space, worker)
            took = nanoseconds() - began
            atomic_add(times, at.UNDER_WAY, -1)
            atomic_add(times, bucket_of(world.bounds, took), 1)
            atomic_add(times, at.TIME_SUM, took - counted)
            atomic_add(world.spaces[space], at.IN_FLIGHT, -1)
        last = nanoseconds()
        world.upkeep[at.CONSOLIDATED_AT] = last
    return 0


@loop
def _next_space(world: Any) -> Any:
    """The space with the most memories that are linked."""
    found, most = -1, 0
    for space in range(len(world.spaces)):
        if world.spaces[space, at.IS_THERE] == 1 and world.states[space, LINKED] > most:
            found, most = space, world.states[space, LINKED]
    return found


@loop
def _consolidate(world: Any, desk: Any, space: Any, worker: Any) -> Any:
    """
    Compare the next memories with each other, and blend each a little with the nearest of them.

    The time that it takes is added up as it goes, for a run may be longer than whoever looks at it; how much was.
    """
    began = nanoseconds()
    marked = began
    times = world.times[space, at.CONSOLIDATION]
    graph = graph_of(world, space)
    low, kind, known = world.spaces[space, at.BASE], world.settings[at.KIND], graph.state[LINKED]
    many = min(world.settings[at.CONSOLIDATED], known)
    start = atomic_add(world.upkeep, at.CURSOR, many) % known
    for one in range(many):
        if stopping(world.rings) or world.spaces[space, at.IS_THERE] != 1:
            break
        now = nanoseconds()
        if now - marked > _MARK_NS:
            atomic_add(times, at.TIME_SUM, now - marked)
            marked = now
        node = (start + one) % known
        nearest, least = -1, np.float32(2)
        for other in range(many):
            if other != one:
                apart = _distance(graph.vectors[(start + other) % known], graph.vectors[node], kind)
                if apart < least:
                    nearest, least = other, apart
        if nearest >= 0 and peek(world.tiers, low + node, desk.node) >= 0:
            near = graph.vectors[(start + nearest) % known]
            for value in range(len(desk.node)):
                desk.node[value] += _WEIGHT * near[value]
            normalise(desk.node)
            admit(world.tiers, low + node, desk.node)
            world.upkeep[at.BLENDED] += 1
    return marked - began
