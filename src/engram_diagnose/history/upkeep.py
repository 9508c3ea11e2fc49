"""
Keeping the database small, whole, and twice.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from engram_diagnose.history.accepting import marks
from engram_diagnose.history.database import Database, explained, size_used

_AT_ONCE: Final = 200
"""Incidents that one transaction removes at most: others wait while it lasts."""
_BETWEEN: Final = 10
"""Incidents after which the size is looked at."""
_PAGES: Final = 256
"""Pages that one transaction gives back."""


# Removing


def prune(database: Database, now: float, *, older_than: float | None, larger_than_bytes: int | None) -> int:
    """Remove what is old, then what is too much; how many incidents that were."""
    removed = 0
    if older_than is not None:
        removed += _remove(database, before=now - older_than, down_to=None)
    if larger_than_bytes is not None:
        removed += _remove(database, before=None, down_to=larger_than_bytes)
    _give_back(database)
    return removed


def _remove(database: Database, *, before: float | None, down_to: int | None) -> int:
    removed = 0
    while found := _remove_some(database, before, down_to):
        removed += found
    while _forget_some(database, before, down_to):
        pass
    return removed


def _remove_some(database: Database, before: float | None, down_to: int | None) -> int:
    removed = 0
    with database.writing() as connection:
        ids = [row[0] for row in connection.execute(_REMOVABLE, {"before": before, "limit": _AT_ONCE})]
        for start in range(0, len(ids), _BETWEEN):
            if _small_enough(connection, down_to):
                break
            some = ids[start : start + _BETWEEN]
            connection.execute(f"DELETE FROM incidents WHERE id IN ({marks(some)})", some)  # noqa: S608 -- ours
            removed += len(some)
    return removed


_REMOVABLE: Final = """
    SELECT incidents.id FROM incidents JOIN jobs ON jobs.incident = incidents.id
    WHERE incidents.state = 'closed' AND jobs.state IN ('done', 'parked') AND (:before IS NULL OR updated_at < :before)
      AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.incident = incidents.id AND messages.state = 'pending')
    ORDER BY updated_at, incidents.id LIMIT :limit
"""


def _forget_some(database: Database, before: float | None, down_to: int | None) -> int:
    """Alerts that nobody saw firing belong to no incident, and are kept as long."""
    with database.writing() as connection:
        if _small_enough(connection, down_to):
            return 0
        cursor = connection.execute(
            "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE incident IS NULL"
            " AND (:before IS NULL OR resolved_received < :before) ORDER BY resolved_received LIMIT :limit)",
            {"before": before, "limit": _AT_ONCE},
        )
        return cursor.rowcount


def _small_enough(connection: sqlite3.Connection, down_to: int | None) -> bool:
    return down_to is not None and size_used(connection) <= down_to


def _give_back(database: Database) -> None:
    """The file shrinks once the log is written back, which waits for the next time while somebody reads."""
    with database.outside() as connection:
        while connection.execute("PRAGMA freelist_count").fetchone()[0]:
            before = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
            if connection.execute("PRAGMA page_count").fetchone()[0] == before:
                break
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


# Copying


def backup(database: Database, path: Path) -> None:
    """Copy what is there now beside `path`, and put it in its place once it is on the disk."""
    with explained(path, database.kind):
        if path.exists() and path.samefile(database.path):
            raise ValueError("a backup cannot take the place of the database itself; name another file")
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with _in_place_of(part, path), database.outside() as connection:
            _copy(connection, part)


def _copy(connection: sqlite3.Connection, part: Path) -> None:
    target = sqlite3.connect(part, isolation_level=None)
    try:
        connection.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    finally:
        target.close()


@contextmanager
def _in_place_of(part: Path, path: Path) -> Iterator[None]:
    try:
        os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        yield
        _onto_the_disk(part)
        part.replace(path)
        _onto_the_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _onto_the_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Checking


def check(connection: sqlite3.Connection) -> tuple[str, ...]:
    """What SQLite and our own rules find wrong."""
    said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    problems = [] if said == ["ok"] else said
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        problems.append(f"row {row} of {table} belongs to nothing in {parent}")
    for problem, query in _RULES:
        problems += [f"{problem}: {row[0]}" for row in connection.execute(query)]
    return tuple(problems)


_RULES: Final = (
    ("an incident without a job", "SELECT id FROM incidents WHERE id NOT IN (SELECT incident FROM jobs) ORDER BY id"),
    (
        "an incident without an alert",
        "SELECT id FROM incidents WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE incident = incidents.id) ORDER BY id",
    ),
    (
        "an incident that is closed while an alert fires, or open while none does",
        "SELECT id FROM incidents WHERE (state = 'open') <> EXISTS (SELECT 1 FROM alerts"
        " WHERE incident = incidents.id AND status = 'firing') ORDER BY id",
    ),
    (
        "a job that is done without a diagnosis, or has one without being done",
        "SELECT incident FROM jobs WHERE (state = 'done') <> EXISTS (SELECT 1 FROM diagnoses"
        " WHERE incident = jobs.incident) ORDER BY incident",
    ),
)
