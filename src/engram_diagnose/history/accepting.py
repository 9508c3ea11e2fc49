"""
Notifications become alerts, and alerts incidents.

An alert is known by its identity and the start of its firing. What is told of it twice counts as a duplicate, in
whatever order it comes: a resolution before its firing leaves what the right order would have left. It is over when
nobody has it firing any more (`history.firing`). What began again later had ended before, also where nobody told of the
end: Alertmanager tells of an alert only as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from sqlite3 import Connection

from engram_diagnose.history import firing
from engram_diagnose.history.cells import packed, text
from engram_diagnose.history.model import Alert, Notification
from engram_diagnose.history.records import Accepted, Grouping, Source


@dataclass(slots=True)
class _Acceptance:
    """One notification on its way into the database."""

    connection: Connection
    grouping: Grouping
    received: float
    source: Source
    incidents: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    new: int = 0
    duplicates: int = 0
    opened: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of an alert."""

    id: int
    incident: str | None
    starts_at: float
    ends_at: float | None


def accept(
    connection: Connection, notification: Notification, received: float, grouping: Grouping, source: Source
) -> Accepted:
    """
    Keep the alerts of one notification, inside a transaction of the caller.

    Those that fire come first, so that an incident does not close and open again within one notification.
    """
    acceptance = _Acceptance(connection, grouping, received, source)
    for alert in sorted(notification.alerts, key=_order):
        _take_in(acceptance, alert)
    closed = [incident for incident in sorted(acceptance.changed) if _settle(acceptance, incident)]
    found = tuple(sorted(acceptance.incidents))
    return Accepted(found, acceptance.new, acceptance.duplicates, acceptance.opened, tuple(closed))


def _order(alert: Alert) -> tuple[bool, float, str, str]:
    return alert.status != "firing", alert.starts_at, alert.identity, alert.fingerprint


def _take_in(acceptance: _Acceptance, alert: Alert) -> None:
    if acceptance.connection.execute(_EVER, (alert.identity,)).fetchone() is None:
        _begin_anew(acceptance, alert)
        return
    known = _known(acceptance.connection, alert, acceptance.grouping.tolerance)
    if alert.status == "firing":
        _firing(acceptance, alert, known)
    else:
        _resolved(acceptance, alert, known)
    _end_earlier(acceptance, alert, alert.starts_at if known is None else known.starts_at)


_EVER = "SELECT 1 FROM alerts WHERE identity = ? LIMIT 1"


def _begin_anew(acceptance: _Acceptance, alert: Alert) -> None:
    """What was never seen before, as most alerts of a storm: there is nothing that it could end, repeat or correct."""
    incident = _joined(acceptance, alert) if alert.status == "firing" else None
    _insert(acceptance, alert, incident)
    _count(acceptance, incident, is_news=True)


def _known(connection: Connection, alert: Alert, tolerance: float) -> _Known | None:
    """
    The alert as it is kept already: the nearest start within the tolerance.

    One that had ended before the other began is another alert, however near: it fired twice.
    """
    rows = connection.execute(_NEAR, (alert.identity, alert.starts_at - tolerance, alert.starts_at + tolerance,
                                      alert.starts_at))  # fmt: skip
    near = (_Known(*row) for row in rows.fetchall())
    return next((known for known in near if _overlap(known, alert) or _ends(connection, alert, known)), None)


_NEAR = """
    SELECT id, incident, starts_at, ends_at FROM alerts
    WHERE identity = ? AND starts_at BETWEEN ? AND ? ORDER BY abs(starts_at - ?), starts_at
"""


def _overlap(known: _Known, alert: Alert) -> bool:
    if known.starts_at == alert.starts_at:
        return True
    ended_before = known.ends_at is not None and known.ends_at < alert.starts_at
    begins_after = alert.ends_at is not None and alert.ends_at < known.starts_at
    return not (ended_before or begins_after)


def _ends(connection: Connection, alert: Alert, known: _Known) -> bool:
    """Whether it is the end of what this sender has firing: with another it began later than this one ended."""
    return alert.status == "resolved" and firing.fires(connection, known.id, text(alert.fingerprint))


# One alert


