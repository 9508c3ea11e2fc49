"""
The ledger: which patches were applied, what was predicted, and what was found.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from engram_diagnose.engine.advice.record import Application, KeyChange, Prediction, Realised, State
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
from engram_diagnose.history.schema import NotOursError, migrate

_FILE: Final = "history.db"
_BUSY_SECONDS: Final = 5.0
"""How long to wait for another process that is writing."""


class LedgerError(ValueError):
    """A ledger that cannot be read or written; the message names the file, the problem and the next step."""


def open_ledger(path: Path | None = None, *, busy_seconds: float = _BUSY_SECONDS) -> "Ledger":
    """
    The ledger at `path`, made when it is not there (mode 0600); by default `history.db` in the state folder.

    Raises `LedgerError`.
    """
    path = path or ledger_path()
    with _explained(path):
        _create(path)
        connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
    return Ledger(connection, path)


def ledger_path() -> Path:
    """Where the ledger is, or would be made; raises `LedgerError` where there is no place for it."""
    from engram_diagnose.state import StateError, state_folder

    try:
        return state_folder(make=False) / _FILE
    except StateError as error:
        raise LedgerError(str(error)) from None


def _create(path: Path) -> None:
    """SQLite gives its files the mode of the database, which is why that is made before it is opened."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    migrate(connection)
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        # While another process uses the file it stays as it is, which is slower and no less safe.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")


class Ledger:
    """
    An open ledger. Every method is one transaction, and raises `LedgerError`.

    Several processes may have it open; what a method has returned from survives a power failure.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. Nothing is lost without it."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def intend(self, application: Application) -> int:
        """Record a patch that is about to be applied, whatever its state and id say, and give its id."""
        with self._writing() as connection:
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
        with self._writing() as connection:
            cursor = connection.execute("UPDATE applications SET state = ? WHERE id = ?", (state, id))
            if not cursor.rowcount:
                raise LedgerError(f"{self.path}: it has no application {id}; `tune --history` shows those it has")

    def forget(self, id: int) -> None:
        """Take back an intention that came to nothing; what was applied stays for good."""
        with self._writing() as connection:
            for table in ("changes", "predictions"):
                connection.execute(f"DELETE FROM {table} WHERE application = ? AND application IN (SELECT id FROM "  # noqa: S608 -- ours
                                   "applications WHERE state = 'intended')", (id,))  # fmt: skip
            connection.execute("DELETE FROM applications WHERE id = ? AND state = 'intended'", (id,))

    def applications(self, instance: str = "") -> tuple[Application, ...]:
        """Every patch in the order of entry, or those of one instance."""
        columns = "id, at, instance, file, base, result, dialect, patch, state"
        where, values = ("WHERE instance = ?", (instance,)) if instance else ("", ())
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {columns} FROM applications {where} ORDER BY id", values).fetchall()  # noqa: S608 -- ours
            return tuple(
                application_of(row, self._changes(connection, row[0]), self._predictions(connection, row[0]))
                for row in rows
            )

    def _changes(self, connection: sqlite3.Connection, number: int) -> list[KeyChange]:
        query = "SELECT parameter, key, before, after, rule FROM changes WHERE application = ? ORDER BY position"
        return [change_of(row) for row in connection.execute(query, (number,))]

    def _predictions(self, connection: sqlite3.Connection, number: int) -> list[Prediction]:
        columns = "figure, scope, unit, better, measured, low, high, rule"
        query = f"SELECT {columns} FROM predictions WHERE application = ? ORDER BY position"  # noqa: S608 -- ours
        return [prediction_of(row) for row in connection.execute(query, (number,))]

    def add_realised(self, items: Iterable[Realised]) -> None:
        """Record what a verification found: all of it or, where one item cannot be kept, nothing."""
        with self._writing() as connection:
            connection.executemany(
                f"INSERT INTO realised ({_REALISED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 -- ours
                [realised_row(item) for item in items],
            )

    def realised(self, rule: str = "", instance: str = "") -> tuple[Realised, ...]:
        """What verifications found, in the order of entry; of one rule's predictions, of one instance, or all of it."""
        query = f"SELECT {_REALISED} FROM realised WHERE ? IN ('', rule) AND ? IN ('', instance) ORDER BY id"  # noqa: S608 -- ours
        with self._reading() as connection:
            return tuple(realised_of(row) for row in connection.execute(query, (rule, instance)))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with _explained(self.path), self._transaction("IMMEDIATE"):
            yield self._connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _explained(self.path), self._transaction("DEFERRED"):
            try:
                yield self._connection
            except (ValueError, TypeError, KeyError, IndexError) as error:
                problem = f"it holds an entry that cannot be read ({error}); {_MOVE.format(self.path)}"
                raise LedgerError(f"{self.path}: {problem}") from None

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


_REALISED: Final = (
    "application, at, instance, figure, scope, rule, verdict, before, after, low, high, predicted_low, predicted_high"
)


# Errors


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except LedgerError:
        raise
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {_explanation(error, path)}") from None
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror or error}; {_FOLDER}") from None
    except NotOursError as error:
        raise LedgerError(f"{path}: {error}") from None
    except (ValueError, OverflowError) as error:
        raise LedgerError(f"{path}: an entry cannot be kept: {error}; nothing was recorded") from None


_FOLDER: Final = "check the folder's owner and mode, or name another one with ENGRAM_DIAGNOSE_STATE"
_MOVE: Final = (
    "if this is new, move the file away (mv '{0}' '{0}.broken'): a new ledger is begun, and nothing else is lost"
)

_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another process is writing to it; try again when that is done",
    sqlite3.SQLITE_LOCKED: "another process is writing to it; try again when that is done",
    sqlite3.SQLITE_READONLY: f"it cannot be written; {_FOLDER}",
    sqlite3.SQLITE_PERM: f"it cannot be written; {_FOLDER}",
    sqlite3.SQLITE_CANTOPEN: f"it cannot be opened; {_FOLDER}",
    sqlite3.SQLITE_FULL: "the disk is full; make room, and try again",
    sqlite3.SQLITE_IOERR: "it cannot be read or written; see whether the disk is full or failing",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_CONSTRAINT: "an entry does not fit",
}


def _explanation(error: sqlite3.Error, path: Path) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    known = _ADVICE.get(code)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"{known} ({error}); {_MOVE.format(path)}"
    if code == sqlite3.SQLITE_CONSTRAINT:
        return (
            f"{known} ({error}): it names an application, a state or a verdict that there is not; nothing was recorded"
        )
    return f"{known} ({error})" if known else f"{error}; {_MOVE.format(path)}"
