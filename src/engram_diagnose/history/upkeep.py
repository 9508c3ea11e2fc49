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
_STEP_SECONDS: Final = 0.01
"""What a transaction should take, its wait for the disk included: nothing can be accepted while it lasts."""
_PAUSE_SECONDS: Final = 0.06
"""
Between two transactions. SQLite lets a writer that waits look again after 25 ms at first, so it gets its turn in the
first pause.
"""
_LEAST: Final = 64
_MOST: Final = 8192
"""Rows or pages that a step touches; below that its time is the disk's alone."""


class _Pace:
    """
    How many rows or pages the next step may touch, by how long the last one took.

    What one of them takes differs a hundredfold between disks, and between an alert and an incident with its bundle.
    """

    def __init__(self) -> None:
        self.size = _LEAST

    def learn(self, seconds: float) -> None:
        """The last step took so long."""
        if seconds < _STEP_SECONDS:
            self.size = min(2 * self.size, _MOST)
        elif seconds > 2 * _STEP_SECONDS:
            self.size = max(self.size // 2, _LEAST)


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
    removed, pace = 0, _Pace()
    while _forget_some(database, before, down_to, pace):  # first: they are worth less than any incident
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
    removal, pace = _Removal(ids, before, down_to), _Pace()
    while removal.left:
        with database.writing() as connection:
            begun = time.monotonic()
            removal.step(connection, pace.size, until=begun + _STEP_SECONDS / 2)
        pace.learn(time.monotonic() - begun)
        if removal.is_enough or pause(_PAUSE_SECONDS):
            break
    return removal.removed


class _Removal:
    """
    Incidents that are being removed, one after the other.

    A storm has thousands of alerts in one incident, which goes in several steps then: first all of its alerts that do
    not fit into the last one. One that was begun is ended, unless the process is; then it has fewer alerts for a while.
    """

    def __init__(self, ids: list[str], before: float | None, down_to: int | None) -> None:
        self.left = ids[::-1]
        self.removed = 0
        self.is_enough = False
        self._before = before
        self._down_to = down_to
        self._begun = ""

    def step(self, connection: sqlite3.Connection, most: int, *, until: float) -> None:
        """Inside a transaction: about `most` rows, and not much longer than `until`."""
        touched = 0
        while self.left and touched < most and (not touched or time.monotonic() < until):
            if self.left[-1] != self._begun and _small_enough(connection, self._down_to):
                self.is_enough = True
                break
            touched += self._some(connection, self.left[-1], most)

    def _some(self, connection: sqlite3.Connection, id: str, most: int) -> int:
        asked = {"before": self._before, "id": id, "most": most}
        thinned = connection.execute(_THIN, asked).rowcount
        if thinned == most:
            self._begun = id
            return thinned
        self.left.pop()
        self.removed += connection.execute(_REMOVE, asked).rowcount
        return thinned + 1


_OVER: Final = """
    state = 'closed' AND (:before IS NULL OR updated_at < :before)
    AND EXISTS (SELECT 1 FROM jobs WHERE jobs.incident = incidents.id AND jobs.state IN ('done', 'parked'))
    AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.incident = incidents.id AND messages.state = 'pending')
"""
_REMOVABLE: Final = f"SELECT id FROM incidents WHERE {_OVER} ORDER BY updated_at, id LIMIT :limit"  # noqa: S608 -- ours
_REMOVE: Final = f"DELETE FROM incidents WHERE id = :id AND {_OVER}"  # noqa: S608 -- ours
_THIN: Final = (
    "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE incident = :id"  # noqa: S608 -- ours
    f" AND EXISTS (SELECT 1 FROM incidents WHERE id = :id AND {_OVER}) ORDER BY resolved_received LIMIT :most OFFSET 1)"
)
"""All but one: no incident is ever without an alert."""


def _forget_some(database: Database, before: float | None, down_to: int | None, pace: _Pace) -> int:
    """Alerts that nobody saw firing belong to no incident, and are kept as long."""
    with database.writing() as connection:
        begun = time.monotonic()
        if _small_enough(connection, down_to):
            return 0
        cursor = connection.execute(
            "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE incident IS NULL"
            " AND (:before IS NULL OR resolved_received < :before) ORDER BY resolved_received LIMIT :limit)",
            {"before": before, "limit": pace.size},
        )
    if cursor.rowcount:
        pace.learn(time.monotonic() - begun)
    return cursor.rowcount


def _small_enough(connection: sqlite3.Connection, down_to: int | None) -> bool:
    return down_to is not None and size_used(connection) <= down_to


def _give_back(database: Database, pause: Pause) -> None:
    """The file shrinks once the log is written back, which waits for the next time while somebody reads."""
    pace = _Pace()
    while _give_some_back(database, pace):
        if pause(_PAUSE_SECONDS):
            return
    with database.outside() as connection:
        # What is left to be written back while nobody may write is little after this.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with suppress(sqlite3.OperationalError), _without_waiting(connection):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _give_some_back(database: Database, pace: _Pace) -> bool:
    """Whether there is more."""
    with database.outside() as connection:
        if not (free := _free_pages(connection)):
            return False
        begun = time.monotonic()
        # A transaction of its own. `execute` would end it after a single page.
        connection.executescript(f"PRAGMA incremental_vacuum({pace.size})")
        pace.learn(time.monotonic() - begun)
        left = _free_pages(connection)
    return 0 < left < free  # one that stays as it is cannot shrink


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


def check(database: Database) -> tuple[str, ...]:
    """What SQLite finds wrong; where that is nothing, what our own rules do."""
    with database.outside() as connection:
        damage = _damage(connection)
    if damage:
        return damage
    with database.reading() as connection:
        return _against_rules(connection)


def _damage(connection: sqlite3.Connection) -> tuple[str, ...]:
    try:
        said = tuple(str(row[0]) for row in connection.execute("PRAGMA integrity_check"))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        return (str(error),)
    return () if said == ("ok",) else said


def _against_rules(connection: sqlite3.Connection) -> tuple[str, ...]:
    problems = []
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
        "an alert that fires while nobody says so, or is over while somebody does",
        "SELECT id FROM alerts WHERE (status = 'firing') <> EXISTS (SELECT 1 FROM senders"
        " WHERE alert = alerts.id AND fires) ORDER BY id",
    ),
    (
        "a job that is done without a diagnosis, or has one without being done",
        "SELECT incident FROM jobs WHERE (state = 'done') <> EXISTS (SELECT 1 FROM diagnoses"
        " WHERE incident = jobs.incident) ORDER BY incident",
    ),
)
