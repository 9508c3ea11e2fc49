"""
Until when the service was there to be told of alerts: what it may have missed, it has to ask for.

Every function runs inside a transaction of the caller.
"""

from sqlite3 import Connection


def seen_at(connection: Connection) -> float | None:
    """When the service was last there to be told of alerts; None where it never was."""
    row = connection.execute("SELECT seen_at FROM uptime").fetchone()
    return None if row is None else float(row[0])


def seen(connection: Connection, now: float) -> None:
    """The service is there, and nothing before is left to be asked for."""
    connection.execute("INSERT OR REPLACE INTO uptime (id, seen_at) VALUES (1, ?)", (now,))
