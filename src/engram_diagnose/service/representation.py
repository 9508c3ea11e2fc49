"""
Incidents as the API tells them: plain data, with times as ISO 8601 in UTC.
"""

from datetime import UTC, datetime
from typing import Any

from engram_diagnose.history.model import Alert, Finding, Incident, Job
from engram_diagnose.history.records import Listed, Moment, Note

Json = dict[str, Any]


def moment(seconds: float) -> str:
    """`2026-11-22T03:00:00.250Z`; a time that no calendar has is the nearest that it has."""
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        at = datetime.max.replace(tzinfo=UTC) if seconds > 0 else datetime.min.replace(tzinfo=UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else moment(seconds)


def summary(listed: Listed) -> Json:
    """An incident as it stands in a list."""
    return _summary(listed.incident, listed.finding, listed.job)


def whole(incident: Incident, finding: Finding | None, job: Job | None, timeline: tuple[Moment, ...]) -> Json:
    """An incident with its alerts and what happened."""
    return _summary(incident, finding, job) | {
        "key": incident.key,
        "alerts": [_alert(one) for one in incident.alerts],
        "timeline": [_happened(one) for one in timeline],
    }


def note(written: Note) -> Json:
    """A note."""
    return {"id": written.id, "at": moment(written.at), "author": written.author, "text": written.text}


def _summary(incident: Incident, finding: Finding | None, job: Job | None) -> Json:
    return {
        "id": incident.id,
        "instance": incident.instance,
        "state": incident.state,
        "at": moment(incident.at),
        "opened_at": moment(incident.opened_at),
        "closed_at": _moment_or_none(incident.closed_at),
        "alert_names": sorted({alert.name for alert in incident.alerts}),
        "job": None if job is None else job_of(job),
        "finding": None if finding is None else _finding(finding),
    }


def job_of(job: Job) -> Json:
    """The job of an incident."""
    return {"state": job.state, "attempts": job.attempts, "error": job.error}


def _finding(finding: Finding) -> Json:
    return {
        "made_at": moment(finding.made_at),
        "state": finding.state,
        "severity": finding.severity or None,
        "sentence": finding.sentence,
        "rule": finding.rule or None,
        "title": finding.title or None,
        "confidence": finding.confidence,
        "action": finding.action or None,
    }


def _alert(alert: Alert) -> Json:
    return {
        "name": alert.name,
        "status": alert.status,
        "labels": dict(sorted(alert.labels.items())),
        "annotations": dict(sorted(alert.annotations.items())),
        "starts_at": moment(alert.starts_at),
        "ends_at": _moment_or_none(alert.ends_at),
        "fingerprint": alert.fingerprint,
    }


def _happened(happened: Moment) -> Json:
    return {
        "at": moment(happened.at),
        "what": happened.what,
        "received_at": moment(happened.received),
        "alert": happened.alert.name if happened.alert else None,
        "source": happened.source,
        "times": happened.times,
        "text": happened.text or None,
    }
