"""Facts over all spaces, from sources of their own scope, and texts: what one dialect may say in several ways."""

import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from engram_diagnose.collectors.prometheus.facts import facts_of_series, needed_selectors
from engram_diagnose.collectors.prometheus.labels import labels_of
from engram_diagnose.collectors.prometheus.merging import merged_over, promql_of
from engram_diagnose.collectors.prometheus.promql import parse, with_window
from engram_diagnose.collectors.prometheus.series import Series, store_of
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect, FactSpec, Source
from engram_diagnose.engine.facts.fact import Fact, Reason
from engram_diagnose.engine.facts.scope import INSTANCE, scope_of
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.rulebase import load_rules

LINES = (Path(__file__).parent / "expressions.txt").read_text().splitlines()
EXPRESSIONS = [line for line in LINES if line and not line.startswith("#")]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_reads_as_itself_after_it_was_written(text: str) -> None:
    assert parse(promql_of(parse(text))) == parse(text)


def test_every_source_of_the_dialects_reads_as_itself_after_it_was_written() -> None:
    for dialect in load_rules().catalogue.dialects.values():
        for source in dialect.sources.values():
            if text := with_window(source.promql or source.counter, 300):
                assert parse(promql_of(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("sum by (le, space) (rate(b[5m]))", "sum by (le) (rate(b[5m]))"),
        ("sum by (space) (b)", "sum(b)"),
        ("sum without (pod) (b)", "sum without (pod, space) (b)"),
        ("sum by (op, space) (a) / on (op, space) sum by (op, space) (b)", "sum by (op) (a) / on (op) sum by (op) (b)"),
        ("clamp_max(-sum by (space) (a), 1) * 2", "clamp_max(-sum(a), 1) * 2"),
        ("histogram_quantile(0.9, sum by (le, space) (b))", "histogram_quantile(0.9, sum by (le) (b))"),
        ("rate(b[5m])", None),
        ("sum by (space) (a) / b", None),
    ],
)  # fmt: skip
def test_a_label_is_merged_before_anything_is_computed(text: str, merged: str | None) -> None:
    found = merged_over(parse(text), {"space"})
    assert (found and promql_of(found)) == merged


AT = 1_700_001_200.0
SOURCES = {
    "op.latency.p99": Source(
        "op.latency.p99",
        promql="histogram_quantile(0.99, sum by (le, memory_space) (rate(ms_bucket[$window])))",
        labels={"space": "memory_space"},
    ),
    "op.latency.p99{hops=multi}": Source(
        "op.latency.p99",
        scope_of({"hops": "multi"}),
        promql='histogram_quantile(0.99, sum by (le, memory_space) (rate(ms_bucket{hops="multi"}[$window])))',
        labels={"space": "memory_space"},
        invented=True,
    ),
    "tier.bytes{tier=hot}": Source("tier.bytes", scope_of({"tier": "hot"}), promql="sum(hot_bytes)"),
    "tier.bytes{tier=cold}": Source("tier.bytes", scope_of({"tier": "cold"}), promql="sum(cold_bytes)"),
    "host.role": Source("host.role", promql="up", text_label="role"),
    "mem.rss": Source("mem.rss", promql="rss", labels={"space": "memory_space"}),
}
FACTS = [FactSpec(name, "text" if name == "host.role" else "number", UNITS["s"], "", history=True, origin="prometheus")
         for name in {source.fact for source in SOURCES.values()}]  # fmt: skip
DIALECT = Dialect("lab", "Lab", (), "/metrics", "prometheus", (), SOURCES, {})
CATALOGUE = Catalogue({fact.name: fact for fact in FACTS}, {}, ())


def rising(name: str, step: float, **labels: str) -> Series:
    times = [round(AT - 600 + 15 * index) * 1000 for index in range(41)]
    return Series(labels_of([("__name__", name), *labels.items()]), times, [step * index for index in range(41)])


