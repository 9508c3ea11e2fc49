"""
What people write about an incident: kept for good, up to a number of notes.

Every function runs inside a transaction of the caller.
"""

from sqlite3 import Connection
from typing import Final

from engram_diagnose.history.cells import text as shown
from engram_diagnose.history.records import Note, StoreError

MOST_NOTES: Final = 200
"""Notes of one incident; its page shows them all."""


class TooManyNotesError(StoreError):
    """An incident has as many notes as it may have; the message says what to do, and names no file."""

    def __init__(self) -> None:
        super().__init__(
            f"this incident has {MOST_NOTES} notes, which is the most; write on where your team keeps its records",
            by_entry=True,
        )


def notes(connection: Connection, id: str) -> tuple[Note, ...]:
    """What was written about an incident, oldest first."""
    rows = connection.execute("SELECT id, at, author, text FROM notes WHERE incident = ? ORDER BY at, id", (id,))
    return tuple(Note(*row) for row in rows)


def add_note(connection: Connection, id: str, author: str, text: str, now: float) -> Note | None:
    """Keep a note; None where there is no such incident. Raises `TooManyNotesError`."""
    (there,) = connection.execute("SELECT count(*) FROM notes WHERE incident = ?", (id,)).fetchone()
    if there >= MOST_NOTES:
        raise TooManyNotesError
    cursor = connection.execute(
        "INSERT INTO notes (incident, at, author, text) SELECT id, ?, ?, ? FROM incidents WHERE id = ?",
        (now, shown(author), shown(text), id),
    )
    return Note(int(cursor.lastrowid or 0), now, shown(author), shown(text)) if cursor.rowcount else None
