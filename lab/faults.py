"""
Faults to plant into the lab, as data: what each changes, under which load it shows, and which rules name it rightly.

They are written from the performance guide's description of each problem, before any rule is asked, and hold none of
the rules' thresholds. A size that only means something beside another one is `Scaled` by it: a tier by the memories it
is to hold, a pool by the cores. `settings_of` turns them into the figures of one host.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final

NODE_BYTES: Final = 3200
"""A memory in a tier: the guide's fifty cache lines."""
MEBIBYTE: Final = 1 << 20

MOST_WORKERS: Final = 512
"""Of one pool of the lab."""

RECALL_P99: Final = "op.latency.p99{operation=recall}"
STORE_P99: Final = "op.latency.p99{operation=store}"
ACTIVATION_P999: Final = "op.latency.p999{operation=activation}"
COMPLETION_P999: Final = "op.latency.p999{operation=pattern_completion}"
QUALITY: Final = "index.recall_at_10"

Value = bool | int | float | str


class NoSuchFaultError(ValueError):
    """A fault, or a severity of one, that there is not; says which there are."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """
    A setting in shares of something: `cores`, or `memories` (MiB of all of them as nodes); from `least` to `most`.
    """

    by: str
    share: float
    least: float = 1
    most: float = math.inf
    whole: bool = True

    def figure(self, *, cores: int, memories: int) -> int | float:
        """The setting on a host with so many cores, for so many memories; raises `ValueError` for another scale."""
        scales = {"cores": float(cores), "memories": memories * NODE_BYTES / MEBIBYTE}
        if self.by not in scales:
            raise ValueError(f"a setting cannot be scaled by {self.by!r}; there are {', '.join(sorted(scales))}")
        found = min(self.most, max(self.least, self.share * scales[self.by]))
        return math.ceil(found) if self.whole else round(found, 4)


@dataclass(frozen=True, slots=True)
class Load:
    """
    What clients do. `mix` holds the share of each operation, and `rate` the operations a second as a share of what
    the healthy lab carries under the same mix; `skew` is the exponent of how unevenly memories are asked for (0: all
    alike). `quality` says that recall against an exact search has to be measured, or nobody notices.
    """

    mix: Mapping[str, float]
    rate: float
    connections: int = 64
    skew: float = 1.0
    quality: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What is done around the server's process; 0 stands for nothing. `cpu_quota` is in shares of its cores,
    `memory_limit` in shares of what the healthy lab takes under this load, `disk_rate` in bytes written a second, and
    `neighbours` in processes that compute without a pause, for each core.
    """

    cpu_quota: float = 0.0
    memory_limit: float = 0.0
    disk_rate: int = 0
    neighbours: float = 0.0

    @property
    def any(self) -> bool:
        """Whether there is anything to be done."""
        return self != Surroundings()


@dataclass(frozen=True, slots=True)
class Severity:
    """
    One step of a fault: keys of the configuration, the lab's environment, its surroundings; `heavier` is the load's
    rate in shares of the fault's usual one.
    """

    name: str
    settings: Mapping[str, Value | Scaled] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    around: Surroundings = Surroundings()
    heavier: float = 1.0


@dataclass(frozen=True, slots=True)
class Hidden:
    """What those who look are not shown: metrics by name, and whether the server's process may be looked into."""

    metrics: tuple[str, ...] = ()
    process: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """
    Something to plant.

    `causes` holds, for each thing that is wrong, the rules that name it rightly, the best first; none for a healthy
    server. `mended_by` are the keys that would take it away, empty where something outside the configuration must
    change; `breaches` are the figures that miss their target because of it. `counters` says that only the CPU's own
    counters show it.
    """

    name: str
    title: str
    family: str
    mechanism: str
    severities: tuple[Severity, ...]
    load: Load
    causes: tuple[tuple[str, ...], ...] = ()
    mended_by: tuple[str, ...] = ()
    breaches: tuple[str, ...] = ()
    counters: bool = False
    hidden: Hidden = Hidden()

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.causes

    @property
    def right(self) -> frozenset[str]:
        """Every rule that counts as right."""
        return frozenset(rule for rules in self.causes for rule in rules)

    def severity(self, name: str) -> Severity:
        """The step of that name; raises `NoSuchFaultError` for one there is not."""
        for one in self.severities:
            if one.name == name:
                return one
        raise NoSuchFaultError(
            f"{self.name} comes as {', '.join(one.name for one in self.severities)}, not as {name!r}"
        )


