"""
The rulings on what the guide leaves open, each as the operator meets it: values that fit, advice, verdicts, names.

The facts of a test are written with their units, as an operator would say them; what is not said is unknown.
"""

import re
from typing import Any

import click
import pytest

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.configuration import facts_of_configuration
from engram_diagnose.collectors.parse.lines import parse_sizes
from engram_diagnose.collectors.parse.local import facts_of_local
from engram_diagnose.engine.diagnosis import Diagnosis, Expert, Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.catalogue import TARGET_SETS
from engram_diagnose.engine.facts.fact import Fact, Value, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.facts.unit import parse_quantity
from engram_diagnose.engine.language.expression import Number, leaves, walk
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.patch.edit import Assignment, edited
from engram_diagnose.rulebase import load_rules

Given = dict[str, Any]
MIB = 2.0**20

NOT_SHORT_OF_MEMORY: Given = {"mem.available_share": "50%", "workload.memory_constrained": 0}
MIX: dict[str, Given] = {
    "read-heavy": NOT_SHORT_OF_MEMORY | {"recall.rate": "900/s", "store.rate": "100/s"},
    "balanced": NOT_SHORT_OF_MEMORY | {"recall.rate": "700/s", "store.rate": "300/s"},
    "write-heavy": NOT_SHORT_OF_MEMORY | {"recall.rate": "100/s", "store.rate": "900/s"},
    "memory-constrained": {"mem.available_share": "6%", "recall.rate": "900/s", "store.rate": "100/s"},
}
SLOW_RECALL: Given = {"op.latency.p99{operation=recall}": "45 ms"}
CONTENDED: Given = {"lock.wait_mean": "1500 us", "cpu.sys_share": "46%"}
AMPLIFIED: Given = {
    "wal.bytes_written@rate_5m": "60 MB/s",
    "store.bytes@rate_5m": "10 MB/s",
    "wal.flush.p99": "9 ms",
    "config.wal.sync_mode": "immediate",
}


@pytest.fixture(scope="module")
def builtin() -> Expert:
    return expert(load_rules())


def value(builtin: Expert, name: str, said: str | float) -> Value:
    """What was said of a fact, in base units: `5 ms`, `2 ms .. 9 ms`, 12, a text."""
    spec = builtin.loaded.catalogue.spec(name)
    assert spec is not None, name
    if spec.kind == "text":
        return str(said)
    low, _, high = str(said).partition("..")
    ends = [parse_quantity(end).value for end in (low, high or low)]
    return ends[0], ends[1]


def facts(builtin: Expert, given: Given) -> list[Fact]:
    found = []
    for name, said in given.items():
        reference = parse_reference(name)
        known = value(builtin, reference.name, said)
        found.append(Fact(reference.name, known, scope=scope_of(dict(reference.labels)), source="test", host="db1"))
    return found


def diagnose(builtin: Expert, *given: Given, dialect: str = "guide", targets: str = "target") -> Diagnosis:
    said = {name: figure for part in given for name, figure in part.items()}
    return builtin.diagnose(facts(builtin, said), Subject("db1:7432", "db1", 1.0, dialect, targets))


def derived(builtin: Expert, name: str, *given: Given) -> Value | float | None:
    """What the rules make of a fact; one figure where it is a point."""
    found = diagnose(builtin, *given).memory.value(name)
    return found[0] if isinstance(found, tuple) and found[0] == found[1] else found


def changes(builtin: Expert, rule: str, *given: Given, dialect: str = "guide") -> dict[str, Any]:
    """The settings one concluded cause advises to change, with what to."""
    found = document(diagnose(builtin, *given, dialect=dialect))
    cause = next(cause for cause in found["causes"] if cause["rule"] == rule)
    return {change["parameter"]: change["value"] for remedy in cause["recommend"] for change in remedy["changes"]}


def outcome(builtin: Expert, rule: str, *given: Given, targets: str = "target") -> set[str]:
    found = diagnose(builtin, *given, targets=targets)
    return {firing.outcome for firing in found.firings if firing.rule.id == rule}


def confidence(builtin: Expert, rule: str, *given: Given) -> float:
    found = diagnose(builtin, *given)
    return next(cause.confidence.probability for cause in found.causes if cause.rule.id == rule)


# The index


