"""
What is asked of the incidents that are kept, and what is answered or raised.

Times are seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from engram_diagnose.history.database import HistoryError
from engram_diagnose.history.model import Alert, Channel, Finding, Incident, Job

Source = Literal["webhook", "reconciled"]

EVERYTHING: Final = ""
_SEVERITY: Final = "severity"


class StoreError(HistoryError):
    """A database that cannot be read or written; the message names the file, the problem and the next step."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """
    Which alerts make up one incident: the same instance, the same values of `labels`, starts within `window` seconds.

    The instance is the first of `instance_labels` that the alert has. Starts of one alert that are no more than
    `tolerance` seconds apart are one event: the members of a highly available pair see it at slightly different times.
    A label that is empty is one that the alert does not have. `severities` are words of the label severity, the most
    severe first: what they say is diagnosed in that order.
    """

    labels: tuple[str, ...]
    window: float
    instance_labels: tuple[str, ...] = ("instance", "pod")
    tolerance: float = 60.0
    severities: tuple[str, ...] = ()

    def instance(self, labels: Mapping[str, str]) -> str:
        """The instance that an alert with these labels is about; empty where none names it."""
        return next((value for name in self.instance_labels if (value := labels.get(name))), "")

    def shared(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Those of the labels that all alerts of an incident share."""
        return {name: value for name in self.labels if (value := labels.get(name))}

    def rank(self, labels: Mapping[str, str]) -> int:
        """How severe an alert with these labels is: 0 is the most severe, and what no word tells comes last."""
        word = labels.get(_SEVERITY, "").casefold()
        ranks = (rank for rank, known in enumerate(self.severities) if known.casefold() == word)
        return next(ranks, len(self.severities))


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


class Mark(NamedTuple):
    """
    A place in an incident's alerts or its timeline: the time, the kind of what happened, and the alert's number.

    It stays where it is as alerts are added, so that pages follow each other.
    """

    at: float
    rank: int
    number: int


@dataclass(frozen=True, slots=True)
class Outline:
    """An incident without its alerts: their names, each once, and how many there are of everything."""

    incident: Incident
    names: tuple[str, ...]
    alerts: int
    moments: int


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
    """One incident of a page without its alerts, the names of these, its diagnosis where there is one, and its job."""

    incident: Incident
    names: tuple[str, ...]
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
