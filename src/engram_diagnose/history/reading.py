"""
Incidents read back: one of them, lists of them, what happened, and how many there are.

Every function runs inside a transaction of the caller.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from sqlite3 import Connection
from typing import Any, Final

from engram_diagnose.history.cells import marks
from engram_diagnose.history.database import size_used
from engram_diagnose.history.jobs import JOB, job_of
from engram_diagnose.history.model import Alert, Finding, Incident
from engram_diagnose.history.records import Counts, Listed, Mark, Moment, Outline, Page, Search

MOST: Final = 500
"""The incidents that one page has at most."""

_INCIDENT: Final = "id, key, instance, at, opened_at, state, closed_at"
_ALERT: Final = "identity, status, labels, annotations, starts_at, ends_at, fingerprint, generator"
_FINDING: Final = "incident, made_at, state, severity, sentence, rule, title, confidence, action"
_SOME: Final = 500
"""Ids in one query; SQLite takes no more than 32,766."""


# One


def incident(connection: Connection, id: str) -> Incident | None:
    """An incident with its alerts."""
    return next(iter(incidents(connection, [id])), None)


def incidents(connection: Connection, ids: Sequence[str]) -> list[Incident]:
    """Those that there are, in the order asked for."""
    found: dict[str, Incident] = {}
    alerts: dict[str, list[Alert]] = {}
    for some in _portions(ids):
        where = marks(some)
        for row in connection.execute(f"SELECT {_INCIDENT} FROM incidents WHERE id IN ({where})", some):  # noqa: S608 -- ours
            found[row[0]] = Incident(*row)
        query = f"SELECT incident, {_ALERT} FROM alerts WHERE incident IN ({where}) ORDER BY starts_at, id"  # noqa: S608 -- ours
        for row in connection.execute(query, some):
            alerts.setdefault(row[0], []).append(_alert(row[1:]))
    return [replace(found[id], alerts=tuple(alerts.get(id, ()))) for id in ids if id in found]


def _alert(row: Sequence[Any]) -> Alert:
    """From `_ALERT`."""
    identity, status, labels, annotations, *rest = row
    return Alert(identity, status, json.loads(labels), json.loads(annotations), *rest)


def opened(connection: Connection, ids: Sequence[str]) -> list[tuple[Incident, Finding]]:
    """
    Those of these incidents that have a diagnosis, in the order asked for; of its alerts each has the first to arrive.

    A storm's incident has thousands, which nobody who announces it reads.
    """
    found, heads = findings(connection, ids), _heads(connection, ids)
    for some in _portions(ids):
        first = (
            f"SELECT incident, {_ALERT} FROM alerts WHERE id IN"  # noqa: S608 -- ours
            f" (SELECT min(id) FROM alerts WHERE incident IN ({marks(some)}) GROUP BY incident)"
        )
        for row in connection.execute(first, some):
            heads[row[0]] = replace(heads[row[0]], alerts=(_alert(row[1:]),))
    return [(heads[id], found[id]) for id in ids if id in heads and id in found]


def _heads(connection: Connection, ids: Sequence[str]) -> dict[str, Incident]:
    """These incidents without their alerts."""
    query = f"SELECT {_INCIDENT} FROM incidents WHERE id IN ({{}})"  # noqa: S608 -- ours
    rows = (row for some in _portions(ids) for row in connection.execute(query.format(marks(some)), some))
    return {row[0]: Incident(*row) for row in rows}


def _names(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What the alerts of these incidents are called, each name once and in order."""
    query = "SELECT DISTINCT incident, name FROM alerts WHERE incident IN ({}) ORDER BY name"
    found: dict[str, list[str]] = {}
    for some in _portions(ids):
        for id, name in connection.execute(query.format(marks(some)), some):
            found.setdefault(id, []).append(name)
    return {id: tuple(names) for id, names in found.items()}


def firing(connection: Connection) -> dict[int, str]:
    """The numbers of the alerts that fire, with what each is known by."""
    return dict(connection.execute("SELECT id, identity FROM alerts WHERE status = 'firing' ORDER BY id"))


def still_firing(connection: Connection, numbers: Sequence[int]) -> list[Alert]:
    """Those of these alerts that fire, in the order of their numbers."""
    query = (
        f"SELECT {_ALERT} FROM alerts"  # noqa: S608 -- ours
        " WHERE status = 'firing' AND id IN (SELECT value FROM json_each(?)) ORDER BY id"
    )
    return [_alert(row) for row in connection.execute(query, (json.dumps(list(numbers)),))]


def alerts_between(connection: Connection, since: float, until: float) -> list[Alert]:
    """The alerts that began between the two instants."""
    query = f"SELECT {_ALERT} FROM alerts WHERE starts_at BETWEEN ? AND ? ORDER BY starts_at, id"  # noqa: S608 -- ours
    return [_alert(row) for row in connection.execute(query, (since, until))]