def _firing(acceptance: _Acceptance, alert: Alert, known: _Known | None) -> None:
    connection, received = acceptance.connection, acceptance.received
    incident = (known.incident if known else None) or _incident_for(acceptance, alert)
    if known is None:
        number = _insert(acceptance, alert, incident)
        is_news = _end_by_later(acceptance, alert, number, alert.starts_at) and _derive(acceptance, number)
    else:
        number = known.id
        connection.execute("UPDATE alerts SET fired_times = fired_times + 1 WHERE id = ?", (number,))
        is_news = _begins(acceptance, alert, known) and _derive(acceptance, number)
        if known.incident is None:  # its resolution overtook it, or all of it before was missed
            connection.execute(_FIRST_FIRED, (incident, received, number))
            is_news = True
    if is_news:
        acceptance.changed.add(incident)
    _count(acceptance, incident, is_news=is_news or known is None)


_FIRST_FIRED = "UPDATE alerts SET incident = ?, fired_received = ? WHERE id = ?"


def _begins(acceptance: _Acceptance, alert: Alert, known: _Known) -> bool:
    """
    Whether a sender has an alert firing that it had not.

    Alertmanager takes an alert for resolved when Prometheus falls silent, and has it fire again with the old start.
    Shortly after the resolution the firing may be a late copy, and it is one where the alert began again since.
    """
    connection, sender = acceptance.connection, text(alert.fingerprint)
    received, tolerance = acceptance.received, acceptance.grouping.tolerance
    said = firing.said(connection, known.id, sender, received=received, tolerance=tolerance)
    if said.fires:
        return False
    if said.lately or (said.over and _has_later(acceptance, alert, known)):
        firing.hear(connection, known.id, sender)
        return False
    firing.begin(connection, known.id, sender)
    if not said.over:
        _end_by_later(acceptance, alert, known.id, known.starts_at)
    return True


_OF_SENDER = f"EXISTS (SELECT 1 FROM senders WHERE alert = alerts.id AND {firing.SPEAKS_FOR} AND {{}})"  # noqa: S608 -- ours
"""What one replica tells does not end what another has firing."""
_LATER = f"""
    SELECT 1 FROM alerts WHERE identity = :identity AND starts_at > :after
    AND {_OF_SENDER.format("(fires OR received BETWEEN :from AND :until)")} LIMIT 1
"""  # noqa: S608 -- ours
_NEXT = f"""
    SELECT min(starts_at) FROM alerts WHERE identity = :identity AND starts_at > :after AND {_OF_SENDER.format("1")}
"""  # noqa: S608 -- ours
_EARLIER = f"""
    SELECT id, incident FROM alerts WHERE identity = :identity AND starts_at < :before AND status = '{{}}'
    AND {_OF_SENDER.format(firing.UNTOLD)}
"""  # noqa: S608 -- ours
_EARLIER_FIRING, _EARLIER_ENDED = _EARLIER.format("firing"), _EARLIER.format("resolved")
"""An alert may have thousands of firings behind it, of which few have not ended."""
_IS_LATEST = "SELECT NOT EXISTS (SELECT 1 FROM alerts WHERE identity = :identity AND starts_at > :start)"


def _has_later(acceptance: _Acceptance, alert: Alert, known: _Known) -> bool:
    """Whether the sender has a later firing of the alert, or had until just now."""
    received, tolerance = acceptance.received, acceptance.grouping.tolerance
    asked = {"identity": alert.identity, "sender": text(alert.fingerprint), "after": known.starts_at + tolerance,
             "from": received - tolerance, "until": received + tolerance}  # fmt: skip
    return acceptance.connection.execute(_LATER, asked).fetchone() is not None


def _end_by_later(acceptance: _Acceptance, alert: Alert, number: int, start: float) -> bool:
    """End a firing whose news came after that of a later one; whether there is one."""
    sender, after = text(alert.fingerprint), start + acceptance.grouping.tolerance
    asked = {"identity": alert.identity, "sender": sender, "after": after}
    (end,) = acceptance.connection.execute(_NEXT, asked).fetchone()
    if end is not None:
        firing.overtaken(acceptance.connection, number, sender, end, received=acceptance.received)
    return end is not None


