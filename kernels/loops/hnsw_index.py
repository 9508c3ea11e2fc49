"""
An index of vectors that finds most of the nearest ones without looking at all: HNSW in flat arrays.
"""

import math
import threading
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops import hnsw
from engram_diagnose.kernels.loops.hnsw import Graph, Scratch
from engram_diagnose.kernels.loops.hnsw_distances import METRICS, Metric, kind_of, padded, table
from engram_diagnose.kernels.loops.hnsw_sketches import FIGURES, _encode_all, codes, padded_codes
from engram_diagnose.kernels.loops.hnsw_stored import checked, stored

_MOST_DIMENSIONS: Final = 1 << 16
_MOST_LINKS: Final = 1 << 10


class HnswIndex:
    """
    Vectors of so many dimensions, numbered from 0 in the order they were added.

    `links` is M: a node has up to twice as many on the bottom layer; `construction` is ef_construction, how many
    candidates an insertion looks for. The same vectors in the same order with the same seed give the same index.

    Threads may search at the same time, and while another adds: they find what was there before, and some of what is
    being added. Additions take turns. All memory that `bytes_for` names is reserved when the index is made.
    """

    def __init__(
        self,
        dimensions: int,
        *,
        capacity: int,
        links: int = 16,
        construction: int = 200,
        metric: Metric = "cosine",
        seed: int = 1,
    ) -> None:
        """Raises `ValueError` for what cannot be, `MemoryError` where there is not enough of it."""
        _within("dimensions", dimensions, 1, _MOST_DIMENSIONS)
        _within("links (M)", links, 2, _MOST_LINKS)
        _within("construction (ef_construction)", construction, 1, hnsw.MOST_NODES)
        _within("seed", seed, 0, (1 << 63) - 1)
        self._metric: Metric = metric
        self._graph = _empty(dimensions, capacity, links)
        state = self._graph.state
        state[hnsw.METRIC], state[hnsw.SEED], state[hnsw.DIMENSIONS] = kind_of(metric), seed, dimensions
        state[hnsw.CONSTRUCTION] = construction
        self._free: list[Scratch] = []
        self._adding = threading.Lock()

    def __len__(self) -> int:
        return int(self._graph.state[hnsw.COUNT])

    @property
    def capacity(self) -> int:
        """How many vectors there is room for."""
        return len(self._graph.vectors)

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return int(self._graph.state[hnsw.DIMENSIONS])

    @property
    def links(self) -> int:
        """M."""
        return int(self._graph.above.shape[1]) - 1

    @property
    def metric(self) -> Metric:
        """How far two vectors are apart."""
        return self._metric

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self._graph)

    def add(self, vectors: npt.ArrayLike) -> range:
        """
        Add a vector, or rows of them; the numbers they have got.

        Raises `ValueError` where one does not fit or is not finite, or where there is no room: then none is added.
        """
        rows = _rows(vectors, self.dimensions, "vectors")
        with self._adding:
            graph, low = self._graph, len(self)
            high = low + len(rows)
            if high > self.capacity:
                raise ValueError(f"{len(rows)} more than {low} vectors exceed the capacity of {self.capacity}: grow()")
            _refuse(rows, hnsw._prepare(rows, graph.vectors, low, graph.state[hnsw.METRIC]), "vectors")
            width = max(int(graph.state[hnsw.CONSTRUCTION]), self.links)
            scratch = self._scratch(graph, width)
            hnsw._insert(graph, scratch, low, high, width)
            self._free.append(scratch)
        return range(low, high)

    def search(
        self, queries: npt.ArrayLike, *, count: int = 10, width: int = 100
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """
        The `count` nearest vectors of a query, or of rows of them: numbers and distances, one row by query, nearest
        first. `width` is ef_search. Where there are fewer vectors the row ends with -1 and infinity.

        Raises `ValueError` where a query does not fit or is not finite.
        """
        _within("count", count, 1, hnsw.MOST_NODES)
        _within("width (ef_search)", width, 1, hnsw.MOST_NODES)
        rows = _rows(queries, self.dimensions, "queries")
        graph = self._graph
        prepared = table(len(rows), self.dimensions)
        _refuse(rows, hnsw._prepare(rows, prepared, 0, graph.state[hnsw.METRIC]), "queries")
        ids, apart = np.full((len(rows), count), -1, np.int32), np.full((len(rows), count), np.inf, np.float32)
        known = int(graph.state[hnsw.COUNT])
        if known and len(rows):
            wide = min(max(width, count), known)
            scratch = self._scratch(graph, wide)
            hnsw._search(graph, scratch, prepared, wide, ids, apart)
            self._free.append(scratch)
        return ids, apart

    def grow(self, capacity: int) -> None:
        """
        Make room for so many vectors. Until it returns, the old arrays and the new ones take up memory.

        Raises `ValueError` where there is more room already, `MemoryError` where there is not enough for that.
        """
        with self._adding:
            if capacity < self.capacity:
                raise ValueError(f"there is room for {self.capacity} vectors already; an index does not shrink")
            old = self._graph
            new = _empty(self.dimensions, capacity, self.links)
            new.state[:] = old.state
            for name in Graph._fields[:-1]:
                here = getattr(old, name)
                getattr(new, name)[: len(here)] = here
            self._graph = new
            self._free.clear()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all that has to be kept, such as by `numpy.savez`; `from_arrays` makes the same index of them."""
        with self._adding:
            return stored(self._graph)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, capacity: int = 0) -> "HnswIndex":
        """
        The index that `arrays` were taken from, with room for `capacity` vectors, or for those it has.

        They may come from anywhere: raises `ValueError` that says what is wrong with them.
        """
        kept = checked(arrays)
        state = kept["state"]
        count = int(state[hnsw.COUNT])
        index = cls(
            int(state[hnsw.DIMENSIONS]),
            capacity=max(capacity, count, 1),
            links=kept["above"].shape[1] - 1,
            construction=int(state[hnsw.CONSTRUCTION]),
            metric=METRICS[int(state[hnsw.METRIC])],
            seed=int(state[hnsw.SEED]),
        )
        graph = index._graph
        graph.vectors[:count, : index.dimensions] = kept["vectors"]
        for name in ("bottom", "above", "first", "layers", "state"):
            getattr(graph, name)[: len(kept[name])] = kept[name]
        _encode_all(graph.vectors, 0, count, graph.codes, graph.figures)
        return index

    def _scratch(self, graph: Graph, width: int) -> Scratch:
        """One that nobody uses, for this graph and as wide at least. Lists take and give under the GIL."""
        try:
            found = self._free.pop()
        except IndexError:
            return hnsw.scratch_for(graph, width=width)
        fits = len(found.seen) == len(graph.vectors) and len(found.pool) > width
        return found if fits else hnsw.scratch_for(graph, width=width)


def bytes_for(capacity: int, *, dimensions: int, links: int) -> int:
    """Bytes that an index with such room takes up, except for what each search at the same time needs beside it."""
    row = padded(dimensions) * 4 + padded_codes(dimensions) + FIGURES * 4 + (1 + 2 * links) * 4 + 4 + 1
    return capacity * row + rows_above(capacity, links) * (1 + links) * 4 + hnsw.STATE * 8


def rows_above(capacity: int, links: int) -> int:
    """
    Rows for the layers above the bottom. A node reaches layer n with probability M^-n, which are 1 / (M - 1) rows each
    in the mean; there is room for eight standard deviations more. What exceeded that would stay on lower layers.
    """
    mean = capacity / (links - 1)
    deviation = math.sqrt(capacity * links) / (links - 1)
    return math.ceil(mean + 8 * deviation) + hnsw.MOST_LAYERS + 1


def _empty(dimensions: int, capacity: int, links: int) -> Graph:
    _within("capacity", capacity, 1, hnsw.MOST_NODES)
    return Graph(
        vectors=table(capacity, dimensions),
        codes=codes(capacity, dimensions),
        figures=np.zeros((capacity, FIGURES), np.float32),
        bottom=np.zeros((capacity, 1 + 2 * links), np.int32),
        above=np.zeros((rows_above(capacity, links), 1 + links), np.int32),
        first=np.zeros(capacity, np.int32),
        layers=np.zeros(capacity, np.uint8),
        state=np.zeros(hnsw.STATE, np.int64),
    )


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} lies between {least} and {most}, not {value}")


def _rows(vectors: npt.ArrayLike, dimensions: int, name: str) -> npt.NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # what is too large for a float is refused as infinite
            found = np.ascontiguousarray(vectors, np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"{name} are rows of numbers") from None
    rows = found[np.newaxis] if np.ndim(vectors) == 1 else found
    if rows.ndim != 2 or rows.shape[1] != dimensions:
        raise ValueError(
            f"{name} have {dimensions} dimensions, in one row or several; these have the shape {found.shape}"
        )
    return rows


def _refuse(rows: npt.NDArray[np.float32], bad: int, name: str) -> None:
    if bad < 0:
        return
    why = "too large: its square exceeds what a float holds" if np.isfinite(rows[bad]).all() else "not finite"
    raise ValueError(f"row {bad} of the {name} is {why}")
