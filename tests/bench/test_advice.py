"""What the rule base makes of a load: the client's figures as facts, and the causes of several loads together."""

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.made import operation, run

from engram_diagnose.bench import advice
from engram_diagnose.bench.advice import Observing, Wish, client_record, diagnosis_of, merged_recommendations, with_load
from engram_diagnose.bench.quality import Quality
from engram_diagnose.collectors.bundle import encode_bundle, read_bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.gather import Request
from engram_diagnose.collectors.parse.client_load import facts_of_client_load
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.rulebase import load_rules
from engram_diagnose.session import diagnose_bundle


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load_rules(thorough=False)


def told(facts: "tuple[Fact, ...]") -> dict[str, Any]:
    return {f"{fact.name}{fact.scope}": fact.value[0] for fact in facts if isinstance(fact.value, tuple)}


def answer(record: Any) -> Answer:
    return Answer("bench", "load", 1000.0, "h", record if isinstance(record, str) else json.dumps(record))


def test_what_the_client_felt_becomes_facts_of_operation_and_space(limits: dict[str, float]) -> None:
    quality = Quality(0.93, 10, 150, 1500, "bench-t-quality")
    load = facts_of_client_load([answer(client_record(run("recall", rate=5000, slow=0.03), limits, quality=quality))])
    felt, stand_ins = told(load.felt), told(load.stand_ins)
    assert felt["op.latency.p99{operation=recall, space=bench-t-main}"] == 0.03
    assert felt["index.recall_at_10{space=bench-t-quality}"] == 0.93
    assert stand_ins["op.rate{operation=recall, space=bench-t-main}"] == pytest.approx(5000)
    assert stand_ins["ops.rate"] == stand_ins["recall.rate"] == pytest.approx(5000)
    assert stand_ins["client.connections"] == 64
    assert stand_ins["op.inflight{operation=recall, space=bench-t-main}"] == pytest.approx(5000 * 0.00256, rel=0.01)


def test_several_spaces_together_are_told_without_a_space(limits: dict[str, float]) -> None:
    one = run("multi-tenant", spaces=["bench-t-tenant-1", "bench-t-tenant-2"])
    assert "op.latency.p99{operation=recall}" in told(facts_of_client_load([answer(client_record(one, limits))]).felt)


def test_where_the_server_did_not_keep_up_the_clients_queue_is_left_out(limits: dict[str, float]) -> None:
    one = run("recall", rate=5000, served=0.5, slow=8.0)
    one["operations"]["recall"]["service"] = operation(50_000, slow=0.04)["response"]
    found = facts_of_client_load([answer(client_record(one, limits))]).felt
    p99 = next(fact for fact in found if fact.name == "op.latency.p99")
    assert p99.value == (0.04, 0.04)
    assert "50% of them served" in p99.quality


def test_a_burst_tells_its_rate(limits: dict[str, float]) -> None:
    record = client_record(run("burst", rate=40_000, seconds=1), limits)
    assert told(facts_of_client_load([answer(record)]).felt)["ops.burst_rate"] == pytest.approx(40_000)


def test_without_a_load_there_are_no_facts() -> None:
    assert facts_of_client_load([]).felt == facts_of_client_load([]).stand_ins == ()


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"schema": "engram-diagnose/client-load/v1"}', "[" * 5000, "\udcff",
                                  '{"schema": "engram-diagnose/client-load/v1", "operations": [{}]}'])  # fmt: skip
def test_a_damaged_record_is_unknown_with_its_reason(body: str) -> None:
    found = facts_of_client_load([answer(body)])
    assert found.felt == ()
    assert found.stand_ins
    assert all(not fact.known and fact.unknown and fact.unknown.detail for fact in found.stand_ins)


TEXT = st.text(max_size=8)
JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | TEXT,
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))  # fmt: skip


@given(
    st.sampled_from(["operations", "recall_quality", "connections", "offered_rate", "seconds", "served_share"]), JSON
)
def test_whatever_stands_in_a_record_is_facts_or_unknown(key: str, value: Any) -> None:
    record = {"schema": "engram-diagnose/client-load/v1", "operations": [], key: value}
    facts_of_client_load([answer(json.dumps(record))])


@given(st.sampled_from(["operation", "space", "sent", "failed", "rate", "quantiles", "mean"]), JSON)
def test_whatever_stands_in_an_operation_is_facts_or_unknown(key: str, value: Any) -> None:
    entry = {
        "operation": "recall",
        "space": "a",
        "sent": 1,
        "ok": 1,
        "failed": 0,
        "rate": 1.0,
        "quantiles": {"p50": 1.0},
    }
    record = {"schema": "engram-diagnose/client-load/v1", "operations": [entry | {key: value}]}
    facts_of_client_load([answer(json.dumps(record))])


