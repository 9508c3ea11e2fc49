"""
The database's schema, as the numbered steps that lead to it.

A step that was released is never changed: what comes later is a step of its own. `PRAGMA user_version` is the number
of steps that a database has taken.
"""

import sqlite3
from typing import Final

APPLICATION_ID: Final = 0x45_44_67_31
"""Tells the database from any other SQLite file."""

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    # 1: patches and what came of them. Figures are columns without a type, which keep every bit of a float; times are
    # seconds since the epoch; scopes and configuration values are JSON.
    (
        f"PRAGMA application_id = {APPLICATION_ID}",
        """
        CREATE TABLE applications (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at NOT NULL,
            instance TEXT NOT NULL,
            file TEXT NOT NULL,
            base TEXT NOT NULL,
            result TEXT NOT NULL,
            dialect TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('intended', 'applied', 'rolled back')),
            patch TEXT NOT NULL
        )
        """,
        "CREATE INDEX applications_by_instance ON applications (instance)",
        """
        CREATE TABLE changes (
            application INTEGER NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            parameter TEXT NOT NULL,
            key TEXT NOT NULL,
            before TEXT,
            after TEXT NOT NULL,
            rule TEXT NOT NULL,
            PRIMARY KEY (application, position)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE predictions (
            application INTEGER NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            figure TEXT NOT NULL,
            scope TEXT NOT NULL,
            unit TEXT NOT NULL,
            better TEXT NOT NULL CHECK (better IN ('lower', 'higher')),
            measured NOT NULL,
            low NOT NULL,
            high NOT NULL,
            rule TEXT NOT NULL,
            PRIMARY KEY (application, position)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE realised (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            application INTEGER REFERENCES applications (id) ON DELETE CASCADE,
            at NOT NULL,
            instance TEXT NOT NULL,
            figure TEXT NOT NULL,
            scope TEXT NOT NULL,
            rule TEXT NOT NULL,
            verdict TEXT NOT NULL
                CHECK (verdict IN ('improved', 'no change', 'worse', 'not comparable', 'inconclusive')),
            before,
            after,
            low,
            high,
            predicted_low,
            predicted_high
        )
        """,
        "CREATE INDEX realised_by_rule ON realised (rule)",
        "CREATE INDEX realised_by_application ON realised (application)",
    ),
)


class NotOursError(ValueError):
    """A database that this version cannot use; the message is the reason, as a clause, and the next step."""


def migrate(connection: sqlite3.Connection) -> None:
    """
    Take the steps that the database has not taken, all of them or none.

    Raises `NotOursError` for the database of a newer version or of another program, and `sqlite3.Error`.
    """
    if _version(connection) == len(STEPS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = _version(connection)  # another process may have been first
        for step in STEPS[done:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    """How many steps were taken: 0 for an empty database."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if owner != APPLICATION_ID and (tables or version):
        raise NotOursError("is the database of another program; name another file")
    if version > len(STEPS):
        detail = f"was written by a newer version (schema {version}, this one knows {len(STEPS)})"
        raise NotOursError(f"{detail}; use that version, or move the file away")
    return int(version)
