"""The words of severity that the settings have decide which incident is diagnosed first."""

from pathlib import Path

import pytest

from engram_diagnose.history.incidents import open_incidents
from engram_diagnose.history.model import Alert, Notification
from engram_diagnose.service.server import grouping_of
from engram_diagnose.service.settings import Incidents, Settings


def alert(instance: str, severity: str) -> Alert:
    labels = {"alertname": "EngramDown", "instance": instance, "severity": severity}
    return Alert(instance, "firing", labels, {}, 1_790_000_000.0)


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        (Settings(), ["critical", "page", "error", "warning", "info", "P1"]),
        (Settings(incidents=Incidents(severities=("P1", "warning"))), ["P1", "warning", *["other"] * 4]),
    ],
)
def test_what_is_more_severe_by_the_settings_is_diagnosed_first(
    tmp_path: Path, settings: Settings, order: list[str]
) -> None:
    words = ["P1", "info", "warning", "error", "page", "critical"]
    with open_incidents(tmp_path / "history.db") as store:
        store.accept(Notification(tuple(alert(word, word) for word in words)), 1_790_000_000.0, grouping_of(settings))
        taken = [store.take_job(1_790_000_001.0) for _ in words]
    found = [one[1].instance for one in taken if one]
    assert [word if word in order else "other" for word in found] == order