@pytest.mark.parametrize(
    ("workload", "m", "construction", "search"),
    [
        ("read-heavy", 32, 400, 200),
        ("write-heavy", 16, 200, 100),
        ("balanced", 24, 300, 150),
        ("memory-constrained", 8, 100, 50),
    ],
)
def test_the_hnsw_matrix_stands_against_the_wizard(
    builtin: Expert, workload: str, m: int, construction: int, search: int
) -> None:
    assert derived(builtin, "fit.hnsw.m", MIX[workload]) == m
    assert derived(builtin, "fit.hnsw.ef_construction", MIX[workload]) == construction
    assert derived(builtin, "fit.hnsw.ef_search", MIX[workload]) == search


def test_the_limits_of_links_are_twice_m(builtin: Expert) -> None:
    thin = {"config.hnsw.m": 8, "config.hnsw.ef_construction": 100}
    advised = changes(builtin, "index.too-sparse", MIX["read-heavy"], thin)
    assert advised["config.hnsw.m"] == 32
    assert advised["config.hnsw.max_m"] == advised["config.hnsw.max_m0"] == 64


def test_index_coverage_is_a_fact_that_is_unknown_where_the_dialect_has_none(builtin: Expert) -> None:
    dialects = builtin.loaded.catalogue.dialects
    assert "index.coverage" in dialects["guide"].sources
    assert "index.coverage" not in dialects["engram-0.1"].sources
    assert outcome(builtin, "index.coverage-incomplete") == {"unknown"}
    assert outcome(builtin, "index.coverage-incomplete", {"index.coverage": "71%"}) == {"fires"}
    assert outcome(builtin, "index.coverage-incomplete", {"index.coverage": "100%"}) == {"refuted"}


# Shards and locks


@pytest.mark.parametrize(("cores", "shards"), [(1, 2), (12, 32), (16, 32), (24, 64), (64, 128)])
def test_shards_are_sized_two_a_core_in_powers_of_two(builtin: Expert, cores: int, shards: int) -> None:
    assert derived(builtin, "fit.storage.hot_tier_shards", {"host.cores": cores}) == shards


@pytest.mark.parametrize(
    ("cores", "now", "advised"),
    [(16, 16, 64), (12, 24, 64), (16, 63, 64), (16, 64, 128), (16, 128, 256), (16, 100, 256)],
)
def test_contention_asks_for_four_shards_a_core_or_double_and_never_for_fewer(
    builtin: Expert, cores: int, now: int, advised: int
) -> None:
    host = {"host.cores": cores, "config.storage.hot_tier_shards": now}
    assert changes(builtin, "locks.hot-tier-contention", CONTENDED, host) == {"config.storage.hot_tier_shards": advised}


def test_shards_that_nobody_set_are_taken_to_be_the_dialects_own(builtin: Expert) -> None:
    guide = CONTENDED | {"host.cores": 16, "telemetry.dialect": "guide"}
    release = CONTENDED | {"host.cores": 16, "telemetry.dialect": "engram-0.1"}
    asked = "config.storage.hot_tier_shards"
    assert changes(builtin, "locks.hot-tier-contention", guide)[asked] == 64
    assert changes(builtin, "locks.hot-tier-contention", release, dialect="engram-0.1")[asked] == 128


def test_a_hot_key_is_not_answered_with_more_shards(builtin: Expert) -> None:
    hot = {"lock.hot_address_top_share": "90%", "host.cores": 16, "config.storage.hot_tier_shards": 64}
    found = document(diagnose(builtin, CONTENDED, hot))
    cause = next(cause for cause in found["causes"] if cause["rule"] == "locks.hot-key")
    assert not any(remedy["changes"] for remedy in cause["recommend"])
    assert "more shards do not help" in cause["recommend"][0]["investigate"]
    assert "locks.hot-tier-contention" in {masked["rule"] for masked in found["masked"]}


def test_contention_is_the_traced_wait_and_never_a_share_of_futex_time(builtin: Expert) -> None:
    shares = {"lock.futex_wait_share": "80%", "lock.spin_symbol_share": "40%", "sched.top_wchan": "futex_wait_queue"}
    assert outcome(builtin, "locks.hot-tier-contention", shares) == {"unknown"}
    calm = {"cpu.sys_share": "10%"}
    assert outcome(builtin, "locks.hot-tier-contention", shares, calm, {"lock.wait_mean": "90 us"}) == {"refuted"}
    assert outcome(builtin, "locks.hot-tier-contention", calm, {"lock.wait_mean": "1100 us"}) == {"fires"}