def bundle_of(loaded: Loaded, limits: dict[str, float], **load: Any):  # type: ignore[no-untyped-def]
    record = client_record(run("recall", rate=6000, **load), limits)
    wish = Wish(Request(server_url="http://127.0.0.1:7432"), loaded)
    return with_load("nothing", record, wish, at=1.7e9, address="127.0.0.1:7432", dialect="guide")


def test_a_slow_load_is_a_missed_target_and_replays_from_its_bundle(loaded: Loaded, limits: dict[str, float]) -> None:
    bundle = bundle_of(loaded, limits, slow=0.03)
    found = diagnosis_of(bundle, loaded, target_set="target")
    assert "symptom.recall-slow" in {one["rule"] for one in found["symptoms"]}
    assert diagnosis_of(read_bundle(encode_bundle(bundle)), loaded, target_set="target") == found


def test_a_load_within_its_target_misses_none(loaded: Loaded, limits: dict[str, float]) -> None:
    found = diagnosis_of(bundle_of(loaded, limits), loaded, target_set="floor")
    assert "symptom.recall-slow" not in {one["rule"] for one in found["symptoms"]}


SCRAPE = """\
engram_memory_operation_duration_seconds_bucket{{operation="recall",memory_space="bench-t-main",le="0.005"}} {0}
engram_memory_operation_duration_seconds_bucket{{operation="recall",memory_space="bench-t-main",le="0.05"}} {1}
engram_memory_operation_duration_seconds_bucket{{operation="recall",memory_space="bench-t-main",le="+Inf"}} {1}
engram_memory_operation_duration_seconds_count{{operation="recall",memory_space="bench-t-main"}} {1}
engram_memory_operation_duration_seconds_sum{{operation="recall",memory_space="bench-t-main"}} 1
engram_operations_total {1}
"""


def test_the_clients_latency_stands_above_the_servers_and_the_servers_rates_above_the_clients(
    loaded: Loaded, limits: dict[str, float]
) -> None:
    bundle = bundle_of(loaded, limits, slow=0.03)
    scrapes = [Answer("exposition", "/metrics", at, bundle.host, SCRAPE.format(low, high))
               for at, low, high in ((bundle.time - 10, 10, 10), (bundle.time, 60_010, 90_010))]  # fmt: skip
    bundle = replace(bundle, answers=(*bundle.answers, *scrapes))
    memory = diagnose_bundle(bundle, expert(loaded)).memory
    assert {fact.value for fact in memory.at("ops.rate").values()} == {(9000.0, 9000.0)}
    assert {fact.value for fact in memory.at("op.latency.p99").values()} == {(0.03, 0.03)}


def test_causes_of_several_loads_are_told_once_each_where_they_are_surest() -> None:
    def diagnosis(*causes: tuple[str, float]) -> dict[str, Any]:
        made = [{"rule": rule, "title": rule, "scope": {}, "severity": "warning",
                 "explains": [{"title": "slow"}], "negligible": rule == "wild",
                 "confidence": {"probability": sure, "low": 0.0, "high": 1.0, "word": "likely"}, "reason": "",
                 "recommend": []} for rule, sure in causes]  # fmt: skip
        return {"verdict": {"sentence": "s", "state": "findings"}, "coverage": {"sentence": "c"},
                "rule_base": {"calibrated": False}, "causes": made, "symptoms": []}  # fmt: skip

    first = diagnosis(("a", 0.4), ("b", 0.5), ("wild", 0.02))
    merged = merged_recommendations([first, diagnosis(("a", 0.9)), diagnosis()])
    assert merged is not None
    assert [(one["rule"], one["confidence"]["probability"]) for one in merged["causes"]] == [("a", 0.9), ("b", 0.5)]
    assert merged["sentence"] == "s, 1 of them unlikely"
    assert merged_recommendations([]) is None


def test_the_look_begins_when_the_load_has_been_on_and_not_when_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = threading.Event()
    looked: list[bool] = []

    def collected(wish: Wish) -> Any:
        looked.append(began.is_set())
        return wish

    monkeypatch.setattr(advice, "_collected", collected)
    observing = Observing(Wish(Request(), load_rules(thorough=False)), 1.0, after=0.05, begun=began)
    time.sleep(0.2)
    assert looked == []
    began.set()
    assert isinstance(observing.bundle(), Wish)
    assert looked == [True]


def test_a_load_that_never_begins_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "_BEGINS_WITHIN", 0.05)
    wish = Wish(Request(), load_rules(thorough=False))
    assert Observing(wish, 1.0, begun=threading.Event()).bundle() == "the load did not begin"
