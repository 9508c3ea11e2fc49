"""The guide's three examples as printed patches: from the "before" configuration and facts to the "after" values."""

from collections.abc import Mapping

import pytest

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.facts.fact import Fact, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.render.tuning import render_tuning
from engram_diagnose.rulebase import load_rules
from engram_diagnose.tuning import Tuning, Wish, configuration_of, digest, tune

GIB = 2.0**30
NOW = 1_800_000_000.0
EVERY_HOST = {"host.arch": "x86_64", "workload.memory_constrained": 0.0, "mem.available": 8 * GIB}


@pytest.fixture(scope="module")
def builtin() -> Expert:
    return expert(load_rules())


def tuned(builtin: Expert, before: str, measured: Mapping[str, float | str]) -> Tuning:
    found = []
    for name, value in measured.items():
        reference = parse_reference(name)
        known = value if isinstance(value, str) else point(float(value))
        found.append(Fact(reference.name, known, scope=scope_of(dict(reference.labels)), source="example", time=NOW))
    answer = Answer("config", "engram.toml", NOW, "elsewhere", before, "", digest(before.encode()))
    bundle = Bundle(NOW, dialect="guide", instance="db1:7432", options={"local": True}, answers=(answer,))
    return tune(bundle, builtin, configuration_of(bundle, ""), Wish(stated=tuple(found)), now=NOW)


def lines(found: Tuning) -> list[str]:
    """The lines of the printed diff that come and go."""
    printed = render_tuning(found.document).splitlines()
    return [line for line in printed if line.startswith(("+", "-")) and line[:3] not in ("+++", "---")]


def test_example_1_cache_misses(builtin: Expert) -> None:
    before = "[storage]\nhot_tier_size_mb = 512\n\n[activation]\nprefetch_distance = 2 # nodes\n"
    measured = {
        "op.latency.p99{operation=recall}": 0.045,
        "cache.llc_miss_ratio": 0.25,
        "cache.miss_ratio": 0.25,
        "host.cores": 24,
        "mem.total": 20 * GIB,
        "activation.cache_hit_ratio": 0.62,
    }
    assert lines(tuned(builtin, before, EVERY_HOST | measured)) == [
        "-hot_tier_size_mb = 512",
        "+hot_tier_size_mb = 2048",
        "-prefetch_distance = 2 # nodes",
        "+prefetch_distance = 12 # nodes",
    ]


def test_example_2_remote_memory(builtin: Expert) -> None:
    measured = {
        "numa.nodes": 2,
        "host.sockets": 2,
        "numa.remote_access_share": 0.40,
        "ops.rate": 5000,
        "client.connections": 500,
        "op.latency.p99{operation=recall}": 0.03,
    }
    found = tuned(builtin, "[numa]\nnuma_aware = false\n", EVERY_HOST | measured)
    assert lines(found) == ["-numa_aware = false", "+numa_aware = true", "+prefer_local_node = true"]


def test_example_3_scalar_similarity(builtin: Expert) -> None:
    measured = {
        "simd.isa": "avx2",
        "simd.available": 1,
        "simd.similarity_time": 100e-6,
        "pmu.ipc": 1.1,
        "op.latency.p99{operation=recall}": 0.03,
    }
    found = tuned(builtin, "[activation]\nsimd_enabled = false\n", EVERY_HOST | measured)
    assert sorted(lines(found)) == [
        '+avx_version = "avx2"',
        "+simd_batch_size = 8",
        "+simd_enabled = true",
        "-simd_enabled = false",
    ]