# The hot tier


@pytest.mark.parametrize(
    ("memory", "size"), [("1 GiB", 256), ("20 GiB", 2048), ("64 GiB", 6553), ("80 GiB", 8192), ("512 GiB", 8192)]
)
def test_the_hot_tier_is_sized_a_tenth_of_memory_within_256_and_8192_mib(
    builtin: Expert, memory: str, size: int
) -> None:
    assert derived(builtin, "fit.storage.hot_tier_size", {"mem.total": memory}) == size * MIB


@pytest.mark.parametrize(
    ("memory", "now", "advised"),
    [("20 GiB", "512 MiB", 2048), ("20 GiB", "1500 MiB", 3000), ("128 GiB", "6 GiB", 8192), ("8 GiB", "2 GiB", 3840)],
)
def test_a_hot_tier_that_is_too_small_is_doubled_to_the_formula_the_cap_and_the_budget(
    builtin: Expert, memory: str, now: str, advised: int
) -> None:
    missing = SLOW_RECALL | {"activation.cache_hit_ratio": "60%", "mem.available_share": "40%"}
    size = {"mem.total": memory, "config.storage.hot_tier_size": now}
    asked = changes(builtin, "tiers.hot-tier-too-small", missing, size)
    assert asked["config.storage.hot_tier_size"] == pytest.approx(advised * MIB, abs=MIB)


def test_tiers_and_buffers_together_stay_below_four_fifths_of_the_cgroups_limit(builtin: Expert) -> None:
    tiers = {"config.storage.warm_tier_size": "3 GiB", "config.storage.hot_tier_size": "2 GiB"}
    limited = {"mem.total": "128 GiB", "cgroup.mem_limit": "8 GiB", "mem.available_share": "30%"}
    missing = SLOW_RECALL | {"activation.cache_hit_ratio": "60%"}
    asked = changes(builtin, "tiers.hot-tier-too-small", missing, tiers, limited)["config.storage.hot_tier_size"]
    assert asked > 2 * 1024 * MIB
    assert asked + 3 * 1024 * MIB + 256 * MIB <= 0.8 * 8 * 1024 * MIB


def test_where_memory_is_short_the_hot_tier_is_not_enlarged(builtin: Expert) -> None:
    missing = SLOW_RECALL | {"activation.cache_hit_ratio": "60%", "mem.total": "64 GiB", "mem.available_share": "3%"}
    now = {"config.storage.hot_tier_size": "512 MiB"}
    assert "config.storage.hot_tier_size" not in changes(builtin, "tiers.hot-tier-too-small", missing, now)


@pytest.mark.parametrize(("cores", "nodes"), [(16, 8), (17, 12), (32, 12), (33, 16)])
def test_the_first_examples_prefetch_of_twelve_is_that_of_17_to_32_cores(
    builtin: Expert, cores: int, nodes: int
) -> None:
    assert derived(builtin, "fit.activation.prefetch_distance", {"host.cores": cores}) == nodes


# Thresholds


def test_more_than_a_tenth_of_cache_misses_supports_and_more_than_a_fifth_supports_strongly(builtin: Expert) -> None:
    rule = "memory.cache-misses"
    assert outcome(builtin, rule, {"cache.miss_ratio": "10%"}) == {"refuted"}
    some = confidence(builtin, rule, {"cache.miss_ratio": "15%"})
    many = confidence(builtin, rule, {"cache.miss_ratio": "21%"})
    assert some < 0.6 < 0.9 < many
    assert outcome(builtin, rule) == {"unknown"}


def test_remote_memory_is_a_share_and_a_count_alone_says_nothing(builtin: Expert) -> None:
    rule, two = "numa.remote-memory", {"numa.nodes": 2}
    assert outcome(builtin, rule, two, {"numa.remote_access_rate": "2500000/s"}) == {"unknown"}
    assert outcome(builtin, rule, two, {"numa.remote_access_share": "20%"}) == {"refuted"}
    some = confidence(builtin, rule, two, {"numa.remote_access_share": "30%"})
    many = confidence(builtin, rule, two, {"numa.remote_access_share": "41%"})
    assert some < many
    assert many > 0.9


