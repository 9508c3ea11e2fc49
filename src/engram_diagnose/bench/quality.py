"""
How many of the true nearest memories recalls find: memories with vectors of our own, held against exact search.

    recall@k = mean over queries of |found ∩ true nearest k| / k

They stand in a memory space of their own and are stored before the load, so that an index has linked them by the time
they are asked for. None of it is timed.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engram_diagnose.bench.asking import Asking, NoAnswerError, Reply
from engram_diagnose.bench.targets import Routes, names_of, recalled, stored_id

DIMENSION: Final = 768
_CLUSTERS: Final = 2
_WITHIN: Final = 2.0
"""
How far memories lie from the middle of their cluster, a unit vector: so far that a search that is too narrow, or an
index with too few links, misses some. Of 1,500, M = 16 with ef_search of 10, 20, 50 and 100 finds 73, 83, 96 and
99.5 %, and with 100 M = 6 finds 86 % and M = 4 71 %; where neighbours lie close together all of these find nearly all.
"""
_QUERY_OFF: Final = 1.0
"""How far a query lies from the memory that it is made of."""
_DECIMALS: Final = 4

Vectors = NDArray[np.float32]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Quality:
    """Recall at `k` over so many queries in one memory space."""

    recall_at_k: float
    k: int
    queries: int
    memories: int
    space: str

    @property
    def document(self) -> dict[str, Any]:
        """As the benchmark format has it."""
        return {"recall_at_k": round(self.recall_at_k, 6), "k": self.k, "queries": self.queries}


@dataclass(frozen=True, slots=True)
class Stored:
    """What was stored to be recalled: vectors, and what each can be told by; `lacking` says why there is nothing."""

    space: str
    vectors: Vectors = field(repr=False)
    names: tuple[frozenset[str], ...] = field(repr=False)
    lacking: str = ""


def vectors_of(count: int, *, seed: int) -> Vectors:
    """`count` unit vectors in clusters, as rows, rounded as they are sent."""
    random = np.random.default_rng((seed, 1))
    middles = _normalised(random.standard_normal((_CLUSTERS, DIMENSION)))
    around = _normalised(random.standard_normal((count, DIMENSION))) * _WITHIN
    return _as_sent(middles[random.integers(0, _CLUSTERS, count)] + around)


def queries_of(vectors: Vectors, count: int, *, seed: int) -> Vectors:
    """`count` unit vectors, each near one of `vectors`."""
    random = np.random.default_rng((seed, 2))
    off = _normalised(random.standard_normal((count, vectors.shape[1]))) * _QUERY_OFF
    return _as_sent(vectors[random.integers(0, len(vectors), count)] + off)


def nearest(vectors: Vectors, queries: Vectors, k: int) -> NDArray[np.int64]:
    """The rows of the `k` nearest of `vectors` to each query by cosine, exactly; one row of `k` for each query."""
    near = queries.astype(np.float64) @ vectors.astype(np.float64).T
    found: NDArray[np.int64] = np.argsort(-near, axis=1, kind="stable")[:, :k]
    return found


def _normalised(rows: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def _as_sent(rows: NDArray[Any]) -> Vectors:
    return np.round(_normalised(rows), _DECIMALS).astype(np.float32)


# Storing and asking


def store_for_quality(asking: Asking, routes: Routes, space: str, *, count: int, seed: int, until: float,
                      clock: Clock = time.monotonic) -> Stored:  # fmt: skip
    """
    Store up to `count` memories with vectors of our own, as many as there is time for `until` that instant of `clock`.

    A server that refuses them, or stops answering, leaves `lacking`; that ends no load.
    """
    vectors, names = vectors_of(count, seed=seed), []
    for row, vector in enumerate(vectors):
        if clock() > until:
            break
        content = f"bench memory {row} of {space}"
        body = {"content": content, "embedding": _figures(vector), "confidence": 0.9, "memory_space_id": space}
        try:
            reply = asking.post(routes.remember, body, space=space)
        except NoAnswerError as error:
            return Stored(space, vectors[:0], (), str(error))
        told = stored_id(reply.json) if reply.status in (200, 201) else None
        if told is None:
            return Stored(space, vectors[:0], (), _refused("a memory with a vector of its own", reply))
        names.append(frozenset({told, content} - {""}))
    return Stored(space, vectors[: len(names)], tuple(names))


def measured_quality(asking: Asking, routes: Routes, stored: Stored, *, k: int, count: int, seed: int, until: float,
                     clock: Clock = time.monotonic) -> Quality | str:  # fmt: skip
    """Recall at `k` over up to `count` queries; the reason where there is none to tell."""
    if stored.lacking:
        return stored.lacking
    if len(stored.names) <= k:
        return f"{len(stored.names)} memories were stored in time, and more than {k} are needed"
    queries = queries_of(stored.vectors, count, seed=seed)
    truth = nearest(stored.vectors, queries, k)
    hits: list[int] = []
    for query, rows in zip(queries, truth, strict=True):
        if clock() > until:
            break
        asked = {"embedding": json.dumps(_figures(query), separators=(",", ":")), "max_results": str(k),
                 "mode": "similarity", "threshold": "0"}  # fmt: skip
        try:
            reply = asking.get(routes.recall, query=asked, space=stored.space)
        except NoAnswerError as error:
            return str(error)
        found = recalled(reply.json) if reply.status == 200 else None
        if found is None:
            return _refused("a recall by vector", reply)
        hits.append(_hits(found[:k], [stored.names[row] for row in rows]))
    if not hits:
        return "there was no time left to ask"
    return Quality(sum(hits) / (k * len(hits)), k, len(hits), len(stored.names), stored.space)


def _hits(found: Sequence[Mapping[str, Any]], wanted: Sequence[frozenset[str]]) -> int:
    told = frozenset[str]().union(*map(names_of, found))
    return sum(bool(names & told) for names in wanted)


def _figures(vector: Vectors) -> list[float]:
    return [round(float(value), _DECIMALS) for value in vector]


def _refused(what: str, reply: Reply) -> str:
    return f"the server refuses {what} (HTTP {reply.status} {reply.shown!r})"
