"""
Keeping the database small, whole, and twice.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from engram_diagnose.history.database import Database, explained, size_used

Pause = Callable[[float], bool]
"""Waits for so many seconds; True is to stop. `threading.Event.wait` is one."""

_AT_ONCE: Final = 200
"""Incidents that are looked for at a time."""
_STEP_SECONDS: Final = 0.02
"""When a transaction is ended: nothing can be accepted while it lasts."""
_PAUSE_SECONDS: Final = 0.06
"""
Between two transactions. SQLite lets a writer that waits look again after 25 ms at first, so it gets its turn in the
first pause.
"""
_PAGES: Final = 32
"""Pages that are given back before the time is looked at."""


def sleep(seconds: float) -> bool:
    """A `Pause` that nobody cuts short."""
    time.sleep(seconds)
    return False


# Removing


def prune(
    database: Database, now: float, *, older_than: float | None, larger_than_bytes: int | None, pause: Pause = sleep
) -> int:
    """Remove what is old, then what is too much; how many incidents that were."""
    removed = 0
    if older_than is not None:
        removed += _remove(database, now - older_than, None, pause)
    if larger_than_bytes is not None:
        removed += _remove(database, None, larger_than_bytes, pause)
    _give_back(database, pause)
    return removed


def _remove(database: Database, before: float | None, down_to: int | None, pause: Pause) -> int:
    removed = 0
    while _forget_some(database, before, down_to):  # first: they are worth less than any incident
        if pause(_PAUSE_SECONDS):
            return removed
    while ids := _removable(database, before):
        found = _remove_these(database, ids, before, down_to, pause)
        removed += found
        if found < len(ids):  # small enough, told to stop, or something happened to one of them
            break
    return removed


def _removable(database: Database, before: float | None) -> list[str]:
    """Looked for while others write; whether it may still be removed is asked again when it is."""
    with database.reading() as connection:
        return [row[0] for row in connection.execute(_REMOVABLE, {"before": before, "limit": _AT_ONCE})]


def _remove_these(
    database: Database, ids: list[str], before: float | None, down_to: int | None, pause: Pause
) -> int:  # fmt: skip
    removed = done = 0
    while done < len(ids):
        some, enough = 0, False
        with database.writing() as connection:
            end = time.monotonic() + _STEP_SECONDS
            while done < len(ids) and (not some or time.monotonic() < end):
                if enough := _small_enough(connection, down_to):
                    break
                some += connection.execute(_REMOVE, {"before": before, "id": ids[done]}).rowcount
                done += 1
        removed += some
        if enough or pause(_PAUSE_SECONDS):
            break
    return removed


_OVER: Final = """
    state = 'closed' AND (:before IS NULL OR updated_at < :before)
    AND EXISTS (SELECT 1 FROM jobs WHERE jobs.incident = incidents.id AND jobs.state IN ('done', 'parked'))
    AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.incident = incidents.id AND messages.state = 'pending')
"""
_REMOVABLE: Final = f"SELECT id FROM incidents WHERE {_OVER} ORDER BY updated_at, id LIMIT :limit"  # noqa: S608 -- ours
_REMOVE: Final = f"DELETE FROM incidents WHERE id = :id AND {_OVER}"  # noqa: S608 -- ours


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


def _give_back(database: Database, pause: Pause) -> None:
    """The file shrinks once the log is written back, which waits for the next time while somebody reads."""
    while _give_some_back(database):
        if pause(_PAUSE_SECONDS):
            return
    with database.outside() as connection:
        # What is left to be written back while nobody may write is little after this.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with suppress(sqlite3.OperationalError), _without_waiting(connection):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _give_some_back(database: Database) -> bool:
    """Whether there is more."""
    with database.writing() as connection:
        end = time.monotonic() + _STEP_SECONDS
        while free := _free_pages(connection):
            connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
            if _free_pages(connection) >= free:  # a database that cannot shrink
                return False
            if time.monotonic() >= end:
                return True
    return False


def _free_pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


@contextmanager
def _without_waiting(connection: sqlite3.Connection) -> Iterator[None]:
    """A checkpoint that waits for readers lets nobody write meanwhile."""
    before = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout = {before}")


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
