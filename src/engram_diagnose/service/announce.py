"""
What is told of a diagnosis: the alert `EngramDiagnosis`, and the messages that carry it out of here.

Nothing here sends. Every text is bounded and harmless to show, because label values come from outside.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from engram_diagnose.collectors.prometheus.options import PrometheusOptions, address_of
from engram_diagnose.engine.language.rule import SEVERITIES
from engram_diagnose.history.announcing import LeftOut
from engram_diagnose.history.model import Alert, Finding, Incident, Notification
from engram_diagnose.history.records import NewMessage
from engram_diagnose.render.neutral import visible
from engram_diagnose.service.settings import Settings
from engram_diagnose.service.times import instant

OURS: Final = "EngramDiagnosis"
"""The alert's name. An alert of this name is never diagnosed."""

FURTHER: Final = "further"
"""The label `incident` of the alert that stands for incidents without one of their own."""

_LABEL: Final = 128
_ANNOTATION: Final = 1000
_ALERTS: Final = 50
_LABELS: Final = 40
"""Characters of a label's value and of an annotation; alerts, and labels of one alert, in a webhook's message."""


@dataclass(frozen=True, slots=True)
class OwnAlert:
    """`EngramDiagnosis` of one incident. Its labels are the same for as long as the incident lives."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    link: str


def is_ours(labels: Mapping[str, str]) -> bool:
    """Whether an alert is one that this tool raised; taken in, it would be diagnosed, raised again, and so on."""
    return labels.get("alertname") == OURS


def without(notification: Notification, ignore: Iterable[str] = ()) -> Notification:
    """The notification without our own alerts and those whose names are to be ignored."""
    ignored = frozenset(ignore)
    kept = tuple(alert for alert in notification.alerts if not is_ours(alert.labels) and alert.name not in ignored)
    return notification if len(kept) == len(notification.alerts) else replace(notification, alerts=kept)


def messages_for(incident: Incident, finding: Finding, settings: Settings, now: float) -> list[NewMessage]:
    """
    What is to be sent once an incident is diagnosed: one message to each Alertmanager, and one to the webhook.

    The keys are the same whenever this is asked, so that nothing is queued twice.
    """
    messages = [
        NewMessage("alertmanager", incident.id, f"{incident.id}.alertmanager.{_digest(to)}", _addressed(to, now), now)
        for to in destinations(settings)
    ]
    if settings.webhook.url or settings.webhook.url_file:
        body = {"made": now, "content": content_of(incident, finding, settings)}
        messages.append(NewMessage("webhook", incident.id, f"{incident.id}.webhook", body, now))
    return messages


def destinations(settings: Settings) -> dict[str, str]:
    """Every Alertmanager: how it is called in messages and logs, without a login, and its whole URL."""
    return {address_of(PrometheusOptions(url)): url for url in settings.alertmanager.urls}


def chosen(findings: Iterable[tuple[Incident, Finding]], most: int) -> list[tuple[Incident, Finding]]:
    """The most severe ones, and of these the oldest."""
    return sorted(findings, key=_rank)[:most]


def alert_of(incident: Incident, finding: Finding, settings: Settings) -> OwnAlert:
    """The alert that says what was found. Without a severity of its own, a diagnosis is informational."""
    link = link_of(incident.id, settings)
    own = {
        "alertname": OURS,
        "instance": incident.instance,
        "severity": severity_of(finding),
        "incident": incident.id,
    }
    annotations = {
        "summary": summary_of(incident, finding),
        "verdict": finding.sentence,
        "cause": finding.title or "no cause was concluded",
        "rule": finding.rule,
        "confidence": confidence_of(finding),
        "action": finding.action,
        "link": link,
    }
    return OwnAlert(
        _bounded({**_shared(incident, settings), **own}, _LABEL),
        _bounded(annotations, _ANNOTATION),
        min(incident.at, finding.made_at),
        link,
    )


def further_alert(left_out: LeftOut, settings: Settings) -> OwnAlert:
    """
    The one alert that stands for open incidents of a severity which have none of their own.

    Its labels stay the same as their number changes, so that nobody is called again for each of them.
    """
    link = f"{settings.base_url}/incidents?state=open"
    several = "incident is" if left_out.number == 1 else "incidents are"
    found = f"{left_out.number:,} more {several} open, of severity {left_out.severity}, beyond those announced"
    annotations = {
        "summary": found,
        "verdict": f"{found}; nothing is lost: each is diagnosed and stands on the history page",
        "action": "look at the history page for what they have in common; an incident is announced as others close",
        "link": link,
    }
    labels = {"alertname": OURS, "severity": left_out.severity, "incident": FURTHER}
    return OwnAlert(labels, _bounded(annotations, _ANNOTATION), left_out.since, link)


def content_of(incident: Incident, finding: Finding, settings: Settings) -> dict[str, Any]:
    """What a webhook's template is given: plain data, times as ISO 8601 in UTC."""
    return {
        "incident": {
            "id": incident.id,
            "instance": bounded(incident.instance, _LABEL),
            "at": instant(incident.at),
            "opened_at": instant(incident.opened_at),
            "link": link_of(incident.id, settings),
        },
        "finding": {
            "made_at": instant(finding.made_at),
            "state": finding.state,
            "severity": severity_of(finding),
            "summary": bounded(summary_of(incident, finding), _ANNOTATION),
            "sentence": bounded(finding.sentence, _ANNOTATION),
            "rule": finding.rule,
            "title": bounded(finding.title, _ANNOTATION),
            "confidence": finding.confidence,
            "action": bounded(finding.action, _ANNOTATION),
        },
        "alerts": [_content_of_alert(alert) for alert in incident.alerts[:_ALERTS]],
    }


