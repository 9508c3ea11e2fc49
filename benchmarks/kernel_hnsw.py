"""
Our HNSW index against hnswlib: the same vectors, M and ef_construction, at equal recall, on one thread.

hnswlib searches with the ef whose recall is nearest to ours; where several are as near, with the smallest.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from outcome import Outcome
from pairs import Pairs, paired, speed

from engram_diagnose.kernels.loops.hnsw_index import HnswIndex
from engram_diagnose.kernels.measure.hnsw import MATRIX, NEIGHBOURS, Sample, Setting, exact, made, recall_of

BENCHMARK: Final = "hnsw"
FASTER: Final = 1.2
EQUAL: Final = 0.005
"""How far apart recalls may lie that are equal."""

_SHARES: Final = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.7, 1.9, 2.2, 2.5)
"""Of the setting's ef: those that hnswlib is tried with."""


def outcomes(*, quick: bool) -> list[Outcome]:
    """Queries a second at each setting of the guide's matrix, or at the two smaller ones and with fewer vectors."""
    try:
        import hnswlib
    except ImportError:
        return []
    of = made(4_000 if quick else 20_000, 768, 500)
    truth = exact(of.vectors, of.queries, batch=64, check=lambda: None)
    return [_compared(hnswlib, setting, of, truth) for setting in (MATRIX[:2] if quick else MATRIX)]


def _compared(library: Any, setting: Setting, of: Sample, truth: Any) -> Outcome:
    ours = _ours(setting, of)
    theirs, at = _theirs(library, setting, of)
    recall = recall_of(ours(), truth)
    tried = []
    for share in _SHARES:
        at(max(NEIGHBOURS, round(setting.search * share)))
        tried.append((abs(recall_of(theirs(), truth) - recall), share))
    apart, share = min(tried)
    at(max(NEIGHBOURS, round(setting.search * share)))
    other = recall_of(theirs(), truth)
    pairs = paired(ours, theirs, pairs=15)
    what = f"{setting}: recall {recall:.4f} and {other:.4f}, queries/s"
    floor = FASTER if apart <= EQUAL else None  # else the two are not comparable
    return _line(what, pairs, len(of.queries), floor)


def _line(what: str, pairs: Pairs, queries: int, floor: float | None) -> Outcome:
    return speed(BENCHMARK, what, "hnswlib", pairs, work=queries, floor=floor)


def _ours(setting: Setting, of: Sample) -> Callable[[], Any]:
    count, dimensions = of.vectors.shape
    index = HnswIndex(dimensions, capacity=count, links=setting.links, construction=setting.construction)
    index.add(of.vectors)
    return lambda: index.search(of.queries, count=NEIGHBOURS, width=setting.search)[0]


def _theirs(library: Any, setting: Setting, of: Sample) -> tuple[Callable[[], Any], Callable[[int], None]]:
    count, dimensions = of.vectors.shape
    index = library.Index("ip", dimensions)  # of vectors of length 1, as ours makes them
    index.init_index(count, M=setting.links, ef_construction=setting.construction, random_seed=1)
    index.set_num_threads(1)
    index.add_items(of.vectors)
    return lambda: index.knn_query(of.queries, NEIGHBOURS)[0].astype(np.int32), index.set_ef


if __name__ == "__main__":
    import sys

    from outcome import as_table

    print(as_table(outcomes(quick="--quick" in sys.argv)))
