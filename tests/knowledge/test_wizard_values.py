"""
What the wizard writes, for each kind of workload on several hosts: the guide's formulas, with the rulings on them.
"""

from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import pytest

from engram_diagnose.engine.diagnosis import Expert, Subject, expert
from engram_diagnose.engine.facts.fact import Fact, Value, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.rulebase import load_rules

KIB, MIB, GIB = 2.0**10, 2.0**20, 2.0**30

# Every key that the guide's wizard script writes.
WRITTEN = (
    "storage.hot_tier_size_mb",
    "storage.hot_tier_shards",
    "storage.warm_tier_size_mb",
    "storage.use_huge_pages",
    "storage.mmap_populate",
    "storage.cold_tier_compression",
    "storage.cold_tier_compression_level",
    "activation.prefetch_distance",
    "activation.max_traversal_depth",
    "activation.visit_budget_per_tier.hot",
    "activation.visit_budget_per_tier.warm",
    "activation.visit_budget_per_tier.cold",
    "activation.simd_batch_size",
    "activation.simd_enabled",
    "activation.avx_version",
    "hnsw_index.M",
    "hnsw_index.ef_construction",
    "hnsw_index.ef_search",
    "hnsw_index.max_m",
    "hnsw_index.max_m0",
    "wal.buffer_size_mb",
    "wal.flush_interval_ms",
    "wal.sync_mode",
    "wal.segment_size_mb",
    "thread_pools.recall_workers",
    "thread_pools.store_workers",
    "thread_pools.consolidation_workers",
    "thread_pools.background_workers",
    "numa.numa_aware",
    "numa.interleave_memory",
    "numa.prefer_local_node",
    "numa.socket_memory_mb",
    "consolidation.enabled",
    "consolidation.interval_seconds",
    "consolidation.batch_size",
    "consolidation.min_confidence_threshold",
    "monitoring.metrics_enabled",
    "monitoring.metrics_interval_seconds",
    "monitoring.slow_query_threshold_ms",
    "monitoring.trace_sampling_rate",
)


@dataclass(frozen=True)
class Host:
    """What the wizard looks at; `usable` and `quota` are what a container leaves."""

    cores: int
    memory_gib: int
    nodes: int
    isa: str
    rotational: bool
    usable_gib: float | None = None
    quota: float | None = None

    @property
    def memory(self) -> float:
        return (self.usable_gib or self.memory_gib) * GIB

    @property
    def workers(self) -> float:
        return self.quota or self.cores


HOSTS = {
    "laptop": Host(4, 8, 1, "avx2", rotational=False),
    "example 1": Host(24, 20, 1, "avx2", rotational=False),
    "reference": Host(32, 64, 2, "avx512", rotational=False),
    "large": Host(96, 512, 4, "avx512", rotational=False),
    "graviton": Host(64, 128, 1, "neon", rotational=False),
    "old": Host(8, 16, 1, "none", rotational=True),
    "container": Host(64, 256, 2, "avx512", rotational=False, usable_gib=8, quota=2.5),
}
HNSW = {
    "read-heavy": (32, 400, 200),
    "write-heavy": (16, 200, 100),
    "balanced": (24, 300, 150),
    "memory-constrained": (8, 100, 50),
}