MILD: Final = "mild"
PLAIN: Final = "plain"
SEVERE: Final = "severe"
SEVERITIES: Final = (MILD, PLAIN, SEVERE)

STORES: Final = {"store": 0.7, "recall": 0.3}
RECALLS: Final = {"recall": 0.95, "store": 0.05}
MIXED: Final = {"recall": 0.7, "store": 0.3}
SPREADING: Final = {"activation": 0.6, "recall": 0.35, "store": 0.05}
COMPLETING: Final = {"pattern_completion": 0.1, "recall": 0.7, "store": 0.2}


def _steps(key: str, *values: Value | Scaled) -> tuple[Severity, ...]:
    """A severity for each value of a key."""
    return tuple(Severity(name, {key: value}) for name, value in zip(SEVERITIES, values, strict=True))


def _around(*steps: Surroundings) -> tuple[Severity, ...]:
    return tuple(Severity(name, around=step) for name, step in zip(SEVERITIES, steps, strict=True))


_SINGLE: Final = (
    Fault(
        name="fsync-per-write",
        title="Every store is flushed to the disk by itself",
        family="log",
        mechanism=(
            "Small writes are not batched, and every operation is flushed synchronously: no group commit. The disk is "
            "busy for a low store rate, the log grows faster than the data, and fsync fills the profile. A flush takes "
            "milliseconds on most disks; where a virtual one only pretends, they are added."
        ),
        severities=(
            Severity(MILD, {"wal.sync_mode": "immediate"}),
            Severity(PLAIN, {"wal.sync_mode": "immediate"}, {"ENGRAM_LAB_DISK_DELAY_MS": "3"}),
            Severity(SEVERE, {"wal.sync_mode": "immediate"}, {"ENGRAM_LAB_DISK_DELAY_MS": "10"}),
        ),
        load=Load(STORES, 0.6),
        causes=(("storage.wal-write-amplification", "storage.store-waits-for-wal"),),
        mended_by=("wal.sync_mode",),
        breaches=(STORE_P99,),
    ),
    Fault(
        name="tiny-log-buffer",
        title="The log's buffer holds only a few records",
        family="log",
        mechanism=(
            "The buffer is full long before the flush interval is over, so that each handful of records forces a "
            "flush, and the stores behind it wait."
        ),
        severities=_steps("wal.buffer_size_mb", 16 / 1024, 8 / 1024, 4 / 1024),
        load=Load(STORES, 0.8),
        causes=(("storage.wal-write-amplification", "storage.store-waits-for-wal", "storage.wal-flush-slow"),),
        mended_by=("wal.buffer_size_mb",),
        breaches=(STORE_P99,),
    ),
    Fault(
        name="one-shard",
        title="The hot tier is a single shard with a single lock",
        family="locks",
        mechanism=(
            "Insufficient sharding of the hot tier's map: all workers meet at one lock, throughput does not grow with "
            "threads, and the CPU is busy in the kernel with waiting."
        ),
        severities=_steps("storage.hot_tier_shards", 1, 1, 1),
        load=Load(SPREADING, 0.9, connections=128),
        causes=(("locks.hot-tier-contention", "locks.hot-key"),),
        mended_by=("storage.hot_tier_shards",),
        breaches=(RECALL_P99, ACTIVATION_P999),
    ),
    Fault(
        name="small-hot-tier",
        title="The hot tier holds a fraction of what is asked for",
        family="tiers",
        mechanism=(
            "Insufficient hot tier size: most activations find their memories in the mapped file instead, and those "
            "evict what the next one wants. The share of hits falls below 80 %."
        ),
        severities=_steps(
            "storage.hot_tier_size_mb",
            Scaled("memories", 0.15, 0.25, whole=False),
            Scaled("memories", 0.05, 0.25, whole=False),
            Scaled("memories", 0.01, 0.25, whole=False),
        ),
        load=Load(SPREADING, 0.8, skew=0.7),
        causes=(("tiers.hot-tier-too-small", "tiers.hot-memories-in-warm", "tiers.small-space-outside-hot"),),
        mended_by=("storage.hot_tier_size_mb",),
        breaches=(RECALL_P99, ACTIVATION_P999),
    ),
    Fault(
        name="thrashing-tier",
        title="The hot tier is a little smaller than what goes round in it",
        family="tiers",
        mechanism=(
            "Thrashing: every memory is asked for as often as every other, and the tier holds not quite all of them, "
            "so that what was evicted last is always what comes next."
        ),
        severities=_steps(
            "storage.hot_tier_size_mb",
            Scaled("memories", 0.75, 0.25, whole=False),
            Scaled("memories", 0.6, 0.25, whole=False),
            Scaled("memories", 0.4, 0.25, whole=False),
        ),
        load=Load(SPREADING, 0.85, skew=0.0),
        causes=(
            ("tiers.hot-tier-too-small", "memory.cache-thrash", "tiers.hot-memories-in-warm",
             "tiers.small-space-outside-hot"),
        ),
        mended_by=("storage.hot_tier_size_mb",),
        breaches=(RECALL_P99, ACTIVATION_P999),
    ),
    Fault(
        name="scalar-similarity",
        title="Similarities are computed one number at a time",
        family="simd",
        mechanism=(
            "A scalar fallback in the similarity computation: dot products of 768 dimensions dominate recall, the "
            "vector registers stay unused, and the CPU is busy at a low throughput."
        ),
        severities=(
            Severity(MILD, {"activation.simd_enabled": False}, heavier=0.7),
            Severity(PLAIN, {"activation.simd_enabled": False}),
            Severity(SEVERE, {"activation.simd_enabled": False, "activation.avx_version": "none"}, heavier=1.2),
        ),
        load=Load(RECALLS, 0.6),
        causes=(("simd.underutilised", "activation.batch-too-small"),),
        mended_by=("activation.simd_enabled",),
        breaches=(RECALL_P99,),
    ),
    Fault(
        name="small-batches",
        title="Similarities are computed in batches that leave most lanes empty",
        family="simd",
        mechanism=(
            "Batch size too small for vectorization: a tile of eight embeddings is computed for one or two, so that "
            "most of each instruction is for nothing."
        ),
        severities=_steps("activation.simd_batch_size", 4, 2, 1),
        load=Load(SPREADING, 0.9),
        causes=(("activation.batch-too-small", "simd.underutilised"),),
        mended_by=("activation.simd_batch_size",),
        breaches=(ACTIVATION_P999, RECALL_P99),
    ),
    Fault(
        name="no-prefetch",
        title="Nothing is fetched before it is needed",
        family="prefetch",
        mechanism=(
            "The walk over the graph waits for memory at each node, because no node is asked for ahead; the guide's "
            "useful distances are 4 to 16 nodes."
        ),
        severities=_steps("activation.prefetch_distance", 1, 0, 0),
        load=Load(SPREADING, 0.95),
        causes=(("activation.prefetch-out-of-range", "memory.cache-misses"),),
        mended_by=("activation.prefetch_distance",),
        breaches=(ACTIVATION_P999, RECALL_P99),
        counters=True,
    ),
    Fault(
        name="false-sharing",
        title="Activation counters of different workers share cache lines",
        family="coherence",
        mechanism=(
            "False sharing: atomic activation counters lie side by side, so that the cores take a line from each other "
            "at every update. The cores look busy, and more of them do not help."
        ),
        severities=(
            Severity(MILD, environment={"ENGRAM_LAB_FALSE_SHARING": "1"}, heavier=0.8),
            Severity(PLAIN, environment={"ENGRAM_LAB_FALSE_SHARING": "1"}),
            Severity(SEVERE, environment={"ENGRAM_LAB_FALSE_SHARING": "1"}, heavier=1.1),
        ),
        load=Load(SPREADING, 0.9),
        causes=(("cpu.false-sharing", "cpu.cache-line-bouncing"),),
        breaches=(ACTIVATION_P999, RECALL_P99),
        counters=True,
    ),
    Fault(
        name="search-too-wide",
        title="A recall searches far more of the index than its answer needs",
        family="index search",
        mechanism=(
            "Poor index configuration: ef_search is many times what the guide's matrix has, each recall computes that "
            "many more distances, and its results hardly get better."
        ),
        severities=_steps("hnsw_index.ef_search", 600, 1500, 4000),
        load=Load(RECALLS, 0.6),
        causes=(("index.search-too-wide",),),
        mended_by=("hnsw_index.ef_search",),
        breaches=(RECALL_P99,),
    ),
    Fault(
        name="search-too-narrow",
        title="A recall gives up before it has found the nearest memories",
        family="index search",
        mechanism="ef_search is far below the guide's matrix: recalls are quick, and miss true neighbours.",
        severities=_steps("hnsw_index.ef_search", 20, 10, 4),
        load=Load(RECALLS, 0.4, quality=True),
        causes=(("index.search-too-narrow",),),
        mended_by=("hnsw_index.ef_search",),
        breaches=(QUALITY,),
    ),
    Fault(
        name="too-many-links",
        title="The index links each memory to far too many others",
        family="index shape",
        mechanism=(
            "M is far above the guide's matrix: each step of a search compares with several times as many neighbours, "
            "inserting takes as much longer, and the links take memory."
        ),
        severities=(
            Severity(MILD, {"hnsw_index.M": 48, "hnsw_index.max_m": 96, "hnsw_index.max_m0": 96}),
            Severity(PLAIN, {"hnsw_index.M": 80, "hnsw_index.max_m": 160, "hnsw_index.max_m0": 160}),
            Severity(SEVERE, {"hnsw_index.M": 128, "hnsw_index.max_m": 256, "hnsw_index.max_m0": 256}),
        ),
        load=Load(RECALLS, 0.8),
        causes=(("index.too-dense", "index.search-too-wide", "index.build-too-wide"),),
        mended_by=("hnsw_index.M", "hnsw_index.max_m", "hnsw_index.max_m0"),
        breaches=(RECALL_P99,),
    ),
    Fault(
        name="too-few-links",
        title="The index links each memory to far too few others",
        family="index shape",
        mechanism=(
            "Low connectivity: with few edges a node a search ends in the wrong corner of the graph, and true "
            "neighbours are missed however long it is."
        ),
        severities=tuple(
            Severity(name, {"hnsw_index.M": links, "hnsw_index.max_m": 2 * links, "hnsw_index.max_m0": 2 * links,
                            "hnsw_index.ef_construction": building})
            for name, links, building in ((MILD, 6, 60), (PLAIN, 4, 24), (SEVERE, 2, 8))
        ),
        load=Load(RECALLS, 0.4, quality=True),
        causes=(("index.too-sparse", "index.low-connectivity"),),
        mended_by=("hnsw_index.M", "hnsw_index.ef_construction"),
        breaches=(QUALITY,),
    ),
    Fault(
        name="few-workers",
        title="One worker has to serve every recall",
        family="threads",
        mechanism=(
            "Thread starvation: requests queue in front of a pool that is too small while cores are idle; latency "
            "rises with the load and throughput stops growing."
        ),
        severities=(
            Severity(MILD, {"thread_pools.recall_workers": Scaled("cores", 0.5)}, heavier=1.4),
            Severity(PLAIN, {"thread_pools.recall_workers": 1, "thread_pools.store_workers": 1}),
            Severity(SEVERE, {"thread_pools.recall_workers": 1, "thread_pools.store_workers": 1}, heavier=1.3),
        ),
        load=Load(RECALLS, 0.8),
        causes=(("cpu.workers-starved",),),
        mended_by=("thread_pools.recall_workers", "thread_pools.store_workers"),
        breaches=(RECALL_P99,),
    ),
    Fault(
        name="many-workers",
        title="Far more workers than cores take turns",
        family="threads",
        mechanism=(
            "Oversubscription: many times as many threads as cores are ready to run, switch without end and lose each "
            "other's caches; a thread that holds a lock is taken off the CPU while the others wait for it."
        ),
        severities=(
            Severity(MILD, {"thread_pools.recall_workers": Scaled("cores", 8, most=MOST_WORKERS),
                            "thread_pools.store_workers": Scaled("cores", 4, most=MOST_WORKERS)}),
            Severity(PLAIN, {"thread_pools.recall_workers": Scaled("cores", 32, most=MOST_WORKERS),
                             "thread_pools.store_workers": Scaled("cores", 16, most=MOST_WORKERS)}),
            Severity(SEVERE, {"thread_pools.recall_workers": Scaled("cores", 64, most=MOST_WORKERS),
                              "thread_pools.store_workers": Scaled("cores", 32, most=MOST_WORKERS)}),
        ),
        load=Load(SPREADING, 1.05, connections=256),
        causes=(("cpu.workers-oversubscribed", "host.run-queue-starvation"),),
        mended_by=("thread_pools.recall_workers", "thread_pools.store_workers"),
        breaches=(RECALL_P99,),
    ),
    Fault(
        name="consolidation-storm",
        title="Consolidation runs without a pause, in huge batches",
        family="background",
        mechanism=(
            "Background consolidation should not touch the latency of queries; run every second and over thousands of "
            "memories it takes cores, memory bandwidth and locks from them all the time."
        ),
        severities=tuple(
            Severity(name, {"consolidation.interval_seconds": seconds, "consolidation.batch_size": memories,
                            "thread_pools.consolidation_workers": workers})
            for name, seconds, memories, workers in (
                (MILD, 3, 3000, Scaled("cores", 0.5)), (PLAIN, 1, 6000, Scaled("cores", 1, most=MOST_WORKERS)),
                (SEVERE, 0.1, 20000, Scaled("cores", 2, most=MOST_WORKERS))
            )
        ),
        load=Load(MIXED, 0.6),
        causes=(("consolidation.disturbs-queries",),),
        mended_by=("consolidation.interval_seconds", "consolidation.batch_size"),
        breaches=(RECALL_P99,),
    ),
    Fault(
        name="unbounded-completion",
        title="Pattern completion searches without a limit",
        family="completion",
        mechanism=(
            "Pattern completion is several traversals in one: without a limit on depth and on candidates each request "
            "weighs thousands of memories, and holds a worker meanwhile."
        ),
        severities=tuple(
            Severity(name, {"pattern_completion.max_depth": depth, "pattern_completion.max_candidates": candidates})
            for name, depth, candidates in ((MILD, 12, 3000), (PLAIN, 100, 20000), (SEVERE, 1000, 100000))
        ),
        load=Load(COMPLETING, 0.3),
        causes=(("completion.too-many-candidates", "completion.too-deep"),),
        mended_by=("pattern_completion.max_candidates", "pattern_completion.max_depth"),
        breaches=(COMPLETION_P999, RECALL_P99),
    ),
    Fault(
        name="cpu-quota",
        title="A CPU limit stops the server in the middle of its work",
        family="limits",
        mechanism=(
            "The container may use less CPU than its workers want; when the budget of a period is spent all of them "
            "stand still until the next one, whatever they hold."
        ),
        severities=_around(Surroundings(cpu_quota=0.5), Surroundings(cpu_quota=0.25), Surroundings(cpu_quota=0.12)),
        load=Load(MIXED, 0.6),
        causes=(("host.cpu-quota-throttling",),),
        breaches=(RECALL_P99, STORE_P99),
    ),
    Fault(
        name="memory-limit",
        title="The server does not fit the memory that its container may use",
        family="limits",
        mechanism=(
            "Memory limit below what tiers and buffers take: the kernel reclaims mapped pages as fast as they are "
            "read, and every activation waits for the disk again."
        ),
        severities=_around(
            Surroundings(memory_limit=0.8), Surroundings(memory_limit=0.65), Surroundings(memory_limit=0.5)
        ),
        load=Load(SPREADING, 0.6, skew=0.2),
        causes=(("host.memory-limit", "storage.warm-tier-faults", "host.memory-pressure"),),
        breaches=(RECALL_P99, ACTIVATION_P999),
    ),
    Fault(
        name="slow-disk",
        title="The disk takes long to confirm a write",
        family="disk",
        mechanism=(
            "The device needs tens of milliseconds for each flush, though records are batched: whoever waits for the "
            "log waits for the device."
        ),
        severities=tuple(
            Severity(name, {"wal.buffer_size_mb": 0.25}, {"ENGRAM_LAB_DISK_DELAY_MS": delay})
            for name, delay in ((MILD, "60"), (PLAIN, "150"), (SEVERE, "500"))
        ),
        load=Load(STORES, 0.7),
        causes=(("storage.wal-flush-slow", "storage.slow-device", "storage.store-waits-for-wal",
                 "storage.disk-saturated"),),
        breaches=(STORE_P99,),
    ),
    Fault(
        name="noisy-neighbour",
        title="Other processes want the same cores",
        family="neighbours",
        mechanism=(
            "Other work on the host competes for its CPUs and caches: the server's threads are ready and wait for a "
            "core, at a load that it carried before."
        ),
        severities=_around(Surroundings(neighbours=1), Surroundings(neighbours=2), Surroundings(neighbours=4)),
        load=Load(MIXED, 0.5),
        causes=(("host.noisy-neighbour", "host.run-queue-starvation"),),
        breaches=(RECALL_P99,),
    ),
)  # fmt: skip

