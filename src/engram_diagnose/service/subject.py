"""
Which target of Prometheus an incident is about.

An alert names its server in one of several labels. `instance`, or what the settings say stands for it, is what
Prometheus calls the target. Another one, such as `pod`, is a label that the target's series have beside it: Prometheus
is asked which instance that is.
"""

import re
from collections.abc import Iterable
from typing import Final

from engram_diagnose.collectors.instances import detect_metrics
from engram_diagnose.collectors.prometheus.client import Prometheus
from engram_diagnose.collectors.prometheus.options import PrometheusOptions, Refusal
from engram_diagnose.collectors.prometheus.pattern import quoted
from engram_diagnose.collectors.prometheus.selectors import quoted_value
from engram_diagnose.collectors.prometheus.series import UP
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.fact import Reason
from engram_diagnose.history.model import Incident
from engram_diagnose.render.figures import some
from engram_diagnose.service.settings import Settings

INSTANCE: Final = "instance"
"""The label by which Prometheus tells targets apart."""

_WITHIN_SECONDS: Final = 900
"""How long before the incident a target may have fallen silent."""
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NAMES: Final = 3


def label_of(incident: Incident, name: str) -> str:
    """The first alert's word for it that has one."""
    return next((alert.labels[name] for alert in incident.alerts if alert.labels.get(name)), "")


def named_by(incident: Incident, settings: Settings) -> tuple[str, str]:
    """
    The label that Prometheus knows the incident's server by, and its value, which is empty where no alert names one.

    It is `instance` unless all that the alerts have is another one of `incidents.instance_labels`.
    """
    given = label_of(incident, settings.prometheus.instance_label)
    if given:
        return INSTANCE, given
    for label in settings.incidents.instance_labels:
        value = label_of(incident, label)
        if value:
            return (label if _LABEL.fullmatch(label) else INSTANCE), value
    return INSTANCE, incident.instance


def instance_with(
    options: PrometheusOptions, catalogue: Catalogue, label: str, value: str, *, at: float
) -> str | Refusal:
    """
    The instance whose series have a label of this value around `at` (seconds since the epoch).

    Of several that which publishes Engram's metrics, since a pod may have other exporters. Where there is none, or
    more than one, nothing is guessed.
    """
    names = "|".join(quoted(name) for name in sorted({*detect_metrics(catalogue.dialects), UP}))
    selector = f"{{__name__=~{quoted_value(names)},{label}={quoted_value(value)}}}[{_WITHIN_SECONDS}s]"
    with Prometheus(options) as prometheus:
        found = prometheus.samples(f"max by (__name__, {INSTANCE}) (last_over_time({selector}))", seconds=0, at=at)
    if isinstance(found, Refusal):
        return found
    series = [item["metric"] for item in found if isinstance(item, dict) and isinstance(item.get("metric"), dict)]
    ours = _instances(one for one in series if one.get("__name__") != UP)
    candidates = ours or _instances(series)
    what = f"series with {label}={value!r}"
    if not candidates:
        detail = f"Prometheus has no {what} at that time"
        return Refusal(Reason.SOURCE_ABSENT, detail, f"see whether its targets have the label {label}, or {_ADVICE}")
    if len(candidates) > 1:
        detail = f"{len(candidates)} instances have {what}: {some(candidates, _NAMES)}"
        return Refusal(Reason.SOURCE_ABSENT, detail, _ADVICE)
    return candidates[0]


_ADVICE: Final = "give the alert a label that says the instance (prometheus.instance_label)"


def _instances(series: Iterable[dict[str, object]]) -> list[str]:
    return sorted({str(one[INSTANCE]) for one in series if one.get(INSTANCE)})
