"""
Hierarchical navigable small world graphs: insertion and search (Malkov and Yashunin, arXiv:1603.09320).

A graph is a handful of flat arrays. Every node has a row of links on the bottom layer, and one for each layer above
that it reaches; a row begins with how many links there are. Candidates lie in one ascending array of 64-bit words, the
distance above the node's number and a bit that says whether its neighbours were looked at: one comparison orders them,
ties included, so that the same vectors in the same order give the same graph.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.compiled import fast_loop, inlined, loop
from engram_diagnose.kernels.loops.hnsw_distances import COSINE, LINE, SCALAR, _distance, _distances, _fetch
from engram_diagnose.kernels.loops.hnsw_sketches import FIGURES, MOST_CODE, _at_least, _encode, _fetch_code, most_word
from engram_diagnose.kernels.loops.prefetch import prefetch

COUNT: Final = 0
ENTRY: Final = 1
TOP: Final = 2
ROWS: Final = 3
METRIC: Final = 4
SEED: Final = 5
DIMENSIONS: Final = 6
CONSTRUCTION: Final = 7
STATE: Final = 8
"""Where `Graph.state` holds how many nodes there are, the entry, its layer, rows used above, and what it is of."""

MOST_LAYERS: Final = 31
"""No layer is reached above: rows of `Graph.above` that are never used, so that no row lies outside of it."""

_AHEAD: Final = 4
"""Sketches that are fetched while one is looked at; from two on it makes little difference."""

MOST_NODES: Final = (1 << 31) - 1

MOST_SQUARE: Final = 1e37
"""Of a vector: distances of such are finite floats."""


class Graph(NamedTuple):
    """
    The arrays of a graph with room for so many nodes.

    `vectors` are padded rows, `codes` and `figures` their sketches; `bottom` has a count and 2M links by node; `above`
    has a count and M links by node and layer, those of a node one after the other from `first` of it; `layers` is the
    highest layer of a node.
    """

    vectors: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int8]
    figures: npt.NDArray[np.float32]
    bottom: npt.NDArray[np.int32]
    above: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    layers: npt.NDArray[np.uint8]
    state: npt.NDArray[np.int64]


class Scratch(NamedTuple):
    """
    What one insertion or search needs beside the graph; never used by two at a time.

    `words` and `about` are the sketch of what is searched for, whose numbers go up to `most`. `seen` has the number of
    the last search that met a node, `epoch` that of this one, `pool` the candidates; `near` and `apart` are neighbours
    and their distances, `ranked` those of a node whose row is full, `kept` those chosen.
    """

    words: npt.NDArray[np.int16]
    about: npt.NDArray[np.float32]
    most: npt.NDArray[np.int64]
    seen: npt.NDArray[np.uint8]
    epoch: npt.NDArray[np.int64]
    pool: npt.NDArray[np.uint64]
    near: npt.NDArray[np.int32]
    apart: npt.NDArray[np.float32]
    ranked: npt.NDArray[np.uint64]
    kept: npt.NDArray[np.int32]


def scratch_for(graph: Graph, *, width: int) -> Scratch:
    """Room for searches that keep up to `width` candidates."""
    most = graph.bottom.shape[1]
    return Scratch(
        words=np.zeros(graph.codes.shape[1], np.int16),
        about=np.zeros(FIGURES, np.float32),
        most=np.array([most_word(graph.vectors.shape[1])]),
        seen=np.zeros(len(graph.vectors), np.uint8),
        epoch=np.zeros(1, np.int64),
        pool=np.zeros(width + 1, np.uint64),
        near=np.zeros(most + 1, np.int32),
        apart=np.zeros(most + 1, np.float32),
        ranked=np.zeros(most + 1, np.uint64),
        kept=np.zeros(most, np.int32),
    )


@loop
def _layer_of(seed: Any, node: Any, most_links: Any) -> Any:
    """floor(-ln(u) / ln(M)), u from a hash of seed and node (splitmix64): the same whatever else was inserted."""
    word = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(node + 1)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    word ^= word >> np.uint64(31)
    uniform = (np.float64(word >> np.uint64(11)) + 0.5) / 9007199254740992.0
    return np.int64(-np.log(uniform) / np.log(np.float64(most_links)))


@inlined
def _word(distance: Any, node: Any) -> Any:
    """
    A candidate that was not looked at; words compare as distances do, then as nodes do.

    An IEEE float compares as its bits do, once those of a negative one are turned over.
    """
    bits = np.float32(distance).view(np.uint32)
    bits ^= np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000)
    return np.uint64(bits) << np.uint64(32) | np.uint64(node) << np.uint64(1)


@inlined
def _node(word: Any) -> Any:
    return np.int32(word >> np.uint64(1) & np.uint64(0x7FFFFFFF))


@inlined
def _distance_in(word: Any) -> Any:
    bits = np.uint32(word >> np.uint64(32))
    bits ^= np.uint32(0x80000000) if bits >> np.uint32(31) else np.uint32(0xFFFFFFFF)
    return np.uint32(bits).view(np.float32)


@inlined
def _place(pool: Any, size: Any, word: Any) -> Any:
    """Put a word where it belongs among the first `size`, which are ascending; where that is."""
    low, high = 0, size
    while low < high:
        middle = (low + high) >> 1
        if pool[middle] < word:
            low = middle + 1
        else:
            high = middle
    for at in range(size, low, -1):
        pool[at] = pool[at - 1]
    pool[low] = word
    return low


@inlined
def _row(graph: Any, node: Any, layer: Any) -> Any:
    """The links of a node on a layer, after their count."""
    return graph.bottom[node] if layer == 0 else graph.above[graph.first[node] + layer - 1]


@inlined
def _new_epoch(scratch: Any) -> Any:
    epoch = scratch.epoch[0] + 1
    if epoch > 255:
        scratch.seen[:] = 0
        epoch = 1
    scratch.epoch[0] = epoch
    return np.uint8(epoch)


@loop
def _search_layer(graph: Any, scratch: Any, vector: Any, entry: Any, layer: Any, width: Any) -> Any:
    """
    Alg. 2: fill the pool with the `width` nodes nearest to `vector` that are found from `entry`; how many.

    It ends when the neighbours of all in the pool were looked at, which is when the nearest candidate left is farther
    away than the farthest found.
    """
    pool, near, apart, seen = scratch.pool, scratch.near, scratch.apart, scratch.seen
    kind = graph.state[METRIC]
    epoch = _new_epoch(scratch)
    seen[entry] = epoch
    pool[0] = _word(_distance(graph.vectors[entry], vector, kind), entry)
    size, at = 1, 0
    while at < size:
        word = pool[at]
        if word & np.uint64(1):
            at += 1
            continue
        pool[at] = word | np.uint64(1)
        if at + 1 < size and layer == 0:  # most likely the next one
            start = np.intp(_node(pool[at + 1])) * graph.bottom.shape[1]
            prefetch(graph.bottom, start)
            prefetch(graph.bottom, start + LINE)
        row = _row(graph, _node(word), layer)
        count = 0
        for link in range(1, row[0] + 1):
            node = row[link]
            if seen[node] != epoch:
                seen[node] = epoch
                near[count] = node
                count += 1
        if size == width and kind != SCALAR:  # before, each of them is put into the pool
            count = _likely(graph, scratch, count, pool[size - 1])
        _distances(graph.vectors, near, count, vector, kind, apart)
        for one in range(count):
            word = _word(apart[one], near[one])
            if size < width:
                at = min(at, _place(pool, size, word))
                size += 1
            elif word < pool[size - 1]:
                at = min(at, _place(pool, size - 1, word))
    return size


@inlined
def _likely(graph: Any, scratch: Any, count: Any, farthest: Any) -> Any:
    """Keep those of the first `count` neighbours that may be nearer than the farthest; how many."""
    near, kind = scratch.near, graph.state[METRIC]
    limit = _distance_in(farthest)
    kept = 0
    for at in range(min(count, _AHEAD)):
        _fetch_code(graph.codes, near[at])
    for at in range(count):
        if at + _AHEAD < count:
            _fetch_code(graph.codes, near[at + _AHEAD])
        node = near[at]
        if _at_least(scratch.words, scratch.about, graph.codes, graph.figures, np.uint64(node), kind) <= limit:
            near[kept] = node
            kept += 1
            _fetch(graph.vectors, near, kept - 1, kept)
    return kept


@loop
def _descend(graph: Any, scratch: Any, vector: Any, layer: Any) -> Any:
    """The node found nearest to `vector` on the layers above `layer`."""
    entry = np.int32(graph.state[ENTRY])
    # Of the entry itself: state may be about to change, where somebody inserts meanwhile.
    for above in range(graph.layers[entry], layer, -1):
        _search_layer(graph, scratch, vector, entry, above, 1)
        entry = _node(scratch.pool[0])
    return entry


@loop
def _select(graph: Any, ranked: Any, count: Any, most: Any, kept: Any, apart: Any) -> Any:
    """
    Alg. 4: of `count` ascending candidates keep up to `most`, each nearer to the node than to any kept before it, and
    then the nearest of those that were left out, until there are `most`; how many. Links that lead where others lead
    as well cost a search little, and it finds more with them than with as much more width.
    """
    size = 0
    for at in range(count):
        if size == most:
            break
        node = _node(ranked[at])
        good = True
        if count >= most:
            vector, limit = graph.vectors[node], _distance_in(ranked[at])
            good = _is_apart(graph, kept, size, vector, limit, apart)
        if good:
            kept[size] = node
            size += 1
    chosen = size
    for at in range(count):
        if size == most:
            break
        node = _node(ranked[at])
        if not _is_among(kept, chosen, node):
            kept[size] = node
            size += 1
    return size


@inlined
def _is_among(nodes: Any, count: Any, node: Any) -> Any:
    among = False
    for at in range(count):
        among = among or nodes[at] == node
    return among


@loop
def _is_apart(graph: Any, kept: Any, size: Any, vector: Any, limit: Any, apart: Any) -> Any:
    """Whether a vector is at least `limit` away from all that were kept."""
    kind = graph.state[METRIC]
    for low in range(0, size, 4):
        many = min(4, size - low)
        _distances(graph.vectors, kept[low:], many, vector, kind, apart)
        for one in range(many):
            if apart[one] < limit:
                return False
    return True


@loop
def _link_back(graph: Any, scratch: Any, node: Any, to: Any, layer: Any) -> Any:
    """Link `node` from one of its neighbours; a row that is full is chosen anew."""
    row = _row(graph, node, layer)
    count, most = row[0], len(row) - 1
    if count < most:
        row[count + 1] = to
        row[0] = count + 1
        return
    near, apart, ranked = scratch.near, scratch.apart, scratch.ranked
    near[:count] = row[1:]
    near[count] = to
    _distances(graph.vectors, near, count + 1, graph.vectors[node], graph.state[METRIC], apart)
    for at in range(count + 1):
        _place(ranked, at, _word(apart[at], near[at]))
    size = _select(graph, ranked, count + 1, most, scratch.kept, apart)
    for at in range(size):
        row[at + 1] = scratch.kept[at]
    row[0] = size


@loop
def _insert(graph: Any, scratch: Any, low: Any, high: Any, construction: Any) -> Any:
    """Alg. 1: link the nodes from `low` to below `high`, whose vectors are there; all before them are linked."""
    most = graph.above.shape[1] - 1
    state = graph.state
    for node in range(low, high):
        layer = min(_layer_of(state[SEED], node, most), MOST_LAYERS, len(graph.above) - MOST_LAYERS - state[ROWS])
        graph.layers[node] = layer
        _encode(graph.vectors[node], MOST_CODE, graph.codes[node], graph.figures[node])
        graph.first[node] = state[ROWS]
        state[ROWS] += layer
        state[COUNT] = node + 1
        if node == 0:
            state[ENTRY], state[TOP] = 0, layer
            continue
        _link(graph, scratch, node, layer, construction)
        if layer > state[TOP]:
            state[ENTRY], state[TOP] = node, layer


@loop
def _link(graph: Any, scratch: Any, node: Any, layer: Any, construction: Any) -> Any:
    """
    Link a node to its neighbours on each of its layers, and then them to it: a search that comes to it meanwhile on a
    layer goes on from there on those below.
    """
    most = graph.above.shape[1] - 1
    vector = graph.vectors[node]
    _encode(vector, scratch.most[0], scratch.words, scratch.about)
    entry = _descend(graph, scratch, vector, layer)
    highest = min(layer, graph.state[TOP])
    for here in range(highest, -1, -1):
        found = _search_layer(graph, scratch, vector, entry, here, construction)
        entry = _node(scratch.pool[0])
        row = _row(graph, node, here)
        row[0] = _select(graph, scratch.pool, found, most, row[1:], scratch.apart)
    for here in range(highest + 1):
        row = _row(graph, node, here)
        for at in range(1, row[0] + 1):
            _link_back(graph, scratch, row[at], node, here)


@fast_loop
def _square(rows: Any, row: Any) -> Any:
    total = 0.0
    for at in range(np.uint64(rows.shape[1])):
        total += np.float64(rows[row, at]) * np.float64(rows[row, at])
    return total


@loop
def _prepare(rows: Any, table: Any, low: Any, metric: Any) -> Any:
    """
    Copy rows into a table from `low` on, made as long as 1 for cosine; the number of the first that cannot be used,
    since it holds what is no number or its square is too large for a float, or -1.
    """
    for row in range(np.uint64(len(rows))):
        square = _square(rows, row)
        if not square < MOST_SQUARE:
            return np.int64(row)
        to = table[low + row]
        factor = 1 / np.sqrt(square) if metric == COSINE and square > 0 else 1.0
        for at in range(np.uint64(rows.shape[1])):
            to[at] = np.float32(rows[row, at] * factor)
    return -1


@loop
def _search(graph: Any, scratch: Any, queries: Any, width: Any, ids: Any, apart: Any) -> Any:
    """The nearest nodes of each query, nearest first, into the rows of `ids` and `apart`; -1 where there are fewer."""
    wanted = ids.shape[1]
    for query in range(len(queries)):
        vector = queries[query]
        _encode(vector, scratch.most[0], scratch.words, scratch.about)
        entry = _descend(graph, scratch, vector, 0)
        found = _search_layer(graph, scratch, vector, entry, 0, width)
        for at in range(min(found, wanted)):
            ids[query, at] = _node(scratch.pool[at])
            apart[query, at] = _distance_in(scratch.pool[at])
        for at in range(found, wanted):
            ids[query, at] = -1
            apart[query, at] = np.inf
