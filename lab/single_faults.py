"""
Single faults, as data: what each changes, under which load it shows, and which rules name it rightly.

They are written from the performance guide's description of each problem, before any rule is asked, and hold none of
the rules' thresholds.
"""

from typing import Final

from engram_diagnose.lab.fault import (
    MILD,
    PLAIN,
    SEVERE,
    SEVERITIES,
    Fault,
    Load,
    Scaled,
    Severity,
    Surroundings,
    Value,
)

MOST_WORKERS: Final = 512
"""Of one pool of the lab."""

RECALL_P99: Final = "op.latency.p99{operation=recall}"
STORE_P99: Final = "op.latency.p99{operation=store}"
ACTIVATION_P999: Final = "op.latency.p999{operation=activation}"
COMPLETION_P999: Final = "op.latency.p999{operation=pattern_completion}"
QUALITY: Final = "index.recall_at_10"

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


SINGLE: Final = (
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
            "flush, and the stores behind it wait. A flush takes milliseconds on most disks, as with fsync-per-write."
        ),
        severities=tuple(
            Severity(name, {"wal.buffer_size_mb": kibibytes / 1024}, {"ENGRAM_LAB_DISK_DELAY_MS": "5"})
            for name, kibibytes in ((MILD, 2), (PLAIN, 1), (SEVERE, 0.5))
        ),
        load=Load(STORES, 0.65),
        causes=(
            ("storage.wal-buffer-fills", "storage.wal-write-amplification", "storage.store-waits-for-wal",
             "storage.wal-flush-slow"),
        ),
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
        load=Load(SPREADING, 0.85, connections=128),
        causes=(("locks.too-few-shards", "locks.hot-tier-contention", "locks.hot-key"),),
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
        load=Load(SPREADING, 0.75, skew=0.7),
        causes=(
            ("tiers.hot-tier-too-small", "tiers.hot-memories-in-warm", "tiers.small-space-outside-hot",
             "server.tier-full"),
        ),
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
        load=Load(SPREADING, 0.8, skew=0.0),
        causes=(
            ("tiers.hot-tier-too-small", "memory.cache-thrash", "tiers.hot-memories-in-warm",
             "tiers.small-space-outside-hot", "server.tier-full"),
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
        load=Load(SPREADING, 0.8),
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
        load=Load(SPREADING, 0.9),
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
        load=Load(SPREADING, 0.85),
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
        severities=_steps("hnsw_index.ef_search", 14, 10, 4),
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
        load=Load(RECALLS, 0.7),
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
        load=Load(RECALLS, 0.7),
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
        load=Load(SPREADING, 0.9, connections=256),
        causes=(("cpu.workers-oversubscribed", "host.run-queue-starvation"),),
        mended_by=("thread_pools.recall_workers", "thread_pools.store_workers"),
        breaches=(RECALL_P99, ACTIVATION_P999),
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
        causes=(("completion.too-many-candidates", "completion.too-deep", "completion.holds-workers"),),
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
            Severity(name, {"wal.buffer_size_mb": 0.0625}, {"ENGRAM_LAB_DISK_DELAY_MS": delay})
            for name, delay in ((MILD, "60"), (PLAIN, "150"), (SEVERE, "500"))
        ),
        load=Load(STORES, 0.6),
        causes=(("storage.wal-flush-slow", "storage.slow-device", "storage.store-waits-for-wal",
                 "storage.disk-saturated", "storage.wal-buffer-fills"),),
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

HEALTHY: Final = (
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