@pytest.mark.parametrize(
    ("limits", "limit", "source"),
    [
        ({"host.attainable.memory_bandwidth": "62 GB/s", "membw.theoretical": "94 GB/s"}, 62e9, "attained"),
        ({"membw.theoretical": "94 GB/s"}, 94e9, "dimms"),
        ({}, 100e9, "guide"),
    ],
)
def test_bandwidth_is_held_against_what_this_host_attained_before_what_a_book_says(
    builtin: Expert, limits: Given, limit: float, source: str
) -> None:
    found = diagnose(builtin, limits, {"membw.total": "90 GB/s"})
    assert found.memory.value("membw.limit") == point(limit)
    shown = next(item for item in document(found)["derived"] if item["rule"] == "attainable.memory-bandwidth")
    assert shown["values"]["membw.limit_source"] == source


def test_a_figure_that_is_missing_neither_fires_nor_clears_and_is_named(builtin: Expert) -> None:
    found = document(diagnose(builtin, {"op.latency.p99{operation=store}": "4 ms"}))
    assert "memory.cache-misses" in {item["rule"] for item in found["not_testable"]}
    assert "memory.cache-misses" not in {item["rule"] for item in found["ruled_out"] + found["causes"]}
    missing = {fact["fact"] for item in found["symptoms_not_tested"] for fact in item["missing"]}
    assert "op.latency.p99{operation=recall}" in missing


def test_without_traffic_there_is_no_read_share_of_seven_in_ten(builtin: Expert) -> None:
    idle = NOT_SHORT_OF_MEMORY | {"recall.rate": "0/s", "store.rate": "0/s"}
    assert derived(builtin, "workload.read_share", idle) is None
    assert derived(builtin, "workload.class", idle) is None
    assert derived(builtin, "fit.hnsw.m", idle) is None


def test_memory_constrained_is_less_than_a_tenth_available_or_the_operators_word(builtin: Expert) -> None:
    mix = {"recall.rate": "700/s", "store.rate": "300/s", "workload.memory_constrained": 0}
    assert derived(builtin, "workload.class", mix, {"mem.available_share": "10%"}) == "balanced"
    assert derived(builtin, "workload.class", mix, {"mem.available_share": "9.9%"}) == "memory-constrained"
    said = mix | {"mem.available_share": "60%", "workload.memory_constrained": 1}
    assert derived(builtin, "workload.class", said) == "memory-constrained"


def test_tier_thresholds_are_expectations_only_where_accesses_are_counted(builtin: Expert) -> None:
    tiers = {"tier.memories{tier=hot}": 1000, "tier.memories{tier=warm}": 5000}
    per_hour = {"hot_to_warm": 10, "warm_to_cold": 1 / 24, "cold_to_warm": 5, "warm_to_hot": 20}
    for threshold, accesses in per_hour.items():
        assert derived(builtin, f"fit.tiers.{threshold}", tiers) == pytest.approx(accesses / 3600)
    assert outcome(builtin, "tiers.hot-memories-in-warm", tiers) == {"unknown"}
    counted = {"tier.accesses_per_memory{tier=warm}": "45/h"}
    assert outcome(builtin, "tiers.hot-memories-in-warm", tiers, counted) == {"fires"}
    assert "config.tiers.warm_to_hot" in builtin.loaded.catalogue.parameters


# Sizing by workload, cores and device


@pytest.mark.parametrize(
    ("workload", "flush", "buffer", "level", "interval"),
    [("read-heavy", 0.1, 64, 3, 300), ("balanced", 1, 64, 3, 300), ("write-heavy", 5, 128, 1, 600)],
)
def test_the_wizards_settings_by_workload_stand_as_tables(
    builtin: Expert, workload: str, flush: float, buffer: int, level: int, interval: int
) -> None:
    assert derived(builtin, "fit.wal.flush_interval", MIX[workload]) == flush
    assert derived(builtin, "fit.wal.buffer_size", MIX[workload]) == buffer * MIB
    assert derived(builtin, "fit.storage.cold_tier_compression_level", MIX[workload]) == level
    assert derived(builtin, "fit.consolidation.interval", MIX[workload]) == interval


@pytest.mark.parametrize(
    ("workload", "recall", "store"), [("read-heavy", 32, 8), ("balanced", 16, 8), ("write-heavy", 16, 16)]
)
def test_the_wizards_worker_pools_stand_as_a_table(builtin: Expert, workload: str, recall: int, store: int) -> None:
    host = {"host.cores": 16}
    assert derived(builtin, "fit.threads.recall_workers", MIX[workload], host) == recall
    assert derived(builtin, "fit.threads.store_workers", MIX[workload], host) == store


