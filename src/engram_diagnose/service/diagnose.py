"""
The diagnosis of one incident: what Prometheus knows of its instance at its time, under the rules in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from engram_diagnose import __version__
from engram_diagnose.bounds import bounds_of
from engram_diagnose.collectors.bundle import encode_bundle, read_bundle
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.bundle_size import fitted
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import host_identity
from engram_diagnose.collectors.capture.names import resolve
from engram_diagnose.collectors.capture.target import LocalTarget, local_target
from engram_diagnose.collectors.gather import DEFAULT_WINDOW, NothingToCollectError, Request, gather
from engram_diagnose.collectors.prometheus.options import Refusal
from engram_diagnose.engine.diagnosis import Expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.language.rule import SEVERITIES
from engram_diagnose.history.model import Alert, Finding, Incident
from engram_diagnose.render.figures import some
from engram_diagnose.render.neutral import visible
from engram_diagnose.render.view import Report, report
from engram_diagnose.rulebase import rule_digests
from engram_diagnose.service.login import LoginError, options_of
from engram_diagnose.service.settings import Settings
from engram_diagnose.service.subject import INSTANCE, instance_with, label_of, named_by
from engram_diagnose.session import asked_facts, diagnose_bundle

__all__ = ["Diagnosed", "Retry", "diagnose_incident", "warm"]

_ALERTS: Final = 100
"""Alerts of one incident that a bundle holds; a storm has thousands, which say no more."""
_WATCHED_SECONDS: Final = 0.25
"""How long counters of this host are watched: somebody waits for the answer."""
_ACTIONS: Final = 3
_UNSET: Final = "the service's settings name no Prometheus; set prometheus.url"


class Retry(Exception):  # noqa: N818 -- a wish, not an error
    """The evidence cannot be had now, and may be had later; the reason is for people."""


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What was found, the diagnosis as a document, and the evidence behind it as a bundle's bytes."""

    finding: Finding
    document: Mapping[str, Any]
    bundle: bytes


def diagnose_incident(
    incident: Incident, settings: Settings, expert: Expert, *, now: float, last: bool = False
) -> Diagnosed:
    """
    Diagnose an incident at its time; `now` in seconds since the epoch.

    Raises `Retry` while Prometheus cannot be asked. With `last` that is no reason to say nothing: the diagnosis then
    names what could not be asked. Nothing is fetched from where an alert points to.
    """
    content = encode_bundle(_bundle(incident, settings, expert, now, last=last))
    # What is diagnosed is what is kept: the bundle as it reads again.
    bundle = read_bundle(content)
    found = document(diagnose_bundle(bundle, expert, target_set=settings.targets))
    return Diagnosed(_finding(incident.id, found, _gap(bundle), now), found, content)


def warm(expert: Expert, *, now: float) -> None:
    """Diagnose nothing, so that the first incident does not wait for what every one needs."""
    import httpx  # noqa: F401 -- what the first question to Prometheus would import

    report(document(diagnose_bundle(read_bundle(encode_bundle(Bundle(now))), expert)))


# The evidence


def _bundle(incident: Incident, settings: Settings, expert: Expert, now: float, *, last: bool) -> Bundle:
    at = _instant(incident, now)
    bundle = _gathered(incident, settings, expert, at, now, last=last)
    reason = _unreachable(bundle)
    if reason and not last:
        raise Retry(reason)
    return replace(bundle, options={**bundle.options, "alerts": [_told(alert) for alert in _foremost(incident)]})


def _instant(incident: Incident, now: float) -> float:
    """What is diagnosed: the incident's time, which another clock may put into the future, or nowhere at all."""
    at = incident.at if incident.at > 0 else incident.opened_at
    return min(at, now) if at > 0 else now


def _gathered(incident: Incident, settings: Settings, expert: Expert, at: float, now: float, *, last: bool) -> Bundle:
    asked = settings.prometheus
    try:
        prometheus = options_of(asked.url, asked.login) if asked.url else None
    except LoginError as error:
        if not last:
            raise Retry(str(error)) from None
        return _without(incident, settings, at, str(error))
    label, instance = named_by(incident, settings)
    if label != INSTANCE and prometheus is not None:
        named = instance_with(prometheus, expert.loaded.catalogue, label, instance, at=at)
        if isinstance(named, Refusal):
            return _without(incident, settings, at, str(named), reason=named.reason.name)
        instance = named
    here = _runs_here(instance, asked.url)
    if prometheus is None and not here:
        return _without(incident, settings, at, _UNSET)
    request = Request(
        prometheus=prometheus,
        instance=instance,
        node_instance=label_of(incident, asked.node_instance_label) if asked.node_instance_label else "",
        dialect=settings.dialect,
        at=at,
        seconds=_WATCHED_SECONDS,
        before=asked.before_seconds,
        local=here,
        target_set=settings.targets,
    )
    loaded = expert.loaded
    bounds = bounds_of(loaded, here=here)
    try:
        bundle = gather(request, loaded.catalogue, asked_facts(loaded), now=now, tool=_tool(),
                        rules=rule_digests(loaded), bounds=bounds)  # fmt: skip
        return fitted(bundle, most=bounds.limits["bundle_bytes"])
    except NothingToCollectError as error:
        return _without(incident, settings, at, str(error) if prometheus else _UNSET)


