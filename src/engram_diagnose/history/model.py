"""
What the service keeps: alerts as they came, the incidents they make up, and what became of each.

Times are seconds since the epoch. All of it is plain data; `history.incidents` keeps it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

AlertStatus = Literal["firing", "resolved"]
IncidentState = Literal["open", "closed"]
JobState = Literal["queued", "running", "done", "parked"]
Channel = Literal["alertmanager", "webhook"]


@dataclass(frozen=True, slots=True)
class Alert:
    """
    One alert of a notification.

    `identity` is over the labels without those that only tell replicas apart; with `starts_at` and `status` it is what
    two notifications of one event share. `fingerprint` is Alertmanager's own. `ends_at` is None while it fires.
    """

    identity: str
    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None = None
    fingerprint: str = ""
    generator: str = ""

    @property
    def name(self) -> str:
        """The label alertname."""
        return self.labels.get("alertname", "")


@dataclass(frozen=True, slots=True)
class Notification:
    """One accepted call: the alerts it holds, and what Alertmanager says of itself."""

    alerts: tuple[Alert, ...]
    receiver: str = ""
    external_url: str = ""
    group_key: str = ""
    truncated: int = 0
    version: str = "4"


@dataclass(frozen=True, slots=True)
class Incident:
    """
    Alerts of one instance and one time that are diagnosed together.

    `id` is stable and safe in a URL; `key` is what alerts of one incident share; `at` is the time that is diagnosed,
    the start of its first alert. `state` is closed once all of its alerts are resolved.
    """

    id: str
    key: str
    instance: str
    at: float
    opened_at: float
    state: IncidentState = "open"
    closed_at: float | None = None
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """The one diagnosis that an incident waits for. `token` fences a worker whose lease ran out."""

    incident: str
    state: JobState
    attempts: int
    not_before: float
    token: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """The stored diagnosis of an incident, in what lists and messages need of it."""

    incident: str
    made_at: float
    state: str
    severity: str
    sentence: str
    rule: str = ""
    title: str = ""
    confidence: float | None = None
    action: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Something to be sent, at least once; `key` is the same each time it is."""

    id: int
    channel: Channel
    incident: str
    key: str
    attempts: int
    not_before: float
    body: Mapping[str, object] = field(default_factory=dict)
    error: str = ""