def test_pools_are_sized_by_the_cores_a_quota_leaves(builtin: Expert) -> None:
    quota = MIX["balanced"] | {"host.cores": 64, "cpu.available_cores": 4}
    assert derived(builtin, "fit.threads.recall_workers", quota) == 4
    crowded = quota | {"config.threads.recall_workers": 64, "sched.runq_wait_share": "70%"}
    assert changes(builtin, "cpu.workers-oversubscribed", crowded)["config.threads.recall_workers"] == 4


@pytest.mark.parametrize(
    ("device", "sync", "populate"), [("disk.rotational{device=sda}", "immediate", 0), ("", "batch", 1)]
)
def test_the_device_under_the_data_directory_decides_about_the_log_and_the_mapping(
    builtin: Expert, device: str, sync: str, populate: int
) -> None:
    under_the_data = {device: 1} if device else {"disk.rotational{device=nvme0n1}": 0}
    assert derived(builtin, "fit.wal.sync_mode", under_the_data) == sync
    assert derived(builtin, "fit.storage.mmap_populate", under_the_data) == populate
    # What an exporter says of all disks of the host does not enter.
    assert "disk.rotational" not in builtin.loaded.catalogue.dialects["node-exporter"].sources


@pytest.mark.parametrize(
    ("cpuinfo", "enabled", "version"),
    [
        ("vendor_id\t: GenuineIntel\nflags\t: fpu avx2 avx512f avx512bw", 1, "avx512"),
        ("vendor_id\t: AuthenticAMD\nflags\t: fpu avx2", 1, "avx2"),
        ("CPU implementer\t: 0x41\nFeatures\t: fp asimd", 1, "none"),
        ("CPU implementer\t: 0x41\nFeatures\t: fp asimd sve", 1, "none"),
        ("vendor_id\t: GenuineIntel\nflags\t: fpu sse2", 0, "none"),
    ],
)
def test_vectors_are_read_from_the_cpus_flags_and_neon_and_sve_count(
    builtin: Expert, cpuinfo: str, enabled: int, version: str
) -> None:
    said = facts_of_local([Answer("host", "/proc/cpuinfo", 1.0, "db1", f"processor\t: 0\n{cpuinfo}\n")])
    memory = builtin.diagnose([fact for fact in said if fact.known], Subject("db1:7432", "db1", 1.0)).memory
    assert memory.value("fit.activation.simd_enabled") == point(enabled)
    assert memory.value("fit.activation.avx_version") == version


# The write-ahead log


@pytest.mark.parametrize("workload", ["read-heavy", "balanced", "write-heavy"])
def test_a_concluded_write_amplification_beats_the_table(builtin: Expert, workload: str) -> None:
    now = {"config.wal.flush_interval": "100 ms", "config.wal.buffer_size": "200 MiB"}
    assert changes(builtin, "storage.wal-write-amplification", AMPLIFIED, MIX[workload], now) == {
        "config.wal.sync_mode": "batch",
        "config.wal.flush_interval": 1.0,
        "config.wal.buffer_size": 256 * MIB,
    }


def test_an_interval_that_is_longer_already_is_not_shortened_and_one_that_nobody_set_becomes_a_second(
    builtin: Expert,
) -> None:
    rule = "storage.wal-write-amplification"
    assert "config.wal.flush_interval" not in changes(builtin, rule, AMPLIFIED, {"config.wal.flush_interval": "5 s"})
    assert changes(builtin, rule, AMPLIFIED)["config.wal.flush_interval"] == 1.0


def test_batching_is_never_advised_without_saying_what_can_be_lost(builtin: Expert) -> None:
    batching = [
        recommendation
        for rule in builtin.loaded.rules.rules.values()
        for recommendation in rule.recommend
        if any(setting.parameter == "config.wal.sync_mode" for setting in recommendation.settings)
    ]
    assert len(batching) >= 4
    for recommendation in batching:
        assert "acknowledged writes" in recommendation.tradeoff
        assert "power failure" in recommendation.tradeoff


# Targets


