"""The guide's three before/after examples: from the *before*, the cause comes first and the advice reaches *after*."""

from typing import Any

import pytest

from engram_diagnose.engine.diagnosis import Expert, Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.rulebase import load_rules


@pytest.fixture(scope="module")
def builtin() -> Expert:
    return expert(load_rules())


def diagnose(builtin: Expert, before: dict[str, float | str]) -> dict[str, Any]:
    given = []
    for name, value in before.items():
        reference = parse_reference(name)
        known = value if isinstance(value, str) else point(float(value))
        given.append(
            Fact(reference.name, known, scope=scope_of(dict(reference.labels)), source="example", host="db1", time=1.0)
        )
    return document(builtin.diagnose(given, Subject("db1:7432", "db1", 1.0, "guide")))


def advised(found: dict[str, Any]) -> dict[str, Any]:
    """Every parameter the concluded causes set, the first-ranked cause's word first."""
    changes: dict[str, Any] = {}
    for cause in found["causes"]:
        for remedy in cause["recommend"]:
            for change in remedy["changes"]:
                changes.setdefault(change["parameter"], change["value"])
    return changes


GIB = 2.0**30
MIB = 2.0**20

EVERY_HOST = {"host.arch": "x86_64", "workload.memory_constrained": 0.0, "mem.available": 8 * GIB}


def test_example_1_cache_misses_lead_to_prefetch_12_and_a_hot_tier_of_2048_mib(builtin: Expert) -> None:
    found = diagnose(
        builtin,
        EVERY_HOST
        | {
            "op.latency.p99{operation=recall}": 0.045,
            "cache.llc_miss_ratio": 0.25,
            "cache.miss_ratio": 0.25,
            "config.activation.prefetch_distance": 2,
            "config.storage.hot_tier_size": 512 * MIB,
            "host.cores": 24,
            "mem.total": 20 * GIB,
            "activation.cache_hit_ratio": 0.62,
        },
    )
    assert found["causes"][0]["rule"] == "memory.cache-misses"
    assert advised(found)["config.activation.prefetch_distance"] == 12
    assert advised(found)["config.storage.hot_tier_size"] == 2048 * MIB


def test_example_2_remote_memory_leads_to_numa_awareness(builtin: Expert) -> None:
    found = diagnose(
        builtin,
        EVERY_HOST
        | {
            "numa.nodes": 2,
            "host.sockets": 2,
            "numa.remote_access_share": 0.40,
            "ops.rate": 5000,
            "client.connections": 500,
            "config.numa.aware": 0,
            "config.numa.prefer_local_node": 0,
            "op.latency.p99{operation=recall}": 0.03,
        },
    )
    assert found["causes"][0]["rule"] == "numa.remote-memory"
    assert advised(found)["config.numa.aware"] == 1
    assert advised(found)["config.numa.prefer_local_node"] == 1


def test_example_3_scalar_code_leads_to_the_widest_vectors_and_batches_of_eight(builtin: Expert) -> None:
    found = diagnose(
        builtin,
        EVERY_HOST
        | {
            "simd.isa": "avx2",
            "simd.available": 1,
            "config.activation.simd_enabled": 0,
            "config.activation.avx_version": "none",
            "config.activation.simd_batch_size": 1,
            "simd.similarity_time": 100e-6,
            "pmu.ipc": 1.1,
            "op.latency.p99{operation=recall}": 0.03,
        },
    )
    assert found["causes"][0]["rule"] == "simd.underutilised"
    assert advised(found)["config.activation.simd_enabled"] == 1
    assert advised(found)["config.activation.avx_version"] == "avx2"
    assert advised(found)["config.activation.simd_batch_size"] == 8


def test_a_healthy_server_concludes_nothing(builtin: Expert) -> None:
    found = diagnose(
        builtin,
        EVERY_HOST
        | {
            "op.latency.p99{operation=recall}": 0.006,
            "op.latency.p50{operation=recall}": 0.002,
            "op.latency.p99{operation=store}": 0.004,
            "ops.rate": 12000,
            "cpu.busy": 0.5,
            "cpu.busy@avg_5m": 0.5,
            "activation.cache_hit_ratio": 0.95,
        },
    )
    assert [cause["rule"] for cause in found["causes"]] == []
    assert found["symptoms"] == []
    assert found["verdict"]["state"] == "partly-tested"


def test_with_nothing_known_nothing_is_concluded_and_nothing_cleared(builtin: Expert) -> None:
    found = diagnose(builtin, {})
    assert found["causes"] == found["ruled_out"] == found["symptoms"] == []
    assert found["verdict"]["state"] == "untested"
