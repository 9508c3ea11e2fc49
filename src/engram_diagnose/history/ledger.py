"""
The ledger: which patches were applied, what was predicted, and what was found.
"""

from collections.abc import Iterable
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from engram_diagnose.engine.advice.record import Application, KeyChange, Prediction, Realised, State
from engram_diagnose.history.database import HistoryError, Store, open_database, usual_path
from engram_diagnose.history.rows import (
    application_of,
    application_row,
    change_of,
    change_row,
    prediction_of,
    prediction_row,
    realised_of,
    realised_row,
)


class LedgerError(HistoryError):
    """A ledger that cannot be read or written; the message names the file, the problem and the next step."""


def open_ledger(path: Path | None = None, *, busy_seconds: float = 5.0) -> "Ledger":
    """
    The ledger at `path`, made when it is not there (mode 0600); by default `history.db` in the state folder.

    Waits `busy_seconds` for another process that is writing. Raises `LedgerError`.
    """
    return Ledger(open_database(path or ledger_path(), LedgerError, busy_seconds=busy_seconds))


def ledger_path() -> Path:
    """Where the ledger is, or would be made; raises `LedgerError` where there is no place for it."""
    return usual_path(LedgerError)


class Ledger(Store):
    """
    An open ledger. Every method is one transaction, and raises `LedgerError`.

    Several processes may have it open; what a method has returned from survives a power failure.
    """

    def intend(self, application: Application) -> int:
        """Record a patch that is about to be applied, whatever its state and id say, and give its id."""
        with self._database.writing() as connection:
            columns = "at, instance, file, base, result, dialect, patch, state"
            cursor = connection.execute(
                f"INSERT INTO applications ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, 'intended')",  # noqa: S608 -- ours
                application_row(application),
            )
            number = int(cursor.lastrowid or 0)
            changes = [(number, index, *change_row(one)) for index, one in enumerate(application.changes)]
            connection.executemany("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?)", changes)
            predictions = [(number, index, *prediction_row(one)) for index, one in enumerate(application.predictions)]
            connection.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", predictions)
        return number

    def mark(self, id: int, state: State) -> None:
        """Record what became of a patch."""
        with self._database.writing() as connection:
            cursor = connection.execute("UPDATE applications SET state = ? WHERE id = ?", (state, id))
            if not cursor.rowcount:
                raise LedgerError(f"{self.path}: it has no application {id}; `tune --history` shows those it has")

    def forget(self, id: int) -> None:
        """Take back an intention that came to nothing; what was applied stays for good."""
        with self._database.writing() as connection:
            for table in ("changes", "predictions"):
                connection.execute(f"DELETE FROM {table} WHERE application = ? AND application IN (SELECT id FROM "  # noqa: S608 -- ours
                                   "applications WHERE state = 'intended')", (id,))  # fmt: skip
            connection.execute("DELETE FROM applications WHERE id = ? AND state = 'intended'", (id,))

    def applications(self, instance: str = "") -> tuple[Application, ...]:
        """Every patch in the order of entry, or those of one instance."""
        columns = "id, at, instance, file, base, result, dialect, patch, state"
        where, values = ("WHERE instance = ?", (instance,)) if instance else ("", ())
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {columns} FROM applications {where} ORDER BY id", values).fetchall()  # noqa: S608 -- ours
            return tuple(
                application_of(row, self._changes(connection, row[0]), self._predictions(connection, row[0]))
                for row in rows
            )

    def _changes(self, connection: Connection, number: int) -> list[KeyChange]:
        query = "SELECT parameter, key, before, after, rule FROM changes WHERE application = ? ORDER BY position"
        return [change_of(row) for row in connection.execute(query, (number,))]

    def _predictions(self, connection: Connection, number: int) -> list[Prediction]:
        columns = "figure, scope, unit, better, measured, low, high, rule"
        query = f"SELECT {columns} FROM predictions WHERE application = ? ORDER BY position"  # noqa: S608 -- ours
        return [prediction_of(row) for row in connection.execute(query, (number,))]

    def add_realised(self, items: Iterable[Realised]) -> None:
        """Record what a verification found: all of it or, where one item cannot be kept, nothing."""
        with self._database.writing() as connection:
            connection.executemany(
                f"INSERT INTO realised ({_REALISED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 -- ours
                [realised_row(item) for item in items],
            )

    def realised(self, rule: str = "", instance: str = "") -> tuple[Realised, ...]:
        """What verifications found, in the order of entry; of one rule's predictions, of one instance, or all of it."""
        query = f"SELECT {_REALISED} FROM realised WHERE ? IN ('', rule) AND ? IN ('', instance) ORDER BY id"  # noqa: S608 -- ours
        with self._database.reading() as connection:
            return tuple(realised_of(row) for row in connection.execute(query, (rule, instance)))


_REALISED: Final = (
    "application, at, instance, figure, scope, rule, verdict, before, after, low, high, predicted_low, predicted_high"
)