def test_three_named_sets_of_targets_stand_beside_each_other(builtin: Expert) -> None:
    targets = {(item.name, str(item.scope)): item for item in builtin.loaded.catalogue.targets}
    recall = targets["op.latency.p99", "{operation=recall}"]
    store = targets["op.latency.p99", "{operation=store}"]
    assert (recall.floor, recall.target, recall.baseline) == (0.05, 0.01, 0.008)
    assert (store.floor, store.target, store.baseline) == (0.1, 0.01, 0.005)
    rates = {key: item for key, item in targets.items() if key[0] in ("op.rate", "ops.rate")}
    assert rates["op.rate", "{operation=store}"].floor == 1000
    assert rates["op.rate", "{operation=store}"].baseline == 15000
    assert rates["op.rate", "{operation=recall}"].floor == 5000
    assert rates["op.rate", "{operation=recall}"].baseline == 25000
    assert (rates["ops.rate", ""].target, rates["ops.rate", ""].baseline) == (10000, 18000)


@pytest.mark.parametrize(("targets", "verdict"), [("floor", "refuted"), ("target", "fires"), ("baseline", "fires")])
def test_the_chosen_set_decides_and_is_printed_with_the_verdict(builtin: Expert, targets: str, verdict: str) -> None:
    assert outcome(builtin, "symptom.recall-slow", SLOW_RECALL, targets=targets) == {verdict}
    found = document(diagnose(builtin, SLOW_RECALL, targets=targets))
    assert found["subject"]["target_set"] == targets


def test_the_scripts_hundred_milliseconds_for_stores_are_part_of_the_floor(builtin: Expert) -> None:
    for latency, verdict in (("100 ms", "refuted"), ("101 ms", "fires")):
        slow = {"op.latency.p99{operation=store}": latency}
        assert outcome(builtin, "symptom.store-slow", slow, targets="floor") == {verdict}


def test_where_hops_are_labelled_each_kind_is_held_to_its_own_target(builtin: Expert) -> None:
    recalls = {
        "op.latency.p99{operation=recall, hops=single}": "6 ms",
        "op.latency.p99{operation=recall, hops=multi}": "30 ms",
    }
    assert outcome(builtin, "symptom.recall-slow", recalls) == {"refuted"}
    activations = {"op.latency.p99{operation=activation, hops=single}": "12 ms"}
    assert outcome(builtin, "symptom.activation-slow", activations) == {"fires"}


def test_without_hops_a_recall_counts_as_one_hop_and_activation_and_completion_as_several(builtin: Expert) -> None:
    assert outcome(builtin, "symptom.recall-slow", {"op.latency.p99{operation=recall}": "12 ms"}) == {"fires"}
    for operation in ("activation", "pattern_completion"):
        rule = f"symptom.{operation.replace('_', '-')}-slow"
        assert outcome(builtin, rule, {f"op.latency.p99{{operation={operation}}}": "12 ms"}) == {"unknown"}
        assert outcome(builtin, rule, {f"op.latency.p999{{operation={operation}}}": "60 ms"}) == {"fires"}
    over_several = {"op.latency.p99{operation=activation}": "20 ms", "op.latency.p999{operation=activation}": "40 ms"}
    assert outcome(builtin, "symptom.activation-slow", over_several, targets="baseline") == {"refuted"}


# Size and regression


@pytest.mark.parametrize(("nodes", "latency", "rate"), [(1, 2, 30000), (1_000_000, 5, 15000), (9_000_000, 5.477, 3000)])
def test_the_size_model_gives_expected_figures(builtin: Expert, nodes: int, latency: float, rate: float) -> None:
    assert derived(builtin, "expected.op_latency", {"index.nodes": nodes}) == pytest.approx(latency / 1000, rel=1e-3)
    assert derived(builtin, "expected.throughput", {"index.nodes": nodes}) == pytest.approx(rate, rel=1e-3)


def test_the_measured_latency_over_the_expected_one_is_evidence(builtin: Expert) -> None:
    grown = {"index.nodes": 2_000_000, "index.nodes@baseline": 1_000_000}
    of_its_size = confidence(builtin, "regression.data-grew", grown, {"op.latency.p50{operation=recall}": "5 ms"})
    far_above = confidence(builtin, "regression.data-grew", grown, {"op.latency.p50{operation=recall}": "30 ms"})
    assert far_above < of_its_size


