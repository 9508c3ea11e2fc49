"""
Notifications become alerts, and alerts incidents.

An alert is known by its identity and the start of its firing. What is told of it twice counts as a duplicate, in
whatever order it comes: a resolution before its firing leaves what the right order would have left. What began again
later had ended before, also where nobody told of the end: Alertmanager tells of an alert only as it is.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from sqlite3 import Connection

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
    firing: dict[int, str] = field(default_factory=dict)
    """The alerts that this notification says are firing, with the fingerprint that said so."""
    new: int = 0
    duplicates: int = 0
    opened: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of an alert."""

    id: int
    incident: str | None
    status: str
    starts_at: float
    ends_at: float | None
    resolved_received: float | None
    resolved_times: int


def accept(
    connection: Connection, notification: Notification, received: float, grouping: Grouping, source: Source
) -> Accepted:
    """
    Keep the alerts of one notification, inside a transaction of the caller.

    Those that fire come first, so that an incident does not close and open again within one notification.
    """
    acceptance = _Acceptance(connection, grouping, received, source)
    for alert in sorted(notification.alerts, key=_order):
        known = _known(connection, alert, grouping.tolerance)
        if alert.status == "firing":
            _firing(acceptance, alert, known)
        else:
            _resolved(acceptance, alert, known)
        _end_earlier(acceptance, alert, alert.starts_at if known is None else known.starts_at)
    closed = [incident for incident in sorted(acceptance.changed) if _settle(acceptance, incident)]
    found = tuple(sorted(acceptance.incidents))
    return Accepted(found, acceptance.new, acceptance.duplicates, acceptance.opened, tuple(closed))


def _order(alert: Alert) -> tuple[bool, float, str, str]:
    return alert.status != "firing", alert.starts_at, alert.identity, alert.fingerprint


def _known(connection: Connection, alert: Alert, tolerance: float) -> _Known | None:
    """
    The alert as it is kept already: the nearest start within the tolerance.

    One that had ended before the other began is another alert, however near: it fired twice.
    """
    rows = connection.execute(_NEAR, (alert.identity, alert.starts_at - tolerance, alert.starts_at + tolerance,
                                      alert.starts_at))  # fmt: skip
    return next((known for known in (_Known(*row) for row in rows.fetchall()) if _overlap(known, alert)), None)


_NEAR = """
    SELECT id, incident, status, starts_at, ends_at, resolved_received, resolved_times FROM alerts
    WHERE identity = ? AND starts_at BETWEEN ? AND ? ORDER BY abs(starts_at - ?), starts_at
"""


def _overlap(known: _Known, alert: Alert) -> bool:
    if known.starts_at == alert.starts_at:
        return True
    ended_before = known.ends_at is not None and known.ends_at < alert.starts_at
    begins_after = alert.ends_at is not None and alert.ends_at < known.starts_at
    return not (ended_before or begins_after)


# One alert


def _firing(acceptance: _Acceptance, alert: Alert, known: _Known | None) -> None:
    if known is None:
        incident = _incident_for(acceptance, alert)
        number = _insert(acceptance, alert, incident)
        if _end_by_later(acceptance, alert, number):
            acceptance.changed.add(incident)
    elif known.incident is None:  # its resolution overtook it, or all of it before was missed
        incident, number = _incident_for(acceptance, alert), known.id
        if _fires_again(acceptance, alert, known):
            acceptance.connection.execute(_FIRES, (number,))
        acceptance.connection.execute(
            "UPDATE alerts SET incident = ?, fired_received = ?, fired_times = 1 WHERE id = ?",
            (incident, acceptance.received, number),
        )
        acceptance.changed.add(incident)
    elif _fires_again(acceptance, alert, known):
        incident, number = known.incident, known.id
        acceptance.connection.execute("UPDATE alerts SET fired_times = fired_times + 1 WHERE id = ?", (number,))
        acceptance.connection.execute(_FIRES, (number,))
        acceptance.changed.add(incident)
    else:
        _again(acceptance, known, "fired_times")
        acceptance.firing[known.id] = alert.fingerprint
        return
    acceptance.new += 1
    acceptance.incidents.add(incident)
    acceptance.firing[number] = alert.fingerprint


