"""
Incidents as the API tells them: plain data, with times as ISO 8601 in UTC.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from engram_diagnose.history.model import Alert, Finding, Incident, Job
from engram_diagnose.history.records import Listed, Moment, Note, Outline
from engram_diagnose.service.times import instant

Json = dict[str, Any]

NAMES: Final = 100
"""Names of an incident's alerts that are told at most."""


def _instant_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else instant(seconds)


def summary(listed: Listed) -> Json:
    """An incident as it stands in a list."""
    return _summary(listed.incident, listed.names, listed.finding, listed.job)


def whole(
    outline: Outline, finding: Finding | None, job: Job | None, alerts: Iterable[Alert], timeline: Iterable[Moment]
) -> Json:
    """An incident with the first of its alerts and of what happened, and how many there are of each."""
    return _summary(outline.incident, outline.names, finding, job) | {
        "key": outline.incident.key,
        "alerts": [alert_of(one) for one in alerts],
        "alerts_in_all": outline.alerts,
        "timeline": [happened(one) for one in timeline],
        "timeline_in_all": outline.moments,
    }


def note(written: Note) -> Json:
    """A note."""
    return {"id": written.id, "at": instant(written.at), "author": written.author, "text": written.text}


def _summary(incident: Incident, names: Sequence[str], finding: Finding | None, job: Job | None) -> Json:
    return {
        "id": incident.id,
        "instance": incident.instance,
        "state": incident.state,
        "at": instant(incident.at),
        "opened_at": instant(incident.opened_at),
        "closed_at": _instant_or_none(incident.closed_at),
        "alert_names": list(names[:NAMES]),
        "job": None if job is None else job_of(job),
        "finding": None if finding is None else _finding(finding),
    }


def job_of(job: Job) -> Json:
    """The job of an incident."""
    return {"state": job.state, "attempts": job.attempts, "error": job.error}


def _finding(finding: Finding) -> Json:
    return {
        "made_at": instant(finding.made_at),
        "state": finding.state,
        "severity": finding.severity or None,
        "sentence": finding.sentence,
        "rule": finding.rule or None,
        "title": finding.title or None,
        "confidence": finding.confidence,
        "action": finding.action or None,
    }


def alert_of(alert: Alert) -> Json:
    """An alert."""
    return {
        "name": alert.name,
        "status": alert.status,
        "labels": dict(sorted(alert.labels.items())),
        "annotations": dict(sorted(alert.annotations.items())),
        "starts_at": instant(alert.starts_at),
        "ends_at": _instant_or_none(alert.ends_at),
        "fingerprint": alert.fingerprint,
    }


def happened(happened: Moment) -> Json:
    """One entry of the timeline."""
    return {
        "at": instant(happened.at),
        "what": happened.what,
        "received_at": instant(happened.received),
        "alert": happened.alert.name if happened.alert else None,
        "source": happened.source,
        "times": happened.times,
        "text": happened.text or None,
    }