@pytest.mark.parametrize(
    ("rule", "worse", "in_the_noise"),
    [
        (
            "symptom.p99-regressed",
            {
                "op.latency.p99{operation=recall}": "14 ms",
                "op.latency.p99@min_5m{operation=recall}": "11 ms",
                "op.latency.p99@baseline{operation=recall}": "9 ms",
            },
            {"op.latency.p99@min_5m{operation=recall}": "8.5 ms"},
        ),
        (
            "symptom.throughput-regressed",
            {
                "ops.rate": "7000/s",
                "ops.rate@max_5m": "7600/s",
                "ops.rate@baseline": "12000/s",
                "client.connections": 400,
                "client.connections@baseline": 400,
            },
            {"ops.rate@max_5m": "12500/s"},
        ),
        (
            "symptom.cache-hit-regressed",
            {"activation.cache_hit_ratio@max_5m": "60%", "activation.cache_hit_ratio@baseline": "91%"},
            {"activation.cache_hit_ratio@max_5m": "74%"},
        ),
        (
            "symptom.memory-overhead-regressed",
            {
                "data.memory_bytes@min_5m": "26 GiB",
                "data.bytes": "10 GiB",
                "data.memory_bytes@baseline": "15 GiB",
                "data.bytes@baseline": "10 GiB",
            },
            {"data.memory_bytes@min_5m": "19 GiB"},
        ),
    ],
)
def test_a_regression_counts_only_outside_the_noise_of_a_saved_baseline(
    builtin: Expert, rule: str, worse: Given, in_the_noise: Given
) -> None:
    assert outcome(builtin, rule, worse) == {"fires"}
    assert outcome(builtin, rule, worse, in_the_noise) == {"refuted"}
    without_baseline = {name: figure for name, figure in worse.items() if "@baseline" not in name}
    assert outcome(builtin, rule, without_baseline) == {"unknown"}


# Names and units


@pytest.mark.parametrize(
    ("written", "parameter", "figure"),
    [
        ("[storage]\nhot_tier_size_mb = 512", "config.storage.hot_tier_size", 512 * MIB),
        ("[hot_tier]\nsize_mb = 512", "config.storage.hot_tier_size", 512 * MIB),
        ("[consolidation]\nbatch_size = 500", "config.consolidation.batch_size", 500),
        ("[consolidation]\nmax_batch_size = 500", "config.consolidation.batch_size", 500),
    ],
)
def test_of_two_names_of_a_setting_one_stands_and_the_other_is_read_as_well(
    builtin: Expert, written: str, parameter: str, figure: float
) -> None:
    catalogue = builtin.loaded.catalogue
    file = Answer("config", "/etc/engram/engram.toml", 1.0, "db1", written)
    read = {fact.name: fact.value for fact in facts_of_configuration(file, catalogue.dialects["guide"], catalogue)}
    assert read[parameter] == point(figure)
    keys = catalogue.dialects["guide"].keys
    assert keys["config.storage.hot_tier_size"].key == "storage.hot_tier_size_mb"
    assert keys["config.consolidation.batch_size"].key == "consolidation.batch_size"


def test_advice_is_written_under_the_name_that_stands(builtin: Expert) -> None:
    missing = SLOW_RECALL | {"activation.cache_hit_ratio": "60%", "mem.total": "20 GiB"}
    found = document(diagnose(builtin, missing, {"config.storage.hot_tier_size": "512 MiB"}))
    lines = [
        change["write"] for cause in found["causes"] for remedy in cause["recommend"] for change in remedy["changes"]
    ]
    assert "storage.hot_tier_size_mb = 2048" in lines


@pytest.mark.parametrize(("fact", "quantile"), [("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99"), ("p999", "0.999")])
def test_quantiles_are_of_summed_rates_and_never_of_lifetime_counters(
    builtin: Expert, fact: str, quantile: str
) -> None:
    asked = builtin.loaded.catalogue.dialects["guide"].sources[f"op.latency.{fact}"].promql
    metric = "engram_memory_operation_duration_seconds_bucket"
    assert asked == f"histogram_quantile({quantile}, sum by (le, operation, memory_space) (rate({metric}[$window])))"


def test_no_expression_is_grouped_behind_its_closing_bracket(builtin: Expert) -> None:
    for dialect in builtin.loaded.catalogue.dialects.values():
        for source in dialect.sources.values():
            assert not re.search(r"^histogram_quantile.*\)\s*by\s*\(", source.promql)


def test_foreign_numa_allocations_have_the_exporters_own_name(builtin: Expert) -> None:
    asked = builtin.loaded.catalogue.dialects["node-exporter"].sources["numa.foreign_alloc_rate"].promql
    assert "node_memory_numa_numa_foreign_total" in asked


