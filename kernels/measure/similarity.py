"""
How many similarities of 768-dimensional vectors a second: by layout, by level of cache, by queries at once.

    similarity.rate         /s by layout ("scalar", "rows", "tiles"), batch ("1" … "64") and level ("L1" … "memory")
    similarity.one_query    /s, the fastest layout for one query, of vectors in the second level of cache
    similarity.batch        the smallest number of queries that nears the fastest there
    similarity.batch_gain   its rate over that of one query

The level is where the vectors lie that all queries of a batch are compared with, group by group of eight; every group
serves the whole batch before the next is fetched.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops import similarity as loops
from engram_diagnose.kernels.loops.gate import arrive, nanoseconds_of, new_gate
from engram_diagnose.kernels.loops.similarity import DIMENSIONS, GROUP_BYTES, LANES, ROW_BYTES, ROWS, TILES
from engram_diagnose.kernels.loops.vectors import lanes_here
from engram_diagnose.kernels.measure.bench import Bench, Cache
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Stability, Unmeasured
from engram_diagnose.kernels.measure.memory import Buffer, buffer
from engram_diagnose.kernels.measure.plateaus import MEMORY
from engram_diagnose.kernels.measure.sampling import Took, measured

NAME: Final = "similarity.rate"
SCALAR: Final = "scalar"
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
SERVER_BATCH: Final = 8
"""Embeddings that the server's guide has computed at once."""
ATTAINED_IN: Final = "L2"
"""The level whose rates are facts: the first one that holds more than a batch."""

_LAYOUTS: Final[Mapping[str, tuple[Callable[..., None], tuple[int, ...]]]] = {
    SCALAR: (loops.scalar, (1,)),  # it waits for its own additions: the same at any batch
    "rows": (loops.by_rows, BATCHES),
    "tiles": (loops.by_tiles, BATCHES),
}
_ALL_THREADS: Final = "tiles", (1, SERVER_BATCH)
_PATTERN: Final = 0x3F
"""Each byte of the vectors: as a float some 0.75, of which no sum overflows."""
_QUERY_BYTES: Final = BATCHES[-1] * ROW_BYTES
_SCORE_BYTES: Final = BATCHES[-1] * 4
"""Of each vector."""
_FIRST_SHARE: Final = 2 / 3
"""What the first thread gets of scarce memory: alone it has to leave the last cache, the others do so together."""
_MORE_MEMORY: Final = "give this program more memory"


@dataclass(frozen=True, slots=True)
class Set:
    """Vectors that lie in a level: how many groups of eight, and what to know of it. No groups: why it cannot be."""

    level: str
    groups: int
    note: str = ""
    get_by: str = ""


@dataclass(slots=True)
class Walk:
    """A thread's vectors, queries and scores; a run goes on with the group at which the last one stopped."""

    vectors: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    huge: float | None = None
    at: int = 0

    def run(self, layout: str, batch: int, groups: int, rounds: int) -> None:
        """Compare so many groups with the first queries, of `groups` that are gone round in a circle."""
        shape = (groups, TILES, ROWS, LANES) if layout == "tiles" else (groups * ROWS, DIMENSIONS)
        vectors = self.vectors[: groups * ROWS * DIMENSIONS].reshape(shape)
        scores = self.scores[: batch * groups * ROWS].reshape(batch, groups * ROWS)
        first = self.at % groups
        compare, _ = _LAYOUTS[layout]
        compare(vectors, self.queries[:batch], scores, first=first, groups=rounds)
        self.at = first + rounds


def similarity(bench: Bench) -> list[Outcome]:
    """All layouts and batches, in every level, on one thread; and from memory on all."""
    sizes = sizes_of(bench)
    sets = _sets(bench, sizes[0])
    found: list[Outcome] = [
        Unmeasured(NAME, one.note, one.get_by, {"level": one.level}) for one in sets if not one.groups
    ]
    if len(found) == len(sets):
        return found
    walks: list[Walk] = bench.pool.run(*(partial(_walk, size) for size in sizes))
    for one in sets:
        if one.groups:
            bench.say(f"similarities of vectors in {one.level}")
            found += bench.pool.run(partial(_of_set, bench, walks[0], one))[0]
    if len(bench.pool) > 1 and sets[-1].groups:
        found += _of_all(bench, walks)
    best = attainable(found, within=bench.limits["batch_within"])
    return found + (_told(best) if best else [])


def _told(best: "Attainable") -> list[Outcome]:
    """What the facts of a host are taken from."""
    one, many = best.one_query, best.batch_rate
    gains = tuple(rate / alone for rate, alone in zip(many.values, one.values, strict=False))
    worse: Stability = max((one.stability, many.stability), key=("stable", "noisy", "unstable").index)
    notes = (f"{best.batch} queries at once over one",) if best.batch > 1 else ("one query at a time is as fast",)
    batch = replace(many, name="similarity.batch", unit="count", values=(float(best.batch),), better="lower")
    return [
        replace(one, name="similarity.one_query"),
        batch,
        replace(many, name="similarity.batch_gain", unit="", values=gains, stability=worse, notes=notes),
    ]


