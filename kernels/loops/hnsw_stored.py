"""
Graphs as arrays in files: what is kept of one, and whether what was kept can be one.

Loops do not check where links lead to, so that nothing may come into them unchecked.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops import hnsw
from engram_diagnose.kernels.loops.hnsw import Graph
from engram_diagnose.kernels.loops.hnsw_distances import METRICS

_KINDS: Final = {
    "vectors": (np.float32, 2),
    "bottom": (np.int32, 2),
    "above": (np.int32, 2),
    "first": (np.int32, 1),
    "layers": (np.uint8, 1),
    "state": (np.int64, 1),
}

Arrays = Mapping[str, npt.NDArray[Any]]


def stored(graph: Graph) -> dict[str, npt.NDArray[Any]]:
    """Copies of what is in use; sketches follow from the vectors."""
    count, used = int(graph.state[hnsw.COUNT]), int(graph.state[hnsw.ROWS])
    return {
        "vectors": graph.vectors[:count, : int(graph.state[hnsw.DIMENSIONS])].copy(),
        "bottom": graph.bottom[:count].copy(),
        "above": graph.above[:used].copy(),
        "first": graph.first[:count].copy(),
        "layers": graph.layers[:count].copy(),
        "state": graph.state.copy(),
    }


def checked(arrays: Arrays) -> Arrays:
    """The arrays of a graph whose every link leads to a node of its layer; raises `ValueError` with what is wrong."""
    for name, (kind, axes) in _KINDS.items():
        found = arrays.get(name)
        if found is None or found.dtype != kind or found.ndim != axes:
            raise ValueError(f"an index is kept as {name} among others, with {axes} axes of {np.dtype(kind)}")
    _check_shapes(arrays)
    _check_vectors(arrays)
    _check_layers(arrays)
    _check_links(arrays)
    return arrays


def _check_shapes(arrays: Arrays) -> None:
    state = arrays["state"]
    _demand(len(state) == hnsw.STATE, "state has another length")
    _demand(0 <= state[hnsw.METRIC] < len(METRICS), "its metric is not known")
    count, used = int(state[hnsw.COUNT]), int(state[hnsw.ROWS])
    _demand(all(len(arrays[name]) == count for name in ("vectors", "bottom", "first", "layers")),
            f"there are not {count} rows of each array")  # fmt: skip
    _demand(len(arrays["above"]) == used, f"there are not {used} rows above the bottom")
    _demand(arrays["vectors"].shape[1] == state[hnsw.DIMENSIONS], "vectors have other dimensions than state says")
    _demand(arrays["bottom"].shape[1] == 2 * arrays["above"].shape[1] - 1, "rows have not 2 M and M links")


def _check_vectors(arrays: Arrays) -> None:
    for low in range(0, len(arrays["vectors"]), 1024):
        rows = arrays["vectors"][low : low + 1024].astype(np.float64)
        squares = np.einsum("ij,ij->i", rows, rows)
        _demand(bool((squares < hnsw.MOST_SQUARE).all()), f"vectors from {low} on are not finite, or too large")


def _check_layers(arrays: Arrays) -> None:
    state, layers = arrays["state"], arrays["layers"].astype(np.int64)
    before = np.concatenate(([0], np.cumsum(layers)))
    _demand(bool((layers <= hnsw.MOST_LAYERS).all()), f"a node is above layer {hnsw.MOST_LAYERS}")
    _demand(bool((arrays["first"] == before[:-1]).all()) and before[-1] == state[hnsw.ROWS],
            "rows above the bottom are not those of the nodes one after the other")  # fmt: skip
    if len(layers):
        _demand(0 <= state[hnsw.ENTRY] < len(layers), "the entry is no node")
        _demand(layers[state[hnsw.ENTRY]] == layers.max() == state[hnsw.TOP], "the entry is not on the highest layer")


def _check_links(arrays: Arrays) -> None:
    layers = arrays["layers"]
    _check_rows(arrays["bottom"], layers, np.zeros(len(layers), np.int64))
    ends = np.cumsum(layers, dtype=np.int64)
    of = np.repeat(np.arange(len(layers)), layers)
    _check_rows(arrays["above"], layers, np.arange(len(of)) - (ends - layers)[of] + 1)


def _check_rows(rows: npt.NDArray[np.int32], layers: npt.NDArray[np.uint8], on: npt.NDArray[np.int64]) -> None:
    """Rows of links, each on its layer."""
    counts, links = rows[:, :1], rows[:, 1:]
    _demand(bool(((counts >= 0) & (counts <= links.shape[1])).all()), "a node has more links than there is room for")
    _demand(bool(((links >= 0) & (links < max(1, len(layers)))).all()), "a link leads to no node")
    used = np.arange(links.shape[1]) < counts
    _demand(bool((~used | (layers[links] >= on[:, np.newaxis])).all()), "a link leads to a node below its layer")


def _demand(kept: bool | np.bool_, what: str) -> None:
    if not kept:
        raise ValueError(f"this is no index: {what}")
