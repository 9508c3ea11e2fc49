"""Alerts, notifications and diagnoses with only what a test wants to say."""

import hashlib

from engram_diagnose.history.incidents import Grouping
from engram_diagnose.history.model import Alert, AlertStatus, Finding, Notification

T0 = 1_790_000_000.0
GROUPING = Grouping(labels=("cluster",), window=600)
DOCUMENT = {"findings": [{"rule": "storage.wal", "confidence": 0.9}], "note": 'a "quoted" é\x00'}


def alert(
    name: str = "EngramDown",
    *,
    status: AlertStatus = "firing",
    starts: float = 0.0,
    ends: float | None = None,
    fingerprint: str = "",
    **labels: str,
) -> Alert:
    """An alert of db1; times are seconds after `T0`."""
    named = {"alertname": name, "instance": "db1:7432", **labels}
    identity = hashlib.sha256(repr(sorted(named.items())).encode()).hexdigest()
    end = None if ends is None else T0 + ends
    return Alert(identity, status, named, {"summary": f"{name} fires"}, T0 + starts, end, fingerprint)


def told(*alerts: Alert) -> Notification:
    """A notification of these alerts."""
    return Notification(alerts, receiver="engram", group_key="{}")


def found(incident: str, at: float = T0 + 30, **changes: str) -> Finding:
    """A finding."""
    texts = {"severity": "critical", "sentence": "The WAL syncs too often.", "action": "Set wal.sync_mode", **changes}
    return Finding(incident, at, "found", rule="storage.wal", title="WAL syncs", confidence=0.9, **texts)
