"""The released server's own metrics."""

import json
from pathlib import Path

import pytest

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.endpoints import (
    facts_of_endpoints,
    facts_of_health,
    http_paths,
)
from engram_diagnose.collectors.parse.engram_json import (
    absent_metrics,
    expected_metrics,
    facts_of_engram_json,
    parse_engram_metrics,
    split_labels,
)
from engram_diagnose.engine.facts.catalogue import Dialect, Source
from engram_diagnose.engine.facts.fact import Fact, Reason, Status
from engram_diagnose.engine.facts.scope import Scope, scope_of

RECORDINGS = Path(__file__).parents[3] / "../shared/recordings/engram"
STORE = scope_of({"operation": "store"})
COMPLETION = scope_of({"operation": "pattern_completion"})


def dialect(**sources: Source) -> Dialect:
    return Dialect("engram-0.1", "", (), "/metrics", "windowed-json", (), sources, {})


def source(fact: str, selector: str, labels: dict[str, str] | None = None, **more: object) -> Source:
    return Source(fact, json=selector, labels=labels or {}, **more)  # type: ignore[arg-type]


def stat(count: float, **fields: float) -> dict[str, float]:
    return {"count": count, "sum": count, "mean": 1, "min": 1, "max": 1, "p50": 1, "p99": 1, **fields}


def body(window: dict[str, object], **more: object) -> str:
    snapshot = {"schema_version": "1.1.0", "five_minutes": window, "one_minute": {}}
    export = {"exported": 3, "dropped": 7, "queue_depth": 2}
    return json.dumps({"snapshot": {**snapshot, **more}, "export": export})


def facts_from(text: str | None, reason: str = "", **sources: Source) -> dict[tuple[str, Scope], Fact]:
    answer = Answer("http", "/metrics", 1000.0, "host-a", text, reason)
    return {fact.key: fact for fact in facts_of_engram_json(answer, dialect(**sources))}


def one(text: str, source: Source, scope: Scope = STORE) -> Fact:
    return facts_from(text, a=source)[source.fact, scope]


P99 = source("op.latency.p99", "store_duration_seconds.p99", scope=STORE)


def test_a_quantile_is_taken_from_the_five_minutes() -> None:
    fact = one(body({"store_duration_seconds": stat(600, p99=0.004)}), P99)
    assert fact.value == (0.004, 0.004)
    assert (fact.window, fact.time, fact.host) == (300.0, 1000.0, "host-a")


def test_a_rate_is_a_count_over_its_window() -> None:
    rate = source("op.rate", "store_duration_seconds.rate", scope=STORE)
    assert one(body({"store_duration_seconds": stat(600)}), rate).value == (2.0, 2.0)


def test_another_window_can_be_named() -> None:
    recent = source("op.rate", "one_minute:store_duration_seconds.rate", scope=STORE)
    text = body({}, one_minute={"store_duration_seconds": stat(600)})
    fact = one(text, recent)
    assert fact.value == (10.0, 10.0)
    assert fact.window == 60.0


def test_a_sum_has_a_rate_as_well() -> None:
    rate = source("wal.bytes_written", "bytes_total.sum_rate", scope=STORE)
    assert one(body({"bytes_total": stat(3, sum=6000)}), rate).value == (20.0, 20.0)


def test_no_sample_in_the_window_is_unknown_and_not_zero() -> None:
    fact = one(body({}), P99)
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.SOURCE_ABSENT
    assert "five_minutes" in fact.unknown.detail


def test_a_count_of_zero_is_too_few() -> None:
    fact = one(body({"store_duration_seconds": stat(0)}), P99)
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.TOO_FEW_SAMPLES


def test_fields_that_are_no_numbers_are_absent() -> None:
    values: tuple[object, ...] = (None, "0.1", float("nan"), True, [], 10**400)
    for value in values:
        text = body({"store_duration_seconds": {"count": 3, "p99": value}})
        fact = one(text, P99)
        assert fact.unknown is not None, value
        assert fact.unknown.reason is Reason.SOURCE_ABSENT


def test_labels_in_the_name_become_the_scope() -> None:
    name = "engram_completion_duration_seconds"
    latency = source("op.latency.p99", f"{name}.p99", {"space": "memory_space"}, scope=COMPLETION)
    text = body(
        {
            f"{name}{{memory_space=red,result=ok}}": stat(3, p99=0.1),
            f"{name}{{memory_space=blue}}": stat(3, p99=0.3),
        }
    )
    facts = facts_from(text, a=latency)
    red = scope_of({"operation": "pattern_completion", "space": "red"})
    blue = scope_of({"operation": "pattern_completion", "space": "blue"})
    assert facts["op.latency.p99", red].value == (0.1, 0.1)
    assert facts["op.latency.p99", blue].value == (0.3, 0.3)


