"""
Advice by what was measured on this host, and by the guide's figures where nothing was.

The facts of a test are written with their units; what is not said is unknown.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from engram_diagnose.engine.diagnosis import Diagnosis, Expert, Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Unknown, Value, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.facts.unit import parse_quantity
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.rulebase import load_rules

Given = Mapping[str, Any]

HOST: Given = {"host.cores": 24, "mem.usable": "20 GiB", "simd.isa": "avx2", "simd.available": 1}
SLOW_RECALL: Given = {"op.latency.p99{operation=recall}": "45 ms"}
MISSING: Given = SLOW_RECALL | {
    "cache.llc_miss_ratio": "25%", "config.activation.prefetch_distance": 2, "cpu.busy": "60%",
}  # fmt: skip
SCALAR: Given = SLOW_RECALL | {"config.activation.simd_enabled": 0, "config.activation.simd_batch_size": 1}
CONTENDED: Given = {
    "lock.wait_mean": "1500 us", "cpu.sys_share": "46%", "config.storage.hot_tier_shards": 48, "host.cores": 24,
}  # fmt: skip
AMPLIFIED: Given = {
    "wal.bytes_written@rate_5m": "60 MB/s", "store.bytes@rate_5m": "10 MB/s", "wal.flush.p99": "9 ms",
    "config.wal.sync_mode": "immediate", "op.latency.p99{operation=store}": "20 ms",
}  # fmt: skip


@pytest.fixture(scope="module")
def builtin() -> Expert:
    return expert(load_rules())


def facts(builtin: Expert, *given: Given) -> list[Fact]:
    found = []
    for name, said in {name: said for one in given for name, said in one.items()}.items():
        reference = parse_reference(name)
        spec = builtin.loaded.catalogue.spec(reference.name)
        assert spec is not None, name
        value: Value = str(said) if spec.kind == "text" else point(parse_quantity(str(said)).value)
        found.append(Fact(reference.name, value, scope=scope_of(dict(reference.labels))))
    return found


def diagnose(builtin: Expert, *given: Given) -> Diagnosis:
    return builtin.diagnose(facts(builtin, *given), Subject("db1:7432", "db1", 1.0, "guide", "target"))


def derived(builtin: Expert, name: str, *given: Given) -> Value | float | None:
    """What the rules make of a fact; one figure where it is a point."""
    found = diagnose(builtin, *given).memory.value(name)
    return found[0] if isinstance(found, tuple) and found[0] == found[1] else found


def recommended(builtin: Expert, rule: str, *given: Given) -> list[dict[str, Any]]:
    """What a concluded cause recommends, masked or not."""
    found = diagnose(builtin, *given)
    concluded = [*found.causes, *(one.cause for one in found.masked)]
    assert rule in {cause.rule.id for cause in concluded}
    shown = document(found)
    return next((cause["recommend"] for cause in shown["causes"] if cause["rule"] == rule), [])


def changes(builtin: Expert, rule: str, *given: Given) -> dict[str, Any]:
    """The settings that a cause would change, and to what."""
    listed = recommended(builtin, rule, *given)
    return {change["parameter"]: change["value"] for remedy in listed for change in remedy["changes"]}


def told(builtin: Expert, rule: str, *given: Given) -> str:
    """What a cause asks for besides settings, and why."""
    listed = [one for one in recommended(builtin, rule, *given) if one["investigate"]]
    return " ".join(f"{one['investigate']}: {one['because']}" for one in listed)


def confidence(builtin: Expert, rule: str, *given: Given) -> float:
    found = diagnose(builtin, *given)
    return next(cause.confidence.probability for cause in found.causes if cause.rule.id == rule)


# Where nothing was measured


GUIDE: Given = {
    "fit.activation.prefetch_distance": 12,
    "fit.activation.prefetch_nearest": 4,
    "fit.activation.prefetch_farthest": 16,
    "fit.activation.prefetch_source": "guide",
    "fit.activation.prefetch_pays": 1,
    "fit.activation.simd_batch_size": 8,
    "fit.activation.simd_batch_pays": 1,
    "fit.activation.simd_enabled": 1,
    "fit.activation.avx_version": "avx2",
    "fit.storage.hot_tier_shards": 64,
    "fit.storage.hot_tier_shards_contended": 128,
    "fit.storage.more_shards": "pay",
    "fit.wal.grouping_pays": 1,
    "fit.wal.batch_interval": 1,
    "fit.wal.batch_buffer": 128 * 2**20,
    "fit.wal.sync_mode": "batch",
    "fit.storage.hot_tier_size": 2048 * 2**20,
}
"""What the guide has for a host of 24 cores and 20 GiB with an SSD."""


@pytest.mark.parametrize("name", GUIDE)
@pytest.mark.parametrize("looked_for", [False, True])
def test_where_nothing_was_measured_the_guides_figures_stand(builtin: Expert, name: str, looked_for: bool) -> None:
    known = facts(builtin, HOST, {"disk.rotational{device=nvme0n1}": 0})
    if looked_for:
        nobody = Unknown(Reason.NOT_COLLECTED, "nobody has measured this host")
        measurable = [fact for fact in builtin.loaded.catalogue.facts if fact.startswith("host.attainable.")]
        known += [Fact(fact, None, Status.UNKNOWN, unknown=nobody) for fact in measurable]
    found = builtin.diagnose(known, Subject("db1:7432", "db1", 1.0, "guide", "target")).memory.value(name)
    wanted = GUIDE[name]
    assert found == (wanted if isinstance(wanted, str) else point(float(wanted)))


def test_without_a_measurement_the_causes_advise_what_the_guide_does(builtin: Expert) -> None:
    assert changes(builtin, "memory.cache-misses", MISSING, HOST) == {"config.activation.prefetch_distance": 12}
    assert changes(builtin, "simd.underutilised", SCALAR, HOST) == {
        "config.activation.simd_enabled": True, "config.activation.simd_batch_size": 8,
        "config.activation.avx_version": "avx2",
    }  # fmt: skip
    assert changes(builtin, "locks.hot-tier-contention", CONTENDED) == {"config.storage.hot_tier_shards": 128}
    assert changes(builtin, "storage.wal-write-amplification", AMPLIFIED)["config.wal.sync_mode"] == "batch"


# Prefetching and batches


def test_the_measured_prefetch_distance_goes_before_the_guides_and_each_says_which_it_is(builtin: Expert) -> None:
    measured = {"host.attainable.prefetch_distance": 4, "host.attainable.prefetch_gain": 1.3}
    assert changes(builtin, "memory.cache-misses", MISSING, HOST, measured) == {
        "config.activation.prefetch_distance": 4
    }
    said = [one["because"] for one in recommended(builtin, "memory.cache-misses", MISSING, HOST, measured)]
    assert "measured on this host" in said[0]
    said = [one["because"] for one in recommended(builtin, "memory.cache-misses", MISSING, HOST)]
    assert "the guide's figures, since nobody measured" in said[0]


@pytest.mark.parametrize("measured", [
    {"host.attainable.prefetch_gain": 1.02, "host.attainable.prefetch_distance": 2},
    {"host.attainable.prefetch_gain": 0.9},
    {"host.attainable.prefetch_distance": 0},
])  # fmt: skip
def test_where_prefetching_gains_nothing_no_distance_is_advised(builtin: Expert, measured: Given) -> None:
    given = (MISSING, HOST, measured)
    assert "config.activation.prefetch_distance" not in changes(builtin, "memory.cache-misses", *given)
    assert derived(builtin, "fit.activation.prefetch_distance", *given) is None
    verdicts = {firing.rule.id: firing.outcome for firing in diagnose(builtin, *given).firings}
    assert verdicts["activation.prefetch-out-of-range"] == "not-applicable"
    assert verdicts["fit.prefetch"] == "not-applicable"


def test_a_distance_as_near_as_was_measured_to_do_is_not_out_of_range(builtin: Expert) -> None:
    near = {"config.activation.prefetch_distance": 2}
    measured = {"host.attainable.prefetch_distance": 1, "host.attainable.prefetch_gain": 1.28}
    for given, outcome in (((near,), "fires"), ((near, measured), "refuted")):
        verdicts = {firing.rule.id: firing.outcome for firing in diagnose(builtin, HOST, *given).firings}
        assert verdicts["activation.prefetch-out-of-range"] == outcome


def test_the_best_batch_is_the_measured_one_but_never_less_than_fills_the_lanes(builtin: Expert) -> None:
    for best, advised in ((16, 16), (4, 8), (64, 64)):
        measured = {"host.attainable.similarity_batch": best, "host.attainable.similarity_batch_gain": 1.6}
        found = changes(builtin, "simd.underutilised", SCALAR, HOST, measured)
        assert found["config.activation.simd_batch_size"] == advised


def test_where_batches_gain_nothing_vectors_are_still_advised_and_batches_are_not(builtin: Expert) -> None:
    found = changes(builtin, "simd.underutilised", SCALAR, HOST, {"host.attainable.similarity_batch_gain": 1.01})
    assert found["config.activation.simd_enabled"] == 1
    assert "config.activation.simd_batch_size" not in found


def test_what_vectors_relieve_is_what_they_were_measured_to_gain_here(builtin: Expert) -> None:
    hot = {"simd.embedding_symbol_share": "80%", "cpu.busy": "60%"}
    relieved = []
    for scalar in (1_000_000, 8_000_000):
        rates = {
            "host.attainable.similarity_rate": "10000000/s",
            "host.attainable.scalar_similarity_rate": f"{scalar}/s",
        }
        found = diagnose(builtin, SCALAR, HOST, hot, rates).causes
        relieved.append(next(one for one in found if one.rule.id == "simd.underutilised").impact.middle)
    # 80 % of 45 ms, nine and two tenths of which vectors take away, of the 35 ms over the target.
    assert relieved == pytest.approx([0.8 * 45 * 0.9 / 35, 0.8 * 45 * 0.2 / 35])


# Shards


@pytest.mark.parametrize(("what", "measured", "why"), [
    ("a key was counted to be hot", {"lock.hot_key_share": "20%"}, "do not help these"),
    ("few locks, and hot keys gain little here", {
        "host.attainable.hot_shard_gain": 1.13, "lock.hot_addresses": 1}, "do not help these"),
    ("as many as this host gains by", {"host.attainable.best_shards": 32}, "gains nothing by them"),
    ("even keys gain nothing here", {"host.attainable.shard_gain": 1.02}, "gains nothing by them"),
])  # fmt: skip
def test_more_shards_are_not_advised_where_they_do_not_help_and_it_says_why(
    builtin: Expert, what: str, measured: Given, why: str
) -> None:
    assert changes(builtin, "locks.hot-tier-contention", CONTENDED, measured) == {}, what
    assert "more shards are not advised, since " in told(builtin, "locks.hot-tier-contention", CONTENDED, measured)
    assert why in told(builtin, "locks.hot-tier-contention", CONTENDED, measured)


@pytest.mark.parametrize("measured", [
    {"lock.hot_key_share": "1%"},
    {"host.attainable.hot_shard_gain": 1.13, "lock.hot_addresses": 20},
    {"host.attainable.hot_shard_gain": 1.13},
    {"host.attainable.hot_shard_gain": 3.1, "lock.hot_addresses": 1},
    {"lock.hot_addresses": 1},
    {"host.attainable.shard_gain": 6.4, "host.attainable.best_shards": 256},
])  # fmt: skip
def test_more_shards_are_advised_where_keys_are_even_or_shards_help_against_their_skew(
    builtin: Expert, measured: Given
) -> None:
    assert changes(builtin, "locks.hot-tier-contention", CONTENDED, measured) == {"config.storage.hot_tier_shards": 128}


def test_no_more_shards_are_advised_than_this_host_was_found_to_gain_by(builtin: Expert) -> None:
    few = CONTENDED | {"config.storage.hot_tier_shards": 16, "host.attainable.best_shards": 64}
    assert changes(builtin, "locks.hot-tier-contention", few) == {"config.storage.hot_tier_shards": 64}


def test_locks_that_are_seldom_taken_speak_against_too_few_shards(builtin: Expert) -> None:
    rate = {"host.attainable.lock_rate": "20000000/s"}
    seldom, often = (confidence(builtin, "locks.hot-tier-contention", CONTENDED, rate, {"ops.rate": ops})
                     for ops in ("5000/s", "4000000/s"))  # fmt: skip
    assert seldom < often


# The log and its device


@pytest.mark.parametrize("rule", ["storage.wal-write-amplification"])
def test_where_grouping_gains_little_another_device_is_asked_for_and_no_batching(builtin: Expert, rule: str) -> None:
    measured = {"host.attainable.wal_group_gain": 1.3, "host.attainable.fsync_p50": "4 ms"}
    assert changes(builtin, rule, AMPLIFIED, measured) == {}
    assert "a device that writes faster" in told(builtin, rule, AMPLIFIED, measured)
    assert "only 1.3 times as fast" in told(builtin, rule, AMPLIFIED, measured)
    gained = {"host.attainable.wal_group_gain": 35, "host.attainable.fsync_p50": "0.3 ms"}
    assert changes(builtin, rule, AMPLIFIED, gained)["config.wal.sync_mode"] == "batch"
    assert "a device that writes faster" not in told(builtin, rule, AMPLIFIED, gained)


def test_the_same_holds_where_batching_is_in_order_and_flushes_are_slow(builtin: Expert) -> None:
    slow = {"wal.bytes_written@rate_5m": "11 MB/s", "store.bytes@rate_5m": "10 MB/s", "wal.flush.p99": "9 ms",
            "op.latency.p99{operation=store}": "20 ms", "config.wal.sync_mode": "immediate"}  # fmt: skip
    rule = "storage.wal-flush-slow"
    assert changes(builtin, rule, slow)["config.wal.sync_mode"] == "batch"
    assert changes(builtin, rule, slow, {"host.attainable.wal_group_gain": 1.3}) == {}
    floor = told(builtin, rule, slow, {"host.attainable.fsync_p99": "7 ms"})
    assert "too slow even when nothing else uses it" in floor
    assert "7 ms" in floor


def test_a_measurement_in_which_nothing_was_flushed_says_nothing_of_grouping(builtin: Expert) -> None:
    memory = {"host.attainable.wal_group_gain": 1.1, "host.attainable.fsync_p50": "2 us"}
    assert changes(builtin, "storage.wal-write-amplification", AMPLIFIED, memory)["config.wal.sync_mode"] == "batch"


# Memory and caches


def test_the_working_set_is_held_against_the_cache_that_was_found_and_not_the_one_that_is_claimed(
    builtin: Expert,
) -> None:
    claimed = {"host.l3_bytes": "32 MiB", "host.l3_domains": 1}
    evicting = MISSING | claimed | {"cache.llc_miss_ratio": "35%", "tier.memories{tier=hot}": 20000}
    found = {"host.attainable.last_level_cache": "4 MiB"}
    rule = "memory.cache-thrash"
    assert derived(builtin, "cache.last_level_source", evicting) == "claimed"
    assert derived(builtin, "cache.last_level_source", evicting, found) == "measured"
    assert confidence(builtin, rule, evicting) < 0.05 < confidence(builtin, rule, evicting, found)


def test_loads_are_held_against_the_ladder_of_this_host(builtin: Expert) -> None:
    ladder = {"membw.latency": "270 ns", "host.attainable.memory_latency": "90 ns"}
    assert derived(builtin, "membw.latency_ratio", ladder) == pytest.approx(3)
    assert derived(builtin, "membw.latency_ratio", {"membw.latency": "270 ns"}) is None


def test_traffic_that_the_servers_cores_cannot_draw_is_somebody_elses(builtin: Expert) -> None:
    full = SLOW_RECALL | {"membw.total": "85 GB/s", "host.attainable.memory_bandwidth": "100 GB/s",
                          "host.attainable.memory_bandwidth_one_thread": "12 GB/s"}  # fmt: skip
    two, eight = (confidence(builtin, "memory.bandwidth-saturated", full, {"cpu.process_cores": cores})
                  for cores in (2, 8))  # fmt: skip
    assert two < 0.2 < 0.6 < eight