_FIRES = "UPDATE alerts SET status = 'firing', ends_at = NULL, resolved_received = NULL WHERE id = ?"


def _fires_again(acceptance: _Acceptance, alert: Alert, known: _Known) -> bool:
    """
    Whether an alert fires that was resolved a while ago.

    Alertmanager takes an alert for resolved when Prometheus falls silent, and has it fire again with the old start.
    Shortly after the resolution the firing may be a late copy, and it is one where the alert began again since.
    """
    if known.resolved_received is None:
        return False
    recent = acceptance.received - acceptance.grouping.tolerance
    if known.resolved_received >= recent:
        return False
    later = acceptance.connection.execute(_LATER, (*_after(acceptance, alert, known.starts_at), recent))
    return later.fetchone() is None


_ONE_SENDER = "(fingerprint = '' OR ? = '' OR fingerprint = ?)"
"""What one replica tells does not end what another has firing."""
_LATER = f"""
    SELECT 1 FROM alerts WHERE identity = ? AND starts_at > ? AND {_ONE_SENDER}
    AND (status = 'firing' OR resolved_received >= ?) LIMIT 1
"""  # noqa: S608 -- ours
_NEXT = f"SELECT min(starts_at) FROM alerts WHERE identity = ? AND starts_at > ? AND {_ONE_SENDER}"  # noqa: S608 -- ours
_EARLIER = f"""
    SELECT id, incident FROM alerts WHERE identity = ? AND starts_at < ? AND {_ONE_SENDER}
    AND (status = 'firing' OR (resolved_times = 0 AND ends_at > ?))
"""  # noqa: S608 -- ours


def _after(acceptance: _Acceptance, alert: Alert, start: float) -> tuple[str, float, str, str]:
    return alert.identity, start + acceptance.grouping.tolerance, alert.fingerprint, alert.fingerprint


def _end_by_later(acceptance: _Acceptance, alert: Alert, number: int) -> bool:
    """End a firing whose news came after that of a later one; whether there is one."""
    (end,) = acceptance.connection.execute(_NEXT, _after(acceptance, alert, alert.starts_at)).fetchone()
    if end is not None:
        _end_at(acceptance, number, end)
    return end is not None


def _end_earlier(acceptance: _Acceptance, alert: Alert, start: float) -> None:
    """An alert that begins has ended before, though its resolution was never sent: it was over within an interval."""
    before = start - acceptance.grouping.tolerance
    rows = acceptance.connection.execute(
        _EARLIER, (alert.identity, before, alert.fingerprint, alert.fingerprint, start)
    )  # fmt: skip
    for number, incident in rows.fetchall():
        _end_at(acceptance, number, start)
        acceptance.changed.add(incident)


def _end_at(acceptance: _Acceptance, number: int, end: float) -> None:
    acceptance.connection.execute(
        "UPDATE alerts SET status = 'resolved', ends_at = ?, resolved_received = coalesce(resolved_received, ?)"
        " WHERE id = ?",
        (end, acceptance.received, number),
    )


def _resolved(acceptance: _Acceptance, alert: Alert, known: _Known | None) -> None:
    if known is None:
        _insert(acceptance, alert, None)
        acceptance.new += 1
    elif _has_ended(known) or _another_fires(acceptance, alert, known):
        _again(acceptance, known, "resolved_times")
    else:
        acceptance.connection.execute(
            "UPDATE alerts SET status = 'resolved', ends_at = ?, resolved_received = ?,"
            " resolved_times = resolved_times + 1 WHERE id = ?",
            (_end(alert, acceptance.received), acceptance.received, known.id),
        )
        acceptance.new += 1
        if known.incident is not None:
            acceptance.incidents.add(known.incident)
            acceptance.changed.add(known.incident)


