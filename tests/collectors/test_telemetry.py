"""What the metrics say of themselves."""

import pytest

from engram_diagnose.collectors.prometheus.labels import labels_of
from engram_diagnose.collectors.prometheus.series import Series, SeriesStore, store_of
from engram_diagnose.collectors.telemetry import Promise, facts_of_freshness, facts_of_promise, promised_series
from engram_diagnose.engine.facts.catalogue import Dialect, Source
from engram_diagnose.engine.facts.fact import Value

AT = 1_700_000_000.0
SOURCES = [
    Source("store.rate", promql="sum(rate(stores_total[$window])) / sum(rate(flushes_total[$window]))"),
    Source("wal.bytes_written", counter="wal_bytes_total"),
    Source("wal.lag", promql="wal_lag", invented=True),
    Source("server.up", promql="up"),
    Source("index.nodes", http="/nodes#count"),
    Source("mem.rss", promql="sum(("),
]
DIALECT = Dialect("lab", "Lab", (), "/metrics", "prometheus", (), {source.fact: source for source in SOURCES}, {})


def store(**ages: list[float]) -> SeriesStore:
    """Series with one sample so many seconds before `AT` for each age."""
    return store_of(series(name, found) for name, found in ages.items())


def series(name: str, ages: list[float]) -> Series:
    return Series(labels_of([("__name__", name)]), [round((AT - age) * 1000) for age in ages], [1.0] * len(ages))


def freshness(held: SeriesStore) -> dict[str, Value | None]:
    return {fact.name: fact.value for fact in facts_of_freshness(held, at=AT, window=300, host="db1")}


def test_what_no_documentation_names_is_not_promised() -> None:
    promise = promised_series(DIALECT, store(stores_total=[0]))
    assert promise.expected == {"stores_total", "flushes_total", "wal_bytes_total"}
    assert promise.absent == ("flushes_total", "wal_bytes_total")


def test_absent_metrics_are_counted_and_named() -> None:
    promise = promised_series(DIALECT, store(stores_total=[0])) | Promise(frozenset({"x"}), frozenset({"x"}))
    told = {fact.name: fact.value for fact in facts_of_promise(promise, DIALECT, host="db1", time=AT)}
    assert told == {
        "telemetry.absent_names": "flushes_total, wal_bytes_total",
        "telemetry.expected_metrics": (4.0, 4.0),
        "telemetry.absent_metrics": (2.0, 2.0),
        "telemetry.dialect_mismatch": (0.0, 0.0),
    }


def test_a_dialect_of_which_nothing_is_there_is_the_wrong_one() -> None:
    told = {
        fact.name: fact.value for fact in facts_of_promise(promised_series(DIALECT, store()), DIALECT, host="", time=AT)
    }
    assert told["telemetry.dialect_mismatch"] == (1.0, 1.0)
    assert facts_of_promise(Promise(), DIALECT, host="", time=AT) == []


@pytest.mark.parametrize(
    ("ages", "age", "coverage"),
    [
        ([285 - 15 * index for index in range(20)], 0, 1),
        ([885 - 15 * index for index in range(55)], 75, 0.8),
        ([600, 585, 570], 570, 0),
    ],
)
def test_age_and_coverage_follow_from_the_times_of_up(ages: list[float], age: float, coverage: float) -> None:
    told = freshness(store(up=ages, other=[1000, 0]))
    assert told["telemetry.scrape_age"] == (age, age)
    assert told["telemetry.scrape_coverage"] == pytest.approx((coverage, coverage), abs=0.01)


def test_one_sample_tells_its_age_and_no_interval() -> None:
    assert freshness(store(other=[7])) == {"telemetry.scrape_age": (7.0, 7.0)}
    assert freshness(store()) == {}
