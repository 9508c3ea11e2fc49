"""
What is asked of the incidents that are kept, and what is answered.

Times are seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from engram_diagnose.history.model import Alert, Channel, Finding, Incident, Job

Source = Literal["webhook", "reconciled"]

EVERYTHING: Final = ""


@dataclass(frozen=True, slots=True)
class Grouping:
    """
    Which alerts make up one incident: the same instance, the same values of `labels`, starts within `window` seconds.

    The instance is the first of `instance_labels` that the alert has. Starts of one alert that are no more than
    `tolerance` seconds apart are one event: the members of a highly available pair see it at slightly different times.
    """

    labels: tuple[str, ...]
    window: float
    instance_labels: tuple[str, ...] = ("instance", "pod")
    tolerance: float = 60.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """
    What became of a notification, once it is on the disk.

    `incidents` are those its alerts belong to, sorted; `new` and `duplicates` count alerts; `opened` counts incidents
    that began with it, and `closed` names those that it ended.
    """

    incidents: tuple[str, ...]
    new: int
    duplicates: int
    opened: int
    closed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be sent from `not_before`. Of two with one `key` the first is kept."""

    channel: Channel
    incident: str
    key: str
    body: Mapping[str, object]
    not_before: float


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody wrote about an incident."""

    id: int
    at: float
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class Moment:
    """
    One entry of an incident's timeline.

    `at` is when it happened, `received` when it was learnt of. `alert` is there for "firing" and "resolved", and
    `times` says how often that was told; `text` holds the finding's sentence for "diagnosed".
    """

    at: float
    what: Literal["firing", "opened", "resolved", "diagnosed", "closed"]
    received: float
    alert: Alert | None = None
    source: Source = "webhook"
    times: int = 1
    text: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """
    Which incidents to list, newest first; what is left empty asks nothing.

    `text` is looked for in instances, alerts' labels and annotations and the finding, whatever the case. `since` and
    `until` (exclusive) bound the incident's time. `cursor` is `Page.cursor` of the page before.
    """

    text: str = EVERYTHING
    state: str = EVERYTHING
    instance: str = EVERYTHING
    since: float | None = None
    until: float | None = None
    severity: str = EVERYTHING
    limit: int = 50
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """One incident of a page, with its diagnosis where there is one, and its job."""

    incident: Incident
    finding: Finding | None
    job: Job


@dataclass(frozen=True, slots=True)
class Page:
    """A part of what was found; `cursor` asks for the next one, and is empty on the last."""

    items: tuple[Listed, ...]
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """
    How much there is of everything.

    `oldest_waiting` is since when the oldest job that may run has been waiting, `oldest_unsent` likewise for messages.
    `bytes` is what the database takes up, without what is free inside it.
    """

    open: int = 0
    closed: int = 0
    alerts: int = 0
    queued: int = 0
    running: int = 0
    done: int = 0
    parked: int = 0
    pending: int = 0
    sent: int = 0
    given_up: int = 0
    bytes: int = 0
    oldest_waiting: float | None = None
    oldest_unsent: float | None = None
