"""
One job for each incident: who may diagnose it, and that it is diagnosed once.

Every function runs inside a transaction of the caller.
"""

import json
import zlib
from collections.abc import Mapping
from sqlite3 import Connection
from typing import Any, Final

from engram_diagnose.history.cells import text
from engram_diagnose.history.model import Finding, Job

JOB = "incident, state, attempts, not_before, token, error"

PATIENCE_SECONDS: Final = 600.0
"""
How long a job lets more severe ones that came later go first, for each step between their severities. So none waits
for ever, however many more severe ones keep coming.
"""

NEXT_RANK: Final = "SELECT rank FROM jobs WHERE state = 'queued' AND rank > ? ORDER BY rank LIMIT 1"
OLDEST: Final = """
    SELECT not_before, incident FROM jobs WHERE state = 'queued' AND rank = ? AND not_before <= ?
    ORDER BY not_before, incident LIMIT 1
"""
"""Both find what they look for at once, however many jobs wait."""


def job_of(row: tuple[Any, ...]) -> Job:
    """From `JOB`."""
    return Job(*row)


def job(connection: Connection, incident: str) -> Job | None:
    """The job of an incident."""
    row = connection.execute(f"SELECT {JOB} FROM jobs WHERE incident = ?", (incident,)).fetchone()  # noqa: S608 -- ours
    return job_of(row) if row else None


def take(connection: Connection, now: float) -> Job | None:
    """The job whose turn it is of those that may run, with a token of its own."""
    incident = _foremost(connection, now)
    if incident is None:
        return None
    connection.execute(
        "UPDATE jobs SET state = 'running', attempts = attempts + 1, token = token + 1, started_at = ?"
        " WHERE incident = ?",
        (now, incident),
    )
    return job(connection, incident)


def _foremost(connection: Connection, now: float) -> str | None:
    """The oldest of each severity in turn, and of these the one that is first when waiting counts as well."""
    found = []
    rank = -1
    while (row := connection.execute(NEXT_RANK, (rank,)).fetchone()) is not None:
        (rank,) = row
        oldest = connection.execute(OLDEST, (rank, now)).fetchone()
        if oldest is not None:
            since, incident = oldest
            found.append((since + rank * PATIENCE_SECONDS, rank, incident))
    return min(found)[-1] if found else None


def packed_document(document: Mapping[str, Any]) -> bytes:
    """A document as it is kept; raises `ValueError` for what JSON cannot say."""
    return zlib.compress(json.dumps(document, separators=(",", ":"), sort_keys=True, allow_nan=False).encode())


def unpacked_document(stored: bytes) -> dict[str, Any]:
    """The inverse; raises `ValueError`."""
    try:
        document: dict[str, Any] = json.loads(zlib.decompress(stored))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    return document


def finish(
    connection: Connection,
    incident: str,
    token: int,
    finding: Finding,
    document: bytes,
    bundle: bytes,
    now: float,
) -> bool:
    """
    Keep the diagnosis; False, and nothing is kept, without the token or with a diagnosis there already.

    `document` was packed before: the transaction is short that way.
    """
    if not _leave(connection, incident, token, "done", ""):
        return False
    texts = map(text, (finding.state, finding.severity, finding.sentence, finding.rule, finding.title))
    values = (incident, finding.made_at, *texts, finding.confidence, text(finding.action), document, bundle)
    columns = "incident, made_at, state, severity, sentence, rule, title, confidence, action, document, bundle"
    added = connection.execute(
        f"INSERT INTO diagnoses ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",  # noqa: S608 -- ours
        values,
    )
    connection.execute("UPDATE incidents SET updated_at = max(updated_at, ?) WHERE id = ?", (now, incident))
    return bool(added.rowcount)


def fail(connection: Connection, incident: str, token: int, error: str, *, not_before: float, park: bool) -> bool:
    """Give the job back or put it aside; False without the token."""
    if not _leave(connection, incident, token, "parked" if park else "queued", error):
        return False
    connection.execute("UPDATE jobs SET not_before = ? WHERE incident = ?", (not_before, incident))
    return True


def _leave(connection: Connection, incident: str, token: int, state: str, error: str) -> bool:
    """Only who holds the token of a running job may say what becomes of it."""
    cursor = connection.execute(
        "UPDATE jobs SET state = ?, error = ? WHERE incident = ? AND token = ? AND state = 'running'",
        (state, text(error), incident, token),
    )
    return bool(cursor.rowcount)


def reclaim(
    connection: Connection, now: float, *, park_after: int | None, not_before: float | None, error: str, counted: bool
) -> tuple[Job, ...]:
    """Every running job goes back to the queue, or is put aside where it was tried too often."""
    running = connection.execute("SELECT incident, attempts FROM jobs WHERE state = 'running' ORDER BY incident")
    taken = []
    for incident, attempts in running.fetchall():
        tried = attempts if counted else attempts - 1
        park = park_after is not None and tried >= park_after
        connection.execute(
            "UPDATE jobs SET state = ?, attempts = ?, not_before = ?, error = ? WHERE incident = ?",
            ("parked" if park else "queued", tried, now if not_before is None else not_before, text(error), incident),
        )
        taken.append(job(connection, incident))
    return tuple(one for one in taken if one is not None)


def release(connection: Connection, incident: str) -> bool:
    """Queue a job that was put aside, to run at once, with its attempts forgotten."""
    cursor = connection.execute(
        "UPDATE jobs SET state = 'queued', attempts = 0, not_before = 0, error = ''"
        " WHERE incident = ? AND state = 'parked'",
        (incident,),
    )
    return bool(cursor.rowcount)
