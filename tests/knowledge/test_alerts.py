"""
Alerts that fired: what they speak of, what explains them, and how they stand beside the figures.

The figures are those of the incident that comes with the tool: a log that writes far more than is stored.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.collectors.bundle import Bundle, read_bundle
from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.render.markdown import render_markdown
from engram_diagnose.render.text import render_text
from engram_diagnose.render.why import explain
from engram_diagnose.rulebase import load_rules
from engram_diagnose.session import diagnose_bundle

Document = dict[str, Any]

IN_CIRCULATION = {
    "EngramDown": "server",
    "HealthProbeFailure": "server",
    "SpreadingLatencySLOBreach": "activation",
    "SpreadingCircuitBreakerOpen": "activation",
    "ConsolidationStaleness": "consolidation",
    "ConsolidationFailureStreak": "consolidation",
    "HighMemoryOperationLatency": "latency",
    "HighErrorRate": "errors",
    "StorageTierNearCapacity": "tiers",
    "WALLagHigh": "log",
    "ActiveMemoryGrowthUnbounded": "memory",
    "ActivationPoolExhaustion": "pool",
    "ActivationPoolLowHitRate": "pool",
    "RecallLatencyHigh": "recall",
    "EngramHighRecallLatency": "recall",
    "CompletionLatencyHigh": "completion",
    "HighQueueDepth": "throughput",
    "WorkerDown": "throughput",
}
ALERTS = {f"symptom.alert-{name}" for name in {*IN_CIRCULATION.values(), "store", "cpu", "disk", "other"}}


@pytest.fixture(scope="module")
def builtin() -> Expert:
    return expert(load_rules())


@pytest.fixture(scope="module")
def incident(root: Path) -> Bundle:
    return read_bundle(root / "src/engram_diagnose/incidents/wal-write-amplification.bundle")


@pytest.fixture
def nothing_answered(incident: Bundle) -> Bundle:
    return replace(incident, answers=())


def alert(name: str, severity: str = "critical") -> Any:
    labels = {"alertname": name, "severity": severity}
    return {"name": name, "severity": severity, "labels": labels, "starts_at": 1.0, "status": "firing"}


def diagnosed(builtin: Expert, bundle: Bundle, *alerts: Any) -> Document:
    told = replace(bundle, options={**bundle.options, "alerts": list(alerts)}) if alerts else bundle
    return document(diagnose_bundle(told, builtin))


def symptoms(found: Document) -> dict[str, Any]:
    return {item["rule"]: item for item in found["symptoms"]}


# What they speak of


@pytest.mark.parametrize(("name", "topic"), IN_CIRCULATION.items())
def test_an_alert_in_circulation_is_the_symptom_that_its_name_says(
    builtin: Expert, nothing_answered: Bundle, name: str, topic: str
) -> None:
    found = diagnosed(builtin, nothing_answered, alert(name))
    assert {rule: item["scope"] for rule, item in symptoms(found).items()} == {
        f"symptom.alert-{topic}": {"alert": name}
    }


def test_an_alert_that_nobody_knows_is_named(builtin: Expert, nothing_answered: Bundle) -> None:
    found = diagnosed(builtin, nothing_answered, alert("CertificateExpires", "warning"))
    assert symptoms(found)["symptom.alert-other"]["severity"] == "warning"
    assert "{alert=CertificateExpires}" in render_text(found)


def test_every_alert_that_is_known_can_be_explained(builtin: Expert) -> None:
    rules = builtin.loaded.rules.rules
    explained = {name for rule in rules.values() for name in rule.explains}
    for name in ALERTS - {"symptom.alert-other"}:
        assert explained & {name, *rules[name].restates}, name


def test_all_symptoms_of_alerts_are_the_ones_of_this_page(builtin: Expert) -> None:
    assert {name for name in builtin.loaded.rules.rules if name.startswith("symptom.alert-")} == ALERTS


# Beside the figures


def test_an_alert_that_the_figures_show_as_well_is_told_after_them_and_changes_no_rank(
    builtin: Expert, incident: Bundle
) -> None:
    plain, found = diagnosed(builtin, incident), diagnosed(builtin, incident, alert("StoreLatencyHigh"))
    assert symptoms(found)["symptom.alert-store"]["severity"] == "info"
    assert found["symptoms"][: len(plain["symptoms"])] == plain["symptoms"]
    assert [(one["rule"], one["score"], one["severity"]) for one in found["causes"]] == [
        (one["rule"], one["score"], one["severity"]) for one in plain["causes"]
    ]
    assert found["verdict"]["severity"] == plain["verdict"]["severity"]
    assert found["advice"] == plain["advice"]


@pytest.mark.parametrize("name", ["StoreLatencyHigh", "HighMemoryOperationLatency", "WALLagHigh", "HostDiskBusy"])
def test_the_planted_cause_explains_the_alerts_that_it_brings_about(
    builtin: Expert, incident: Bundle, name: str
) -> None:
    found = diagnosed(builtin, incident, alert(name))
    told = next(item for item in found["symptoms"] if item["scope"] == {"alert": name})
    assert "storage.wal-write-amplification" in told["explained_by"]
    assert not found["unexplained"]
    top = found["causes"][0]["explains"]
    assert top[-1]["scope"] == {"alert": name}, "what is measured comes first"


def test_an_alert_on_something_else_stays_unexplained(builtin: Expert, incident: Bundle) -> None:
    found = diagnosed(builtin, incident, alert("ActivationPoolExhaustion"))
    assert [item["rule"] for item in found["unexplained"]] == ["symptom.alert-pool"]


def test_an_alert_that_no_figure_shows_is_as_severe_as_it_says(builtin: Expert, incident: Bundle) -> None:
    for severity in ("critical", "warning", "info"):
        found = diagnosed(builtin, incident, alert("ActivationPoolExhaustion", severity))
        assert symptoms(found)["symptom.alert-pool"]["severity"] == severity


def test_where_nothing_answered_the_alert_is_the_verdict(builtin: Expert, nothing_answered: Bundle) -> None:
    found = diagnosed(builtin, nothing_answered, alert("EngramDown"))
    assert (found["verdict"]["state"], found["verdict"]["severity"]) == ("missed", "critical")
    assert "CRITICAL" in render_text(found).splitlines()[0]
    assert found["coverage"]["targets_tested"] == 0


# Without an alert


def test_a_plain_run_says_nothing_of_alerts(builtin: Expert, incident: Bundle, nothing_answered: Bundle) -> None:
    for bundle in (incident, nothing_answered):
        found = diagnosed(builtin, bundle)
        for group in ("symptoms", "symptoms_not_tested", "not_testable", "unexplained"):
            assert not ALERTS & {item["rule"] for item in found[group]}
        assert {item["rule"] for item in found["symptoms_met"]} >= ALERTS
        for report in (render_text(found, verbose=True), render_markdown(found, verbose=True)):
            assert "alert" not in report.casefold()


def test_asked_for_an_alert_that_did_not_fire_the_diagnosis_says_so(builtin: Expert, incident: Bundle) -> None:
    assert "alert.count is 0, not above 0" in explain(diagnosed(builtin, incident), "symptom.alert-recall")


# What is hostile


def test_the_name_of_an_alert_cannot_paint_the_terminal_or_the_page(builtin: Expert, nothing_answered: Bundle) -> None:
    found = diagnosed(builtin, nothing_answered, alert("Recall\x1b[31m<script>Slow\u202e\n# x"))
    assert "symptom.alert-recall" in symptoms(found)
    assert not {"\x1b", "\u202e"} & {*render_text(found), *render_markdown(found)}
    assert "<script" not in render_markdown(found)


def test_a_storm_of_alerts_is_diagnosed(builtin: Expert, nothing_answered: Bundle) -> None:
    found = diagnosed(builtin, nothing_answered, *(alert(f"Alert{number}") for number in range(2_000)))
    assert len(found["symptoms"]) == 100
    assert next(fact for fact in found["facts"] if fact["name"] == "alert.count")["text"] == "2,000"