def findings(connection: Connection, ids: Sequence[str]) -> dict[str, Finding]:
    """What the diagnoses of these incidents found."""
    query = f"SELECT {_FINDING} FROM diagnoses WHERE incident IN ({{}})"  # noqa: S608 -- ours
    rows = (row for some in _portions(ids) for row in connection.execute(query.format(marks(some)), some))
    return {row[0]: Finding(*row) for row in rows}


def stored(connection: Connection, id: str, column: str) -> bytes | None:
    """The document or the bundle of a diagnosis."""
    row = connection.execute(f"SELECT {column} FROM diagnoses WHERE incident = ?", (id,)).fetchone()  # noqa: S608 -- ours
    return bytes(row[0]) if row else None


# What happened


def timeline(connection: Connection, id: str) -> tuple[Moment, ...]:
    """Everything known to have happened, by when it did."""
    moments = [*_of_alerts(connection, id), *_of_incident(connection, id)]
    return tuple(sorted(moments, key=lambda one: (one.at, _ORDER.index(one.what), one.received)))


_ORDER: Final = ("firing", "opened", "resolved", "diagnosed", "closed")


def _of_alerts(connection: Connection, id: str) -> Iterator[Moment]:
    query = f"SELECT {_ALERT}, {_TOLD} FROM alerts WHERE incident = ? ORDER BY id"  # noqa: S608 -- ours
    yield from _moments(connection.execute(query, (id,)))


def _of_alert(connection: Connection, number: int) -> Iterator[Moment]:
    yield from _moments(connection.execute(f"SELECT {_ALERT}, {_TOLD} FROM alerts WHERE id = ?", (number,)))  # noqa: S608 -- ours


_TOLD: Final = "source, fired_received, resolved_received, fired_times, resolved_times"


def _moments(rows: Iterable[Sequence[Any]]) -> Iterator[Moment]:
    for *cells, source, fired, resolved, fired_times, resolved_times in rows:
        alert = _alert(cells)
        yield Moment(alert.starts_at, "firing", fired, alert, source, fired_times)
        if resolved is not None:
            end = resolved if alert.ends_at is None else alert.ends_at
            yield Moment(end, "resolved", resolved, alert, source, resolved_times)


def _of_incident(connection: Connection, id: str) -> Iterator[Moment]:
    query = "SELECT opened_at, closed_at, made_at, sentence FROM incidents LEFT JOIN diagnoses ON incident = id"
    for opened, closed, made, sentence in connection.execute(f"{query} WHERE id = ?", (id,)):
        yield Moment(opened, "opened", opened)
        if made is not None:
            yield Moment(made, "diagnosed", made, text=sentence)
        if closed is not None:
            yield Moment(closed, "closed", closed)


# A storm's incident, a part at a time: all of it would fill the memory


def outline(connection: Connection, id: str) -> Outline | None:
    """What is short to tell of an incident, however many alerts it has."""
    row = connection.execute(f"SELECT {_INCIDENT} FROM incidents WHERE id = ?", (id,)).fetchone()  # noqa: S608 -- ours
    if row is None:
        return None
    names = connection.execute("SELECT DISTINCT name FROM alerts WHERE incident = ? ORDER BY name", (id,))
    alerts, ends = connection.execute("SELECT count(*), count(resolved_received) FROM alerts WHERE incident = ?", (id,)
                                      ).fetchone()  # fmt: skip
    own = len(list(_of_incident(connection, id)))
    return Outline(Incident(*row), tuple(name for (name,) in names), alerts, alerts + ends + own)


def alerts_part(connection: Connection, id: str, limit: int, after: Mark | None) -> tuple[list[Alert], Mark | None]:
    """Alerts of an incident in the order of their starts, those that come behind the mark; the mark of the last one."""
    at, _, number = after or _BEGIN
    query = (
        f"SELECT starts_at, id, {_ALERT} FROM alerts WHERE incident = ? AND (starts_at, id) > (?, ?)"  # noqa: S608 -- ours
        " ORDER BY starts_at, id LIMIT ?"
    )
    rows = connection.execute(query, (id, at, number, limit + 1)).fetchall()
    last = rows[limit - 1] if len(rows) > limit else None
    return [_alert(row[2:]) for row in rows[:limit]], Mark(last[0], 0, last[1]) if last else None


def timeline_part(connection: Connection, id: str, limit: int, after: Mark | None) -> tuple[list[Moment], Mark | None]:
    """What happened in its order, as `timeline` has it, behind the mark; the mark of the last one."""
    at, rank, number = after or _BEGIN
    asked = {"id": id, "at": at, "rank": rank, "number": number, "limit": limit + 1}
    marks = [Mark(*row) for row in connection.execute(_HAPPENED, asked)]
    wanted = {mark.number for mark in marks[:limit]}
    told = {one: found for one in wanted for found in [list(_of_alert(connection, one))] if found}
    own = {one.what: one for one in _of_incident(connection, id)}
    moments = [
        next(one for one in told[mark.number] if one.what == _ORDER[mark.rank])
        if mark.number
        else own[_ORDER[mark.rank]]
        for mark in marks[:limit]
    ]
    return moments, marks[limit - 1] if len(marks) > limit else None