def sizes_of(bench: Bench) -> list[int]:
    """
    Bytes of vectors for each thread, the first of which has as many as it needs alone, within what is allowed.

    As with bandwidth, vectors in memory are four times the last cache, or caches where all threads use theirs.
    """
    threads = len(bench.pool)
    allowed = max(0, int((bench.memory - threads * _QUERY_BYTES) / (1 + _SCORE_BYTES / ROW_BYTES)))
    last = bench.caches[-1] if bench.caches else Cache(0, allowed, 1)
    wanted = int(bench.limits["stream_caches"]) * last.size
    one = min(wanted, allowed if threads == 1 else int(allowed * _FIRST_SHARE))
    others = max(1, threads - 1)
    each = min(wanted * _last_caches(bench, threads) // threads, (allowed - one) // others)
    return [_whole_groups(one), *([_whole_groups(each)] * (threads - 1) if each >= GROUP_BYTES else [])]


def set_size(bench: Bench, number: int) -> int:
    """
    Bytes of vectors that lie in a level of cache clear of its edges; 0 where it is not large enough for that.

    A few times the cache below, if that is not over a share of the level: a guest may have less of it than is claimed.
    """
    cache = bench.caches[number]
    share = int(cache.size * bench.limits["level_share"])
    if not number:  # at least one group, which is three quarters of the smallest first level
        return max(_whole_groups(share), GROUP_BYTES) if cache.size > GROUP_BYTES else 0
    below = bench.caches[number - 1].size
    size = min(share, int(below * bench.limits["level_above"]))
    return _whole_groups(size) if size * bench.limits["level_share"] >= below else 0


@dataclass(frozen=True, slots=True)
class Attainable:
    """What the facts of this host are made of: measurements on one thread, of vectors in the second level of cache."""

    one_query: Measurement
    scalar: Measurement
    batch_rate: Measurement

    @property
    def batch(self) -> int:
        """The number of queries at once."""
        return int(self.batch_rate.labels["batch"])


def attainable(outcomes: Iterable[Outcome], *, within: float) -> Attainable | None:
    """
    The fastest layout for one query, and the smallest batch that nears the fastest by a share of `within`.

    None where the measurements are not among the outcomes.
    """
    found = [one for one in outcomes if isinstance(one, Measurement) and one.name == NAME]
    there = [one for one in found if one.labels["level"] == ATTAINED_IN and one.threads == 1]
    vectorised = [one for one in there if one.labels["layout"] != SCALAR]
    single = [one for one in vectorised if one.labels["batch"] == "1"]
    scalar = next((one for one in there if one.labels["layout"] == SCALAR), None)
    if not single or scalar is None:
        return None
    enough = (1 - within) * max(one.median for one in vectorised)
    near = min((one for one in vectorised if one.median >= enough), key=lambda one: int(one.labels["batch"]))
    return Attainable(max(single, key=lambda one: one.median), scalar, near)


def _sets(bench: Bench, most: int) -> list[Set]:
    found = [_set_in(bench, number, most) for number in range(len(bench.caches))]
    if not found:
        why = "the system does not say how large the caches are"
        found = [Set(ATTAINED_IN, 0, why, "run it where /sys/devices/system/cpu shows them")]
    if _in_memory(bench, most, 1):
        return [*found, Set(MEMORY, most // GROUP_BYTES, _of_memory(bench, most))]
    return [
        *found,
        Set(MEMORY, 0, f"memory allows {_shown(most)} of vectors, which the last cache holds", _MORE_MEMORY),
    ]


def _set_in(bench: Bench, number: int, most: int) -> Set:
    cache = bench.caches[number]
    name, size = f"L{cache.level}", set_size(bench, number)
    if not size:
        return Set(name, 0, f"its {_shown(cache.size)} are too few to lie clear of the level below and of its edge")
    if size > most:
        return Set(name, 0, f"{_shown(size)} of vectors are needed, and memory allows {_shown(most)}", _MORE_MEMORY)
    return Set(name, size // GROUP_BYTES, f"{_shown(size)} of vectors, where {_shown(cache.size)} are claimed")


def _in_memory(bench: Bench, size: int, threads: int) -> bool:
    """Whether so many bytes of all threads together are more than the last caches hold."""
    last = bench.caches[-1].size if bench.caches else 0
    return size >= max(GROUP_BYTES, last * _last_caches(bench, threads))


def _of_memory(bench: Bench, size: int) -> str:
    if not bench.caches:
        return f"no cache is claimed: {_shown(size)} of vectors may lie in one"
    last = bench.caches[-1]
    wanted = int(bench.limits["stream_caches"]) * last.size
    enough = "" if size >= _whole_groups(wanted) else ": a part of them may be found there"
    return f"{_shown(size)} of vectors, where L{last.level} is claimed to be {_shown(last.size)}{enough}"


def _last_caches(bench: Bench, threads: int) -> int:
    if not bench.caches or threads == 1:
        return 1
    return math.ceil(len(bench.cpus) / bench.caches[-1].sharers)


def _walk(size: int) -> Walk:
    """What a thread works with, touched by it."""
    got: Buffer = buffer(size + _QUERY_BYTES + size // ROW_BYTES * _SCORE_BYTES, byte=_PATTERN)
    vectors, queries, scores = np.split(got.of(np.float32), np.cumsum([size, _QUERY_BYTES]) // 4)
    return Walk(vectors, queries.reshape(-1, DIMENSIONS), scores, got.huge)


def _of_set(bench: Bench, walk: Walk, of: Set) -> list[Outcome]:
    seconds = bench.limits["similarity_seconds"]
    found: list[Outcome] = []
    if of.level == MEMORY:
        of = replace(of, note=of.note + _of_pages([walk]))
    else:
        walk.run("tiles", 1, of.groups, of.groups)  # into the cache, which the first repeats would find cold otherwise
    for layout, (_, batches) in _LAYOUTS.items():
        for batch in batches:
            work = partial(walk.run, layout, batch, of.groups)
            found.append(_rate(bench, work, layout, batch, of, seconds=seconds))
    return found


def _of_all(bench: Bench, walks: Sequence[Walk]) -> list[Outcome]:
    """As much from memory as all threads get together, each of its own vectors."""
    total = sum(walk.vectors.nbytes for walk in walks)
    if len(walks) < len(bench.pool) or not _in_memory(bench, total, len(walks)):
        reason = f"memory allows {_shown(total)} of vectors on all threads, which the last caches hold"
        return [Unmeasured(NAME, reason, _MORE_MEMORY, {"level": MEMORY, "threads": "all"})]
    bench.say(f"similarities of vectors in {MEMORY}, on {len(walks)} threads")
    layout, batches = _ALL_THREADS
    note = f"{_shown(total)} of vectors in all, each thread has its own{_of_pages(walks)}"
    of = Set(MEMORY, total // GROUP_BYTES, note)
    return [
        _rate(bench, partial(_together, bench, walks, layout, batch), layout, batch, of, threads=len(walks))
        for batch in batches
    ]


def _rate(
    bench: Bench, work: Callable[[int], Any], layout: str, batch: int, of: Set, *, threads: int = 1, seconds: float = 0
) -> Measurement:
    compared = ROWS * batch * threads
    return measured(
        NAME, "/s", work, bench,
        figure=lambda taken: compared / taken, better="higher", threads=threads, seconds=seconds,
        labels={"layout": layout, "batch": str(batch), "level": of.level},
        notes=(of.note, *_notes(bench, layout, batch)),
    )  # fmt: skip


def _notes(bench: Bench, layout: str, batch: int) -> tuple[str, ...]:
    notes = [f"{max(LANES, lanes_here())} lanes at once"] if layout == "tiles" else []
    first, queries = bench.cache_size(1, 0), batch * ROW_BYTES
    if first and queries >= first:
        notes.append(
            f"{batch} vectors are {_shown(queries)} and do not fit L1, which has {_shown(first)}, as the guide says of "
            f"up to 64; {SERVER_BATCH} are {_shown(SERVER_BATCH * ROW_BYTES)}"
        )
    return tuple(notes)


def _of_pages(walks: Sequence[Walk]) -> str:
    shares = [walk.huge for walk in walks if walk.huge is not None]
    return f"; {min(shares):.0%} of their memory is on huge pages" if shares and min(shares) < 1 else ""


def _together(bench: Bench, walks: Sequence[Walk], layout: str, batch: int, rounds: int) -> Took:
    """All threads at once, from when the first began until the last has ended."""
    gate = new_gate()
    patience = nanoseconds_of(bench.limits["meeting_seconds"], "the wait at the gate")
    calls = [partial(_after_gate, gate, len(walks), patience, walk, layout, batch, rounds) for walk in walks]
    spans: list[tuple[float, float]] = bench.pool.run(*calls)
    return Took(max(end for _, end in spans) - min(start for start, _ in spans))


def _after_gate(
    gate: npt.NDArray[np.int64], threads: int, patience: int, walk: Walk, layout: str, batch: int, rounds: int
) -> tuple[float, float]:
    arrive(gate, threads, patience)  # who waits in vain begins nonetheless
    start = time.perf_counter()
    walk.run(layout, batch, walk.vectors.nbytes // GROUP_BYTES, rounds)
    return start, time.perf_counter()


def _whole_groups(size: int) -> int:
    return size // GROUP_BYTES * GROUP_BYTES


def _shown(size: int) -> str:
    scale, unit = next((each for each in ((1 << 30, "GiB"), (1 << 20, "MiB")) if size >= each[0]), (1024, "KiB"))
    return f"{size / scale:.3g} {unit}"
