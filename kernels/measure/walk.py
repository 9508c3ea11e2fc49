"""
What prefetching buys a walk over the nodes of a graph of vectors, and how far ahead it should be done: by how much is
done with each node.

The less is done with a node, the farther ahead its lines must be asked for; the more, the sooner they come by
themselves. Where next to nothing is done the CPU has several nodes under way anyway, and asking is more work.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from engram_diagnose.kernels.loops.walk import DIMENSIONS, FARTHEST, LINE, NODE, Graph
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Stability, Unmeasured
from engram_diagnose.kernels.measure.memory import Buffer, buffer
from engram_diagnose.kernels.measure.sampling import Repeats, in_turns, of_values, stability_of

DISTANCES: Final = (0, 1, 2, 4, 8, 16, 24, 32)
WORKS: Final = (("header", 0), ("8 FMA", 8), ("64 FMA", 64), ("200 FMA", 200), ("full dot", DIMENSIONS))
"""What is done with a node, by name: with how many words of its vector."""

_VISITS: Final = 64
"""Visits of a round: some microseconds, beside which calling the loop takes little."""
_BYTES: Final = 4 * NODE
_MOSTLY: Final = 0.9
_TIMES: Final = 4
"""How many times the last cache of its own the nodes must be, so that few visits hit it."""
_SHIFTS: Final = NODE // LINE
_SHIFT: Final = 7
"""By how many lines a round is moved: more than it reads and the hardware fetches along, and no divisor of 50."""

Way = Callable[[Graph, int, int, int, int, int], float]
"""Visits nodes of a graph: from which, how many, with words, distance, lines."""


def _compiled(graph: Graph, first: int, count: int, words: int, distance: int, lines: int) -> float:
    return graph.walk(first, count, words=words, distance=distance, lines=lines)


def walk(bench: Bench) -> list[Outcome]:
    """
    For each amount of work: the time of a visit by distance (`walk.visit`), the distance to choose (`walk.distance`),
    and how much faster that is than without prefetching (`walk.gain`; below 1 prefetching is slower).
    """
    size = min(int(bench.limits["walk_size"]), bench.memory)
    least = _least(bench)
    if size < least:
        reason = f"its nodes may take {size >> 20} MiB, and fewer than {least >> 20} MiB lie in the caches"
        return [Unmeasured("walk", reason, "give this program more memory")]
    bench.say(f"walks over {size // _BYTES:,} nodes of {_BYTES} bytes, prefetching 0 to {DISTANCES[-1]} ahead")
    memory, graph = bench.pool.run(partial(graph_of, size))[0]
    notes = _notes(memory, bench)
    found: list[Outcome] = []
    for name, words in WORKS:
        bench.check()
        found += _by_distance(name, words, graph, notes, bench)
    return found


def graph_of(size: int) -> tuple[Buffer, Graph]:
    """A graph that takes so many bytes, and the memory its nodes lie in. The order is always the same."""
    memory = buffer(size)
    nodes = memory.of(np.float32)
    count = len(nodes) // NODE
    chance = np.random.default_rng(3200)
    nodes[: count * NODE].reshape(count, NODE)[:] = chance.random(NODE, dtype=np.float32)
    # The last node is left out: moved by some lines, it would end behind the memory.
    order = chance.permutation(count - 1).astype(np.uint32)
    return memory, Graph(nodes, np.append(order, order[:FARTHEST]), chance.random(DIMENSIONS, dtype=np.float32))


@dataclass(slots=True)
class Walker:
    """
    A walk that goes on where the last one stopped.

    It begins each round of the graph some lines farther into the nodes: the headers of all nodes fit the caches, and
    would be there from the round before.
    """

    graph: Graph
    words: int
    most_lines: int
    way: Way = _compiled
    at: int = 0
    shift: int = 0
    _shifted: dict[int, Graph] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """How many lines of a vector are prefetched: those that are read, if they are not too many."""
        return min(self.most_lines, self._read)

    @property
    def _read(self) -> int:
        return -(-self.words // LINE)

    def visit(self, count: int, *, distance: int) -> float:
        """Visit so many nodes; what was summed up."""
        total = 0.0
        while count > 0:
            if self.shift not in self._shifted:
                self._shifted[self.shift] = self.graph.shifted(self.shift)
            some = min(count, self.graph.visits - self.at)
            total += self.way(self._shifted[self.shift], self.at, some, self.words, distance, self.lines)
            count -= some
            self.at += some
            if self.at == self.graph.visits:
                self.at = 0
                self.shift = (self.shift + _SHIFT * (1 + self._read // (_SHIFT - 1))) % _SHIFTS
        return total


@dataclass(frozen=True, slots=True)
class _Visits:
    """Seconds of a visit, by distance and repeat, for one amount of work."""

    work: str
    seconds: Mapping[int, tuple[float, ...]]
    disturbed: Repeats
    notes: tuple[str, ...]

    def middle(self, distance: int) -> float:
        return statistics.median(self.seconds[distance])

    def smallest(self, distances: tuple[int, ...], within: float) -> int:
        """The smallest of the distances that takes at most this share more than the best of them."""
        best = min(self.middle(distance) for distance in distances)
        return next(distance for distance in distances if self.middle(distance) <= best * (1 + within))


def _by_distance(name: str, words: int, graph: Graph, notes: tuple[str, ...], bench: Bench) -> list[Outcome]:
    walker = Walker(graph, words, int(bench.limits["prefetch_lines"]))

    def work(distance: int, rounds: int) -> float:
        return walker.visit(rounds * _VISITS, distance=distance)

    works = [partial(work, distance) for distance in DISTANCES]
    taken = bench.pool.run(partial(in_turns, works, bench, seconds=bench.limits["walk_seconds"]))[0]
    seconds = {
        distance: tuple(each / _VISITS for each in one.seconds) for distance, one in zip(DISTANCES, taken, strict=True)
    }
    visits = _Visits(name, seconds, taken[0], notes)
    return [*_each(visits, bench), _distance(visits, bench), _gain(visits, bench)]


def _each(visits: _Visits, bench: Bench) -> list[Measurement]:
    return [
        of_values(
            "walk.visit", "s", values, bench, better="lower", labels={"work": visits.work, "distance": str(distance)},
            switches=visits.disturbed.switches, steal=visits.disturbed.steal, notes=visits.notes,
        )
        for distance, values in visits.seconds.items()
    ]  # fmt: skip


def _distance(visits: _Visits, bench: Bench) -> Measurement:
    within = bench.limits["prefetch_within"]
    chosen = visits.smallest(DISTANCES, within)
    best = min(DISTANCES, key=visits.middle)
    stability = _worse(*(
        stability_of(visits.seconds[distance], visits.disturbed.steal, bench.limits) for distance in (chosen, best)
    ))  # fmt: skip
    said = f"{best} is the fastest, {chosen} within {within:.0%} of it" if best != chosen else f"{best} is the fastest"
    return Measurement(
        "walk.distance", "count", (float(chosen),), "lower", stability, {"work": visits.work},
        switches=visits.disturbed.switches, steal=visits.disturbed.steal, notes=(said, *visits.notes),
    )  # fmt: skip


def _gain(visits: _Visits, bench: Bench) -> Measurement:
    distance = visits.smallest(DISTANCES[1:], bench.limits["prefetch_within"])
    values = tuple(without / ahead for without, ahead in zip(visits.seconds[0], visits.seconds[distance], strict=True))
    slower = statistics.median(values) < 1
    notes = ("prefetching makes this walk slower at every distance",) if slower else ()
    return of_values(
        "walk.gain", "", values, bench, better="higher", labels={"work": visits.work, "distance": str(distance)},
        switches=visits.disturbed.switches, steal=visits.disturbed.steal, notes=notes + visits.notes,
    )  # fmt: skip


def _worse(*found: Stability) -> Stability:
    order: tuple[Stability, ...] = ("stable", "noisy", "unstable")
    return max(found, key=order.index)


def _least(bench: Bench) -> int:
    own = max((cache.size for cache in bench.caches if cache.sharers == 1), default=bench.cache_size(2, 1 << 20))
    return _TIMES * own


def _notes(memory: Buffer, bench: Bench) -> tuple[str, ...]:
    size = len(memory.bytes)
    fits = [cache for cache in bench.caches if cache.size >= size]
    notes = [f"{size >> 20} MiB of nodes would fit the L{fits[0].level} as it is claimed"] if fits else []
    if memory.huge is not None and memory.huge < _MOSTLY:
        notes.append("the nodes lie on small pages: what a miss of the TLB takes is part of each visit")
    return tuple(notes)