def test_series_of_one_scope_are_merged_and_their_quantile_is_an_interval() -> None:
    text = body(
        {
            "x{memory_space=red,result=ok}": stat(30, sum=3, mean=0.1, p99=0.2, min=0.1, max=0.5),
            "x{memory_space=red,result=error}": stat(10, sum=5, mean=0.5, p99=0.9, min=0.2, max=1),
        }
    )
    red = scope_of({"space": "red"})
    expected = {"p99": (0.2, 0.9), "count": (40, 40), "mean": (0.2, 0.2), "min": (0.1, 0.1),
                "max": (1, 1), "sum": (8, 8), "rate": (40 / 300, 40 / 300)}  # fmt: skip
    for field, value in expected.items():
        fact = one(text, source("f", f"x.{field}", {"space": "memory_space"}), red)
        assert fact.value == pytest.approx(value), field


def test_a_series_without_a_wanted_label_is_not_of_any_scope() -> None:
    text = body({"x": stat(3)})
    facts = facts_from(text, a=source("f", "x.p99", {"space": "memory_space"}))
    (fact,) = (fact for (name, _), fact in facts.items() if name == "f")
    assert not fact.known


def test_values_are_renamed_and_dropped() -> None:
    text = body({"x{result=ok}": stat(1), "x{result=skip}": stat(2), "x{result=z}": stat(3)})
    renamed = source("f", "x.count", {"operation": "result"}, values={"ok": "store", "skip": ""})
    facts = facts_from(text, a=renamed)
    scopes = {str(scope) for name, scope in facts if name == "f"}
    assert scopes == {"{operation=store}", "{operation=z}"}


def test_factor_and_proxy_are_kept() -> None:
    milliseconds = source("f", "x.p99", scope=STORE, factor=1e-3, proxy_of="the real one")
    fact = one(body({"x": stat(1, p99=5)}), milliseconds)
    assert fact.value == (0.005, 0.005)
    assert (fact.status, fact.proxy_of) == (Status.PROXY, "the real one")


def test_what_the_exporter_lost_is_told() -> None:
    facts = {name: fact for (name, _), fact in facts_from(body({})).items()}
    assert facts["telemetry.dropped_updates"].value == (7.0, 7.0)
    assert facts["telemetry.queue_depth"].value == (2.0, 2.0)


def test_the_exporter_and_the_snapshot_can_be_sources() -> None:
    depth = source("telemetry.queue_depth", "export:queue_depth", factor=2.0)
    schema = source("telemetry.schema_version", "snapshot:schema_version")
    facts = facts_from(body({}), a=depth, b=schema)
    assert facts["telemetry.queue_depth", scope_of({})].value == (4.0, 4.0)
    assert facts["telemetry.schema_version", scope_of({})].value == "1.1.0"


def test_a_server_that_tells_no_export_leaves_it_unknown() -> None:
    facts = facts_from('{"snapshot": {"five_minutes": {}}}')
    assert not any(fact.known for fact in facts.values())


def test_windows_need_no_snapshot_around_them() -> None:
    text = json.dumps({"schema_version": "1.0.0", "five_minutes": {"store_duration_seconds": stat(3)}})
    assert one(text, P99).value == (1.0, 1.0)


def test_flat_metrics_have_no_window_and_so_no_rate() -> None:
    text = json.dumps({"schema_version": "1.0.0", "store_duration_seconds": stat(3, p99=0.2), "x": 5})
    fact = one(text, P99)
    assert fact.value == (0.2, 0.2)
    assert fact.window == 0.0
    assert one(text, source("f", "x.value", scope=STORE)).value == (5.0, 5.0)
    rate = one(text, source("f", "store_duration_seconds.rate", scope=STORE))
    count = one(text, source("f", "five_minutes:store_duration_seconds.count", scope=STORE))
    for unknown in (rate.unknown, count.unknown):
        assert unknown is not None
        assert unknown.reason is Reason.WINDOW_NOT_COLLECTED


def test_an_answer_that_is_not_json_is_unparsed_with_its_place() -> None:
    facts = facts_from("<html>\n", a=P99)
    fact = facts["op.latency.p99", STORE]
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.UNPARSED
    assert "line 1" in fact.unknown.detail
    assert ("telemetry.queue_depth", scope_of({})) in facts