def summary_of(incident: Incident, finding: Finding) -> str:
    """One line that says it all: the instance, the top cause and how sure it is, or why there is none."""
    confidence = confidence_of(finding)
    cause = finding.title and finding.title + (f" ({confidence})" if confidence else "")
    return f"{incident.instance}: {cause or finding.sentence}" if incident.instance else cause or finding.sentence


def confidence_of(finding: Finding) -> str:
    """The confidence in words: `87 %`; empty when there is none."""
    return "" if finding.confidence is None else f"{finding.confidence * 100:.0f} %"


def severity_of(finding: Finding) -> str:
    """One of the severities that rules have."""
    return finding.severity if finding.severity in SEVERITIES else SEVERITIES[0]


def link_of(incident: str, settings: Settings) -> str:
    """Where people read about an incident."""
    return f"{settings.base_url}/incidents/{incident}"


def bounded(text: str, most: int) -> str:
    """A text as one printable line of `most` characters at most."""
    line = visible(text[: 4 * most].strip())
    return line if len(line) <= most else line[: most - 1] + "…"


def _rank(item: tuple[Incident, Finding]) -> tuple[int, float, str]:
    incident, finding = item
    return -SEVERITIES.index(severity_of(finding)), incident.opened_at, incident.id


def _shared(incident: Incident, settings: Settings) -> dict[str, str]:
    """The labels that all alerts of the incident share by the settings; they stay the same as more alerts join."""
    labels = incident.alerts[0].labels if incident.alerts else {}
    return {name: labels[name] for name in settings.incidents.labels[:10] if name in labels}


def _content_of_alert(alert: Alert) -> dict[str, Any]:
    labels = dict(sorted(alert.labels.items())[:_LABELS])
    return {
        "name": bounded(alert.name, _LABEL),
        "status": alert.status,
        "starts_at": instant(alert.starts_at),
        "labels": _bounded(labels, _LABEL),
    }


def _bounded(texts: Mapping[str, str], most: int) -> dict[str, str]:
    """Only those that are not empty: to Alertmanager an empty one is none."""
    kept = {bounded(name, _LABEL): bounded(text, most) for name, text in texts.items()}
    return {name: text for name, text in kept.items() if text}


def _addressed(to: str, now: float) -> dict[str, object]:
    return {"made": now, "to": to}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