def _has_ended(known: _Known) -> bool:
    """Whether its end was told; one that was only inferred gives way to the one that is told."""
    return known.status == "resolved" and known.resolved_times > 0


def _another_fires(acceptance: _Acceptance, alert: Alert, known: _Known) -> bool:
    """Whether the same notification has the alert of another replica firing: it is not over before both are."""
    fingerprint = acceptance.firing.get(known.id)
    return bool(fingerprint) and bool(alert.fingerprint) and fingerprint != alert.fingerprint


def _again(acceptance: _Acceptance, known: _Known, times: str) -> None:
    acceptance.connection.execute(f"UPDATE alerts SET {times} = {times} + 1 WHERE id = ?", (known.id,))  # noqa: S608 -- ours
    acceptance.duplicates += 1
    if known.incident is not None:
        acceptance.incidents.add(known.incident)


def _insert(acceptance: _Acceptance, alert: Alert, incident: str | None) -> int:
    fires, received = alert.status == "firing", acceptance.received
    end = None if fires else _end(alert, received)
    cursor = acceptance.connection.execute(
        "INSERT INTO alerts (incident, identity, starts_at, ends_at, status, name, labels, annotations, fingerprint,"
        " generator, source, fired_received, resolved_received, fired_times, resolved_times)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (incident, alert.identity, alert.starts_at, end, alert.status, text(alert.name), packed(alert.labels),
         packed(alert.annotations), text(alert.fingerprint), text(alert.generator), acceptance.source,
         received if fires else None, None if fires else received, int(fires), int(not fires)),
    )  # fmt: skip
    return int(cursor.lastrowid or 0)


def _end(alert: Alert, received: float) -> float:
    return received if alert.ends_at is None else alert.ends_at


# Incidents


def _incident_for(acceptance: _Acceptance, alert: Alert) -> str:
    """
    The incident of the alert's instance and time, or a new one with its job.

    One that closed before the alert began is over. One that was still going on then takes the alert in, and opens
    again, because only the news of it came late.
    """
    instance = next((alert.labels[one] for one in acceptance.grouping.instance_labels if one in alert.labels), "")
    key = incident_key(instance, {one: alert.labels[one] for one in acceptance.grouping.labels if one in alert.labels})
    at, window = alert.starts_at, acceptance.grouping.window
    row = acceptance.connection.execute(_JOINABLE, (key, at - window, at + window, at, at)).fetchone()
    if row is not None:
        acceptance.changed.add(row[0])
        return str(row[0])
    return _open(acceptance, key, instance, at)


_JOINABLE = """
    SELECT id FROM incidents
    WHERE key = ? AND at BETWEEN ? AND ? AND (state = 'open' OR closed_at >= ?) ORDER BY abs(at - ?), id LIMIT 1
"""


def _open(acceptance: _Acceptance, key: str, instance: str, at: float) -> str:
    connection, received = acceptance.connection, acceptance.received
    id = _free_id(connection, key, at)
    connection.execute(
        "INSERT INTO incidents (id, key, instance, at, opened_at, updated_at, state) VALUES (?, ?, ?, ?, ?, ?, 'open')",
        (id, key, text(instance), at, received, received),
    )
    connection.execute("INSERT INTO jobs (incident, state, not_before) VALUES (?, 'queued', ?)", (id, received))
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


# Cells


def packed(items: Mapping[str, object]) -> str:
    """A mapping as JSON, readable as it is unless it holds what is no text in UTF-8."""
    written = json.dumps(items, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return written if is_utf8(written) else json.dumps(items, sort_keys=True, separators=(",", ":"), allow_nan=False)


def text(value: str) -> str:
    """A text to list and to look for; what is not UTF-8 in it shows as an escape."""
    return value if is_utf8(value) else value.encode("utf-8", "backslashreplace").decode()


def is_utf8(value: str) -> bool:
    """Whether it holds no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def marks(items: Iterable[object]) -> str:
    """As many question marks as items, for a query."""
    return ", ".join("?" for _ in items)
