"""
Whole incidents: what a Prometheus, /proc and, where there are any, hardware counters say of a server with a planted
fault, and what the whole rule base concludes.

Every incident is the healthy server of `tests/data/healthy-server.yaml` with what a fault of `planted-faults.yaml`
changes, so that each cause has all others to compete with.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from engram_diagnose.engine.diagnosis import Expert, Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, not_applicable, unknown_fact
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.facts.unit import parse_quantity
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.rulebase import load_rules

Said = dict[str, Any]
Document = dict[str, Any]


def read(name: str) -> Any:
    return yaml.safe_load((Path(__file__).parent.parent / "data" / name).read_text(encoding="utf-8"))


_SECTIONS = read("healthy-server.yaml")
HOST: Said = _SECTIONS["host"]
COUNTERS: Said = _SECTIONS["counters"]
HEALTHY: Said = {name: said for part in _SECTIONS.values() for name, said in part.items() if part is not COUNTERS}
PLACEMENT = "numa.remote_access_share"
"""Estimated from where pages and threads are, where it is not counted."""


@pytest.fixture(scope="module")
def builtin() -> Expert:
    return expert(load_rules())


def value(builtin: Expert, name: str, said: Any) -> Any:
    """In base units: `5 ms`, `2 ms .. 9 ms`, 12, a text; truths are 1 and 0."""
    spec = builtin.loaded.catalogue.spec(name)
    assert spec is not None, name
    if spec.kind == "text":
        return str(said)
    low, _, high = str(said).partition("..")
    return parse_quantity(low).value, parse_quantity(high or low).value


def facts(builtin: Expert, said: Mapping[str, Any], *, status: Status = Status.MEASURED) -> list[Fact]:
    found = []
    for name, figure in said.items():
        reference = parse_reference(name)
        scope = scope_of(dict(reference.labels))
        known = value(builtin, reference.name, figure)
        stands_for = "measured remote accesses" if status is Status.PROXY else ""
        found.append(Fact(reference.name, known, status, scope, "test", "db1", 1.0, proxy_of=stands_for))
    return found


def diagnose(builtin: Expert, said: Iterable[Fact], *, dialect: str = "guide") -> Document:
    return document(builtin.diagnose(said, Subject("db1:7432", "db1", 1.0, dialect)))


def with_counters(builtin: Expert, *parts: Said) -> Document:
    """Diagnose the healthy server with these changes, its hardware counters readable."""
    said = HEALTHY | COUNTERS
    for part in parts:
        said = said | part
    return diagnose(builtin, facts(builtin, said))


def without_counters(builtin: Expert, *parts: Said, estimate: str = "50%") -> Document:
    """The same without counters: remote memory is then what the placement lets expect."""
    said = HEALTHY
    for part in parts:
        said = said | part
    missing = [unknown_fact(name, Reason.NO_PMU, host="db1", time=1.0) for name in COUNTERS if name != PLACEMENT]
    estimated = facts(builtin, {PLACEMENT: estimate}, status=Status.PROXY)
    return diagnose(builtin, [*facts(builtin, said), *missing, *estimated])


def causes(found: Document) -> list[str]:
    return [cause["rule"] for cause in found["causes"]]


def named(found: Document, group: str) -> set[str]:
    return {item["rule"] for item in found[group]}


def sure(found: Document) -> dict[str, float]:
    return {cause["rule"]: cause["confidence"]["probability"] for cause in found["causes"]}


def busy(share: float, others: float = 0.6) -> Said:
    """The server burns this share of its 32 cores, other processes so many cores."""
    cores = share * 32
    return {
        "cpu.busy": share,
        "cpu.process_cores": cores,
        "cpu.neighbour_cores": others,
        "cpu.host_busy_share": min(1.0, (cores + others) / 32),
    }


def waiting(share: float) -> Said:
    """Threads wait for a CPU for this share of the time that they want one."""
    return {"sched.runq_wait_share": share, "psi.cpu_some_share": min(0.95, 1.2 * share)}


@dataclass(frozen=True, slots=True)
class Fault:
    """
    What a fault changes. `counted` is what it changes in the counters; `estimate` the remote share by placement.
    `top` is the worst rank at which it may be named.
    """

    cause: str
    said: Said
    counted: Said
    estimate: str
    top: int


def fault(written: Mapping[str, Any], slow: Mapping[str, Said]) -> Fault:
    said: Said = {name: figure for operation in written.get("slow", ()) for name, figure in slow[operation].items()}
    if "busy" in written:
        said |= busy(parse_quantity(written["busy"]).value, written.get("others", 0.6))
    if "waiting" in written:
        said |= waiting(parse_quantity(written["waiting"]).value)
    said |= written.get("said", {})
    return Fault(
        written["cause"], said, written.get("counted", {}), written.get("estimate", "50%"), written.get("top", 1)
    )


_WRITTEN = read("planted-faults.yaml")
SLOW: dict[str, Said] = _WRITTEN["slow"]
PLANTED = {name: fault(written, SLOW) for name, written in _WRITTEN["faults"].items()}

INVISIBLE = {
    "cache lines that bounce between sockets": "coherence.hitm",
    "a working set that evicts itself": "cache.memory_miss_ratio",
    "similarities in scalar code": "simd.packed_share",
    "nodes that are fetched too late": "cache.memory_miss_ratio",
    "full memory channels": "membw.used_share",
    "a hot key": "lock.hot_address_top_share",
}
"""What only counters and traces show, with the fact that is missing first."""

VISIBLE_IN_PROC = {name: planted for name, planted in PLANTED.items() if name not in INVISIBLE}
ONLY_COUNTERS_TELL = {"cpu.cache-line-bouncing", "cpu.false-sharing", "memory.cache-thrash", "simd.underutilised"}


def labelled(said: Said) -> Said:
    """The same server with its figures by memory space as well, as a server that labels them publishes."""
    by_space = re.compile(r"(op|activation\.cache_hit_ratio|index)\b")
    found = dict(said)
    for name, figure in said.items():
        if by_space.match(name):
            base, _, labels = name.rstrip("}").partition("{")
            found[f"{base}{{{labels}{', ' if labels else ''}space=default}}"] = figure
    return found


# Planted one by one


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_with_counters_the_planted_fault_is_named_first(builtin: Expert, planted: Fault) -> None:
    found = with_counters(builtin, planted.said, planted.counted)
    assert planted.cause in causes(found)[: planted.top]
    assert sure(found)[planted.cause] > 0.6
    assert not found["unexplained"]


@pytest.mark.parametrize("planted", VISIBLE_IN_PROC.values(), ids=VISIBLE_IN_PROC)
def test_without_counters_what_proc_and_metrics_show_is_still_named_first(builtin: Expert, planted: Fault) -> None:
    found = without_counters(builtin, planted.said, estimate=planted.estimate)
    assert causes(found)[0] == planted.cause
    assert sure(found)[planted.cause] > 0.6


@pytest.mark.parametrize("name", INVISIBLE)
def test_without_counters_what_only_they_show_is_not_testable_and_nothing_else_is_blamed_for_sure(
    builtin: Expert, name: str
) -> None:
    fault, missing = PLANTED[name], INVISIBLE[name]
    found = without_counters(builtin, fault.said)
    untested = {item["rule"]: item["missing"] for item in found["not_testable"]}
    assert fault.cause in untested
    assert (untested[fault.cause][0]["fact"], untested[fault.cause][0]["reason"]) == (missing, "NO_PMU")
    assert all(probability < 0.5 for probability in sure(found).values())
    assert found["verdict"]["state"] == "missed"


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_without_counters_scalar_code_and_shared_lines_are_never_ruled_out(builtin: Expert, planted: Fault) -> None:
    found = without_counters(builtin, planted.said, estimate=planted.estimate)
    assert not named(found, "ruled_out") & ONLY_COUNTERS_TELL


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_a_server_that_labels_its_memory_spaces_is_diagnosed_alike(builtin: Expert, planted: Fault) -> None:
    plain = with_counters(builtin, planted.said, planted.counted)
    by_space = diagnose(builtin, facts(builtin, labelled(HEALTHY | COUNTERS | planted.said | planted.counted)))
    assert causes(by_space)[0] == causes(plain)[0]
    assert {item["rule"] for item in by_space["symptoms"]} == {item["rule"] for item in plain["symptoms"]}


# What imitates, and what it imitates


def test_a_quota_masks_the_contention_and_starvation_that_it_imitates(builtin: Expert) -> None:
    fault = PLANTED["a CPU quota"]
    found = with_counters(builtin, fault.said, fault.counted)
    assert named(found, "masked") == {
        "locks.hot-tier-contention",
        "locks.hot-key",
        "host.run-queue-starvation",
        "cpu.workers-oversubscribed",
        "cpu.saturated",
    }
    assert causes(found) == ["host.cpu-quota-throttling"]


@pytest.mark.parametrize("name", ["swapping", "a memory limit"])
def test_a_shortage_of_memory_does_not_read_as_an_index_that_is_too_wide(builtin: Expert, name: str) -> None:
    found = without_counters(builtin, PLANTED[name].said)
    assert {"index.search-too-wide", "index.build-too-wide"} <= named(found, "masked")


def test_a_slow_disk_is_named_and_not_the_flushes_it_makes_slow(builtin: Expert) -> None:
    found = without_counters(builtin, PLANTED["a rotating disk"].said)
    assert {"storage.wal-flush-slow", "storage.store-waits-for-wal"} <= named(found, "masked")


def test_where_memory_is_short_a_hot_tier_that_is_too_small_is_not_enlarged(builtin: Expert) -> None:
    found = without_counters(builtin, PLANTED["swapping"].said, PLANTED["a hot tier that is too small"].said)
    cause = next(cause for cause in found["causes"] if cause["rule"] == "tiers.hot-tier-too-small")
    assert not any(remedy["changes"] for remedy in cause["recommend"])
    assert "cannot grow here" in cause["recommend"][0]["investigate"]


# Two at once

TOGETHER = [
    ("a log that writes far more than is stored", "similarities in scalar code by setting"),
    ("a log that writes far more than is stored", "too few shards in the hot tier"),
    ("a log that writes far more than is stored", "a hot tier that is too small"),
    ("a log that writes far more than is stored", "memory on the other NUMA node"),
    ("a log that writes far more than is stored", "searches that are too wide"),
    ("a log that writes far more than is stored", "a hypervisor that steals"),
    ("a log that writes far more than is stored", "cache lines that bounce between sockets"),
    ("a log that writes far more than is stored", "pattern completion over too many hops"),
    ("pattern completion over too many hops", "pattern completion over too many candidates"),
    ("a log that writes far more than is stored", "a CPU quota"),
    ("a log that writes far more than is stored", "a storm of consolidation"),
    ("a hot tier that is too small", "similarities in scalar code by setting"),
    ("a hot tier that is too small", "swapping"),
    ("similarities in scalar code by setting", "memory on the other NUMA node"),
]


@pytest.mark.parametrize(("one", "other"), TOGETHER, ids=[f"{one} and {other}" for one, other in TOGETHER])
def test_of_two_faults_at_once_both_are_among_the_first_three(builtin: Expert, one: str, other: str) -> None:
    first, second = PLANTED[one], PLANTED[other]
    found = with_counters(builtin, first.said, first.counted, second.said, second.counted)
    assert {first.cause, second.cause} <= set(causes(found)[:3])


# Health


def test_a_healthy_server_of_which_all_is_known_meets_its_targets(builtin: Expert) -> None:
    found = with_counters(builtin, {"scaling.efficiency": 0.95})
    assert found["verdict"]["state"] == "met"
    assert found["causes"] == []


def test_a_busy_server_just_below_its_limits_has_no_cause_above_a_half(builtin: Expert) -> None:
    edge = busy(0.695) | waiting(0.04) | {"op.latency.p99{operation=recall}": "5 ms .. 10 ms"}
    for found in (with_counters(builtin, edge), without_counters(builtin, edge)):
        assert found["symptoms"] == []
        assert all(probability <= 0.5 for probability in sure(found).values())


IDLE_COUNTERS: Said = {
    "pmu.ipc": 0.4,
    "pmu.memory_bound_share": "5%",
    "cache.miss_ratio": "35%",
    "cache.llc_miss_ratio": "40%",
    "simd.packed_share": "1%",
    "numa.remote_access_share": "40%",
    "numa.remote_access_rate": "1000/s",
}


def idle() -> Said:
    """Nobody asks: rates are zero, and what is a quotient of them is not there."""
    quotients = ("op.latency.", "op.error_share", "activation.cache", "wal.flush.p", "wal.entries", "client.retry")
    said = {name: figure for name, figure in HEALTHY.items() if not name.startswith(quotients)}
    rates = ("op.rate", "ops.rate", "ops.space_rate", "recall.rate", "store.rate", "op.inflight", "wal.flush_rate")
    said |= {name: 0 for name in said if name.startswith((*rates, "wal.bytes_written", "store.bytes"))}
    tiers = {f"tier.accesses_per_memory{{tier={tier}}}": "0/h" for tier in ("hot", "warm")}
    return said | busy(0.004, others=0.1) | tiers | {"cpu.freq_ratio": "30%", "sched.voluntary_rate": "200/s"}


def test_an_idle_server_has_no_cause_above_a_half_whatever_its_few_instructions_miss(builtin: Expert) -> None:
    for said in (idle(), idle() | COUNTERS | IDLE_COUNTERS):
        found = diagnose(builtin, facts(builtin, said))
        assert found["symptoms"] == []
        assert all(probability <= 0.5 for probability in sure(found).values()), sure(found)
        assert "op.latency.p99{operation=recall}" in {
            fact["fact"] for item in found["symptoms_not_tested"] for fact in item["missing"]
        }


def test_on_a_host_of_one_node_numa_does_not_apply(builtin: Expert) -> None:
    across = [name for name in HEALTHY | COUNTERS if name.startswith("numa.") and name != "numa.nodes"]
    said = {name: figure for name, figure in (HEALTHY | COUNTERS).items() if name not in across}
    alone = [not_applicable(parse_reference(name).name, "this host has one NUMA node") for name in across]
    found = diagnose(builtin, [*facts(builtin, said | {"numa.nodes": 1, "host.sockets": 1} | SLOW["recall"]), *alone])
    assert {"numa.remote-memory", "numa.interleaved-memory", "cpu.cache-line-bouncing"} <= named(
        found, "not_applicable"
    )
    assert not any(rule.startswith("numa.") for rule in causes(found))


# The telemetry itself


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ({"telemetry.dropped_updates": 1800, "telemetry.queue_depth": 5000}, "telemetry.updates-dropped"),
        ({"telemetry.absent_metrics": 14}, "telemetry.metric-absent"),
        ({"telemetry.ignored_keys": 5}, "telemetry.config-keys-ignored"),
        ({"telemetry.dialect_mismatch": 1, "telemetry.absent_metrics": 26}, "telemetry.dialect-mismatch"),
    ],
    ids=["updates were dropped", "metrics are absent", "the server ignores keys", "the dialect is another"],
)
def test_faults_of_the_telemetry_are_named_and_explain_no_symptom(builtin: Expert, said: Said, cause: str) -> None:
    found = without_counters(builtin, said)
    assert cause in causes(found)[:2]
    assert sure(found)[cause] >= 0.9
    assert all(not item["explains"] for item in found["causes"] if item["rule"].startswith("telemetry."))


# The server as released

RELEASED: Said = {
    "op.latency.p50{operation=store}": "6 ms",
    "op.latency.p99{operation=store}": "40 ms",
    "op.rate{operation=store}": "1500/s",
    "op.rate{operation=activation}": "100/s",
    "store.rate": "1500/s",
    "activation.budget_violation_rate": "6/s",
    "activation.breaker_state": 0,
    "activation.pool_utilisation": "40%",
    "activation.pool_hit_ratio": "95%",
    "consolidation.freshness": "60 s",
    "tier.memories{tier=hot}": 200000,
    "tier.memories{tier=warm}": 0,
    "tier.memories{tier=cold}": 0,
    "index.nodes": 200000,
    "config.activation.prefetch_distance": 64,
    "config.activation.max_traversal_depth": 4,
    "config.hnsw.m": 16,
    "config.hnsw.ef_construction": 200,
    "config.hnsw.ef_search": 64,
    "config.wal.buffer_size": "64 KiB",
    "config.wal.flush_interval": "10 ms",
    "config.wal.sync_mode": "batch",
    "telemetry.dialect": "engram-0.1",
    "telemetry.dropped_updates": 0,
    "telemetry.ignored_keys": 4,
}


def test_against_the_release_advice_on_keys_it_ignores_says_so(builtin: Expert) -> None:
    contended = busy(0.6) | {"cpu.sys_share": "46%", "sched.voluntary_rate": "400000/s"}
    found = diagnose(builtin, facts(builtin, HOST | RELEASED | contended), dialect="engram-0.1")
    asked = [change for cause in found["causes"] for remedy in cause["recommend"] for change in remedy["changes"]]
    assert {"config.storage.hot_tier_shards", "config.activation.prefetch_distance"} <= {
        change["parameter"] for change in asked
    }
    assert all(change["ignored_by_release"] and change["write"] is None for change in asked)
    assert "telemetry.config-keys-ignored" in causes(found)
    # Its recalls are not recorded: that is said, and is no clean bill.
    assert "symptom.recall-slow" in named(found, "symptoms_not_tested")


# Where several spaces, or several hops, are told apart


def test_overrun_budgets_are_counted_over_all_spaces_that_a_server_labels(builtin: Expert) -> None:
    said = {name: figure for name, figure in HEALTHY.items() if name != "op.rate{operation=activation}"}
    spaces = {f"op.rate{{operation=activation, space={space}}}": "100/s" for space in ("default", "acme")}
    overrun = {"activation.budget_violation_rate": "10/s", "config.activation.max_traversal_depth": 8}
    found = diagnose(builtin, facts(builtin, said | spaces | overrun | SLOW["activation"]))
    assert causes(found)[0] == "server.latency-budget-violations"
    quiet = diagnose(builtin, facts(builtin, said | spaces | {"activation.budget_violation_rate": "1/s"}))
    assert "server.latency-budget-violations" in named(quiet, "ruled_out")


def test_the_slow_one_of_two_spaces_is_the_one_that_is_named(builtin: Expert) -> None:
    spaces = {
        "op.latency.p50{operation=recall, space=acme}": "9 ms",
        "op.latency.p99{operation=recall, space=acme}": "40 ms",
        "op.latency.p50{operation=recall, space=default}": "2 ms",
        "op.latency.p99{operation=recall, space=default}": "6 ms",
    }
    found = with_counters(builtin, spaces, {"config.hnsw.ef_search": 800})
    assert [item["scope"] for item in found["symptoms"] if item["rule"] == "symptom.recall-slow"] == [{"space": "acme"}]
    first = found["causes"][0]
    assert (first["rule"], first["scope"]) == ("index.search-too-wide", {"space": "acme"})


def test_recalls_over_several_hops_are_not_slow_for_taking_longer_than_a_single_hop(builtin: Expert) -> None:
    hops = {
        "op.latency.p50{operation=recall, hops=multi}": "12 ms",
        "op.latency.p99{operation=recall, hops=multi}": "30 ms",
        "op.latency.p999{operation=recall, hops=multi}": "45 ms",
        "op.latency.p50{operation=recall, hops=single}": "2 ms",
        "op.latency.p99{operation=recall, hops=single}": "6 ms",
    }
    assert with_counters(builtin, hops)["symptoms"] == []
    late = with_counters(builtin, hops, {"op.latency.p999{operation=recall, hops=multi}": "70 ms"})
    assert [(item["rule"], item["scope"]["hops"]) for item in late["symptoms"]] == [("symptom.tail-slow", "multi")]


def test_a_cause_is_named_for_the_hops_whose_activations_are_slow(builtin: Expert) -> None:
    hops = {
        "op.latency.p99{operation=activation, hops=single}": "4 ms",
        "op.latency.p999{operation=activation, hops=single}": "8 ms",
        "op.latency.p99{operation=activation, hops=multi}": "60 ms",
        "op.latency.p999{operation=activation, hops=multi}": "120 ms",
    }
    found = with_counters(builtin, hops, PLANTED["activations over too many hops"].said)
    first = found["causes"][0]
    assert (first["rule"], first["scope"]) == ("activation.traversal-too-deep", {"hops": "multi"})


def test_on_amd_the_second_levels_misses_alone_are_taken_with_a_grain_of_salt(builtin: Expert) -> None:
    amd = {"host.vendor": "AuthenticAMD", "host.model": "AMD EPYC 7763 64-Core Processor"}
    fault = PLANTED["nodes that are fetched too late"]
    said = HEALTHY | COUNTERS | fault.said | fault.counted | amd
    second_level = {name: figure for name, figure in said.items() if name != "cache.llc_miss_ratio"}
    both, alone = (diagnose(builtin, facts(builtin, known)) for known in (said, second_level))
    assert sure(alone)["memory.cache-misses"] < sure(both)["memory.cache-misses"]
    few = diagnose(builtin, facts(builtin, second_level | {"cache.miss_ratio": "8%"}))
    assert "memory.cache-misses" in named(few, "ruled_out")
