"""Facts and tests of rules as PromQL: valid, of one series at most, and with a reason where there is none."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.expression import selectors_in
from engram_diagnose.collectors.prometheus.labels import escaped
from engram_diagnose.collectors.prometheus.promql import parse, unsupported
from engram_diagnose.engine.diagnosis import target_facts
from engram_diagnose.engine.facts.fact import Fact, Value, point
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of
from engram_diagnose.engine.language import expression as tree
from engram_diagnose.engine.language.parser import parse_condition
from engram_diagnose.engine.language.rule import Recommendation
from engram_diagnose.patch.figures import Deployment, figure_query
from engram_diagnose.patch.queries import condition_query
from engram_diagnose.rulebase import load_rules

LOADED = load_rules()
CATALOGUE = LOADED.catalogue
HOSTILE = 'a"b\n\\<script>😀\ufffd{},'
SPACES = ("default", HOSTILE)
WINDOWS = ("", "@avg_5m", "@min_10m", "@max_1h", "@slope_30m", "@rate_5m")
VALUES = {"operation": "activation", "space": HOSTILE, "tier": "hot", "hops": "multi", "device": "sda", "node": "0"}


def deployment(dialect: str = "guide", *, known: dict[str, Value] | None = None, **changes: Any) -> Deployment:
    facts = [Fact(name, value) for name, value in (known or {}).items()]
    memory = Memory([*target_facts(CATALOGUE, "target"), *facts])
    at = Deployment("a:7432", CATALOGUE, CATALOGUE.dialects[dialect], LOADED.rules.rules, memory)
    return replace(at, **changes)


def query(name: str, scope: Scope = INSTANCE, dialect: str = "guide", window: str = "5m") -> str | None:
    return figure_query(name, scope, instance="a:7432", catalogue=CATALOGUE, dialect=CATALOGUE.dialects[dialect],
                        window=window)  # fmt: skip


def said(text: str, scope: Scope = INSTANCE, at: Deployment | None = None) -> str | None:
    return condition_query(tree.Leaf(parse_condition(text)), scope, at or deployment()).promql


def reason(text: str, at: Deployment | None = None) -> str:
    found = condition_query(tree.Leaf(parse_condition(text)), INSTANCE, at or deployment())
    assert found.promql is None
    return found.reason


def scopes(name: str) -> Iterator[Scope]:
    """The scopes that a fact may carry, with a value for each label."""
    spec = CATALOGUE.spec(name)
    labels = spec.scope if spec else ()
    for chosen in product((True, False), repeat=len(labels)):
        yield scope_of({label: VALUES[label] for label, there in zip(labels, chosen, strict=True) if there})


def all_figures(dialect: str) -> Iterator[str]:
    for name in dict.fromkeys(source.fact for source in CATALOGUE.dialects[dialect].sources.values()):
        for window, scope in product(WINDOWS, scopes(name)):
            text = query(name + window, scope, dialect)
            if text is not None:
                yield text


def verifications() -> Iterator[tuple[str, Scope, Recommendation]]:
    for rule in LOADED.rules.rules.values():
        for recommended in rule.recommend:
            if recommended.verify is not None:
                yield rule.id, INSTANCE, recommended
                yield rule.id, scope_of({label: VALUES[label] for label in rule.scope}), recommended


def all_conditions(dialect: str) -> Iterator[str]:
    for _, scope, recommended in verifications():
        assert recommended.verify is not None
        known: dict[str, Value] = {name: point(10.0) for name in FITTED}
        found = condition_query(recommended.verify.expect, scope, deployment(dialect, known=known))
        assert (found.promql is None) is bool(found.reason)
        if found.promql is not None:
            yield found.promql


FITTED = ("fit.tiers.hot_to_warm", "fit.tiers.warm_to_hot", "fit.tiers.cold_to_warm", "config.threads.recall_workers",
          "op.latency.p99@baseline", "activation.cache_hit_ratio@baseline")  # fmt: skip


# Figures


@pytest.mark.parametrize("dialect", ["guide", "engram-0.1", "node-exporter"])
def test_every_figure_in_every_scope_and_window_is_valid_promql(dialect: str) -> None:
    for text in set(all_figures(dialect)):
        promql_parser.parse(text)
        assert "[" not in text or "_over_time" in text or "deriv" in text or unsupported(text) is None


def test_every_published_fact_of_the_guide_has_a_query() -> None:
    for source in CATALOGUE.dialects["guide"].sources.values():
        assert query(source.fact, source.scope.with_labels({label: VALUES[label] for label in source.labels}))


def test_a_latency_is_the_quantile_of_merged_buckets() -> None:
    assert query("op.latency.p99", scope_of({"operation": "recall", "space": "default"})) == (
        "histogram_quantile(0.99, sum by (le) (rate(engram_memory_operation_duration_seconds_bucket"
        '{operation="recall",memory_space="default",instance="a:7432"}[5m])))'
    )


def test_a_renamed_label_value_is_asked_for_under_both_names() -> None:
    text = query("op.rate", scope_of({"operation": "activation"})) or ""
    assert '{operation=~"activation|spreading",instance="a:7432"}' in text


def test_a_label_that_the_fact_is_not_told_apart_by_is_left_out() -> None:
    assert query("wal.flush.p99", scope_of({"space": "default"})) == query("wal.flush.p99")


def test_the_source_of_the_nearest_scope_is_taken() -> None:
    text = query("op.latency.p99", scope_of({"operation": "recall", "hops": "multi"})) or ""
    assert 'hops="multi"' in text
    assert "hops" not in (query("op.latency.p99", scope_of({"operation": "recall"})) or "")


def test_a_counter_is_asked_for_by_its_rate() -> None:
    assert query("wal.bytes_written") == 'sum(rate(engram_wal_bytes_written_total{instance="a:7432"}[5m]))'
    assert query("wal.bytes_written@rate_10m") == 'sum(rate(engram_wal_bytes_written_total{instance="a:7432"}[10m]))'


def test_an_average_over_a_window_is_a_subquery() -> None:
    assert query("wal.lag@avg_5m") == 'avg_over_time((sum(engram_wal_pending_entries{instance="a:7432"}))[5m:30s])'


def test_figures_are_in_base_units() -> None:
    text = query("activation.fallback_rate", dialect="engram-0.1") or ""
    assert text.startswith("sum(engram_spreading_fallback_total")
    assert text.endswith(" * 0.0033333333333333335")


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("op.latency.p99", "engram-0.1"),
        ("tier.memories", "engram-0.1"),
        ("cpu.sys_share", "guide"),
        ("wal.flush.p99@before", "guide"),
        ("wal.flush.p99@rate_5m", "guide"),
        ("no.such.fact", "guide"),
    ],
)
def test_what_prometheus_does_not_have_has_no_query(name: str, dialect: str) -> None:
    assert query(name, scope_of({"operation": "store", "tier": "hot"}), dialect) is None


@given(st.text(min_size=1), st.sampled_from(["op.latency.p99", "op.error_share", "index.nodes"]))
@settings(max_examples=50, deadline=None)
def test_whatever_a_space_is_called_the_query_asks_for_that_space(space: str, name: str) -> None:
    text = query(name, scope_of({"space": space})) or ""
    promql_parser.parse(text)
    wanted = {matcher.value for selector in selectors_in(parse(text)) for matcher in selector.matchers
              if matcher.label == "memory_space"}  # fmt: skip
    assert wanted == {space.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")}


# Conditions


@pytest.mark.parametrize("dialect", ["guide", "engram-0.1"])
def test_every_verification_of_a_rule_is_valid_promql_or_says_why_not(dialect: str) -> None:
    for text in all_conditions(dialect):
        promql_parser.parse(text)


def test_many_verifications_can_be_asked_of_prometheus_with_the_guides_names() -> None:
    assert len(list(all_conditions("guide"))) >= 2 * 25


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wal.lag < 1000", "sum(L) < 1000"),
        ("1000 > wal.lag", "1000 > sum(L)"),
        ("wal.lag + 1 < 2 * 500", "(sum(L) + 1) < 1000"),
        ("-wal.lag < -1", "(0 - sum(L)) < (-1)"),
        ("max(wal.lag, 5) > 7", "clamp_min(sum(L), 5) > 7"),
        ("clamp(wal.lag, 1, 9) > 7", "clamp_max(clamp_min(sum(L), 1), 9) > 7"),
        ("abs(wal.lag) > 7", "abs(sum(L)) > 7"),
        ("next_pow2(wal.lag) > 7", "(2 ^ ceil(log2(sum(L)))) > 7"),
        ("wal.lag between 1 and 9", "(sum(L) >= 1) and on () (sum(L) <= 9)"),
        ("wal.lag in [1, 9]", "(sum(L) == 1) or on () (sum(L) == 9)"),
        ("server.up", 'min(up{instance="a:7432"}) == 1'),
        (
            "max(wal.lag, wal.disk_bytes / 1 B) > 7",
            "((sum(L) > (sum(D) / 1)) or on () ((sum(D) / 1) >= sum(L))) > 7",
        ),
    ],
)
def test_expressions_keep_their_meaning(text: str, expected: str) -> None:
    found = said(text)
    names = {"L": 'engram_wal_pending_entries{instance="a:7432"}', "D": 'engram_wal_disk_bytes{instance="a:7432"}'}
    for short, name in names.items():
        expected = expected.replace(f"({short})", f"({name})")
    assert found == expected
    promql_parser.parse(found)


def leaf(text: str) -> tree.Leaf:
    return tree.Leaf(parse_condition(text))


def test_conditions_are_joined_and_turned_round() -> None:
    low, high = leaf("wal.lag > 1"), leaf("store.rate < 5/s")
    lag, stores = 'sum(engram_wal_pending_entries{instance="a:7432"})', (
        'sum(rate(engram_store_operations_total{instance="a:7432"}[5m]))'
    )  # fmt: skip
    expected: dict[tree.Condition, str] = {
        tree.All((low, high)): f"({lag} > 1) and on () ({stores} < 5)",
        tree.AnyOf((low, high)): f"({lag} > 1) or on () ({stores} < 5)",
        tree.Not(tree.AnyOf((low, high))): f"({lag} <= 1) and on () ({stores} >= 5)",
        tree.AtLeast(1, (low, high)): f"({lag} > 1) or on () ({stores} < 5)",
    }
    for condition, text in expected.items():
        assert condition_query(condition, INSTANCE, deployment()).promql == text
        promql_parser.parse(text)


def test_a_target_stands_as_its_figure() -> None:
    text = said("op.latency.p99{operation=recall} < target.op.latency.p99{operation=recall}")
    assert text is not None
    assert text.endswith(" < 0.01")


def test_a_setting_stands_as_what_the_patch_sets() -> None:
    at = deployment(known={"config.threads.recall_workers": point(2)},
                    settings={"config.threads.recall_workers": point(16.0)})  # fmt: skip
    text = said("op.inflight{operation=recall} < config.threads.recall_workers", at=at)
    assert text is not None
    assert text.endswith(" < 16")


def test_a_text_setting_decides_its_part_of_a_condition() -> None:
    at = deployment(settings={"config.wal.sync_mode": "batch"})
    both = tree.All((leaf('config.wal.sync_mode == "batch"'), leaf("wal.lag < 5")))
    assert condition_query(both, INSTANCE, at).promql == 'sum(engram_wal_pending_entries{instance="a:7432"}) < 5'
    assert reason('config.wal.sync_mode == "batch"', at) == "nothing in it changes in Prometheus"


def test_a_derived_fact_is_written_out() -> None:
    assert said("data.overhead < 2") == (
        '(sum(engram_memory_bytes{instance="a:7432"}) / sum(engram_data_bytes{instance="a:7432"})) < 2'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu.sys_share < 5%", "cpu.sys_share is not published by dialect guide"),
        ("wal.lag < 5 * wal.lag@baseline", "wal.lag@baseline is not known"),
        ("cache.memory_miss_ratio < 5%", "cache.memory_miss_ratio is chosen among what was measured"),
        ("any(device, disk.util_share > 5%)", "it ranges over every device"),
        ("1 / 0 > wal.lag", "it does not come to a figure"),
    ],
)
def test_what_cannot_be_said_has_a_reason(text: str, expected: str) -> None:
    assert reason(text).startswith(expected)


def test_a_figure_published_as_json_alone_has_a_reason() -> None:
    found = reason("op.latency.p99{operation=store} < 5ms", deployment("engram-0.1"))
    assert found == "op.latency.p99 is published in no form that Prometheus scrapes"


def test_a_measured_figure_never_stands_as_the_number_it_was() -> None:
    at = deployment(known={"index.recall_at_10": point(0.5), "cache.memory_miss_ratio": point(0.5)})
    assert reason("index.recall_at_10 > 90%", at)
    assert reason("cache.memory_miss_ratio < wal.lag", at)


def test_nested_extremes_do_not_grow_without_bound() -> None:
    deep = "wal.lag"
    for _ in range(12):
        deep = f"max({deep}, store.rate / 1/s)"
    assert "characters" in reason(f"{deep} > 1")


# A real Prometheus


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Asks a real Prometheus, which has series of every metric of the guide under several labels and two jobs."""
    import httpx

    sys.path.insert(0, str(Path(__file__).parents[1] / "end_to_end"))
    from stage import free_port, running, until  # type: ignore[import-not-found]

    folder = tmp_path_factory.mktemp("prometheus")
    series, settings, data = folder / "series.txt", folder / "prometheus.yml", folder / "tsdb"
    series.write_text("".join(exposition(time.time())), encoding="utf-8")
    settings.write_text("{}")
    command = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(series), str(data)]
    subprocess.run(command, check=True, capture_output=True)
    address = f"127.0.0.1:{free_port()}"
    command = [program("prometheus"), f"--config.file={settings}", f"--storage.tsdb.path={data}",
               f"--web.listen-address={address}", "--log.level=error"]  # fmt: skip
    with running(command, dict(os.environ)), httpx.Client(base_url=f"http://{address}") as client:
        until(lambda: is_ready(client), "Prometheus to be ready")
        yield lambda text: client.post("/api/v1/query", data={"query": text}).json()