def test_memory_is_in_bytes_wherever_it_comes_from_and_in_one_unit_on_display(builtin: Expert) -> None:
    resident = parse_sizes("VmRSS:\t 4194304 kB\n")["VmRSS"]
    found = document(diagnose(builtin, {"mem.rss": f"{resident} B", "config.storage.hot_tier_size": "4096 MiB"}))
    shown = {fact["name"]: (fact["value"], fact["text"]) for fact in found["facts"]}
    assert shown["mem.rss"] == shown["config.storage.hot_tier_size"] == (4096 * MIB, "4 GiB")


def test_advice_on_a_key_that_the_release_ignores_says_so(builtin: Expert) -> None:
    found = document(diagnose(builtin, CONTENDED, {"host.cores": 16}, dialect="engram-0.1"))
    asked = [change for cause in found["causes"] for remedy in cause["recommend"] for change in remedy["changes"]]
    assert asked
    assert all(change["ignored_by_release"] and change["write"] is None for change in asked)


# The rules themselves

_COUNTED_OR_THERE = {
    "host.sockets >= 2",
    "host.sockets < 2",
    "numa.nodes >= 2",
    "host.swap_total > 0 B",
    "activation.breaker_state >= 1",
    "telemetry.ignored_keys > 0",
    "telemetry.absent_metrics > 0",
    "telemetry.dropped_updates > 0",
    "alert.count > 0",
    # One and a share of it.
    "op.latency.p99 > (1 + $rise) * op.latency.p99@baseline",
    "ops.rate < (1 - $fall) * ops.rate@baseline",
}


def test_every_limit_a_gate_compares_with_is_a_parameter_that_a_site_can_set(builtin: Expert) -> None:
    bare = {
        leaf.text
        for rule in builtin.loaded.rules.rules.values()
        for condition in (rule.applies, rule.when)
        if condition is not None and rule.kind in ("cause", "symptom")
        for leaf in leaves(condition)
        for part in walk(leaf.test)
        if isinstance(part, Number) and part.kind == "number" and not part.parameter
    }
    assert bare == _COUNTED_OR_THERE


def test_every_parameter_says_what_it_is(builtin: Expert) -> None:
    for rule in builtin.loaded.rules.rules.values():
        assert all(parameter.doc for parameter in rule.params.values()), rule.id


# The benchmark's three sets


def test_the_three_sets_are_those_that_bench_offers_and_target_is_the_usual_one() -> None:
    from engram_diagnose.cli.bench import command

    option = next(one for one in command.params if one.name == "targets")
    assert isinstance(option.type, click.Choice)
    assert (tuple(option.type.choices), option.default) == (TARGET_SETS, "target")


@pytest.mark.parametrize(
    ("name", "figure", "operation", "limit"),
    [
        ("floor", "op.rate", "store", 1000), ("floor", "op.rate", "recall", 5000),
        ("floor", "op.latency.p99", "store", 0.1), ("floor", "op.latency.p99", "recall", 0.05),
        ("target", "op.latency.p99", "recall", 0.01), ("target", "ops.rate", "", 10_000),
        ("baseline", "op.rate", "store", 15_000), ("baseline", "op.rate", "recall", 25_000),
        ("baseline", "ops.rate", "", 18_000), ("baseline", "ops.burst_rate", "", 50_000),
    ],
)  # fmt: skip
def test_each_set_is_what_the_ruling_says(
    name: str, figure: str, operation: str, limit: float, builtin: Expert
) -> None:
    from engram_diagnose.bench.verdict import set_limit

    labels = {"operation": operation} if operation else {}
    assert set_limit(builtin.loaded.catalogue, name, figure, labels) == pytest.approx(limit)


def test_a_patch_changes_only_the_keys_it_advises() -> None:
    before = b"# mine\n[wal]\nmine = 1  # kept\nsync_mode = 'immediate'  # why\n\n[else]\nx = { y = 2 }\n"
    after = edited(before, [Assignment("wal.sync_mode", "batch")], name="engram.toml")
    assert after == before.replace(b"'immediate'", b"'batch'")


def test_the_wizard_is_an_option_of_tune() -> None:
    from engram_diagnose.cli.tune import command

    assert "interactive" in {option.name for option in command.params}