def _tool() -> str:
    return f"engram-diagnose {__version__}"


def _without(
    incident: Incident, settings: Settings, at: float, why: str, *, reason: str = "SOURCE_UNREACHABLE"
) -> Bundle:
    """A bundle that holds nothing but the reason."""
    answer = Answer("prometheus", "window 0", at, incident.instance, None, reason, why)
    options = {"window": DEFAULT_WINDOW, "before": settings.prometheus.before_seconds, "statements": {}, "local": False,
               "past": True}  # fmt: skip
    identity = host_identity()
    return Bundle(at, _tool(), settings.dialect, incident.instance, identity.id, identity.name, settings.targets,
                  options, answers=(answer,))  # fmt: skip


def _runs_here(instance: str, prometheus_url: str) -> bool:
    """
    Whether the server runs on this host, and its process can be told to be an Engram server.

    The instance is what an alert says: no name out of it is looked up, and no port is asked because of it alone.
    """
    if not instance:
        return False
    via = urlsplit(prometheus_url).hostname or ""
    target = local_target(instance, via=via, resolver=lambda name: resolve(name) if name == via else frozenset())
    return isinstance(target, LocalTarget) and target.name.startswith("engram")


def _unreachable(bundle: Bundle) -> str:
    """Why Prometheus gave nothing, where asking again may help; a service without one has nobody to ask again."""
    return next((answer.detail for answer in bundle.of("prometheus") if answer.name.startswith("window ")
                 and answer.reason == "SOURCE_UNREACHABLE" and answer.detail != _UNSET), "")  # fmt: skip


def _foremost(incident: Incident) -> list[Alert]:
    """The alerts worth keeping beside the evidence: those that fire, the most severe and then the earliest first."""

    def order(alert: Alert) -> tuple[bool, int, float, str]:
        return alert.status != "firing", -_rank(alert), alert.starts_at, alert.identity

    return sorted(incident.alerts, key=order)[:_ALERTS]


def _rank(alert: Alert) -> int:
    """How severe it says it is; one whose word is none of ours comes last."""
    severity = alert.labels.get("severity", "").casefold()
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def _told(alert: Alert) -> dict[str, object]:
    return {
        "name": alert.name,
        "severity": alert.labels.get("severity", ""),
        "labels": dict(sorted(alert.labels.items())),
        "starts_at": alert.starts_at,
        "status": alert.status,
    }


# What lists and messages need of it


def _gap(bundle: Bundle) -> str:
    """Why there are no metrics of the server; empty where there are some."""
    return next((visible(answer.detail or answer.reason) for answer in bundle.of("prometheus")
                 if answer.name.startswith("window ") and not answer.answered), "")  # fmt: skip


def _finding(incident: str, found: Mapping[str, Any], gap: str, now: float) -> Finding:
    """The verdict and the first cause that explains a missed target, with every text made harmless."""
    shown = report(found)
    verdict = found["verdict"]
    sentence = shown.verdict.answer.removeprefix(f"{found['subject']['instance']}: ")
    cause = next(iter((*shown.detailed, *shown.further)), None)
    stands = _STANDS if cause is None and found["unexplained"] else ""
    without = f"; without metrics: {gap}" if gap else ""
    finding = Finding(incident, now, verdict["state"], verdict["severity"] or "", sentence + stands + without)
    if cause is None:
        return replace(finding, action=_to_collect(shown)) if stands else finding
    confidence = next(one["confidence"]["probability"] for one in found["causes"] if one["rule"] == cause.rule)
    action = _decided(found["advice"], cause.rule) or cause.gist
    return replace(finding, rule=cause.rule, title=cause.title, confidence=confidence, action=action)


_STANDS: Final = "; what was found stands, and no cause of it could be told"


def _to_collect(shown: Report) -> str:
    """What would tell most of why a symptom stands, such as `run engram-diagnose collect on the server's host`."""
    return f"{shown.gaps.step} ({shown.gaps.reach})" if shown.gaps.step else ""


def _decided(advice: list[Mapping[str, Any]], rule: str) -> str:
    """What was decided to change because of a cause, such as `wal.sync_mode: immediate -> batch (next restart)`."""
    asked = [one for one in advice if one["standing"] == "advised" and rule in one["by"]]
    return some([f"{one['key'] or one['parameter']}: {one['from']} -> {one['to']} ({one['when']})" for one in asked],
                _ACTIONS)  # fmt: skip