_HEALTHY: Final = (
    Fault(
        name="healthy-busy",
        title="Nothing is wrong, and there is much to do",
        family="healthy",
        mechanism="A fitting configuration under a sustained load.",
        severities=(Severity(MILD, heavier=0.8), Severity(PLAIN), Severity(SEVERE, heavier=1.2)),
        load=Load(MIXED, 0.5),
    ),
    Fault(
        name="healthy-idle",
        title="Nothing is wrong, and there is hardly anything to do",
        family="healthy",
        mechanism="A fitting configuration that is asked now and then.",
        severities=(Severity(MILD, heavier=2.0), Severity(PLAIN), Severity(SEVERE, heavier=0.2)),
        load=Load(MIXED, 0.01, connections=4),
    ),
)

_TOGETHER: Final = (
    ("fsync-per-write", "scalar-similarity"),
    ("scalar-similarity", "small-hot-tier"),
    ("one-shard", "tiny-log-buffer"),
    ("few-workers", "search-too-wide"),
    ("cpu-quota", "fsync-per-write"),
    ("noisy-neighbour", "unbounded-completion"),
    ("consolidation-storm", "fsync-per-write"),
)


def _together(one: Fault, other: Fault) -> Fault:
    """
    Both at once, at the same severity, under a load with as many of each operation as the two have on average.

    Where both change a key the second one's value is taken.
    """
    both = (one, other)
    operations = sorted({name for fault in both for name in fault.load.mix})
    mix = {name: round(sum(fault.load.mix.get(name, 0.0) for fault in both) / 2, 4) for name in operations}
    severities = tuple(
        Severity(
            name,
            {**one.severity(name).settings, **other.severity(name).settings},
            {**one.severity(name).environment, **other.severity(name).environment},
            _surroundings(one.severity(name).around, other.severity(name).around),
            max(one.severity(name).heavier, other.severity(name).heavier),
        )
        for name in SEVERITIES
    )
    return Fault(
        name=f"{one.name}+{other.name}",
        title=f"{one.title}; and {other.title[0].lower()}{other.title[1:]}",
        family="two at once",
        mechanism=f"{one.mechanism} {other.mechanism}",
        severities=severities,
        load=Load(mix, max(one.load.rate, other.load.rate), max(one.load.connections, other.load.connections),
                  min(one.load.skew, other.load.skew), one.load.quality or other.load.quality),
        causes=one.causes + other.causes,
        mended_by=tuple(dict.fromkeys(one.mended_by + other.mended_by)),
        breaches=tuple(dict.fromkeys(one.breaches + other.breaches)),
        counters=one.counters or other.counters,
    )  # fmt: skip