def configuration(host: Host, workload: str) -> dict[str, Any]:
    """The whole file as the guide and the rulings have it, by key, in the units of the file; None: not written."""
    m, construction, search = HNSW[workload]
    reading, writing = workload == "read-heavy", workload == "write-heavy"
    memory_mib = host.memory / MIB
    return {
        "storage.hot_tier_size_mb": min(8192, max(256, floor(0.1 * memory_mib))),
        "storage.hot_tier_shards": 2 ** ceil_log2(2 * host.workers),
        "storage.warm_tier_size_mb": floor(0.3 * memory_mib),
        "storage.use_huge_pages": host.memory > 16 * GIB,
        "storage.mmap_populate": not host.rotational,
        "storage.cold_tier_compression": "zstd",
        "storage.cold_tier_compression_level": 1 if writing else 3,
        "tiers.hot_to_warm_accesses_per_hour": 10,
        "tiers.warm_to_cold_accesses_per_hour": 1 / 24,
        "tiers.cold_to_warm_accesses_per_hour": 5,
        "tiers.warm_to_hot_accesses_per_hour": 20,
        "activation.prefetch_distance": 16 if host.cores > 32 else 12 if host.cores > 16 else 8,
        "activation.max_traversal_depth": 5,
        "activation.visit_budget_per_tier.hot": 3,
        "activation.visit_budget_per_tier.warm": 2,
        "activation.visit_budget_per_tier.cold": 1,
        "activation.simd_batch_size": 8,
        "activation.simd_min_batch_size": 8,
        "activation.simd_max_batch_size": 64,
        "activation.simd_enabled": host.isa != "none",
        "activation.avx_version": host.isa if host.isa.startswith("avx") else "none",
        "hnsw_index.M": m,
        "hnsw_index.ef_construction": construction,
        "hnsw_index.ef_search": search,
        "hnsw_index.max_m": 2 * m,
        "hnsw_index.max_m0": 2 * m,
        "wal.buffer_size_mb": 128 if writing else 64,
        "wal.flush_interval_ms": 100 if reading else 5000 if writing else 1000,
        "wal.sync_mode": "immediate" if host.rotational else "batch",
        "wal.segment_size_mb": 64,
        "thread_pools.recall_workers": ceil(host.workers * (2 if reading else 1)),
        "thread_pools.store_workers": max(1, floor(host.workers if writing else host.workers / 2)),
        "thread_pools.consolidation_workers": 2,
        "thread_pools.background_workers": 4,
        "lock_free.hazard_pointer_epochs": 3,
        "lock_free.memory_pool_chunk_kb": 64,
        "numa.numa_aware": host.nodes > 1,
        "numa.interleave_memory": False,
        "numa.prefer_local_node": True,
        "numa.socket_memory_mb": floor(memory_mib / host.nodes) if host.nodes > 1 else None,
        "consolidation.enabled": True,
        "consolidation.interval_seconds": 600 if writing else 300,
        "consolidation.batch_size": 5000 if host.memory > 32 * GIB else 1000,
        "consolidation.min_confidence_threshold": 0.3,
        "pattern_completion.max_depth": 3,
        "pattern_completion.max_candidates": 100,
        "monitoring.metrics_enabled": True,
        "monitoring.metrics_interval_seconds": 10,
        "monitoring.slow_query_threshold_ms": 10,
        "monitoring.trace_sampling_rate": 0.001,
    }


def ceil_log2(figure: float) -> int:
    """The exponent of the next power of two."""
    return max(1, (ceil(figure) - 1).bit_length())


@pytest.fixture(scope="module")
def builtin() -> Expert:
    return expert(load_rules())


def detected(host: Host, workload: str) -> list[Fact]:
    """What is known of a host before anything ran on it: no metric of the server, and the operator's word."""
    said: dict[str, float | str | bool] = {
        "host.cores": host.cores,
        "mem.total": host.memory_gib * GIB,
        "numa.nodes": host.nodes,
        "simd.isa": host.isa,
        "disk.rotational{device=sda}": host.rotational,
        "workload.stated_class": workload,
        "workload.memory_constrained": False,
    }
    if host.usable_gib is not None:
        said["cgroup.mem_limit"] = host.usable_gib * GIB
    if host.quota is not None:
        said["cpu.available_cores"] = host.quota
    return [fact(name, value) for name, value in said.items()]


def fact(name: str, value: float | str) -> Fact:
    reference = parse_reference(name)
    known = value if isinstance(value, str) else point(float(value))
    return Fact(reference.name, known, scope=scope_of(dict(reference.labels)), source="test", host="db1")


