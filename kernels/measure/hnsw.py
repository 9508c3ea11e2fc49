"""
HNSW at the settings of the guide's matrix: how much it finds of what exact search finds, and how fast either is.

Vectors that are alike in nothing, or in clusters that are all the same, are found by every setting: the vectors made
here lie in clusters of many sizes, some points far out, so that a setting with few links misses one neighbour in ten.
What the figures are for the vectors of a deployment only a sample of those tells.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.hnsw import MOST_SQUARE
from engram_diagnose.kernels.loops.hnsw_index import HnswIndex, bytes_for
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.blas import one_blas_thread
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.sampling import Work, measured, of_values

Vectors = npt.NDArray[np.float32]

NEIGHBOURS: Final = 10
"""Of a query: recall is the share of these that are found."""

_TOLD: Final = 10
"""How often it is said how far building has come."""

_SEED: Final = 1
_CLUSTERS: Final = 100
_LATENT: Final = 48
_SPREAD: Final = 0.7
_TAIL: Final = 0.65
_NOISE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the guide's matrix."""

    links: int
    construction: int
    search: int

    @property
    def labels(self) -> dict[str, str]:
        """As measurements are labelled."""
        return {"m": str(self.links), "ef_construction": str(self.construction), "ef_search": str(self.search)}

    def __str__(self) -> str:
        return f"M {self.links}, ef_construction {self.construction}, ef_search {self.search}"


MATRIX: Final = (Setting(8, 100, 50), Setting(16, 200, 100), Setting(24, 300, 150), Setting(32, 400, 200))
"""The guide's settings, as the rule `fit.hnsw-matrix` has them, the fewest links first."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Vectors of length 1 to search in, others of the same kind to search for, and where they are from."""

    vectors: Vectors
    queries: Vectors
    origin: str


@dataclass(frozen=True, slots=True)
class _Found:
    setting: Setting
    recall: float
    rate: Measurement


def hnsw(bench: Bench, *, sample: Path | None = None, quick: bool = False) -> list[Outcome]:
    """
    For each setting of the matrix: `hnsw.recall`, `hnsw.queries` of one thread and `hnsw.insertions`; `hnsw.exact` of
    one query and of several at once; and the cheapest setting that finds enough as `hnsw.cheapest`.

    `sample` names a `.npy` file of float32 rows, of which as many are taken as the limits say; raises `ValueError`
    where it is none. `quick` takes fewer.
    """
    asked = int(bench.limits["hnsw_few" if quick else "hnsw_vectors"])
    dimensions = _dimensions(sample) if sample else int(bench.limits["hnsw_dimensions"])
    count = next(
        (size for size in (asked, int(bench.limits["hnsw_few"])) if _needed(size, dimensions, bench) <= bench.memory), 0
    )
    if not count:
        needed = _needed(int(bench.limits["hnsw_few"]), dimensions, bench)
        reason = f"an index and its vectors take {needed >> 20} MiB, and only {bench.memory >> 20} MiB may be used"
        return [Unmeasured("hnsw", reason, "give this program more memory")]
    queries = int(bench.limits["hnsw_queries"])
    of = sampled(sample, count, queries) if sample else made(count, dimensions, queries)
    return _matrix(of, bench)


def _matrix(of: Sample, bench: Bench) -> list[Outcome]:
    bench.say(f"exact search over {len(of.vectors):,} vectors of {of.vectors.shape[1]} dimensions, {of.origin}")
    with one_blas_thread() as alone:
        truth = exact(of.vectors, of.queries, batch=int(bench.limits["hnsw_batch"]), check=bench.check)
        exact_rates = [_exact_rate(of, bench, batch, alone=alone) for batch in (1, int(bench.limits["hnsw_batch"]))]
    outcomes: list[Outcome] = [*exact_rates]
    found: list[_Found] = []
    for together in _groups(MATRIX, of, bench):
        indexes, seconds = _built(together, of, bench)
        for setting, index, taken in zip(together, indexes, seconds, strict=True):
            bench.check()
            found.append(_searched(setting, index, of, truth, exact_rates, bench))
            outcomes += [
                _recall_of(found[-1], of, bench),
                found[-1].rate,
                _insertions(setting, len(together), taken, of, bench),
            ]
    return [*outcomes, cheapest(found, exact_rates, of, bench)]


def _needed(count: int, dimensions: int, bench: Bench) -> int:
    """Bytes with one index of the largest setting: the vectors, twice for a moment, and the distances of a batch."""
    vectors = (count + int(bench.limits["hnsw_queries"])) * dimensions * 4
    return 2 * vectors + _index_bytes(MATRIX[-1], count, dimensions) + int(bench.limits["hnsw_batch"]) * count * 12


def _index_bytes(setting: Setting, count: int, dimensions: int) -> int:
    return bytes_for(count, dimensions=dimensions, links=setting.links)


