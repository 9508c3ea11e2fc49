"""
The engine's figures, from its arrays, while its threads go on.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from engram_diagnose.kernels.loops import hnsw
from engram_diagnose.kernels.loops.hnsw_sketches import FIGURES, padded_codes
from engram_diagnose.lab import log as log_files
from engram_diagnose.lab import tiers as tier_files
from engram_diagnose.lab.asking import OPERATIONS
from engram_diagnose.lab.figures import Figures, Histogram, PoolFigures, SpaceFigures, TierFigures, WalFigures
from engram_diagnose.lab.loops import layout
from engram_diagnose.lab.loops import world as at
from engram_diagnose.lab.loops.rings import RECALLS, STORES, waiting
from engram_diagnose.lab.settings import Settings

_TIERS: Final = ("hot", "warm", "cold")
_NS: Final = 1e9
_SAMPLED: Final = 4096
"""Nodes whose links are counted, of more than so many."""
_BOUNDS: Final = tuple(bound / _NS for bound in at.BOUNDS_NS)
_TIER_BOUNDS: Final = tuple(bound / _NS for bound in layout.BOUNDS_NS)


class Occupation:
    """
    How many workers were at work on average from one tick to the next, a second later.

    At one instant a worker is busy or not, and two looks at a pool of one would tell 0, 50 or 100 %.
    """

    def __init__(self) -> None:
        self._at = time.monotonic_ns()
        self._spent: Any = 0
        self._shares: Any = None

    def tick(self, world: Any) -> None:
        """The next stretch begins."""
        now = time.monotonic_ns()
        spent = _spent(world, now)
        self._shares = self._since(spent, now)
        self._at, self._spent = now, spent

    def shares(self, world: Any) -> Any:
        """By worker, from 0 to 1, over the last whole stretch; before there is one, since the start."""
        if self._shares is not None:
            return self._shares
        now = time.monotonic_ns()
        return self._since(_spent(world, now), now)

    def _since(self, spent: Any, now: int) -> Any:
        return ((spent - self._spent) / max(1, now - self._at)).clip(0, 1)


def _spent(world: Any, now: int) -> Any:
    """Nanoseconds that each worker was at work so far, what it is at included."""
    began = world.counts[:, at.BUSY]
    return world.counts[:, at.BUSY_NS] + (began > 0) * (now - began)


def figures_of(
    world: Any, settings: Settings, *, busy: Any, names: Mapping[str, int], log_bytes: int, recovery_seconds: float
) -> Figures:
    """All of them, with the shares of `Occupation`; what no thread counted yet is 0, or None where it is an average."""
    counts = world.counts.sum(axis=0)
    counted = tier_files.counted(world.tiers)
    batches, completions, recalled = (int(counts[at.BATCHES]), int(counts[at.COMPLETIONS]), int(counts[at.RECALLED]))
    last = int(world.upkeep[at.CONSOLIDATED_AT])
    return Figures(
        latency={
            (name, operation): _histogram(world.times[space, number])
            for name, space in names.items()
            for number, operation in enumerate(OPERATIONS)
            if world.times[space, number, : at.BUCKETS].any()
        },
        errors=_by_operation(world, names, at.FAILED),
        in_flight=_by_operation(world, names, at.UNDER_WAY),
        pools=_pools(world, settings, busy),
        spaces={name: _space(world, space) for name, space in names.items()},
        tiers=_tiers(world, counted, batch=int(counts[at.BATCHED]) / batches if batches else None),
        wal=_wal(world, log_bytes, recovery_seconds),
        store_bytes=int(counts[at.STORED_BYTES]),
        similarity_seconds=int(counts[at.SIMILAR_NS]) / _NS,
        similarities=int(counts[at.SIMILARITIES]),
        completion_candidates=int(counts[at.CANDIDATES]) / completions if completions else None,
        completion_depth=int(counts[at.COMPLETION_DEPTH]) / completions if completions else None,
        consolidation_freshness=(time.monotonic_ns() - last) / _NS if last else None,
        recall_result_size=int(counts[at.RESULTS]) / recalled if recalled else None,
        memory_bytes=_memory(world, names),
        data_bytes=sum(int(world.spaces[space, at.DATA]) for space in names.values()),
    )


def _histogram(times: Any) -> Histogram:
    return Histogram(_BOUNDS, tuple(times[: at.BUCKETS].tolist()), int(times[at.TIME_SUM]) / _NS)


def _by_operation(world: Any, names: Mapping[str, int], field: int) -> dict[tuple[str, str], int]:
    return {
        (name, operation): int(world.times[space, number, field])
        for name, space in names.items()
        for number, operation in enumerate(OPERATIONS)
    }


def _pools(world: Any, settings: Settings, busy: Any) -> dict[str, PoolFigures]:
    recalls, stores = settings.thread_pools_recall_workers, settings.thread_pools_store_workers
    return {
        "recall": PoolFigures(recalls, float(busy[:recalls].sum()), waiting(world.rings, RECALLS),
                              _histogram(world.waits[RECALLS])),
        "store": PoolFigures(stores, float(busy[recalls : recalls + stores].sum()), waiting(world.rings, STORES),
                             _histogram(world.waits[STORES])),
    }  # fmt: skip


def _space(world: Any, space: int) -> SpaceFigures:
    of = world.spaces[space]
    stored, linked, spreads = int(of[at.STORED]), int(of[at.SEARCHABLE]), int(of[at.SPREADS])
    low, step = int(of[at.BASE]), -(-linked // _SAMPLED) or 1
    return SpaceFigures(
        index_nodes=linked,
        edges_per_node=float(world.bottom[low : low + linked : step, 0].mean()) if linked else None,
        coverage=min(linked, stored) / stored if stored else None,
        cache_hits=int(of[at.HITS]),
        cache_requests=int(of[at.VISITS]),
        visits=int(of[at.SPREAD_VISITS]),
        depth=int(of[at.HOPS]) / spreads if spreads else None,
    )


def _tiers(world: Any, counted: tier_files.Counted, *, batch: float | None) -> dict[str, TierFigures]:
    capacity, levels = tier_files.capacity(world.tiers), world.tiers.levels
    used = [_hot(world), *(int(levels[place]) for place in (layout.WARM_USED, layout.COLD_USED))]
    held = sum(used[1:])  # every memory has a home below the hot tier, those that are hot as well
    memories = [used[0], max(0, used[1] - used[0]), used[2]] if held else [used[0], 0, 0]
    sizes = (layout.NODE_BYTES, layout.NODE_BYTES, layout.BLOCK_BYTES // layout.BLOCK)
    return {
        name: TierFigures(
            memories=memories[tier],
            capacity=capacity[tier],
            bytes=memories[tier] * sizes[tier],
            hits=counted.hits[tier],
            evictions=counted.evictions[tier],
            migrations=counted.migrations[tier],
            latency=Histogram(_TIER_BOUNDS, counted.buckets[tier], counted.sampled_seconds[tier]),
            batch_size=batch if tier == 0 else None,
        )
        for tier, name in enumerate(_TIERS)
    }


def _hot(world: Any) -> int:
    """Nodes in the hot tier."""
    return int(world.tiers.hands[1::8].sum())


def _wal(world: Any, log_bytes: int, recovery_seconds: float) -> WalFigures:
    found = log_files.figures(world.log)
    return WalFigures(
        flushes=Histogram(found.bounds_seconds, found.buckets, found.flush_seconds),
        bytes_written=found.bytes_written,
        disk_bytes=log_bytes,
        pending=found.pending,
        failed=found.failed_flushes,
        recovery_seconds=recovery_seconds,
    )


def _memory(world: Any, names: Mapping[str, int]) -> int:
    """
    Bytes of memory that memories take: nodes of the hot tier, codes and links of the index, what is known of each row.

    Pages of files are the kernel's, and not counted.
    """
    stored: int = sum(int(world.spaces[space, at.STORED]) for space in names.values())
    above: int = sum(int(world.states[space, hnsw.ROWS]) for space in names.values())
    row = padded_codes(at.DIMENSIONS) + FIGURES * 4 + world.bottom.shape[1] * 4 + 4 + 1 + 1 + 13
    hot = _hot(world) * layout.NODE_BYTES
    links: int = world.above.shape[1]
    return stored * int(row) + above * links * 4 + hot
