"""
What the lab counts about itself at one moment, as /metrics tells it.

Counters only rise. An average is over all operations so far unless it says otherwise; None is something of which there
has been none yet, and is not published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

BySpace = tuple[str, str]
"""A memory space and an operation."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """
    Durations in seconds: `counts` by bucket, each alone, one more than the upper `bounds` (the last is of all above);
    `total` is their sum.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class TierFigures:
    """
    One tier. `hits` are accesses that found their memory here, `evictions` memories that had to leave, `migrations`
    memories that came; `latency` is sampled.
    """

    memories: int
    capacity: int
    bytes: int
    hits: int
    evictions: int
    migrations: int
    latency: Histogram
    batch_size: float | None = None


@dataclass(frozen=True, slots=True)
class WalFigures:
    """The write-ahead log. `pending` records are not flushed yet; `failed` flushes were tried again."""

    flushes: Histogram
    bytes_written: int
    disk_bytes: int
    pending: int
    failed: int
    recovery_seconds: float


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """One pool of threads, named after the operation it serves; `busy` on average since it was last looked at."""

    configured: int
    busy: float
    waiting: int
    waited: Histogram


@dataclass(frozen=True, slots=True)
class SpaceFigures:
    """
    One memory space. `visits` are nodes that activations went through; `cache_hits` are visits, those of recalls too,
    that found their node in the hot tier; `depth` is the average of hops; `edges_per_node` is of the index's bottom
    layer, `coverage` the share of memories that are linked.
    """

    index_nodes: int
    edges_per_node: float | None
    coverage: float | None
    cache_hits: int
    cache_requests: int
    visits: int
    depth: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it. `memory_bytes` are the anonymous ones of the process, `data_bytes` the sizes of what was stored."""

    latency: Mapping[BySpace, Histogram]
    errors: Mapping[BySpace, int]
    in_flight: Mapping[BySpace, int]
    pools: Mapping[str, PoolFigures]
    spaces: Mapping[str, SpaceFigures]
    tiers: Mapping[str, TierFigures]
    wal: WalFigures
    store_bytes: int
    similarity_seconds: float
    similarities: int
    completion_candidates: float | None
    completion_depth: float | None
    consolidation_freshness: float | None
    recall_result_size: float | None
    memory_bytes: int
    data_bytes: int
    more: Mapping[str, float] = field(default_factory=dict)
    """Further gauges by their metric's whole name, for whoever looks closer."""