def fitting(builtin: Expert, facts: list[Fact]) -> dict[str, Value | None]:
    """What the formulas make of the facts, by parameter."""
    memory = builtin.diagnose(facts, Subject("db1:7432", "db1", 1.0, "guide", "target")).memory
    parameters = builtin.loaded.catalogue.parameters.values()
    return {spec.name: memory.value(spec.formula) for spec in parameters if spec.formula}


@pytest.mark.parametrize("workload", HNSW)
@pytest.mark.parametrize("name", HOSTS)
def test_the_tables_give_the_whole_configuration_of_the_wizard(builtin: Expert, name: str, workload: str) -> None:
    host = HOSTS[name]
    found = fitting(builtin, detected(host, workload))
    wanted = configuration(host, workload)
    keys = builtin.loaded.catalogue.dialects["guide"].keys
    assert {key.key for key in keys.values()} == set(wanted)
    for parameter, key in keys.items():
        value, written = found[parameter], wanted[key.key]
        if written is None or isinstance(written, str):
            assert value == written, parameter
        else:
            assert isinstance(value, tuple), parameter
            assert value[0] == value[1] == pytest.approx(float(written) * key.unit.factor), parameter


@pytest.mark.parametrize(
    ("name", "pages"), [("laptop", None), ("example 1", 3072), ("reference", 9830), ("old", None), ("container", None)]
)
def test_huge_pages_hold_the_warm_tier_where_it_is_mapped_with_them(
    builtin: Expert, name: str, pages: int | None
) -> None:
    found = fitting(builtin, detected(HOSTS[name], "balanced"))["host.huge_pages"]
    assert found == (None if pages is None else point(float(pages)))


def test_every_key_that_the_wizard_writes_is_a_parameter_with_a_formula(builtin: Expert) -> None:
    catalogue = builtin.loaded.catalogue
    parameters = {key.key: catalogue.parameters[name] for name, key in catalogue.dialects["guide"].keys.items()}
    assert [key for key in WRITTEN if key not in parameters] == []
    assert [key for key in WRITTEN if not parameters[key].formula] == []


def test_every_parameter_says_what_it_is_and_is_sized_by_a_rule_or_says_why_not(builtin: Expert) -> None:
    given = {fact for rule in builtin.loaded.rules.rules.values() for fact in rule.outputs.values()}
    for spec in builtin.loaded.catalogue.parameters.values():
        assert spec.title, spec.name
        assert spec.tradeoff, spec.name
        assert spec.restart in ("reload", "restart", "reindex", "host")
        if spec.formula:
            assert spec.formula in given, spec.name
        else:
            assert "Sizing leaves it alone: " in spec.doc, spec.name


def test_what_depends_on_nothing_fits_where_nothing_is_known_and_the_rest_stays_unknown(builtin: Expert) -> None:
    found = fitting(builtin, [])
    known = {name for name, value in found.items() if value is not None}
    assert {"config.tiers.hot_to_warm", "config.activation.max_traversal_depth", "config.wal.segment_size"} <= known
    for name in ("storage.hot_tier_size", "storage.hot_tier_shards", "storage.use_huge_pages", "hnsw.m", "hnsw.max_m",
                 "wal.sync_mode", "threads.recall_workers", "activation.avx_version", "numa.aware"):  # fmt: skip
        assert f"config.{name}" not in known


def test_the_operators_word_on_workload_and_storage_goes_before_what_is_measured(builtin: Expert) -> None:
    measured = [fact("recall.rate", 900), fact("store.rate", 100), fact("mem.available_share", 0.03),
                fact("workload.memory_constrained", 0), fact("disk.rotational{device=sda}", 1)]  # fmt: skip
    assert fitting(builtin, measured)["config.hnsw.m"] == point(8.0)
    assert fitting(builtin, measured)["config.wal.sync_mode"] == "immediate"
    said = [*measured, fact("workload.stated_class", "write-heavy"), fact("storage.stated_kind", "ssd")]
    assert fitting(builtin, said)["config.hnsw.m"] == point(16.0)
    assert fitting(builtin, said)["config.wal.sync_mode"] == "batch"
    assert fitting(builtin, said)["config.storage.mmap_populate"] == point(1.0)