_BEGIN: Final = Mark(float("-inf"), 0, 0)
_HAPPENED: Final = """
    SELECT at, rank, number FROM (
        SELECT starts_at AS at, 0 AS rank, id AS number FROM alerts WHERE incident = :id
        UNION ALL SELECT coalesce(ends_at, resolved_received), 2, id FROM alerts
            WHERE incident = :id AND resolved_received IS NOT NULL
        UNION ALL SELECT opened_at, 1, 0 FROM incidents WHERE id = :id
        UNION ALL SELECT made_at, 3, 0 FROM diagnoses WHERE incident = :id
        UNION ALL SELECT closed_at, 4, 0 FROM incidents WHERE id = :id AND closed_at IS NOT NULL
    ) WHERE (at, rank, number) > (:at, :rank, :number) ORDER BY at, rank, number LIMIT :limit
"""


# Many


def search(connection: Connection, search: Search) -> Page:
    """Newest first: ids are in the order of time."""
    limit = max(1, min(search.limit, MOST))
    ids = [row[0] for row in connection.execute(_SEARCH, {**_asked(search), "limit": limit + 1})]
    cursor = ids[limit - 1] if len(ids) > limit else ""
    return Page(listed(connection, ids[:limit]), cursor)


def listed(connection: Connection, ids: Sequence[str]) -> tuple[Listed, ...]:
    """These incidents without their alerts, each with the names of these, its finding and its job."""
    found, heads, names = findings(connection, ids), _heads(connection, ids), _names(connection, ids)
    query = f"SELECT {JOB} FROM jobs WHERE incident IN ({{}})"  # noqa: S608 -- ours
    rows = (row for some in _portions(ids) for row in connection.execute(query.format(marks(some)), some))
    jobs = {row[0]: job_of(row) for row in rows}
    return tuple(Listed(heads[id], names.get(id, ()), found.get(id), jobs[id]) for id in ids if id in heads)


def _asked(search: Search) -> dict[str, object]:
    escaped = search.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return {
        "text": f"%{escaped}%" if search.text else "",
        "state": search.state,
        "instance": search.instance,
        "since": search.since,
        "until": search.until,
        "severity": search.severity,
        "cursor": search.cursor,
    }


_SEARCH: Final = r"""
    SELECT i.id FROM incidents i JOIN jobs j ON j.incident = i.id LEFT JOIN diagnoses d ON d.incident = i.id
    WHERE (:cursor = '' OR i.id < :cursor)
      AND :state IN ('', i.state, j.state)
      AND :instance IN ('', i.instance)
      AND (:since IS NULL OR i.at >= :since)
      AND (:until IS NULL OR i.at < :until)
      AND (:severity = '' OR d.severity = :severity)
      AND (:text = '' OR i.id LIKE :text ESCAPE '\' OR i.instance LIKE :text ESCAPE '\'
           OR d.sentence LIKE :text ESCAPE '\' OR d.title LIKE :text ESCAPE '\' OR d.rule LIKE :text ESCAPE '\'
           OR d.action LIKE :text ESCAPE '\'
           OR EXISTS (SELECT 1 FROM alerts a, json_each(a.labels) l
                      WHERE a.incident = i.id AND l.value LIKE :text ESCAPE '\')
           OR EXISTS (SELECT 1 FROM alerts a, json_each(a.annotations) l
                      WHERE a.incident = i.id AND l.value LIKE :text ESCAPE '\'))
    ORDER BY i.id DESC LIMIT :limit
"""


def open_findings(connection: Connection) -> tuple[tuple[Incident, Finding], ...]:
    """The open incidents that have a diagnosis, oldest first and without their alerts."""
    rows = connection.execute(
        "SELECT id FROM incidents JOIN diagnoses ON incident = id WHERE incidents.state = 'open' ORDER BY id"
    )
    ids = [row[0] for row in rows]
    found, heads = findings(connection, ids), _heads(connection, ids)
    return tuple((heads[id], found[id]) for id in ids)


def counts(connection: Connection) -> Counts:
    """How much there is of everything."""
    states = {
        str(state).replace(" ", "_"): number
        for table in ("incidents", "jobs", "messages")
        for state, number in connection.execute(f"SELECT state, count(*) FROM {table} GROUP BY state")  # noqa: S608 -- ours
    }
    return Counts(
        **states,
        alerts=_single(connection, "SELECT count(*) FROM alerts"),
        bytes=size_used(connection),
        oldest_waiting=_single(connection, "SELECT min(not_before) FROM jobs WHERE state = 'queued'"),
        oldest_unsent=_single(connection, "SELECT min(not_before) FROM messages WHERE state = 'pending'"),
    )


def _single(connection: Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _portions(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _SOME):
        yield list(ids[start : start + _SOME])
