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
    # 2: what Alertmanager sent, the incidents it makes up, one job and one diagnosis each, what is to be sent,
    # and when the service was last there.
    # An alert is one row from its firing to its end, whoever tells of it and how often; one that was only ever seen
    # resolved has no incident. Documents are compressed; labels, annotations and messages are JSON with sorted keys.
    (
        """
        CREATE TABLE incidents (
            id TEXT PRIMARY KEY,
            key TEXT NOT NULL,
            instance TEXT NOT NULL,
            at NOT NULL,
            opened_at NOT NULL,
            updated_at NOT NULL,
            closed_at,
            state TEXT NOT NULL CHECK (state IN ('open', 'closed'))
        )
        """,
        "CREATE INDEX incidents_by_key ON incidents (key, at)",
        "CREATE INDEX incidents_by_state ON incidents (state, updated_at)",
        """
        CREATE TABLE alerts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            incident TEXT REFERENCES incidents (id) ON DELETE CASCADE,
            identity TEXT NOT NULL,
            starts_at NOT NULL,
            ends_at,
            status TEXT NOT NULL CHECK (status IN ('firing', 'resolved')),
            name TEXT NOT NULL,
            labels TEXT NOT NULL,
            annotations TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            generator TEXT NOT NULL,
            source TEXT NOT NULL CHECK (source IN ('webhook', 'reconciled')),
            fired_received,
            resolved_received,
            fired_times INTEGER NOT NULL,
            resolved_times INTEGER NOT NULL,
            UNIQUE (identity, starts_at)
        )
        """,
        "CREATE INDEX alerts_by_incident ON alerts (incident, resolved_received)",
        "CREATE INDEX alerts_firing ON alerts (incident) WHERE status = 'firing'",
        """
        CREATE TABLE jobs (
            incident TEXT PRIMARY KEY REFERENCES incidents (id) ON DELETE CASCADE,
            state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'parked')),
            attempts INTEGER NOT NULL DEFAULT 0,
            not_before NOT NULL,
            token INTEGER NOT NULL DEFAULT 0,
            started_at,
            error TEXT NOT NULL DEFAULT ''
        )
        """,
        "CREATE INDEX jobs_waiting ON jobs (state, not_before)",
        """
        CREATE TABLE diagnoses (
            incident TEXT PRIMARY KEY REFERENCES incidents (id) ON DELETE CASCADE,
            made_at NOT NULL,
            state TEXT NOT NULL,
            severity TEXT NOT NULL,
            sentence TEXT NOT NULL,
            rule TEXT NOT NULL,
            title TEXT NOT NULL,
            confidence,
            action TEXT NOT NULL,
            document BLOB NOT NULL,
            bundle BLOB NOT NULL
        )
        """,
        """
        CREATE TABLE notes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            incident TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
            at NOT NULL,
            author TEXT NOT NULL,
            text TEXT NOT NULL
        )
        """,
        "CREATE INDEX notes_by_incident ON notes (incident)",
        """
        CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            channel TEXT NOT NULL CHECK (channel IN ('alertmanager', 'webhook')),
            incident TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
            key TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'given up')),
            attempts INTEGER NOT NULL DEFAULT 0,
            not_before NOT NULL,
            body TEXT NOT NULL,
            error TEXT NOT NULL DEFAULT '',
            sent_at
        )
        """,
        "CREATE INDEX messages_waiting ON messages (state, not_before)",
        "CREATE INDEX messages_by_incident ON messages (incident)",
        "CREATE TABLE uptime (id INTEGER PRIMARY KEY CHECK (id = 1), seen_at NOT NULL)",
    ),
    # 3: who says of an alert that it fires, and how severe a job is: 0 is the most severe, and what waited already goes
    # first. `told` is for an end that was told, not inferred from a later firing; `received` is when the sender said
    # so itself, and stays empty where another one's word did it.
    (
        """
        CREATE TABLE senders (
            alert INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
            fingerprint TEXT NOT NULL,
            fires INTEGER NOT NULL CHECK (fires IN (0, 1)),
            told INTEGER NOT NULL CHECK (told IN (0, 1)),
            ends_at,
            received,
            PRIMARY KEY (alert, fingerprint)
        ) WITHOUT ROWID
        """,
        """
        INSERT INTO senders (alert, fingerprint, fires, told, ends_at, received)
        SELECT id, fingerprint, status = 'firing', status = 'resolved' AND resolved_times > 0, ends_at,
            resolved_received
        FROM alerts
        """,
        "CREATE INDEX alerts_not_over ON alerts (identity, starts_at) WHERE status = 'firing'",
        "ALTER TABLE jobs ADD COLUMN rank INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX jobs_by_rank ON jobs (state, rank, not_before, incident)",
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


def require_current(connection: sqlite3.Connection) -> None:
    """Raises `NotOursError` where steps are to be taken first, as well as where `migrate` does."""
    if (version := _version(connection)) != len(STEPS):
        detail = f"has the schema of an older version ({version}, this one needs {len(STEPS)})"
        raise NotOursError(f"{detail}; a command that writes to it, such as `serve`, brings it up to date")


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
