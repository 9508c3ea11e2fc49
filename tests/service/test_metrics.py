"""The service's own metrics: true, bounded, and readable by Prometheus."""

import math
import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engram_diagnose.history.model import Finding, Incident
from engram_diagnose.history.records import Counts
from engram_diagnose.service.metrics import MOST_FINDINGS, Metrics, Running, Stored


def values(page: bytes) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def found(
    number: int, *, instance: str = "", rule: str = "wal", confidence: float | None = 0.9
) -> tuple[Incident, Finding]:
    incident = Incident(f"i{number}", "k", instance or f"db{number}", 1.0, float(number))
    return incident, Finding(incident.id, 2.0, "confirmed", "critical", "It is slow.", rule, "WAL", confidence)


def test_what_the_database_holds_is_shown() -> None:
    counts = Counts(open=2, closed=3, queued=1, parked=4, pending=5, given_up=6, bytes=7000, oldest_waiting=90.0)
    page = values(Metrics().page(Stored(counts), Running(3, 2, True, 4), 100.0))
    assert page['engram_diagnose_incidents{state="open"}'] == 2
    assert page['engram_diagnose_jobs{state="parked"}'] == 4
    assert page['engram_diagnose_messages{state="given_up"}'] == 6
    assert page["engram_diagnose_job_wait_seconds"] == 10
    assert page["engram_diagnose_message_wait_seconds"] == 0
    assert page["engram_diagnose_database_bytes"] == 7000
    assert page["engram_diagnose_worker_up"] == 1
    assert page["engram_diagnose_worker_starts_total"] == 4
    assert page["engram_diagnose_connections"] == 3


def test_a_database_that_cannot_be_read_hides_nothing_else() -> None:
    page = values(Metrics().page(None, Running(), 0.0))
    assert page["engram_diagnose_database_up"] == 0
    assert "engram_diagnose_worker_up" in page
    assert not any(name.startswith("engram_diagnose_incidents") for name in page)


def test_findings_of_one_kind_are_counted_together() -> None:
    findings = (
        found(1, instance="db"),
        found(2, instance="db", confidence=0.4),
        found(3, instance="db", rule="", confidence=None),
    )
    page = values(Metrics().page(Stored(findings=findings), Running(), 0.0))
    assert page['engram_diagnose_findings{instance="db",rule="wal",severity="critical"}'] == 2
    assert page['engram_diagnose_finding_confidence{instance="db",rule="wal",severity="critical"}'] == 0.9
    assert math.isnan(page['engram_diagnose_finding_confidence{instance="db",rule="",severity="critical"}'])


def test_a_storm_makes_no_more_series_than_the_cap() -> None:
    page = values(Metrics().page(Stored(findings=tuple(found(n) for n in range(1000))), Running(), 0.0))
    assert sum(name.startswith("engram_diagnose_findings{") for name in page) == MOST_FINDINGS
    assert page["engram_diagnose_findings_left_out"] == 1000 - MOST_FINDINGS


def test_hostile_label_values_stay_values() -> None:
    hostile = 'x"} 1\nengram_diagnose_ready 5\n\\' + "y" * 1000
    page = Metrics().page(Stored(findings=(found(1, instance=hostile),)), Running(ready=False), 0.0)
    assert values(page)["engram_diagnose_ready"] == 0
    assert max(len(line) for line in page.splitlines()) < 400


def test_results_are_there_before_the_first_call() -> None:
    page = values(Metrics().page(None, Running(), 0.0))
    for result in ("accepted", "invalid", "full", "failed"):
        assert page[f'engram_diagnose_notifications_total{{result="{result}"}}'] == 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on PATH")
def test_promtool_finds_nothing_to_improve() -> None:
    metrics = Metrics()
    metrics.answered(202)
    metrics.cut.labels("deadline").inc()
    page = metrics.page(Stored(findings=(found(1),)), Running(), 0.0)
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert b"engram_diagnose" not in done.stdout + done.stderr
