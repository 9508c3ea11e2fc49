"""
The engine's arrays: made by the settings, and the files some of them lie in.
"""

import mmap
import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops import hnsw
from engram_diagnose.kernels.loops.hnsw_distances import COSINE, SCALAR
from engram_diagnose.kernels.loops.hnsw_index import rows_above
from engram_diagnose.kernels.loops.hnsw_sketches import FIGURES, codes, most_word
from engram_diagnose.kernels.loops.similarity import aligned
from engram_diagnose.kernels.loops.vectors import lanes_here
from engram_diagnose.lab.log import open_log
from engram_diagnose.lab.loops import world as at
from engram_diagnose.lab.loops.embed import word_vectors
from engram_diagnose.lab.loops.layout import Tiers
from engram_diagnose.lab.loops.locks import new_words
from engram_diagnose.lab.loops.log import MOST_PAYLOAD
from engram_diagnose.lab.loops.rings import RINGS, TICKETS, Rings
from engram_diagnose.lab.loops.world import Desk, World
from engram_diagnose.lab.settings import Settings
from engram_diagnose.lab.tiers import Thresholds, new_tiers

_TILE_ROWS: Final = 8
_VECTOR_BYTES: Final = at.DIMENSIONS * 4
_GROUP: Final = _TILE_ROWS * at.DIMENSIONS


def workers_of(settings: Settings) -> int:
    """How many threads work on memories, each with a number of its own; the log's is none of them."""
    return (
        settings.thread_pools_recall_workers
        + settings.thread_pools_store_workers
        + settings.thread_pools_background_workers
        + settings.thread_pools_consolidation_workers
    )


def new_world(
    settings: Settings,
    folder: Path,
    *,
    rings: Rings,
    next_sequence: int,
    false_sharing: bool = False,
    disk_delay_ms: float = 0.0,
) -> tuple[World, mmap.mmap]:
    """
    The arrays of an engine without memories, and the mapped file that its vectors lie in.

    Raises `OSError` where a file cannot be made.
    """
    links, workers = settings.hnsw_index_m, workers_of(settings)
    file, pages = _vectors_file(folder / "vectors")
    spaces, rows, above = _spaces(links)
    world = World(
        rings=rings,
        tiers=_tiers(settings, folder / "tiers", rows=rows, false_sharing=false_sharing),
        log=open_log(
            folder / "log",
            is_immediate=settings.wal_sync_mode == "immediate",
            buffer_mb=settings.wal_buffer_size_mb,
            flush_interval_ms=settings.wal_flush_interval_ms,
            segment_mb=settings.wal_segment_size_mb,
            disk_delay_ms=disk_delay_ms,
            next_sequence=next_sequence,
        ),
        vectors=np.frombuffer(pages, np.float32).reshape(rows, at.DIMENSIONS),
        codes=codes(rows, at.DIMENSIONS),
        figures=np.zeros((rows, FIGURES), np.float32),
        bottom=np.zeros((rows, 1 + 2 * links), np.int32),
        above=np.zeros((above, 1 + links), np.int32),
        first=np.zeros(rows, np.int32),
        layers=np.zeros(rows, np.uint8),
        states=_states(settings),
        ready=np.zeros(rows, np.uint8),
        spaces=spaces,
        names=np.zeros((at.SPACES, 64), np.uint8),
        locks=new_words(at.SPACES + 1),
        words=word_vectors(),
        settings=_numbers(settings),
        vector_file=np.array([file], np.int32),
        tickets=np.zeros((TICKETS, at.TICKET_FIELDS), np.int64),
        queries=np.zeros((TICKETS, at.DIMENSIONS), np.float32),
        texts=np.zeros((TICKETS, at.TEXT_ROOM), np.uint8),
        rows=np.zeros((TICKETS, at.RESULT_ROOM), np.int32),
        scores=np.zeros((TICKETS, at.RESULT_ROOM), np.float32),
        times=np.zeros((at.SPACES, at.OPERATIONS, at.TIMES), np.int64),
        waits=np.zeros((RINGS, at.TIMES), np.int64),
        counts=np.zeros((workers, at.WORKER_FIGURES), np.int64),
        upkeep=np.zeros(at.UPKEEP, np.int64),
        bounds=np.array(at.BOUNDS_NS, np.int64),
    )
    return world, pages


