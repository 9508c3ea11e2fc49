"""
A walk over the nodes of a graph of vectors, as a search in an HNSW index reads them: the nodes to visit are known some
steps ahead, each lies somewhere else, and of each a header is read and its vector compared with the query.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.compiled import fast_loop
from engram_diagnose.kernels.loops.prefetch import prefetch

DIMENSIONS: Final = 768
HEADER: Final = 32
"""Words of 4 bytes before the vector: the header and the neighbours."""
NODE: Final = HEADER + DIMENSIONS
"""Words of a node: 3200 bytes."""
LINE: Final = 16
"""Words of a cache line."""
FARTHEST: Final = 32
"""The largest prefetch distance."""

_NODE: Final = np.uint64(NODE)
_HEADER: Final = np.uint64(HEADER)
_LINE: Final = np.uint64(LINE)


@dataclass(frozen=True, slots=True)
class Graph:
    """
    What is walked over.

    `nodes` is a flat float32 array, node i from word 800 i; `order` (uint32) the nodes in the order of the visits, and
    32 more, which are prefetched and not visited; `query` (768 float32) what each vector is compared with.
    """

    nodes: npt.NDArray[np.float32]
    order: npt.NDArray[np.uint32]
    query: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, kind in (("nodes", np.float32), ("order", np.uint32), ("query", np.float32)):
            array: Any = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != kind or array.ndim != 1:
                raise ValueError(f"{name} of a graph: a flat array of {np.dtype(kind)} is needed")
            if not array.flags.c_contiguous:
                raise ValueError(f"{name} of a graph: a contiguous array is needed")
        if self.nodes.ctypes.data % (4 * LINE):
            raise ValueError("nodes of a graph: they must be aligned to 64 bytes")
        if len(self.query) != DIMENSIONS:
            raise ValueError(f"query of a graph: {DIMENSIONS} numbers are needed, not {len(self.query)}")
        if len(self.order) <= FARTHEST:
            raise ValueError(f"order of a graph: more than {FARTHEST} nodes are needed, not {len(self.order)}")
        if int(self.order.max()) >= len(self.nodes) // NODE:
            raise ValueError(f"order of a graph: it names nodes beyond the {len(self.nodes) // NODE} there are")

    @property
    def visits(self) -> int:
        """How many nodes are visited, one after another."""
        return len(self.order) - FARTHEST

    def shifted(self, lines: int) -> "Graph":
        """The same walk over nodes that begin so many lines later; its last node must not be in the order."""
        return Graph(self.nodes[lines * LINE :], self.order, self.query)

    def walk(self, first: int, count: int, *, words: int, distance: int, lines: int) -> float:
        """
        Visit `count` nodes of the order from `first`; the sum of the products of the first `words` of each vector with
        the query's, and of the first words of the headers.

        While one is visited, the header and the first `lines` lines of the vector of the one that is `distance` visits
        ahead are prefetched; with a distance of 0, nothing is.
        """
        if first < 0 or count < 0 or first + count > self.visits:
            raise ValueError(f"a walk from {first} over {count} nodes: the order has {self.visits}")
        if not 0 <= words <= DIMENSIONS:
            raise ValueError(f"a walk over {words} words: a vector has {DIMENSIONS}")
        if not 0 <= distance <= FARTHEST:
            raise ValueError(f"a prefetch distance of {distance}: it is at most {FARTHEST}")
        if not 0 <= lines <= DIMENSIONS // LINE:
            raise ValueError(f"{lines} lines to prefetch: a vector has {DIMENSIONS // LINE}")
        numbers = [np.uint64(number) for number in (first, count, words, distance, lines)]
        return float(_walk(self.nodes, self.order, self.query, *numbers))


@fast_loop
def _walk(
    nodes: Any, order: Any, query: Any, first: Any, count: Any, words: Any, distance: Any, lines: Any
) -> np.float32:
    # Unsigned throughout: with signed indices the sum over the words is not computed in lanes.
    total = np.float32(0)
    for visit in range(first, first + count):
        if distance:
            ahead = np.uint64(order[visit + distance]) * _NODE
            prefetch(nodes, ahead)
            for line in range(lines):
                prefetch(nodes, ahead + _HEADER + _LINE * line)
        node = np.uint64(order[visit]) * _NODE
        vector = node + _HEADER
        # A sum of its own: one for all nodes would be a chain of additions, and no two nodes would be at work at once.
        similarity = np.float32(0)
        for word in range(words):
            similarity += nodes[vector + word] * query[word]
        total += similarity + nodes[node]
    return total