def _end_earlier(acceptance: _Acceptance, alert: Alert, start: float) -> None:
    """An alert that begins has ended before, though its resolution was never sent: it was over within an interval."""
    sender, before = text(alert.fingerprint), start - acceptance.grouping.tolerance
    asked = {"identity": alert.identity, "sender": sender, "before": before, "start": start}
    earlier = acceptance.connection.execute(_EARLIER_FIRING, asked).fetchall()
    (is_latest,) = acceptance.connection.execute(_IS_LATEST, asked).fetchone()
    if not is_latest:  # then an end may have been inferred that is too late
        earlier += acceptance.connection.execute(_EARLIER_ENDED, asked).fetchall()
    for number, incident in earlier:
        firing.succeed(acceptance.connection, number, sender, start, received=acceptance.received)
        if _derive(acceptance, number):
            acceptance.changed.add(incident)


def _resolved(acceptance: _Acceptance, alert: Alert, known: _Known | None) -> None:
    if known is None:
        _insert(acceptance, alert, None)
        acceptance.new += 1
        return
    acceptance.connection.execute("UPDATE alerts SET resolved_times = resolved_times + 1 WHERE id = ?", (known.id,))
    _end_of(acceptance, alert, known.id)
    is_news = _derive(acceptance, known.id)
    if is_news and known.incident is not None:
        acceptance.changed.add(known.incident)
    _count(acceptance, known.incident, is_news=is_news)


def _derive(acceptance: _Acceptance, number: int) -> bool:
    """Bring an alert up to what its senders say; whether it is another than before."""
    fires, end = firing.outcome(acceptance.connection, number)
    status, received = ("firing", None) if fires else ("resolved", acceptance.received)
    return bool(acceptance.connection.execute(_DERIVE, (status, end, received, number, status, end)).rowcount)


_DERIVE = """
    UPDATE alerts SET status = ?, ends_at = ?, resolved_received = ?
    WHERE id = ? AND (status <> ? OR ends_at IS NOT ?)
"""


def _count(acceptance: _Acceptance, incident: str | None, *, is_news: bool) -> None:
    if is_news:
        acceptance.new += 1
    else:
        acceptance.duplicates += 1
    if incident is not None:
        acceptance.incidents.add(incident)


def _insert(acceptance: _Acceptance, alert: Alert, incident: str | None) -> int:
    fires, received = alert.status == "firing", acceptance.received
    end = None if fires else _told_end(alert, received)
    cursor = acceptance.connection.execute(
        "INSERT INTO alerts (incident, identity, starts_at, ends_at, status, name, labels, annotations, fingerprint,"
        " generator, source, fired_received, resolved_received, fired_times, resolved_times)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (incident, alert.identity, alert.starts_at, end, alert.status, text(alert.name), packed(alert.labels),
         packed(alert.annotations), text(alert.fingerprint), text(alert.generator), acceptance.source,
         received if fires else None, None if fires else received, int(fires), int(not fires)),
    )  # fmt: skip
    number = int(cursor.lastrowid or 0)
    if fires:
        firing.begin(acceptance.connection, number, text(alert.fingerprint))
    else:
        _end_of(acceptance, alert, number)
    return number


def _end_of(acceptance: _Acceptance, alert: Alert, number: int) -> None:
    """What Alertmanager does not have any more is over, whoever had it firing."""
    received, by_absence = acceptance.received, acceptance.source == "reconciled"
    firing.end(acceptance.connection, number, text(alert.fingerprint), _told_end(alert, received), received=received,
               everybody=by_absence)  # fmt: skip


def _told_end(alert: Alert, received: float) -> float:
    return received if alert.ends_at is None else alert.ends_at


# Incidents


def _incident_for(acceptance: _Acceptance, alert: Alert) -> str:
    """
    The incident of the alert's instance and time, or a new one with its job.

    What another replica has had firing all along is no news at all, however long ago that began: a replica that was
    away tells of it with a start of its own.
    """
    asked = {"identity": alert.identity, "start": alert.starts_at, "sender": text(alert.fingerprint)}
    row = acceptance.connection.execute(_AT_ANOTHER, asked).fetchone()
    if row is None:
        return _joined(acceptance, alert)
    return _joining(acceptance, row[0], acceptance.grouping.rank(alert.labels))


