"""A bundle into facts: whatever it holds, and whoever made it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.collectors.bundle_format import Bundle, BundleError
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.reading import baseline_facts, facts_of_before, facts_of_bundle
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, Reason, Status
from engram_diagnose.rulebase import load_rules
from engram_diagnose.session import asked_facts, diagnose_bundle, wanted_facts

AT = 1_700_000_000.0
LOADED = load_rules()
CATALOGUE = LOADED.catalogue
WANTED = wanted_facts(LOADED)
EXPERT = expert(LOADED)


def series(name: str, per_second: float, *, seconds: int = 600, every: int = 5, **labels: str) -> dict[str, Any]:
    """A series that rises steadily up to `AT`."""
    times = [AT - seconds + every * index for index in range(seconds // every + 1)]
    metric = {"__name__": name, "instance": "db1:7432", "job": "engram", **labels}
    return {"metric": metric, "values": [[time, str((time - times[0]) * per_second)] for time in times]}


def matrix(*found: Mapping[str, Any]) -> str:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": list(found)}})


def window(body: str | None, *, name: str = "window 2100", reason: str = "", detail: str = "") -> Answer:
    return Answer("prometheus", name, AT, "db1:7432", body, reason, detail)


def bundle(*answers: Answer, **options: Any) -> Bundle:
    return Bundle(
        AT, dialect="guide", instance="db1:7432", host="a1", options={"window": 300.0, **options}, answers=answers
    )


def facts(made: Bundle) -> dict[tuple[str, str], Fact]:
    found = facts_of_bundle(made, CATALOGUE, WANTED)
    return {(fact.name, str(fact.scope)): fact for fact in found}


def fact(made: Bundle, name: str, scope: str = "") -> Fact:
    return facts(made)[name, scope]


def test_a_rate_is_taken_over_the_usual_window_where_there_are_samples_for_it() -> None:
    rate = fact(bundle(window(matrix(series("engram_store_operations_total", 20)))), "store.rate")
    assert (rate.value, rate.window, rate.quality) == (pytest.approx((20, 20)), 300, "")


def test_a_prometheus_that_was_just_started_gives_rates_over_what_it_has_seen() -> None:
    young = bundle(window(matrix(series("engram_store_operations_total", 20, seconds=40),
                                 series("engram_wal_bytes_written_total", 4096, seconds=40))))  # fmt: skip
    assert fact(young, "store.rate").value == pytest.approx((20, 20), rel=0.03)
    assert fact(young, "store.rate").quality == "samples reach back 41s only"
    assert fact(young, "wal.bytes_written@rate_5m").value == pytest.approx((4096, 4096), rel=0.03)
    assert "over 41s, not 5m" in fact(young, "wal.bytes_written@rate_5m").quality


def test_an_instance_that_two_jobs_scrape_is_counted_once() -> None:
    twice = matrix(series("engram_store_operations_total", 20), series("engram_store_operations_total", 20, job="pods"))
    assert fact(bundle(window(twice)), "store.rate").value == pytest.approx((40, 40))
    assert fact(bundle(window(twice), job="pods"), "store.rate").value == pytest.approx((20, 20))


def test_two_scrapes_of_an_endpoint_are_as_good_as_a_rate() -> None:
    scrapes = [Answer("exposition", "/metrics", AT + turn, "db1", f"engram_store_operations_total {100 * turn}\n")
               for turn in (0, 5)]  # fmt: skip
    assert fact(bundle(*scrapes), "store.rate").value == pytest.approx((100, 100))


def test_a_refusal_is_the_reason_of_all_that_it_would_have_told() -> None:
    refused = bundle(window(None, name="window 0", reason="SOURCE_UNREACHABLE", detail="nobody there"))
    unknown = fact(refused, "store.rate").unknown
    assert unknown is not None
    assert (unknown.reason, unknown.detail) == (Reason.SOURCE_UNREACHABLE, "nobody there")
    assert fact(refused, "sched.threads").unknown is not None


def test_what_nobody_was_asked_for_says_why() -> None:
    told = facts(bundle())
    reasons = {
        name: told[name, ""].unknown for name in ("pmu.ipc", "host.attainable.fsync_p50", "op.latency.p99@before")
    }
    assert {name: unknown.reason for name, unknown in reasons.items() if unknown} == {
        "pmu.ipc": Reason.NOT_COLLECTED,
        "host.attainable.fsync_p50": Reason.NOT_COLLECTED,
        "op.latency.p99@before": Reason.WINDOW_NOT_COLLECTED,
    }


def test_every_wanted_fact_is_spoken_of() -> None:
    told = {name for name, _ in facts(bundle())}
    silent = {
        name for name in WANTED - told if (spec := CATALOGUE.spec(name)) and spec.origin not in ("rules", "targets")
    }
    assert silent == set()


def test_absent_metrics_are_counted_and_the_freshness_of_the_others() -> None:
    told = facts(bundle(window(matrix(series("engram_store_operations_total", 20), series("up", 0)))))
    assert "engram_wal_flush_duration_seconds_bucket" in str(told["telemetry.absent_names", ""].value)
    assert told["telemetry.dialect_mismatch", ""].value == (0.0, 0.0)
    assert told["telemetry.scrape_age", ""].value == (0.0, 0.0)
    assert told["telemetry.scrape_coverage", ""].value == (1.0, 1.0)
    assert told["telemetry.absent_metrics", ""].host == "db1:7432"


def test_statements_of_the_operator_are_recorded() -> None:
    assert fact(bundle(), "workload.memory_constrained").value == (0.0, 0.0)
    said = fact(bundle(statements={"workload.memory_constrained": 1.0}), "workload.memory_constrained")
    assert (said.value, said.status, said.source) == ((1.0, 1.0), Status.RECORDED, "the operator")


def test_better_days_are_facts_of_the_baseline() -> None:
    days = baseline_facts(
        facts_of_bundle(bundle(window(matrix(series("engram_store_operations_total", 20)))), CATALOGUE, [])
    )
    (rate,) = [one for one in days if one.name == "store.rate@baseline"]
    assert (rate.status, rate.value) == (Status.RECORDED, pytest.approx((20, 20)))


@pytest.mark.parametrize("time", [-1.0, 1e12, 1e300])
def test_a_time_that_is_none_is_an_error_of_the_bundle(time: float) -> None:
    for made in (Bundle(time), Bundle(AT, answers=(Answer("host", "/proc/stat", time, "a1", "cpu 1"),))):
        with pytest.raises(BundleError, match="no time"):
            facts_of_bundle(made, CATALOGUE, WANTED)


JSON = st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                    max_leaves=6)  # fmt: skip
COLLECTORS = ("prometheus", "exposition", "http", "config", "target", "host", "process", "cgroup", "storage", "else")
NAMES = st.text(max_size=9) | st.sampled_from([
    "window 2100", "window", "window x", "window 1e999", "before 300", "node 300", "/metrics", "/health", "target",
    "/proc/stat", "/proc/PID/stat", "storage/device", "/etc/engram.toml",
])  # fmt: skip
BODIES = st.none() | st.text(max_size=40) | JSON.map(json.dumps) | st.sampled_from([
    matrix(), matrix(series("engram_store_operations_total", 1, seconds=10)), matrix(series("up", 0, seconds=5)),
    "engram_store_operations_total 5\n", '{"snapshot": {"five_minutes": {"store_duration_seconds": {"p99": 1}}}}',
    "[wal]\nsync_mode = 5\n", "cpu 1 2 3\n", '{"pid": 1, "port": 2}',
])  # fmt: skip
STATED = st.dictionaries(st.sampled_from(sorted(CATALOGUE.facts)), JSON | st.just(10**400), max_size=3)
OPTIONS = st.fixed_dictionaries({}, optional={
    "statements": STATED | JSON, "window": JSON, "job": JSON, "prometheus_version": JSON, "local": JSON,
})  # fmt: skip
TIMES = st.floats(0, 2e9)
REASONS = st.sampled_from(["", "OTHER_HOST", "TARGET_GONE", "no reason"])
ANSWERS = st.builds(Answer, st.sampled_from(COLLECTORS), NAMES, TIMES, st.text(max_size=5), BODIES, REASONS, st.text())
DIALECTS = st.sampled_from(["guide", "engram-0.1", "node-exporter", "none"])
BUNDLES = st.builds(Bundle, TIMES, dialect=DIALECTS, instance=st.text(max_size=9), host_name=st.text(max_size=9),
                    targets_set=st.sampled_from(["", "floor", "none"]), options=OPTIONS,
                    answers=st.lists(ANSWERS, max_size=6).map(tuple))  # fmt: skip


@pytest.mark.parametrize("length", [1e308, 0, 86_400 * 31 + 1, -1, "none"])
def test_a_window_that_is_no_sane_length_counts_as_not_stated(length: float | str) -> None:
    series_ = window(matrix(series("engram_store_operations_total", 2)))
    assert facts(bundle(series_, window=length)) == facts(bundle(series_, window=300))


@pytest.mark.slow
@settings(max_examples=200)
@given(BUNDLES)
def test_any_bundle_comes_to_facts_and_a_document(made: Bundle) -> None:
    assert facts_of_bundle(made, CATALOGUE, WANTED) == facts_of_bundle(made, CATALOGUE, WANTED)
    json.dumps(document(diagnose_bundle(made, EXPERT)), allow_nan=False)


# The quiet time before


def before(*found: Mapping[str, Any], kind: str = "before") -> Answer:
    """What Prometheus had ten minutes earlier."""
    earlier = [{**one, "values": [[time - 600, value] for time, value in one["values"]]} for one in found]
    return Answer("prometheus", f"{kind} 600", AT - 600, "db1:7432", matrix(*earlier))


def test_of_the_quiet_time_the_same_facts_are_told_under_their_own_names() -> None:
    made = bundle(
        window(matrix(series("engram_store_operations_total", 20))), before(series("engram_store_operations_total", 5))
    )
    found = {fact.name: fact for fact in facts_of_before(made, CATALOGUE, ["store.rate", "store.rate@before"])}
    assert set(found) == {"store.rate"}
    assert found["store.rate"].value == pytest.approx((5, 5))
    assert found["store.rate"].time == AT - 600


def test_rates_with_a_window_of_their_own_are_told_of_the_quiet_time_too() -> None:
    made = bundle(before(series("engram_wal_bytes_written_total", 4096)))
    (found,) = facts_of_before(made, CATALOGUE, ["wal.bytes_written@rate_5m"])
    assert (found.name, found.value) == ("wal.bytes_written@rate_5m", pytest.approx((4096, 4096)))


def test_the_host_s_exporter_tells_of_the_quiet_time() -> None:
    made = bundle(before(series("node_load1", 0), kind="before-node"), node_instance="db1:9100")
    found = {fact.name for fact in facts_of_before(made, CATALOGUE, ["host.load_average"]) if fact.known}
    assert found == {"host.load_average"}


def test_without_a_quiet_time_nothing_is_told_of_it() -> None:
    assert facts_of_before(bundle(window(matrix())), CATALOGUE, ["store.rate"]) == []


def test_a_diagnosis_says_what_changed_since_and_stays_the_same_when_read_again() -> None:
    made = bundle(
        window(matrix(series("engram_operations_total", 600))),
        before(series("engram_operations_total", 300)),
        before=600.0,
    )
    found = document(diagnose_bundle(made, EXPERT))["changed"]
    load = next(one for one in found["entries"] if one["what"] == "load")
    assert (load["state"], load["sentence"]) == ("changed", "load: ops.rate 300/s before, 600/s now, +100%")
    assert found["seconds"] == 600
    assert document(diagnose_bundle(made, EXPERT))["changed"] == found


def test_what_is_collected_for_the_quiet_time_has_a_history_and_a_short_window() -> None:
    asked = asked_facts(LOADED)
    assert {"ops.rate@before", "wal.bytes_written@rate_5m@before"} <= asked
    assert not [
        name
        for name in asked
        if name.endswith("_30m@before") or (name.startswith("config.") and name.endswith("@before"))
    ]
