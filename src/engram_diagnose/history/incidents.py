"""
The incidents: the alerts that were accepted, one job and one diagnosis for each incident, and what is to be sent.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from engram_diagnose.history import announcing, clock, jobs, notes, outbox, reading, upkeep, uptime
from engram_diagnose.history.accepting import accept
from engram_diagnose.history.database import Store, let_shrink, open_database, usual_path
from engram_diagnose.history.model import Alert, Finding, Incident, Job, Message, Notification
from engram_diagnose.history.notes import MOST_NOTES, TooManyNotesError
from engram_diagnose.history.records import (
    Accepted,
    Counts,
    Grouping,
    Listed,
    Mark,
    Moment,
    NewMessage,
    Note,
    Outline,
    Page,
    Search,
    Source,
    StoreError,
)

__all__ = [
    "MOST_NOTES",
    "Accepted",
    "Counts",
    "Grouping",
    "IncidentStore",
    "Listed",
    "Mark",
    "Moment",
    "NewMessage",
    "Note",
    "Outline",
    "Page",
    "Search",
    "Source",
    "StoreError",
    "TooManyNotesError",
    "open_incidents",
]


_NAMED_BY: Final = "--database"
_STATE_FOLDER: Final = "--database or ENGRAM_DIAGNOSE_STATE"
"""What names the file, for advice on another."""


def open_incidents(path: Path | None = None, *, read_only: bool = False) -> "IncidentStore":
    """
    The incidents at `path`, made when it is not there (mode 0600); by default `history.db` in the state folder.

    With `read_only` nothing is made or changed, and what is not there is an error. Raises `StoreError`.
    """
    named_by = _NAMED_BY if path else _STATE_FOLDER
    database = open_database(path or usual_path(StoreError), StoreError, read_only=read_only, named_by=named_by)
    if not read_only:
        let_shrink(database)
    return IncidentStore(database)


class IncidentStore(Store):
    """
    The open database. Every method is one transaction unless it says otherwise, and raises `StoreError`.

    Several processes and threads may each open their own; one store is for one thread. What a method has returned from
    survives a power failure.
    """

    # Alerts

    def accept(
        self, notification: Notification, received: float, grouping: Grouping, *, source: Source = "webhook"
    ) -> Accepted:
        """Keep one notification; see `accept_many`."""
        return self.accept_many([(notification, received)], grouping, source=source)[0]

    def accept_many(
        self, batch: Sequence[tuple[Notification, float]], grouping: Grouping, *, source: Source = "webhook"
    ) -> list[Accepted]:
        """Keep notifications, each with the time at which it was received: all of them, or none."""
        with self._database.writing() as connection:
            return [accept(connection, one, received, grouping, source) for one, received in batch]

    # Jobs

    def take_job(self, now: float) -> tuple[Job, Incident] | None:
        """The most severe job of those that may run now; it is running from here, and an attempt is counted."""
        with self._database.writing() as connection:
            job = jobs.take(connection, now)
            incident = reading.incident(connection, job.incident) if job else None
            return (job, incident) if job and incident else None

    def finish(
        self,
        incident: str,
        token: int,
        finding: Finding,
        document: Mapping[str, Any],
        bundle: bytes,
        messages: Sequence[NewMessage],
        now: float,
    ) -> bool:
        """
        Keep the diagnosis and what is to be sent of it; False, and nothing is kept, where the token is out of date or
        there is a diagnosis already.
        """
        with self._database.outside():
            packed = jobs.packed_document(document)
        with self._database.writing() as connection:
            if not jobs.finish(connection, incident, token, finding, packed, bundle, now):
                return False
            outbox.enqueue(connection, messages)
            return True

    def fail(self, incident: str, token: int, error: str, *, not_before: float, park: bool) -> bool:
        """Give a job back, to be tried from `not_before`, or put it aside; False where the token is out of date."""
        with self._database.writing() as connection:
            return jobs.fail(connection, incident, token, error, not_before=not_before, park=park)

    def reclaim(
        self,
        now: float,
        *,
        park_after: int | None = None,
        not_before: float | None = None,
        error: str = "",
        counted: bool = True,
    ) -> tuple[Job, ...]:
        """
        Queue every running job again, because no worker lives that could finish it; the jobs as they are afterwards.

        Those that were tried `park_after` times or more are put aside with `error`; the others wait until `not_before`.
        Without `counted` the attempt is taken back: the job was not to blame.
        """
        with self._database.writing() as connection:
            return jobs.reclaim(
                connection, now, park_after=park_after, not_before=not_before, error=error, counted=counted
            )

    def release(self, incident: str) -> bool:
        """Queue a job that was put aside, to run at once and with no attempt counted; False where it was not."""
        with self._database.writing() as connection:
            return jobs.release(connection, incident)

    def job(self, id: str) -> Job | None:
        """The job of an incident."""
        with self._database.reading() as connection:
            return jobs.job(connection, id)

    # Messages

    def enqueue(self, messages: Iterable[NewMessage]) -> int:
        """Keep messages to be sent, and say how many of their keys were new; one about no incident is left out."""
        with self._database.writing() as connection:
            return outbox.enqueue(connection, messages)

    def due(self, now: float, limit: int = 100, *, besides: Collection[int] = ()) -> list[Message]:
        """
        The messages that may be sent now, those that wait longest first: of each channel `limit` at most, so that none
        stands in another's way, and none of these numbers.
        """
        with self._database.reading() as connection:
            return outbox.due(connection, now, limit, besides)

    def sent(self, id: int, now: float) -> None:
        """A message was sent."""
        with self._database.writing() as connection:
            outbox.sent(connection, id, now)

    def failed(self, id: int, error: str, *, not_before: float, give_up: bool) -> None:
        """A message was not sent: an attempt is counted, and it waits until `not_before` or is given up."""
        with self._database.writing() as connection:
            outbox.failed(connection, id, error, not_before=not_before, give_up=give_up)

    def all_sent(self, ids: Iterable[int], now: float) -> None:
        """These messages were sent."""
        with self._database.writing() as connection:
            for id in ids:
                outbox.sent(connection, id, now)

    def all_failed(self, give_up: Mapping[int, bool], error: str, *, not_before: float) -> None:
        """These messages were not sent, for one and the same reason; each says whether it is given up."""
        with self._database.writing() as connection:
            for id, is_over in give_up.items():
                outbox.failed(connection, id, error, not_before=not_before, give_up=is_over)

    # Announcing

    def places(self, most: int, announced: Collection[str], severities: Sequence[str]) -> announcing.Places:
        """Which open incidents are announced; see `announcing.places`."""
        with self._database.reading() as connection:
            return announcing.places(connection, most, announced, severities)

    def told(self) -> frozenset[str]:
        """The open incidents that Alertmanager was told of; see `announcing.told`."""
        with self._database.reading() as connection:
            return announcing.told(connection)

    def ended(self, since: float) -> list[str]:
        """The closed incidents whose end Alertmanager may have to be told; see `announcing.ended`."""
        with self._database.reading() as connection:
            return announcing.ended(connection, since)

    def still_open(self, ids: Collection[str]) -> frozenset[str]:
        """Those of these incidents that are open."""
        with self._database.reading() as connection:
            return announcing.still_open(connection, ids)

    def opened(self, ids: Sequence[str]) -> list[tuple[Incident, Finding]]:
        """Those of these incidents that have a diagnosis, each with the first of its alerts alone."""
        with self._database.reading() as connection:
            return reading.opened(connection, ids)

    def hold(self, messages: Collection[int], why: str) -> None:
        """Put messages out of the way until there is room for them."""
        with self._database.writing() as connection:
            announcing.hold(connection, messages, why)

    def is_holding(self) -> bool:
        """Whether there are messages that wait for room."""
        with self._database.reading() as connection:
            return announcing.is_holding(connection)

    def let_go(self, announced: Collection[str], now: float) -> int:
        """Let go the messages that need wait no more, and say how many that were; see `announcing.released`."""
        with self._database.reading() as connection:
            free = announcing.released(connection, announced)
        if free:
            with self._database.writing() as connection:
                announcing.let_go(connection, free, now)
        return len(free)

    # Reading

    def incident(self, id: str) -> Incident | None:
        """An incident with its alerts, in the order of their starts; None where there is none."""
        with self._database.reading() as connection:
            return reading.incident(connection, id)

    def finding(self, id: str) -> Finding | None:
        """What the diagnosis of an incident found; None where there is none yet."""
        with self._database.reading() as connection:
            return reading.findings(connection, [id]).get(id)

    def document(self, id: str) -> dict[str, Any] | None:
        """The diagnosis of an incident; None where there is none yet."""
        with self._database.reading() as connection:
            stored = reading.stored(connection, id, "document")
            return None if stored is None else jobs.unpacked_document(stored)

    def bundle(self, id: str) -> bytes | None:
        """The evidence behind the diagnosis, byte for byte; None where there is none yet."""
        with self._database.reading() as connection:
            return reading.stored(connection, id, "bundle")

    def timeline(self, id: str) -> tuple[Moment, ...]:
        """What happened, oldest first."""
        with self._database.reading() as connection:
            return reading.timeline(connection, id)

    def outline(self, id: str) -> Outline | None:
        """An incident without its alerts; None where there is none."""
        with self._database.reading() as connection:
            return reading.outline(connection, id)

    def alerts_part(self, id: str, limit: int, after: Mark | None = None) -> tuple[list[Alert], Mark | None]:
        """Some of its alerts, in the order of their starts; with a mark to ask for more, where there are more."""
        with self._database.reading() as connection:
            return reading.alerts_part(connection, id, limit, after)

    def timeline_part(self, id: str, limit: int, after: Mark | None = None) -> tuple[list[Moment], Mark | None]:
        """Some of what happened, oldest first; with a mark to ask for more, where there is more."""
        with self._database.reading() as connection:
            return reading.timeline_part(connection, id, limit, after)

    def notes(self, id: str) -> tuple[Note, ...]:
        """What was written about an incident, oldest first."""
        with self._database.reading() as connection:
            return notes.notes(connection, id)

    def add_note(self, id: str, author: str, text: str, now: float) -> Note | None:
        """Keep a note; None where there is no such incident. Raises `TooManyNotesError` as well."""
        with self._database.writing() as connection:
            return notes.add_note(connection, id, author, text, now)

    def search(self, search: Search) -> Page:
        """The incidents asked for, newest first and without their alerts."""
        with self._database.reading() as connection:
            return reading.search(connection, search)

    def open_findings(self) -> tuple[tuple[Incident, Finding], ...]:
        """The open incidents that have a diagnosis, oldest first and without their alerts."""
        with self._database.reading() as connection:
            return reading.open_findings(connection)

    def counts(self) -> Counts:
        """How much there is of everything."""
        with self._database.reading() as connection:
            return reading.counts(connection)

    def firing(self) -> dict[int, str]:
        """The alerts that fire: their numbers, with what each is known by."""
        with self._database.reading() as connection:
            return reading.firing(connection)

    def still_firing(self, numbers: Sequence[int]) -> list[Alert]:
        """Those of these alerts that fire, by their numbers."""
        with self._database.reading() as connection:
            return reading.still_firing(connection, numbers)

    def alerts_between(self, since: float, until: float) -> list[Alert]:
        """The alerts that began between the two instants, both included."""
        with self._database.reading() as connection:
            return reading.alerts_between(connection, since, until)

    # Uptime

    def seen_at(self) -> float | None:
        """When the service was last there to be told of alerts; None where it never was."""
        with self._database.reading() as connection:
            return uptime.seen_at(connection)

    def seen(self, now: float) -> None:
        """The service is there, and nothing before is left to be asked for."""
        with self._database.writing() as connection:
            uptime.seen(connection, now)

    # Upkeep

    def clamp(self, now: float, *, furthest: float) -> int:
        """
        Let run at `now` what waits more than `furthest` seconds, and what was never tried; how much that was.

        For the start, and for a clock that was set back: jobs and messages name the time from which they may run.
        """
        with self._database.writing() as connection:
            return clock.clamp(connection, now, furthest)

    def prune(
        self,
        now: float,
        *,
        older_than: float | None = None,
        larger_than_bytes: int | None = None,
        pause: upkeep.Pause = upkeep.sleep,
    ) -> int:
        """
        Remove closed incidents, oldest first, and give their space back; how many were removed.

        Those go of which nothing was learnt for `older_than` seconds, and as many more as it takes until the database
        is no larger than `larger_than_bytes`. Open ones, those that wait for their diagnosis and those with something
        to be sent stay. Many short transactions, with pauses in which others write; `pause` waits for so many seconds,
        and says whether to leave the rest for another time.
        """
        return upkeep.prune(
            self._database, now, older_than=older_than, larger_than_bytes=larger_than_bytes, pause=pause
        )

    def backup(self, path: Path) -> None:
        """Write a copy, while others write to the database, and put it in the place of `path` once it is whole."""
        upkeep.backup(self._database, path)

    def check(self) -> tuple[str, ...]:
        """What is wrong inside the database; nothing where it is sound."""
        return upkeep.check(self._database)