def _joined(acceptance: _Acceptance, alert: Alert) -> str:
    """
    The incident of the alert's instance and time, whoever has it firing.

    One that closed before the alert began is over. One that was still going on then takes the alert in, and opens
    again, because only the news of it came late.
    """
    grouping, at = acceptance.grouping, alert.starts_at
    instance, rank = grouping.instance(alert.labels), grouping.rank(alert.labels)
    key = incident_key(instance, grouping.shared(alert.labels))
    bounds = (key, at - grouping.window, at + grouping.window, at, at)
    row = acceptance.connection.execute(_JOINABLE, bounds).fetchone()
    if row is None:
        return _open(acceptance, key, instance, at, rank)
    return _joining(acceptance, row[0], rank)


def _joining(acceptance: _Acceptance, incident: str, rank: int) -> str:
    """Its diagnosis is as urgent as the most severe of its alerts."""
    acceptance.connection.execute("UPDATE jobs SET rank = ? WHERE incident = ? AND rank > ?", (rank, incident, rank))
    acceptance.changed.add(incident)
    return incident


_AT_ANOTHER = """
    SELECT incident FROM alerts
    WHERE identity = :identity AND starts_at <= :start AND status = 'firing' AND incident IS NOT NULL AND :sender <> ''
    AND EXISTS (SELECT 1 FROM senders WHERE alert = alerts.id AND fires AND fingerprint NOT IN (:sender, ''))
    ORDER BY starts_at DESC LIMIT 1
"""
_JOINABLE = """
    SELECT id FROM incidents
    WHERE key = ? AND at BETWEEN ? AND ? AND (state = 'open' OR closed_at >= ?) ORDER BY abs(at - ?), id LIMIT 1
"""


def _open(acceptance: _Acceptance, key: str, instance: str, at: float, rank: int) -> str:
    connection, received = acceptance.connection, acceptance.received
    id = _free_id(connection, key, at)
    connection.execute(
        "INSERT INTO incidents (id, key, instance, at, opened_at, updated_at, state) VALUES (?, ?, ?, ?, ?, ?, 'open')",
        (id, key, text(instance), at, received, received),
    )
    connection.execute(
        "INSERT INTO jobs (incident, state, not_before, rank) VALUES (?, 'queued', ?, ?)", (id, received, rank)
    )
    acceptance.opened += 1
    return id


def _settle(acceptance: _Acceptance, incident: str) -> bool:
    """Close an incident whose alerts are all resolved, or open it; whether it is closed from here on."""
    connection = acceptance.connection
    firing = connection.execute("SELECT 1 FROM alerts WHERE incident = ? AND status = 'firing' LIMIT 1", (incident,))
    is_open = firing.fetchone() is not None
    end = None if is_open else connection.execute(_END, (incident,)).fetchone()[0]
    connection.execute(
        "UPDATE incidents SET state = ?, closed_at = ?, updated_at = max(updated_at, ?) WHERE id = ?",
        ("open" if is_open else "closed", end, acceptance.received, incident),
    )
    return not is_open


_END = "SELECT max(ends_at) FROM alerts WHERE incident = ?"


def incident_key(instance: str, labels: Mapping[str, str]) -> str:
    """What the alerts of one incident share, spelled so that no two differ and look alike."""
    return json.dumps([instance, dict(labels)], sort_keys=True, separators=(",", ":"))


def incident_id(key: str, at: float, number: int = 0) -> str:
    """
    The time to the millisecond and ten digits of a hash: in the order of time, and safe in a URL and a file's name.

    `number` tells those of one key and time apart. Raises `ValueError` for a time that no calendar has.
    """
    try:
        time = datetime(1970, 1, 1) + timedelta(seconds=at)
    except OverflowError:
        raise ValueError(f"{at} is no time") from None
    digest = hashlib.sha256(json.dumps([key, at, number]).encode()).hexdigest()
    stamp = f"{time.year:04}{time.month:02}{time.day:02}T{time.hour:02}{time.minute:02}{time.second:02}"
    return f"{stamp}{time.microsecond // 1000:03}Z-{digest[:10]}"


def _free_id(connection: Connection, key: str, at: float) -> str:
    number = 0
    while connection.execute("SELECT 1 FROM incidents WHERE id = ?", (incident_id(key, at, number),)).fetchone():
        number += 1
    return incident_id(key, at, number)
