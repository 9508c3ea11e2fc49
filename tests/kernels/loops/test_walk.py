"""The walk over nodes: the same sum whatever is prefetched."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engram_diagnose.kernels.loops.walk import DIMENSIONS, FARTHEST, HEADER, NODE, Graph
from engram_diagnose.kernels.measure.memory import buffer

NODES = 60


def a_graph() -> Graph:
    chance = np.random.default_rng(5)
    nodes = buffer(4 * NODE * NODES).of(np.float32)
    nodes[:] = chance.random(len(nodes), dtype=np.float32)
    order = chance.integers(0, NODES - 1, NODES + FARTHEST).astype(np.uint32)
    return Graph(nodes, order, chance.random(DIMENSIONS, dtype=np.float32))


def plain(graph: Graph, first: int, count: int, words: int) -> float:
    """The sum by numpy, node by node, in double precision."""
    total = 0.0
    for node in graph.order[first : first + count]:
        whole: npt.NDArray[np.float64] = graph.nodes[node * NODE : (node + 1) * NODE].astype(np.float64)
        total += whole[0] + whole[HEADER : HEADER + words] @ graph.query[:words].astype(np.float64)
    return total


@pytest.mark.parametrize("words", [0, 1, 8, 64, 200, 767, 768])
@pytest.mark.parametrize(("distance", "lines"), [(0, 0), (1, 1), (8, 48), (32, 8)])
def test_a_walk_sums_up_what_it_visits(words: int, distance: int, lines: int) -> None:
    graph = a_graph()
    found = graph.walk(3, NODES - 3, words=words, distance=distance, lines=lines)
    assert found == pytest.approx(plain(graph, 3, NODES - 3, words), rel=1e-5)


def test_nodes_that_begin_some_lines_later_are_read_from_there() -> None:
    graph = a_graph()
    shifted = graph.shifted(7)
    moved = Graph(buffer(4 * NODE * NODES).of(np.float32), graph.order, graph.query)
    moved.nodes[: -7 * 16] = graph.nodes[7 * 16 :]
    assert shifted.walk(0, NODES, words=768, distance=2, lines=4) == pytest.approx(
        plain(moved, 0, NODES, 768), rel=1e-5
    )


def test_a_walk_over_no_node_is_zero() -> None:
    assert a_graph().walk(0, 0, words=768, distance=32, lines=48) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": np.zeros(NODE * NODES)}, "nodes of a graph: a flat array of float32"),
        ({"nodes": buffer(4 * NODE * NODES + 64).of(np.float32)[4:]}, "aligned"),
        ({"nodes": buffer(8 * NODE * NODES).of(np.float32)[::2]}, "contiguous"),
        ({"nodes": buffer(4 * NODE).of(np.float32)}, "beyond the 1 there are"),
        ({"order": np.zeros(FARTHEST, np.uint32)}, "more than 32 nodes"),
        ({"order": np.zeros(40, np.int64)}, "order of a graph"),
        ({"query": np.zeros(767, np.float32)}, "768 numbers"),
        ({"query": np.zeros((768, 1), np.float32)}, "query of a graph"),
    ],
)
def test_what_is_no_graph_is_refused(changes: dict[str, Any], said: str) -> None:
    graph = a_graph()
    parts = {"nodes": graph.nodes, "order": graph.order, "query": graph.query} | changes
    with pytest.raises(ValueError, match=said):
        Graph(**parts)


@pytest.mark.parametrize(
    ("first", "count", "words", "distance", "lines"),
    [
        (0, NODES + 1, 8, 0, 0),
        (-1, 2, 8, 0, 0),
        (0, -1, 8, 0, 0),
        (0, 1, 769, 0, 0),
        (0, 1, -1, 0, 0),
        (0, 1, 8, 33, 1),
        (0, 1, 8, -1, 1),
        (0, 1, 8, 1, 49),
    ],
)
def test_a_walk_that_would_leave_the_arrays_is_refused(
    first: int, count: int, words: int, distance: int, lines: int
) -> None:
    with pytest.raises(ValueError, match=r"a walk|prefetch"):
        a_graph().walk(first, count, words=words, distance=distance, lines=lines)
