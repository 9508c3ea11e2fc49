"""Facts from series: values, scopes, windows, and the exact reason where there is none."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.facts import (
    SEVERAL,
    Needed,
    facts_of_scrapes,
    facts_of_series,
    needed_selectors,
)
from engram_diagnose.collectors.prometheus.functions import RESET, SCRAPES
from engram_diagnose.collectors.prometheus.histogram import BEYOND_LAST, NO_OBSERVATIONS
from engram_diagnose.collectors.prometheus.labels import labels_of
from engram_diagnose.collectors.prometheus.series import Series, SeriesStore, store_of
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect, FactSpec, Source
from engram_diagnose.engine.facts.fact import Fact, Reason, Status
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of
from engram_diagnose.engine.facts.unit import UNITS

T0 = 1_700_000_000
AT = T0 + 1200.0


def spec(name: str, unit: str = "count", **more: object) -> FactSpec:
    known = FactSpec(name, "number", UNITS[unit], "", origin="prometheus", history=True,
                     get_by="enable metrics")  # fmt: skip
    return replace(known, **more)  # type: ignore[arg-type]


SOURCES = [
    Source("client.connections", promql="lab_connections"),
    Source("index.nodes", promql="sum by (memory_space) (lab_nodes)",
           labels={"space": "memory_space"}),
    Source("op.latency.p99",
           promql="histogram_quantile(0.99, sum by (le, operation) (rate(lab_ms_bucket[$window])))",
           labels={"operation": "operation"}, values={"pattern": "pattern_completion"},
           factor=0.001),
    Source("wal.bytes_written", counter="lab_wal_bytes_total"),
    Source("ops.rate", counter='lab_ops_total{kind!="probe"}', labels={"space": "memory_space"},
           values={"a2": "a"}),
    Source("activation.cache_hit_ratio",
           promql="rate(lab_hits_total[$window]) / rate(lab_requests_total[$window])"),
    Source("server.up", promql="up"),
    Source("server.version", promql="lab_info"),
    Source("wal.lag", promql="lab_lag", proxy_of="the queue in front of the WAL"),
    Source("recall.rate", promql="rate(lab_recalls_total[$window]"),
    Source("tier.bytes", promql="lab_left / on(memory_space) lab_right"),
    Source("telemetry.dropped_updates", json="export.dropped"),
]  # fmt: skip
FACTS = [
    spec("client.connections"),
    spec("index.nodes", scope=("space",)),
    spec("op.latency.p99", "s", scope=("operation",)),
    spec("wal.bytes_written", "B", counter=True),
    spec("ops.rate", "/s", scope=("space",)),
    spec("activation.cache_hit_ratio", "share"),
    spec("server.up", kind="bool"),
    spec("server.version", kind="text"),
    spec("wal.lag"),
    spec("recall.rate", "/s"),
    spec("tier.bytes", "B"),
    spec("index.coverage", "share"),
    spec("cpu.process_cores", "cores", origin="process"),
    spec("telemetry.dropped_updates", origin="telemetry"),
]
DIALECT = Dialect("lab", "Lab", ("lab_connections",), "/metrics", "prometheus", (),
                  {source.fact: source for source in SOURCES}, {})  # fmt: skip
CATALOGUE = Catalogue({fact.name: fact for fact in FACTS}, {}, ())


def line(name: str, values: Iterable[float], every: int = 15, start: int = 0, **labels: str) -> Series:
    """A series scraped every so many seconds, whose last possible sample is at AT."""
    figures = list(values)
    times = [(T0 + start + every * step) * 1000 for step in range(len(figures))]
    return Series(labels_of([("__name__", name), *labels.items()]), times, figures)


def steady(name: str, step: float = 0, level: float = 0, count: int = 81, **labels: str) -> Series:
    return line(name, (level + step * index for index in range(count)), **labels)


def histogram(operation: str, per_scrape: Mapping[str, float]) -> list[Series]:
    total, found = 0.0, []
    for bound, count in per_scrape.items():
        total += count
        found.append(steady("lab_ms_bucket", step=total, operation=operation, le=bound))
    return found


def facts(store: SeriesStore | list[Series], *wanted: str, at: float = AT, **more: object) -> list[Fact]:
    store = store if isinstance(store, SeriesStore) else store_of(store)
    options: dict[str, object] = {"default_window": 300.0, "host": "db1", **more}
    return facts_of_series(store, dialect=DIALECT, catalogue=CATALOGUE, wanted=wanted, at=at,
                           **options)  # type: ignore[arg-type]  # fmt: skip


def one(store: SeriesStore | list[Series], name: str, **more: object) -> Fact:
    (fact,) = facts(store, name, **more)  # type: ignore[arg-type]
    return fact


def why(fact: Fact) -> tuple[Reason, str]:
    assert fact.status is Status.UNKNOWN
    assert fact.unknown is not None
    return fact.unknown.reason, fact.unknown.detail


def operation(name: str) -> Scope:
    return scope_of({"operation": name})


def test_a_gauge_is_a_point_with_its_source_host_and_time() -> None:
    fact = one([steady("lab_connections", level=12)], "client.connections")
    assert fact == Fact("client.connections", (12.0, 12.0), source="lab_connections", host="db1",
                        time=AT)  # fmt: skip


def test_each_label_set_is_a_fact_of_its_scope_in_order() -> None:
    spaces = [steady("lab_nodes", level=level, memory_space=space)
              for space, level in (("b", 2), ("a\n😀", 1), ("", 3))]  # fmt: skip
    found = facts(spaces, "index.nodes")
    assert [(fact.scope.get("space"), fact.value) for fact in found] == [
        (None, (6.0, 6.0)),
        ("a\n😀", (1.0, 1.0)),
        ("b", (2.0, 2.0)),
    ]


def test_a_quantile_is_the_interval_of_its_bucket_in_base_units() -> None:
    store = store_of([*histogram("recall", {"5": 90, "10": 10, "+Inf": 0}),
                      *histogram("pattern", {"5": 1, "10": 0, "+Inf": 9})])  # fmt: skip
    slow, recall = facts(store, "op.latency.p99")
    assert recall.scope == operation("recall")
    assert recall.value == (math.nextafter(0.005, 1), 0.01)
    assert (recall.window, recall.quality) == (300.0, "")
    assert recall.source.endswith("(rate(lab_ms_bucket[5m])))")
    assert slow.scope == operation("pattern_completion")
    assert slow.value == (math.nextafter(0.01, 1), math.inf)
    assert slow.quality == BEYOND_LAST


def test_an_idle_histogram_is_unknown_with_the_reason_nan() -> None:
    fact = one(store_of(histogram("recall", {"5": 0, "+Inf": 0})), "op.latency.p99")
    assert why(fact) == (Reason.NAN, NO_OBSERVATIONS)
    assert fact.scope == operation("recall")


def test_an_idle_ratio_is_unknown_with_the_reason_nan() -> None:
    fact = one([steady("lab_hits_total"), steady("lab_requests_total")], "activation.cache_hit_ratio")
    assert why(fact) == (Reason.NAN, "NaN")
    assert fact.get_by == "enable metrics"
    assert fact.source == "rate(lab_hits_total[5m]) / rate(lab_requests_total[5m])"


def test_a_metric_without_series_is_absent_by_name() -> None:
    fact = one([steady("lab_hits_total")], "activation.cache_hit_ratio")
    assert why(fact) == (Reason.SOURCE_ABSENT, "no series of lab_requests_total")
    fact = one([steady("lab_ops_total", kind="probe")], "ops.rate")
    assert why(fact) == (Reason.SOURCE_ABSENT, 'no series matches lab_ops_total{kind!="probe"}')


def test_terms_that_share_no_labels_are_said_to_share_none() -> None:
    store = [steady("lab_left", level=1, memory_space="a"), steady("lab_right", memory_space="b")]
    reason, detail = why(one(store, "tier.bytes"))
    assert reason is Reason.SOURCE_ABSENT
    assert "no label set has all" in detail


def test_an_ambiguous_expression_is_unknown_and_says_so() -> None:
    store = [steady("lab_left", memory_space="a"), steady("lab_right", memory_space="a", x="1"),
             steady("lab_right", memory_space="a", x="2")]  # fmt: skip
    reason, detail = why(one(store, "tier.bytes"))
    assert reason is Reason.UNPARSED
    assert 'memory_space="a"' in detail


def test_a_series_that_ended_is_stale_with_its_age() -> None:
    fact = one([steady("lab_connections", level=5, count=41)], "client.connections")
    assert why(fact) == (Reason.STALE, "last sample of lab_connections 10m before")
    fact = one([steady("lab_wal_bytes_total", count=41)], "wal.bytes_written@rate_5m")
    assert why(fact) == (Reason.STALE, "last sample of lab_wal_bytes_total 10m before")
    fact = one([steady("lab_connections")], "client.connections", at=T0 - 60.0)
    assert why(fact) == (Reason.STALE, "no sample of lab_connections before this instant")


def test_a_counter_with_one_sample_has_no_rate() -> None:
    fact = one([line("lab_wal_bytes_total", [5], start=1190)], "wal.bytes_written@rate_5m")
    assert why(fact) == (
        Reason.TOO_FEW_SAMPLES,
        "1 sample of lab_wal_bytes_total in 5m, where 2 are needed",
    )


def test_the_rate_of_a_counter_sums_its_series_by_scope() -> None:
    store = [steady("lab_ops_total", step=step, memory_space=space, kind=kind)
             for step, space, kind in ((15, "a", "x"), (30, "a", "y"), (45, "a2", "x"),
                                       (15, "b", "x"), (90, "b", "probe"))]  # fmt: skip
    found = facts(store, "ops.rate", "ops.rate@rate_10m")
    assert [(fact.name, fact.scope.get("space")) for fact in found] == [
        (name, space) for name in ("ops.rate", "ops.rate@rate_10m") for space in (None, "a", "b")
    ]
    assert [fact.value for fact in found] == [pytest.approx((v, v)) for v in (7, 6, 1, 7, 6, 1)]
    assert [fact.window for fact in found] == [300, 300, 300, 600, 600, 600]
    assert found[3].source == 'sum(rate(lab_ops_total{kind!="probe"}[10m]))'
    assert found[4].source == 'sum by (memory_space) (rate(lab_ops_total{kind!="probe"}[10m]))'


def test_a_reset_is_no_reason_but_a_quality() -> None:
    store = [line("lab_wal_bytes_total", [*range(100, 180), 3])]
    fact = one(store, "wal.bytes_written@rate_5m")
    assert fact.known
    assert fact.quality == RESET


def test_a_counters_own_figure_is_not_offered() -> None:
    reason, detail = why(one([steady("lab_wal_bytes_total")], "wal.bytes_written"))
    assert reason is Reason.WINDOW_NOT_COLLECTED
    assert "wal.bytes_written@rate_5m" in detail


def test_a_rate_of_something_computed_is_refused() -> None:
    reason, detail = why(one([], "index.nodes@rate_5m"))
    assert reason is Reason.WINDOW_NOT_COLLECTED
    assert "no counter's name" in detail
    plain = one([steady("lab_connections", step=15)], "client.connections@rate_5m")
    assert plain.value == pytest.approx((1, 1))


def test_windows_aggregate_what_each_scrape_in_them_gives() -> None:
    store = [steady("lab_connections", step=1)]
    names = [f"client.connections@{kind}_5m" for kind in ("avg", "min", "max", "slope")]
    found = facts(store, *names)
    assert [fact.name for fact in found] == names
    assert [fact.value for fact in found] == [pytest.approx((value, value)) for value in (70.5, 61, 80, 1 / 15)]
    assert {fact.window for fact in found} == {300.0}


def test_a_window_over_a_quantile_aggregates_the_ends_of_its_buckets() -> None:
    store = store_of(histogram("recall", {"5": 90, "10": 10, "+Inf": 0}))
    fact = one(store, "op.latency.p99@avg_5m")
    assert fact.value == pytest.approx((0.005, 0.01))
    beyond = one(store_of(histogram("recall", {"5": 1, "+Inf": 9})), "op.latency.p99@max_5m")
    assert beyond.value == (math.nextafter(0.005, 1), math.inf)


def test_a_window_with_holes_has_too_few_samples() -> None:
    values = [math.nan if index % 3 == 0 else 1.0 for index in range(81)]
    fact = one([line("lab_connections", values)], "client.connections@avg_5m")
    assert why(fact) == (Reason.TOO_FEW_SAMPLES, "14 of 20 samples in 5m")
    one_in_seven = [math.nan if index % 7 == 0 else 1.0 for index in range(81)]
    assert one([line("lab_connections", one_in_seven)], "client.connections@avg_5m").known
    all_nan = [line("lab_connections", [math.nan] * 81)]
    assert why(one(all_nan, "client.connections@avg_5m"))[0] is Reason.NAN


def test_a_server_that_has_just_started_has_too_few_samples_for_the_window() -> None:
    young = [line("lab_connections", [1.0] * 8, start=1095)]
    assert why(one(young, "client.connections@avg_5m")) == (
        Reason.TOO_FEW_SAMPLES,
        "8 of 20 samples in 5m",
    )
    assert one(young, "client.connections@avg_90s").known


def test_a_window_shorter_than_the_scrape_interval_says_so() -> None:
    store = [line("lab_connections", [1.0] * 21, every=60)]
    reason, detail = why(one(store, "client.connections@avg_30s"))
    assert reason is Reason.TOO_FEW_SAMPLES
    assert detail == "scraped every 1m, which is too seldom for 30s"


def test_a_scope_that_ended_in_the_window_has_too_few_samples_and_the_other_stays() -> None:
    store = [steady("lab_nodes", level=1, memory_space="on"),
             steady("lab_nodes", level=1, memory_space="off", count=41)]  # fmt: skip
    store.append(steady("up", level=1))
    together, off, on = facts(store_of(store), "index.nodes@avg_15m")
    assert together.known
    assert on.known
    assert why(off) == (Reason.TOO_FEW_SAMPLES, "20 of 60 samples in 15m")


def test_what_a_series_is_not_for_is_left_to_other_collectors() -> None:
    assert facts([], "cpu.process_cores", "telemetry.dropped_updates", "wal.lag@before",
                 "client.connections@baseline") == []  # fmt: skip


def test_a_fact_no_dialect_offers_is_not_in_the_dialect() -> None:
    assert why(one([], "index.coverage")) == (Reason.NOT_IN_DIALECT, "dialect lab")
    assert why(one([], "no.such"))[0] is Reason.NOT_IN_DIALECT


def test_a_broken_expression_is_unknown_with_its_error() -> None:
    reason, detail = why(one([], "recall.rate"))
    assert reason is Reason.UNPARSED
    assert "expected" in detail


def test_booleans_are_0_or_1_and_texts_are_not_to_be_had() -> None:
    assert one([steady("up", level=1)], "server.up").value == (1.0, 1.0)
    assert one([steady("up", level=0)], "server.up").value == (0.0, 0.0)
    assert one([steady("up", level=3)], "server.up").value == (1.0, 1.0)
    assert why(one([steady("lab_info", level=1)], "server.version"))[0] is Reason.UNPARSED


def test_a_proxy_says_what_it_stands_for() -> None:
    fact = one([steady("lab_lag", level=2)], "wal.lag")
    assert (fact.status, fact.proxy_of) == (Status.PROXY, "the queue in front of the WAL")


def test_series_that_share_a_scope_span_an_interval() -> None:
    store = [steady("lab_connections", level=level, shard=str(level)) for level in (4, 9, 5)]
    fact = one(store, "client.connections")
    assert (fact.scope, fact.value, fact.quality) == (INSTANCE, (4.0, 9.0), SEVERAL)


def test_what_is_to_be_said_of_the_answer_stands_in_every_quality() -> None:
    store = store_of([steady("lab_connections", level=1)], ["the answer was cut"])
    assert one(store, "client.connections").quality == "the answer was cut"


def test_a_window_that_was_not_collected_is_unknown_rather_than_half_measured() -> None:
    store = [steady("lab_wal_bytes_total", step=15)]
    assert why(one(store, "wal.bytes_written@rate_10m", collected=300.0)) == (
        Reason.WINDOW_NOT_COLLECTED,
        "10m of samples are needed, 5m were collected",
    )
    assert one(store, "wal.bytes_written@rate_5m", collected=300.0).known


def test_scrapes_give_plain_differences_whatever_window_was_asked_for() -> None:
    scrapes = [
        (AT - 10, "lab_wal_bytes_total 100\nlab_connections 1\nlab_ops_total 5\n"),
        (AT, b"lab_wal_bytes_total 160\nlab_connections 3\nlab_ops_total 25\n"),
    ]
    names = ["wal.bytes_written@rate_5m", "ops.rate", "client.connections", "client.connections@avg_5m"]
    rate, ops, gauge, window = facts_of_scrapes(scrapes, dialect=DIALECT, catalogue=CATALOGUE, wanted=names, host="db1")
    assert (rate.name, rate.window, rate.quality) == (names[0], 10.0, "over 10s, not 5m")
    assert rate.value == pytest.approx((6, 6))
    assert ops.value == pytest.approx((2, 2))
    assert (gauge.value, gauge.time, gauge.quality) == ((3.0, 3.0), AT, "")
    assert why(window)[0] is Reason.WINDOW_NOT_COLLECTED


@given(st.floats(0, 1), st.floats(0.01, 100))
def test_no_time_of_a_scrape_loses_the_first_one(fraction: float, gap: float) -> None:
    scrapes = [(T0 + fraction, "lab_ops_total 0"), (T0 + fraction + gap, "lab_ops_total 100")]
    (rate,) = facts_of_scrapes(scrapes, dialect=DIALECT, catalogue=CATALOGUE, wanted=["ops.rate"], host="db1")
    assert rate.value == pytest.approx((100 / gap, 100 / gap), rel=0.2)


def test_one_scrape_gives_gauges_and_no_rates() -> None:
    gauge, rate = facts_of_scrapes(
        [(AT, "lab_wal_bytes_total 160\nlab_connections 3\n")],
        dialect=DIALECT, catalogue=CATALOGUE, wanted=["client.connections", "wal.bytes_written@rate_5m"], host="db1",
    )  # fmt: skip
    assert gauge.value == (3.0, 3.0)
    assert why(rate)[0] is Reason.TOO_FEW_SAMPLES


def test_before_is_the_same_at_another_instant_under_another_name() -> None:
    store = [steady("lab_connections", step=1)]
    fact = one(store, "client.connections", at=AT - 600, suffix="@before")
    assert (fact.name, fact.value, fact.time) == ("client.connections@before", (40, 40), AT - 600)
    unknown = one(store, "index.nodes", suffix="@before")
    assert unknown.name == "index.nodes@before"


def test_what_is_needed_counts_ranges_windows_and_look_back() -> None:
    def needed(*wanted: str) -> Needed:
        return needed_selectors(wanted, dialect=DIALECT, catalogue=CATALOGUE, default_window=120)

    assert needed("cpu.process_cores", "index.coverage", "recall.rate") == Needed((), 0.0)
    assert needed("client.connections") == Needed(("lab_connections", "up"), 300)
    assert needed("op.latency.p99") == Needed(("lab_ms", "lab_ms_bucket", "up"), 120)
    assert needed("op.latency.p99@avg_5m").seconds == 420
    assert needed("client.connections@slope_30m").seconds == 2100
    assert needed("wal.bytes_written@rate_10m").seconds == 600
    assert needed("activation.cache_hit_ratio", "server.up").metrics == (
        "lab_hits_total", "lab_requests_total", "up",
    )  # fmt: skip


def test_what_is_needed_is_enough() -> None:
    """Cutting the store to what was asked for changes no fact."""
    names = ["op.latency.p99@avg_5m", "client.connections@slope_10m", "wal.bytes_written@rate_5m"]
    whole = [*histogram("recall", {"5": 90, "10": 10, "+Inf": 0}),
             steady("lab_connections", step=1), steady("lab_wal_bytes_total", step=7)]  # fmt: skip
    needed = needed_selectors(names, dialect=DIALECT, catalogue=CATALOGUE, default_window=300)
    oldest = (AT - needed.seconds) * 1000
    cut = []
    for series in whole:
        first = next(index for index, time in enumerate(series.times) if time >= oldest)
        cut.append(Series(series.labels, series.times[first:], series.values[first:]))
    assert facts(cut, *names, semantics=SCRAPES) == facts(whole, *names, semantics=SCRAPES)