def _groups(settings: Sequence[Setting], of: Sample, bench: Bench) -> Iterator[tuple[Setting, ...]]:
    """Those that are built at the same time: one for each thread, as many as there is memory for."""
    count, dimensions = of.vectors.shape
    each = _index_bytes(settings[-1], count, dimensions)
    left = bench.memory - (_needed(count, dimensions, bench) - each)
    size = max(1, min(len(bench.pool), left // each))
    for low in range(0, len(settings), size):
        yield tuple(settings[low : low + size])


def _built(settings: Sequence[Setting], of: Sample, bench: Bench) -> tuple[list[HnswIndex], list[float]]:
    """Indexes of the same vectors, and the seconds that each took on a thread of its own."""
    count, dimensions = of.vectors.shape
    indexes = [
        HnswIndex(dimensions, capacity=count, links=one.links, construction=one.construction, seed=_SEED)
        for one in settings
    ]
    seconds, step = [0.0] * len(indexes), int(bench.limits["hnsw_rows"])
    _warm(dimensions)
    for low in range(0, count, step):
        bench.check()
        rows = of.vectors[low : low + step]
        taken = bench.pool.run(*(partial(_timed_add, index, rows) for index in indexes))
        seconds = [before + more for before, more in zip(seconds, taken, strict=True)]
        if low * _TOLD // count != (low + len(rows)) * _TOLD // count:
            links = ", ".join(str(one.links) for one in settings)
            bench.say(f"{(low + len(rows)) / count:.0%} of {count:,} vectors inserted with M {links}")
    return indexes, seconds


def _warm(dimensions: int) -> None:
    """Compile, or load what was compiled."""
    index = HnswIndex(dimensions, capacity=2)
    index.add(np.eye(2, dimensions, dtype=np.float32))
    index.search(np.ones(dimensions, np.float32))


def _timed_add(index: HnswIndex, rows: Vectors) -> float:
    start = time.perf_counter()
    index.add(rows)
    return time.perf_counter() - start


def _searched(
    setting: Setting,
    index: HnswIndex,
    of: Sample,
    truth: npt.NDArray[np.int64],
    exact_rates: Sequence[Measurement],
    bench: Bench,
) -> _Found:
    ids, _ = index.search(of.queries, count=truth.shape[1], width=setting.search)
    recall = recall_of(ids, truth)
    queries = len(of.queries)
    bench.say(f"{setting}: recall {recall:.4f}; timing searches")

    def work(rounds: int) -> object:
        kept = None
        for low in range(rounds):
            kept = index.search(of.queries[low % queries], count=truth.shape[1], width=setting.search)
        return kept

    rate = measured(
        "hnsw.queries", "/s", _on_first(bench, work), bench, figure=lambda seconds: 1 / seconds, better="higher",
        labels=setting.labels, seconds=bench.limits["hnsw_seconds"],
    )  # fmt: skip
    notes = [
        f"exact search, {one.labels['queries']}, is as fast: {one.median:,.0f} queries/s, and misses nothing"
        for one in exact_rates
        if one.median >= rate.median
    ]
    return _Found(setting, recall, replace(rate, notes=(*rate.notes, *notes)))


def _on_first(bench: Bench, work: Work) -> Work:
    return lambda rounds: bench.pool.run(partial(work, rounds))[0]


def _recall_of(found: _Found, of: Sample, bench: Bench) -> Measurement:
    notes = (f"of the {NEIGHBOURS} nearest of {len(of.queries)} queries among {len(of.vectors):,} vectors {of.origin}",)
    return of_values(
        "hnsw.recall", "", (found.recall,), bench, better="higher", labels=found.setting.labels, notes=notes
    )


def _insertions(setting: Setting, threads: int, seconds: float, of: Sample, bench: Bench) -> Measurement:
    notes = (f"one thread, while {threads - 1} other indexes were built",) if threads > 1 else ()
    rate = len(of.vectors) / seconds
    return of_values("hnsw.insertions", "/s", (rate,), bench, better="higher", labels=setting.labels, notes=notes)


def cheapest(found: Sequence[_Found], exact_rates: Sequence[Measurement], of: Sample, bench: Bench) -> Outcome:
    """The setting with the most queries a second of those that find enough, and whether exact search beats it."""
    wanted = bench.limits["hnsw_recall"]
    enough = [one for one in found if one.recall >= wanted]
    exact_best = max(exact_rates, key=lambda one: one.median)
    if not enough:
        reason = f"no setting of the matrix finds {wanted:.1%} of the nearest neighbours of these vectors"
        return Unmeasured("hnsw.cheapest", reason, "search with a larger ef, or exactly: "
                          f"{exact_best.median:,.0f} queries/s, {exact_best.labels['queries']}")  # fmt: skip
    best = max(enough, key=lambda one: one.rate.median)
    notes = [f"the cheapest setting of the matrix that finds {wanted:.1%}: {best.setting} finds {best.recall:.2%}"]
    for one in exact_rates:
        beats = "beats" if one.median >= best.rate.median else "does not beat"
        notes.append(
            f"exact search, {one.labels['queries']}, {beats} it at {len(of.vectors):,} vectors: {one.median:,.0f}/s"
        )
    rate = best.rate
    return of_values("hnsw.cheapest", "/s", rate.values, bench, better="higher", labels=best.setting.labels,
                     switches=rate.switches, steal=rate.steal, notes=tuple(notes))  # fmt: skip


def _exact_rate(of: Sample, bench: Bench, batch: int, *, alone: bool) -> Measurement:
    queries = of.queries[: max(1, len(of.queries) // batch * batch)]

    def work(rounds: int) -> object:
        kept = None
        for number in range(rounds):
            low = number * batch % len(queries)
            kept = exact(of.vectors, queries[low : low + batch], batch=batch, check=lambda: None)
        return kept

    size = min(batch, len(queries))
    return measured(
        "hnsw.exact", "/s", _on_first(bench, work), bench, figure=lambda seconds: size / seconds, better="higher",
        labels={"queries": "one at a time" if size == 1 else f"{size} at once"}, seconds=bench.limits["hnsw_seconds"],
        notes=() if alone else ("the BLAS library may have used several threads",),
    )  # fmt: skip


def exact(vectors: Vectors, queries: Vectors, *, batch: int, check: Callable[[], None]) -> npt.NDArray[np.int64]:
    """The numbers of the nearest vectors of each query in any order, by matrix products; all are of length 1 or 0."""
    count = min(NEIGHBOURS, len(vectors))
    found = np.empty((len(queries), count), np.int64)
    for low in range(0, len(queries), batch):
        check()
        near = queries[low : low + batch] @ vectors.T
        found[low : low + batch] = np.argpartition(near, len(vectors) - count, axis=1)[:, -count:]
    return found


def recall_of(ids: npt.NDArray[np.int32], truth: npt.NDArray[np.int64]) -> float:
    """The share of the true neighbours that were found."""
    hits = sum(len(np.intersect1d(one, other)) for one, other in zip(ids, truth, strict=True))
    return hits / truth.size


def made(count: int, dimensions: int, queries: int) -> Sample:
    """
    Vectors in clusters of unequal sizes, whose points lie log-normally far out, in a space of 48 dimensions that is
    turned into that of `dimensions` and shaken; always the same ones.
    """
    random = np.random.default_rng(_SEED)
    total = count + queries
    turn = random.standard_normal((_LATENT, dimensions), np.float32) / np.float32(np.sqrt(_LATENT))
    centres = random.standard_normal((_CLUSTERS, _LATENT), np.float32)
    cluster = random.choice(_CLUSTERS, total, p=random.dirichlet(np.ones(_CLUSTERS)))
    far = (_SPREAD * np.exp(_TAIL * random.standard_normal(total)))[:, np.newaxis].astype(np.float32)
    latent = centres[cluster] + far * random.standard_normal((total, _LATENT), np.float32)
    rows = np.empty((total, dimensions), np.float32)
    for low in range(0, total, 1024):  # a few at a time: what is made on the way is as large as the rows
        part = slice(low, min(low + 1024, total))
        noise = random.standard_normal(rows[part].shape, np.float32)
        rows[part] = latent[part] @ turn + np.float32(_NOISE) * far[part] * noise
    _to_length_one(rows)
    return Sample(rows[:count], rows[count:], "made to be hard")


def sampled(path: Path, count: int, queries: int) -> Sample:
    """
    Up to `count` rows of a file to search in and up to `queries` to search for, picked evenly over the file.

    Raises `ValueError` where it is no array of float32 rows that are finite, or has too few of them.
    """
    rows = _mapped(path)
    if len(rows) < 2 * NEIGHBOURS:
        raise ValueError(f"{path} has {len(rows)} rows; a sample has {2 * NEIGHBOURS} at least")
    taken = min(len(rows), count + queries)
    searched_for = min(queries, taken // 2)
    picked = np.random.default_rng(_SEED).permutation(np.linspace(0, len(rows) - 1, taken).astype(np.int64))
    found = np.ascontiguousarray(rows[picked])
    squares = np.einsum("ij,ij->i", found, found, dtype=np.float64)
    if not (squares < MOST_SQUARE).all():
        row = int(picked[int(np.argmin(squares < MOST_SQUARE))])
        raise ValueError(f"row {row} of {path} is not finite, or too large for float32")
    _to_length_one(found)
    return Sample(found[searched_for:], found[:searched_for], f"sampled from {path.name}")


def _dimensions(path: Path) -> int:
    return int(_mapped(path).shape[1])


def _mapped(path: Path) -> npt.NDArray[np.float32]:
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, SyntaxError, MemoryError, OverflowError, TypeError) as error:
        raise ValueError(f"{path} is no array of numpy's: {error}; write one by numpy.save") from None
    if found.ndim != 2 or found.dtype != np.float32 or not found.shape[1]:
        raise ValueError(f"{path} holds no rows of float32; write them by numpy.save(path, rows.astype(numpy.float32))")
    return found


def _to_length_one(rows: Vectors) -> None:
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    rows /= np.where(lengths > 0, lengths, 1).astype(np.float32)[:, np.newaxis]