def _surroundings(one: Surroundings, other: Surroundings) -> Surroundings:
    return Surroundings(
        one.cpu_quota or other.cpu_quota,
        one.memory_limit or other.memory_limit,
        one.disk_rate or other.disk_rate,
        one.neighbours or other.neighbours,
    )


def _veiled(fault: Fault, name: str, title: str, hidden: Hidden) -> Fault:
    """The same with less of it shown."""
    return replace(fault, name=name, title=title, family="sources missing", hidden=hidden)


def _all() -> Iterator[Fault]:
    by_name = {fault.name: fault for fault in _SINGLE}
    yield from _SINGLE
    yield from _HEALTHY
    for one, other in _TOGETHER:
        yield _together(by_name[one], by_name[other])
    yield _veiled(
        by_name["fsync-per-write"], "missing-metrics", "Stores are slow, and the log's metrics are missing",
        Hidden(metrics=("engram_wal_bytes_written_total",)),
    )  # fmt: skip
    yield _veiled(
        by_name["many-workers"], "missing-permissions", "Too many workers, and nobody may look into the process",
        Hidden(process=True),
    )  # fmt: skip


FAULTS: Final[Mapping[str, Fault]] = {fault.name: fault for fault in _all()}
"""Every fault by its name, in the order in which they are told."""


def fault_named(name: str) -> Fault:
    """A fault; raises `NoSuchFaultError` naming those that are near."""
    if name in FAULTS:
        return FAULTS[name]
    near = get_close_matches(name, FAULTS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the first of {len(FAULTS)} is {next(iter(FAULTS))}."
    raise NoSuchFaultError(f"there is no fault {name[:60]!r}; {hint} All are listed by: engram-diagnose demo --list")


def settings_of(severity: Severity, *, cores: int, memories: int) -> dict[str, Value]:
    """The keys that a severity changes, with the figures for a host with so many cores and so many memories."""
    return {
        key: value.figure(cores=cores, memories=memories) if isinstance(value, Scaled) else value
        for key, value in severity.settings.items()
    }


def environment_of(fault: Fault, severity: Severity) -> dict[str, str]:
    """What the lab's process is started with besides."""
    hidden = {"ENGRAM_LAB_WITHOUT_METRICS": ",".join(fault.hidden.metrics)} if fault.hidden.metrics else {}
    return {**severity.environment, **hidden}
