"""/metrics: the guide's names, read by the collectors that read a server's."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fake_engine import figures
from prometheus_client.parser import text_string_to_metric_families
from unknown_to_the_lab import NOT_KNOWN_TO_THE_LAB

from engram_diagnose.collectors.prometheus.facts import facts_of_scrapes
from engram_diagnose.collectors.prometheus.series import store_of_scrapes
from engram_diagnose.collectors.telemetry import promised_series
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.lab.api import Counts
from engram_diagnose.lab.figures import Figures, Histogram, SpaceFigures
from engram_diagnose.lab.host import Host
from engram_diagnose.lab.metrics import Exposition
from engram_diagnose.lab.settings import fitting
from engram_diagnose.rulebase import load_rules

SETTINGS = fitting(Host(cores=4, memory_mb=1 << 14, numa_nodes=1, avx="avx2", flash=True))
OPERATIONS = ("store", "recall", "activation", "pattern_completion", "consolidation")


class Counting:
    """An engine that did as many operations of each kind as it was told to."""

    def __init__(self) -> None:
        self.done = dict.fromkeys(OPERATIONS, 0)

    def figures(self) -> Figures:
        done = {("default", name): count for name, count in self.done.items()}
        return replace(figures(done, {"default": 100}), errors={key: count // 10 for key, count in done.items()})


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_rules(()).catalogue


@pytest.fixture
def scrapes() -> list[tuple[float, bytes]]:
    engine = Counting()
    exposition = Exposition(engine, SETTINGS)
    counts = exposition.counts = Counts(Counter())
    exposition.connections = lambda: 7
    counts.retries_told = True
    found = []
    for moment in range(2):
        engine.done = dict.fromkeys(OPERATIONS, 100 * moment + 50)
        counts.refused["recall", "default"] = 10 * moment
        counts.retries = 5 * moment
        text = exposition.text()
        assert text is not None
        found.append((1_700_000_000.0 + 10 * moment, text))
    return found


def facts(scrapes: list[tuple[float, bytes]], catalogue: Catalogue, *names: str) -> Iterator[Fact]:
    dialect = catalogue.dialects["guide"]
    named = {source.fact + ("@rate_5m" if source.counter else "") for source in dialect.sources.values()}
    wanted = names or sorted(named)
    yield from facts_of_scrapes(scrapes, dialect=dialect, catalogue=catalogue, wanted=wanted, host="lab")


def test_every_fact_of_the_guides_dialect_is_known_but_for_those_the_lab_cannot_know(
    scrapes: list[tuple[float, bytes]], catalogue: Catalogue
) -> None:
    found = list(facts(scrapes, catalogue))
    known = {fact.name.partition("@")[0] for fact in found if fact.value is not None}
    asked = {source.fact for source in catalogue.dialects["guide"].sources.values()}
    assert asked - known == set(NOT_KNOWN_TO_THE_LAB)


def test_a_lab_that_did_nothing_yet_promises_nothing_it_does_not_publish(catalogue: Catalogue) -> None:
    class Idle:
        def figures(self) -> Figures:
            space = SpaceFigures(0, None, None, 0, 0, 0, None)
            idle = replace(figures({}, {}), spaces={"default": space}, recall_result_size=None)
            return replace(idle, completion_candidates=None, consolidation_freshness=None)

    text = Exposition(Idle(), SETTINGS).text() or b""
    store = store_of_scrapes([(1_700_000_000.0, text), (1_700_000_010.0, text)])
    assert promised_series(catalogue.dialects["guide"], store).absent == ()
    told = {fact.name: fact.value for fact in facts([(1_700_000_000.0, text), (1_700_000_010.0, text)], catalogue)}
    assert told["recall.result_size"] is None
    assert told["index.edges_per_node"] is None
    assert told["recall.rate"] == (0, 0)


def test_latencies_carry_their_operation_their_space_and_their_hops(
    scrapes: list[tuple[float, bytes]], catalogue: Catalogue
) -> None:
    scopes = {str(fact.scope) for fact in facts(scrapes, catalogue, "op.latency.p99") if fact.value is not None}
    assert any("hops=single" in scope and "operation=recall" in scope for scope in scopes), scopes
    assert any("hops=multi" in scope and "operation=activation" in scope for scope in scopes), scopes
    assert not any("hops" in scope and "operation=store" in scope for scope in scopes), scopes


def test_rates_are_what_was_done_between_the_scrapes(scrapes: list[tuple[float, bytes]], catalogue: Catalogue) -> None:
    (recalls,) = facts(scrapes, catalogue, "recall.rate")
    (every,) = facts(scrapes, catalogue, "ops.rate")
    assert recalls.value == pytest.approx((10, 10))
    assert every.value == pytest.approx((50, 50))


def test_operations_that_were_turned_away_are_errors(scrapes: list[tuple[float, bytes]], catalogue: Catalogue) -> None:
    shares = {str(fact.scope): fact.value for fact in facts(scrapes, catalogue, "op.error_share")}
    assert shares["{operation=recall}"] == pytest.approx(((10 + 10) / 100,) * 2)
    assert shares["{operation=store}"] == pytest.approx((0.1, 0.1))


def test_the_text_is_what_prometheus_own_client_reads(scrapes: list[tuple[float, bytes]]) -> None:
    families = {family.name: family for family in text_string_to_metric_families(scrapes[1][1].decode())}
    assert families["engram_wal_flush_duration_seconds"].type == "histogram"
    buckets = [s for s in families["engram_memory_operation_duration_seconds"].samples if s.name.endswith("_bucket")]
    assert {sample.labels["le"] for sample in buckets} == {"0.001", "0.01", "0.1", "1.0", "+Inf"}
    assert families["process_cpu_seconds"].samples[0].value > 0


def test_metrics_that_are_to_be_missing_are_missing_and_the_rest_is_there() -> None:
    without = "engram_wal_flush_duration_seconds, engram_operations_total"
    text = (Exposition(Counting(), SETTINGS, without=without).text() or b"").decode()
    assert "engram_wal_flush" not in text
    assert "engram_operations_total" not in text
    assert "engram_memory_operation_duration_seconds_bucket" in text


def test_a_histogram_may_be_left_out_by_any_of_its_names() -> None:
    for name in ("engram_wal_flush_duration_seconds_bucket", "engram_similarity_duration_seconds_sum"):
        text = (Exposition(Counting(), SETTINGS, without=name).text() or b"").decode()
        assert name not in text


def test_metrics_that_are_off_are_off() -> None:
    off = replace(SETTINGS, monitoring_metrics_enabled=False)
    assert Exposition(Counting(), off).text() is None


def test_repeats_are_not_spoken_of_before_a_client_told_of_any() -> None:
    assert b"retries" not in (Exposition(Counting(), SETTINGS).text() or b"")


def test_buckets_add_up() -> None:
    histogram = Histogram((0.1, 1.0), (3, 2, 1), 4.5)
    assert histogram.count == 6
