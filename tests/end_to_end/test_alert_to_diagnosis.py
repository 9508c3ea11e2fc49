"""
The whole way of an alert: a planted fault, a rule that fires in Prometheus, Alertmanager's call, and the diagnosis
where people look: among Alertmanager's alerts, on the incident's page, in the API.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from stage import (
    Router,
    Said,
    Scraper,
    Service,
    alertmanager,
    engram_diagnose,
    folder_on_disk,
    free_port,
    planted,
    prometheus,
    serving,
    until,
)

pytestmark = [pytest.mark.server, pytest.mark.slow]

OURS = "EngramDiagnosis"
WAL = "storage.wal-write-amplification"
NAME = "EngramStoreLatencyHigh"
FLUSH_SECONDS = 0.02
"""The service has the metrics alone, not the server's settings: a slow flush is what tells it of the fault."""
SAMPLES = 20
SLOW = (
    "histogram_quantile(0.99, sum by (le, instance) "
    '(rate(engram_memory_operation_duration_seconds_bucket{operation="store"}[10s]))) > 0.01'
)
ENOUGH = f"count_over_time(engram_wal_bytes_written_total[10m]) >= {SAMPLES}"
"""The alert's time is what is diagnosed: by then there is something to be seen."""
RULE = {"alert": NAME, "expr": f"{SLOW} and on (instance) {ENOUGH}", "for": "1s", "labels": {"severity": "critical"},
        "annotations": {"summary": "{{ $labels.instance }} stores slowly"}}  # fmt: skip


@dataclass(frozen=True)
class Story:
    """What was to be seen while the rule fired, and once it had been resolved."""

    instance: str
    service: Service
    incident: Any
    announced: list[dict[str, Any]]
    page: str
    document: Any
    again: Said
    after_kill: Any
    closed: Any


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    port = free_port()
    with (
        folder_on_disk() as folder,
        alertmanager(folder / "alertmanager", f"http://127.0.0.1:{port}/api/v1/alerts") as router,
        planted(folder / "server", slower_flush=FLUSH_SECONDS) as server,
        prometheus(
            folder / "prometheus", {server.instance: server.instance}, rules=[RULE], tells=router.address
        ) as scraper,
        serving(folder / "service", port=port, settings=tables_of(scraper, router)) as service,
    ):
        until(lambda: bool(router.alerts(OURS)), "the diagnosis in Alertmanager", seconds=60)
        announced = router.alerts(OURS)
        id = announced[0]["labels"]["incident"]
        incident = service.json(f"/api/v1/incidents/{id}")
        page = service.fetch(f"/incidents/{id}").decode()
        bundle = folder / "downloaded.bundle"
        bundle.write_bytes(service.fetch(bundle_link(page)))
        again = engram_diagnose("run", "--bundle", bundle, "--format", "json")
        document = service.json(f"/api/v1/incidents/{id}/document")
        after_kill = killed_and_started_again(folder / "killed", scraper, server.instance)
        server.process.kill()
        until(lambda: service.json(f"/api/v1/incidents/{id}")["state"] == "closed", "the incident to close")
        until(lambda: not router.alerts(OURS), "our alert to be resolved")
        closed = service.json(f"/api/v1/incidents/{id}")
        yield Story(server.instance, service, incident, announced, page, document, again, after_kill, closed)


def tables_of(scraper: Scraper, router: Router | None = None) -> str:
    """The service's settings; it looks for alerts that never arrived so seldom that none comes by that way here."""
    told = f'[alertmanager]\nurls = ["{router.url}"]\nreconcile_seconds = 3600\n' if router else ""
    return f'[prometheus]\nurl = "{scraper.url}"\n{told}'


def bundle_link(page: str) -> str:
    found = re.search(r'<a href="([^"]+/bundle)" download', page)
    assert found is not None, page
    return html.unescape(found[1])


def killed_and_started_again(folder: Path, scraper: Scraper, instance: str) -> Any:
    """The incident of an alert whose service was killed as soon as it had acknowledged, once another has started."""
    now = datetime.now(UTC).isoformat()
    alert = {"status": "firing", "labels": {"alertname": NAME, "instance": instance, "severity": "critical"},
             "annotations": {}, "startsAt": now}  # fmt: skip
    tables = tables_of(scraper)
    with serving(folder, settings=tables) as service:
        (id,) = service.notify(alert)
        service.process.kill()
    with serving(folder, settings=tables) as service:
        until(lambda: service.json(f"/api/v1/incidents/{id}")["finding"] is not None, "the diagnosis after all")
        return service.json(f"/api/v1/incidents/{id}")


def test_the_diagnosis_of_a_rule_that_fires_is_an_alert_with_the_right_cause(story: Story) -> None:
    (alert,) = story.announced
    assert alert["labels"]["instance"] == story.instance
    told = alert["annotations"]
    assert told.get("rule") == WAL, told
    assert re.fullmatch(r"\d+ %", told["confidence"])
    assert told["action"]
    assert told["link"] == f"{story.service.url}/incidents/{story.incident['id']}"


def test_the_page_and_the_api_say_the_same(story: Story) -> None:
    finding = story.incident["finding"]
    assert finding["rule"] == WAL
    assert story.incident["alert_names"] == [NAME]
    assert story.incident["job"]["state"] == "done"
    for text in (finding["title"], NAME, story.instance):
        assert html.escape(text) in story.page


def test_the_alert_itself_is_evidence(story: Story) -> None:
    names = [fact["text"] for fact in story.document["facts"] if fact["name"] == "alert.name"]
    assert NAME in names


def test_the_bundle_of_the_page_diagnoses_to_the_same_document(story: Story) -> None:
    assert story.again.code in (0, 1), story.again.err
    assert story.again.document == story.document


def test_resolving_closes_the_incident_and_resolves_our_alert(story: Story) -> None:
    # Ours was gone from Alertmanager before the story ended.
    assert story.closed["state"] == "closed"
    assert story.closed["closed_at"]
    assert {moment["what"] for moment in story.closed["timeline"]} >= {"firing", "diagnosed", "resolved", "closed"}
    assert story.closed["finding"] == story.incident["finding"]


def test_our_own_alert_came_back_and_was_not_diagnosed(story: Story) -> None:
    assert len(story.service.json("/api/v1/incidents")["incidents"]) == 1


def test_what_was_acknowledged_before_a_kill_is_diagnosed_after_it(story: Story) -> None:
    assert story.after_kill["job"]["state"] == "done"
    assert story.after_kill["finding"]["rule"] == WAL