def buckets(space: str, fast: float, slow: float, **labels: str) -> list[Series]:
    steps = {"0.01": fast, "0.1": fast + slow, "+Inf": fast + slow}
    return [rising("ms_bucket", step, le=le, memory_space=space, **labels) for le, step in steps.items()]


def facts(series: Iterable[Series], name: str) -> dict[str, Fact]:
    found = facts_of_series(store_of(series), dialect=DIALECT, catalogue=CATALOGUE, wanted=[name], at=AT, host="db1",
                            default_window=300.0)  # fmt: skip
    assert len({fact.scope for fact in found}) == len(found)
    return {str(fact.scope): fact for fact in found}


def test_a_quantile_over_all_spaces_comes_from_their_buckets_and_not_from_their_quantiles() -> None:
    found = facts([*buckets("busy", 10_000, 0), *buckets("slow", 0, 10)], "op.latency.p99")
    assert {scope: fact.value for scope, fact in found.items()} == {
        "": pytest.approx((0.0, 0.01)),
        "{space=busy}": pytest.approx((0.0, 0.01)),
        "{space=slow}": pytest.approx((0.01, 0.1)),
    }
    assert found[""].source == "histogram_quantile(0.99, sum by (le) (rate(ms_bucket[5m])))"


def test_an_idle_space_is_unknown_and_the_whole_is_not() -> None:
    found = facts([*buckets("busy", 10, 0), *buckets("idle", 0, 0)], "op.latency.p99")
    assert found[""].known
    assert not found["{space=idle}"].known


def test_a_figure_that_is_not_aggregated_is_not_merged() -> None:
    assert set(facts([rising("rss", 1, memory_space="a")], "mem.rss")) == {"{space=a}"}


def test_several_sources_of_one_fact_each_speak_of_their_own_scope() -> None:
    found = facts([*buckets("a", 10, 0, hops="single"), *buckets("a", 0, 10, hops="multi")], "op.latency.p99")
    assert set(found) == {"", "{space=a}", "{hops=multi}", "{space=a, hops=multi}"}
    assert found["{hops=multi}"].value == pytest.approx((0.01, 0.1))


def test_an_invented_scope_that_is_not_published_is_no_fact_beside_others() -> None:
    assert set(facts(buckets("a", 10, 0), "op.latency.p99")) == {"", "{space=a}"}
    nothing = facts([], "op.latency.p99")
    assert set(nothing) == {""}
    assert nothing[""].unknown is not None
    assert nothing[""].unknown.reason is Reason.SOURCE_ABSENT


def test_an_absent_source_of_a_scope_is_unknown_in_that_scope() -> None:
    found = facts([rising("hot_bytes", 1)], "tier.bytes")
    assert found["{tier=hot}"].known
    assert not found["{tier=cold}"].known


def test_a_text_is_the_value_of_a_label() -> None:
    (fact,) = facts([rising("up", 0, role="replica")], "host.role").values()
    assert (fact.value, fact.scope, fact.source) == ("replica", INSTANCE, "up")


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        ([], Reason.SOURCE_ABSENT),
        ([rising("up", 0)], Reason.SOURCE_ABSENT),
        ([rising("up", 0, role="api"), rising("up", 0, role="replica")], Reason.UNPARSED),
    ],
)
def test_a_text_that_is_not_there_or_not_the_only_one_is_unknown(series: list[Series], reason: Reason) -> None:
    (fact,) = facts(series, "host.role").values()
    assert fact.unknown is not None
    assert fact.unknown.reason is reason


def test_what_is_needed_counts_every_source() -> None:
    needed = needed_selectors(
        ["tier.bytes", "op.latency.p99"], dialect=DIALECT, catalogue=CATALOGUE, default_window=300.0
    )
    assert needed.metrics == ("cold_bytes", "hot_bytes", "ms", "ms_bucket", "up")
    assert not math.isinf(needed.seconds)