def program(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"no {name} on PATH"
    return path


def is_ready(client: Any) -> bool:
    import httpx

    try:
        return bool(client.get("/-/ready").is_success)
    except httpx.HTTPError:
        return False


def exposition(now: float) -> Iterator[str]:
    sources = CATALOGUE.dialects["guide"].sources.values()
    texts = [(source.promql or source.counter).replace("$window", "5m") for source in sources]
    names = sorted({selector.name for text in texts for selector in selectors_in(parse(text))})
    for name in names:
        bounds = ("0.001", "0.01", "+Inf") if name.endswith("_bucket") else ("",)
        for job, operation, space, le in product(("a", "b"), ("spreading", "activation", "store"), SPACES, bounds):
            labels = {"job": job, "instance": "a:7432", "operation": operation, "memory_space": space, "tier": "hot",
                      "hops": "multi", **({"le": le} if le else {})}  # fmt: skip
            body = ",".join(f'{label}="{escaped(value)}"' for label, value in labels.items())
            yield from (f"{name}{{{body}}} {600 - age} {now - age:.0f}\n" for age in range(600, -1, -30))
    yield "# EOF\n"


@pytest.mark.server
def test_a_real_prometheus_answers_every_query_with_one_series_at_most(ask: Any) -> None:
    answered = 0
    for text in sorted({*all_figures("guide"), *all_conditions("guide"), *all_figures("engram-0.1"),
                        *all_conditions("engram-0.1"), *all_figures("node-exporter")}):  # fmt: skip
        answer = ask(text)
        assert answer["status"] == "success", (text, answer)
        assert "warnings" not in answer, (text, answer)
        result = answer["data"]["result"]
        assert len(result) <= 1, (text, result)
        assert all(series["metric"] == {} for series in result), (text, result)
        answered += bool(result)
    assert answered > 100


@pytest.mark.server
def test_a_real_prometheus_finds_the_space_of_a_hostile_name(ask: Any) -> None:
    (series,) = ask(query("index.nodes", scope_of({"space": HOSTILE})))["data"]["result"]
    assert float(series["value"][1]) > 0