def test_no_answer_is_its_reason() -> None:
    fact = facts_from(None, "SOURCE_UNREACHABLE", a=P99)["op.latency.p99", STORE]
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.SOURCE_UNREACHABLE


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("x", ("x", {})),
        ("x{a=1,b=two words}", ("x", {"a": "1", "b": "two words"})),
        ('x{a="q"}', ("x", {"a": "q"})),
        ("x{a=b=c}", ("x", {"a": "b=c"})),
        ("x{a", ("x{a", {})),
        ("x{}", ("x", {})),
    ],
)
def test_names_carry_labels_in_braces(key: str, parts: tuple[str, dict[str, str]]) -> None:
    assert split_labels(key) == parts


def test_absent_metrics_are_named() -> None:
    answer = Answer("http", "/metrics", 1.0, "", body({"store_duration_seconds": stat(1)}))
    dropped = source("telemetry.dropped_updates", "export:dropped")
    known = dialect(a=P99, b=source("f", "pattern_completions_total.rate"), c=dropped)
    assert expected_metrics(known) == ("pattern_completions_total", "store_duration_seconds")
    assert absent_metrics(answer, known) == ("pattern_completions_total",)


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not on this machine")
def test_a_live_answer_of_the_released_server() -> None:
    text = (RECORDINGS / "metrics-live.json").read_text()
    fact = one(text, P99)
    assert fact.value == (0.000591, 0.000591)
    metrics = parse_engram_metrics(text)
    assert metrics.texts["schema_version"] == "1.0.0"
    assert metrics.export["exported"] == 3


COUNTS = '{"tier_counts": {"hot": 5, "warm": 6, "cold": 0, "total": 11}}'
MEMORIES = "/api/v1/memories?limit=0"


def endpoint_facts(text: str | None, *sources: Source) -> dict[str, Fact]:
    answers = [Answer("http", MEMORIES, 3.0, "host-a", text, "" if text else "SOURCE_UNREACHABLE")]
    known = dialect(**{str(n): one for n, one in enumerate(sources)})
    return {str(fact.scope): fact for fact in facts_of_endpoints(answers, known)}


def test_counts_by_tier_come_from_one_star() -> None:
    facts = endpoint_facts(COUNTS, Source("tier.memories", http=f"{MEMORIES}#tier_counts.*"))
    assert {scope: fact.value for scope, fact in facts.items()} == {
        "{tier=cold}": (0.0, 0.0),
        "{tier=hot}": (5.0, 5.0),
        "{tier=warm}": (6.0, 6.0),
    }


def test_one_field_of_an_endpoint_with_a_constant_scope() -> None:
    hot = Source("tier.memories", http=f"{MEMORIES}#tier_counts.hot", scope=scope_of({"tier": "hot"}))
    assert endpoint_facts(COUNTS, hot)["{tier=hot}"].value == (5.0, 5.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, Reason.SOURCE_UNREACHABLE),
        ("[]", Reason.SOURCE_ABSENT),
        ('{"tier_counts": {"hot": null}}', Reason.SOURCE_ABSENT),
        ("{", Reason.UNPARSED),
    ],
)
def test_an_endpoint_that_says_nothing_useful_is_a_reason(text: str | None, reason: Reason) -> None:
    facts = endpoint_facts(text, Source("tier.memories", http=f"{MEMORIES}#tier_counts.*"))
    (fact,) = facts.values()
    assert fact.unknown is not None
    assert fact.unknown.reason is reason


def test_the_paths_to_ask_are_named_once() -> None:
    first = Source("tier.memories", http=f"{MEMORIES}#tier_counts.*")
    second = Source("index.nodes", http=f"{MEMORIES}#tier_counts.total")
    assert http_paths(dialect(a=first, b=second)) == (MEMORIES,)


@pytest.mark.parametrize(
    ("body", "reason", "detail", "up"),
    [
        ('{"status": "ok"}', "", "", (1.0, 1.0)),
        (None, "SOURCE_UNREACHABLE", "HTTP 503", (1.0, 1.0)),
        (None, "SOURCE_UNREACHABLE", "connection refused: nothing listens there", (0.0, 0.0)),
        (None, "SOURCE_UNREACHABLE", "no answer in time", None),
    ],
)
def test_a_server_is_up_when_it_answers_and_down_when_it_refuses(
    body: str | None, reason: str, detail: str, up: tuple[float, float] | None
) -> None:
    answer = Answer("http", "/health", 3.0, "", body, reason, detail)
    assert facts_of_health(answer)[0].value == up


def test_the_version_is_told_where_the_server_tells_it() -> None:
    answer = Answer("http", "/health", 3.0, "", '{"version": "0.1.0"}')
    assert facts_of_health(answer)[1].value == "0.1.0"