def new_desk(settings: Settings, name: str) -> Desk:
    """What one worker needs for itself; `name` is its thread's, up to 15 letters."""
    groups = -(-min(settings.activation_simd_batch_size, at.MOST_BATCH) // _TILE_ROWS)
    return Desk(
        query=aligned((at.DIMENSIONS,)),
        node=aligned((at.DIMENSIONS,)),
        tiles=aligned((groups * _GROUP,)),
        products=aligned((groups * _TILE_ROWS,)),
        batch=np.zeros(groups * _TILE_ROWS, np.int32),
        order=np.zeros(at.MOST_VISITS + 1, np.int32),
        seen=np.zeros(at.FIRST_ROWS, np.uint8),
        epoch=np.zeros(1, np.int64),
        best_rows=np.zeros(at.RESULT_ROOM + 1, np.int32),
        best=np.zeros(at.RESULT_ROOM + 1, np.float32),
        heap=np.zeros(at.FIRST_ROWS, np.uint64),
        depths=np.zeros(at.FIRST_ROWS, np.uint8),
        record=np.zeros(MOST_PAYLOAD, np.uint8),
        name=np.frombuffer(bytearray(name[:15].encode() + b"\0"), np.uint8),
    )


def new_scratch(settings: Settings) -> hnsw.Scratch:
    """What one worker needs for searches of the index."""
    most = 2 * settings.hnsw_index_m + 1
    width = max(
        settings.hnsw_index_ef_search, settings.hnsw_index_ef_construction, settings.hnsw_index_m, at.RESULT_ROOM
    )
    return hnsw.Scratch(
        words=np.zeros(at.DIMENSIONS, np.int16),
        about=np.zeros(FIGURES, np.float32),
        most=np.array([most_word(at.DIMENSIONS)]),
        seen=np.zeros(at.FIRST_ROWS, np.uint8),
        epoch=np.zeros(1, np.int64),
        pool=np.zeros(width + 1, np.uint64),
        near=np.zeros(most + 1, np.int32),
        apart=np.zeros(most + 1, np.float32),
        ranked=np.zeros(most + 1, np.uint64),
        kept=np.zeros(most, np.int32),
    )


def _spaces(links: int) -> tuple[npt.NDArray[np.int64], int, int]:
    """The spaces, none of them there, with their rows; how many rows all have, and above the index's bottom layer."""
    found = np.zeros((at.SPACES, at.SPACE_FIELDS), np.int64)
    base = above = 0
    for space in range(at.SPACES):
        rows = at.FIRST_ROWS if space == 0 else at.SPACE_ROWS
        found[space, (at.BASE, at.ROWS, at.ABOVE, at.ABOVE_ROWS)] = base, rows, above, rows_above(rows, links)
        base, above = base + rows, above + rows_above(rows, links)
    return found, base, above


def _states(settings: Settings) -> npt.NDArray[np.int64]:
    """The states of the spaces' indexes, all empty."""
    found = np.zeros((at.SPACES, hnsw.STATE), np.int64)
    found[:, hnsw.METRIC] = _kind(settings)
    found[:, hnsw.SEED] = 1
    found[:, hnsw.DIMENSIONS] = at.DIMENSIONS
    found[:, hnsw.CONSTRUCTION] = settings.hnsw_index_ef_construction
    return found


def _tiers(settings: Settings, folder: Path, *, rows: int, false_sharing: bool) -> Tiers:
    return new_tiers(
        folder,
        rows=rows,
        hot_mb=settings.storage_hot_tier_size_mb,
        shards=settings.storage_hot_tier_shards,
        warm_mb=settings.storage_warm_tier_size_mb,
        workers=workers_of(settings),
        thresholds=Thresholds(
            to_hot=settings.tiers_warm_to_hot_accesses_per_hour,
            to_warm=settings.tiers_cold_to_warm_accesses_per_hour,
            kept_hot=settings.tiers_hot_to_warm_accesses_per_hour,
            kept_warm=settings.tiers_warm_to_cold_accesses_per_hour,
        ),
        huge_pages=settings.storage_use_huge_pages,
        false_sharing=false_sharing,
    )


def _kind(settings: Settings) -> int:
    is_scalar = not settings.activation_simd_enabled or settings.activation_avx_version == "none"
    return SCALAR if is_scalar else COSINE


def _numbers(settings: Settings) -> npt.NDArray[np.int64]:
    found = np.zeros(at.SETTINGS, np.int64)
    kind, found_hot = _kind(settings), settings.activation_visit_budget_per_tier_hot
    for place, value in (
        (at.MODE_SCALAR, kind == SCALAR),
        (at.KIND, kind),
        (at.WIDE, lanes_here() >= 16 and settings.activation_avx_version != "avx2"),
        (at.BATCH, min(settings.activation_simd_batch_size, at.MOST_BATCH)),
        (at.PREFETCH, settings.activation_prefetch_distance),
        (at.DEPTH, settings.activation_max_traversal_depth),
        (at.BUDGET, found_hot),
        # What the hot tier has no room for leads on as far as what it holds: else too small a tier would make
        # activations shorter, and thereby faster.
        (at.BUDGET + 1, max(found_hot, settings.activation_visit_budget_per_tier_warm)),
        (at.BUDGET + 2, settings.activation_visit_budget_per_tier_cold),
        (at.SEARCH, settings.hnsw_index_ef_search),
        (at.CONSTRUCTION, settings.hnsw_index_ef_construction),
        (at.INTERVAL, int(settings.consolidation_interval_seconds * 1e9)),
        (at.CONSOLIDATED, settings.consolidation_batch_size),
        (at.MOST_DEPTH, settings.pattern_completion_max_depth),
        (at.MOST_CANDIDATES, settings.pattern_completion_max_candidates),
    ):
        found[place] = value
    return found


def _vectors_file(path: Path) -> tuple[int, mmap.mmap]:
    """A new file with room for every row's vector, which takes none of the disk yet, and its pages."""
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        size = at.ALL_ROWS * _VECTOR_BYTES
        os.ftruncate(file, size)
        return file, mmap.mmap(file, size)
    except BaseException:
        os.close(file)
        raise
