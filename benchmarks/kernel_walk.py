"""
Walks over the nodes of a graph with prefetching: ours against the same loop in C with `__builtin_prefetch`.

Both go on where the other stopped, over the same nodes. The distance is the one that is the best of ours, and C's gain
is taken at the same.
"""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

from measure import timing
from outcome import Outcome
from pairs import paired, speed
from reference_c import NoReferenceError, function, library

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.loops.walk import DIMENSIONS, Graph
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.host import bench_here
from engram_diagnose.kernels.measure.sampling import in_turns
from engram_diagnose.kernels.measure.walk import DISTANCES, WORKS, Walker, graph_of
from engram_diagnose.rulebase import load_rules

NAME = "walk"
VISITS = 4096
QUICK = 16 << 20
# What our loop may do as well: add up in any order. Without it C's is no vector loop.
FAST = "-ffast-math"
SIZE = ctypes.c_uint64
TAKES = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, SIZE, SIZE, SIZE, SIZE, SIZE]


def outcomes(*, quick: bool) -> list[Outcome]:
    """For each amount of work: visits per second with prefetching, and what it gains."""
    try:
        reference = function("walk", library(NAME, FAST), TAKES, ctypes.c_float)
    except NoReferenceError as error:
        return [Outcome(NAME, f"nothing to compare with: {error}", 0.0, unit="n")]
    limits = read_limits(load_rules((), thorough=False).texts, "kernels")
    with bench_here(limits) as bench:
        return list(bench.pool.run(partial(_lines, reference, bench, quick=quick))[0])


def _lines(reference: Callable[..., Any], bench: Bench, *, quick: bool) -> list[Outcome]:
    def in_c(graph: Graph, first: int, count: int, words: int, distance: int, lines: int) -> float:
        at = [array.ctypes.data for array in (graph.nodes, graph.order, graph.query)]
        return float(reference(*at, first, count, words, distance, lines))

    _, graph = graph_of(min(QUICK if quick else int(bench.limits["walk_size"]), bench.memory))
    lines = []
    for name, words in WORKS:
        walker = Walker(graph, words, int(bench.limits["prefetch_lines"]))
        lines += _work(name, walker, in_c, bench, pairs=5 if quick else 61)
    return lines


def _work(name: str, walker: Walker, in_c: Callable[..., float], bench: Bench, *, pairs: int) -> list[Outcome]:
    # So many that calling a loop, which takes Python longer for ours, is not what is compared.
    visits = min(VISITS if walker.words == DIMENSIONS else 16 * VISITS, walker.graph.visits)
    ours, theirs = walker.way, in_c

    def side(way: Callable[..., float], distance: int) -> float:
        walker.way = way
        return walker.visit(visits, distance=distance)

    works = [partial(lambda distance, rounds: walker.visit(64 * rounds, distance=distance), each) for each in DISTANCES]
    taken = in_turns(works, bench, seconds=bench.limits["walk_seconds"])
    best = min(zip(DISTANCES[1:], taken[1:], strict=True), key=lambda one: timing(list(one[1].seconds)).median)[0]
    ahead = paired(partial(side, ours, best), partial(side, theirs, best), pairs=pairs)
    gains = [
        paired(partial(side, way, best), partial(side, way, 0), pairs=pairs).speed.median for way in (ours, theirs)
    ]
    return [
        speed(NAME, f"visits per second, {name}, {best} ahead", "gcc", ahead, work=float(visits), floor=1.0),
        Outcome(NAME, f"gain by prefetching, {name}, {best} ahead", gains[0], "gcc", gains[1], "n", repetitions=pairs),
    ]
