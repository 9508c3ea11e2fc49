"""
The alerts that asked for a diagnosis, as facts.

A bundle's option `alerts` holds them: `[{"name": "RecallLatencyHigh", "severity": "critical", "labels": {…},
"starts_at": 1700000000.0, "status": "firing"}]`. Those of one name are one scope: `{alert=RecallLatencyHigh}`.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Value, not_applicable, point, unknown_fact
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of

SOURCE: Final = "the alert"
MOST_NAMES: Final = 100
"""Alerts of so many names become facts; of further ones the number is told."""

_SEVERITIES: Final = ("critical", "warning", "info")
_LONGEST: Final = 200
_END_OF_TIME: Final = 253_402_300_800.0
"""The year 10,000, in seconds since 1970."""

_NAMELESS: Final = "unnamed"


@dataclass(frozen=True, slots=True)
class _Alert:
    name: str
    severity: str
    component: str
    starts_at: float
    labels: tuple[tuple[str, str], ...]

    @property
    def order(self) -> tuple[int, float, str]:
        """The most severe first, and of these the earliest."""
        rank = _SEVERITIES.index(self.severity) if self.severity in _SEVERITIES else len(_SEVERITIES)
        return rank, self.starts_at, self.name


def facts_of_alerts(said: object, *, host: str, time: float) -> list[Fact]:
    """
    The facts of a bundle's option `alerts`; without one, that there was none. `time` is the instant diagnosed.

    What is not an alert is left out, and `alert.count` says so.
    """
    items = said if isinstance(said, list) else []
    alerts = sorted((alert for item in items if (alert := _alert(item)) is not None), key=lambda alert: alert.order)
    groups: dict[str, list[_Alert]] = {}
    for alert in alerts:
        groups.setdefault(alert.name, []).append(alert)
    left_out = len(items) - len(alerts) + (said is not None and not isinstance(said, list))
    notes = [f"{left_out} could not be read"] if left_out else []
    notes += [f"{len(groups) - MOST_NAMES} more names are left out"] if len(groups) > MOST_NAMES else []
    facts = [_known("alert.count", point(_number(alerts)), host=host, time=time, quality="; ".join(notes))]
    facts += _told(alerts, INSTANCE, host, time) if alerts else []
    for name in list(groups)[:MOST_NAMES]:
        scope = scope_of({"alert": name})
        facts.append(_known("alert.count", point(_number(groups[name])), scope, host=host, time=time))
        facts += _told(groups[name], scope, host, time)
    return facts


def _alert(item: object) -> _Alert | None:
    if not isinstance(item, dict):
        return None
    said = item.get("labels")
    labels = {name: text for name, text in said.items() if isinstance(text, str)} if isinstance(said, dict) else {}
    return _Alert(
        name=(_text(item.get("name")) or labels.get("alertname") or _NAMELESS)[:_LONGEST],
        severity=(_text(item.get("severity")) or labels.get("severity", ""))[:_LONGEST].casefold(),
        component=labels.get("component", "")[:_LONGEST],
        starts_at=_start(item.get("starts_at")),
        labels=tuple(sorted(labels.items())),
    )


def _start(value: object) -> float:
    """Seconds since 1970; infinite where it is not told, so that such an alert comes last."""
    figure = value if isinstance(value, int | float) and not isinstance(value, bool) else math.inf
    return float(figure) if abs(figure) < _END_OF_TIME else math.inf


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(alerts: Iterable[_Alert]) -> float:
    """How many alerts there are; one that fired and was resolved, or was sent again, is one."""
    return float(len({(alert.name, alert.labels) for alert in alerts}))


def _told(alerts: list[_Alert], scope: Scope, host: str, time: float) -> Iterator[Fact]:
    """What the first of the alerts says, and since when they fire."""
    first, earliest = alerts[0], min(alert.starts_at for alert in alerts)
    known = partial(_known, scope=scope, host=host, time=time)
    unknown = partial(unknown_fact, scope=scope, source=SOURCE, host=host, time=time)
    yield known("alert.name", first.name)
    if first.severity in _SEVERITIES:
        yield known("alert.severity", first.severity)
    else:
        detail = f"its severity is {first.severity[:40]!r}" if first.severity else "it has no label severity"
        yield unknown("alert.severity", Reason.SOURCE_ABSENT, detail)
    component = next((alert.component for alert in alerts if alert.component), "")
    if component:
        yield known("alert.component", component)
    else:
        yield unknown("alert.component", Reason.SOURCE_ABSENT, "it has no label component")
    yield _age(earliest, scope, host, time)


def _age(starts_at: float, scope: Scope, host: str, time: float) -> Fact:
    if starts_at == math.inf:
        return unknown_fact("alert.age", Reason.SOURCE_ABSENT, "it does not say when it fired", scope=scope,
                            source=SOURCE, host=host, time=time)  # fmt: skip
    if starts_at > time:
        detail = "it fired later than the instant that is diagnosed"
        return not_applicable("alert.age", detail, scope=scope, source=SOURCE, host=host, time=time)
    return _known("alert.age", point(time - starts_at), scope, host=host, time=time)


def _known(name: str, value: Value, scope: Scope = INSTANCE, *, host: str, time: float, quality: str = "") -> Fact:
    return Fact(name, value, Status.RECORDED, scope, SOURCE, host, time, quality=quality)
