"""
The file behind the ledger and the incidents: opening it, transactions, and what to say of it when it fails.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from engram_diagnose.history.schema import NotOursError, migrate, require_current

_FILE: Final = "history.db"
_BUSY_SECONDS: Final = 5.0
"""How long to wait for another process that is writing."""
_LOG_BYTES: Final = 16 << 20
"""What the write-ahead log may keep of the disk between two bursts."""
_INCREMENTAL: Final = 2
_CHECK_BYTES: Final = 512 << 20
_CHECK_SECONDS: Final = 1.0
"""What a look for damage may take; an older SQLite may not look at the time, so the size is bounded too."""
_CHECK_STEPS: Final = 1000
"""SQLite's steps between two looks at the time."""
_FOLDER: Final = "check the folder's owner and mode, or name another one with {by}"
_STATE: Final = "ENGRAM_DIAGNOSE_STATE"
"""What names the folder where nobody named the file."""


class HistoryError(ValueError):
    """
    A database that cannot be read or written; the message names the file, the problem and the next step.

    `by_entry` says that what was to be kept is at fault, and not the database: another entry may be kept.
    """

    def __init__(self, message: str, *, by_entry: bool = False) -> None:
        super().__init__(message)
        self.by_entry = by_entry


def usual_path(kind: type[HistoryError]) -> Path:
    """Where the database is, or would be made; raises `kind` where there is no place for it."""
    from engram_diagnose.state import StateError, state_folder

    try:
        return state_folder(make=False) / _FILE
    except StateError as error:
        raise kind(str(error)) from None


class Database:
    """
    An open database. What is raised is of the kind that it was opened with.

    One thread at a time may use it, and any may close it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        kind: type[HistoryError],
        *,
        named_by: str,
        opened: tuple[int, int] | None,
    ) -> None:
        self.connection = connection
        self.path = path
        self.kind = kind
        self._named_by = named_by
        self._opened = opened

    def close(self) -> None:
        """Nothing is lost without it."""
        with suppress(sqlite3.Error):
            self.connection.close()

    def is_current(self) -> bool:
        """Whether it is still the file at its path; otherwise what is read is of the past."""
        return _identity(self.path) == self._opened

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """
        A transaction that writes: whole, or not at all.

        Raises as well where the file is no longer the one at its path: nobody would find what was written.
        """
        with self._explained(), self._transaction("IMMEDIATE"):
            yield self.connection
        if not self.is_current():
            raise self.kind(f"{self.path}: {_GONE.format(self.path)}")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the database."""
        with self._explained(), self._transaction("DEFERRED"):
            try:
                yield self.connection
            except (ValueError, TypeError, KeyError, IndexError) as error:
                problem = f"it holds an entry that cannot be read ({error}); {_MOVE.format(self.path)}"
                raise self.kind(f"{self.path}: {problem}") from None

    @contextmanager
    def outside(self) -> Iterator[sqlite3.Connection]:
        """No transaction: for statements that cannot be in one."""
        with self._explained():
            yield self.connection

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self.path, self.kind, named_by=self._named_by)

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self.connection.execute(f"BEGIN {kind}")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise


# Opening


def open_database(
    path: Path,
    kind: type[HistoryError],
    *,
    busy_seconds: float = _BUSY_SECONDS,
    read_only: bool = False,
    named_by: str = _STATE,
) -> Database:
    """
    The database at `path`, made (mode 0600) and brought to this version's schema unless `read_only`; or `kind`.

    `named_by` is the option or variable that the path came from, for advice on another.
    """
    with explained(path, kind, named_by=named_by):
        if not read_only:
            _make(path)
        opened = _identity(path)  # before it is opened: one that is replaced in between is then noticed
        connection = _connect_to_read(path, busy_seconds) if read_only else _connect(path, busy_seconds)
        try:
            _prepare(connection, read_only)
        except BaseException:
            connection.close()
            raise
    return Database(connection, path, kind, named_by=named_by, opened=opened)


def _make(path: Path) -> None:
    """SQLite gives its files the mode of the database, which is why that is made before it is opened."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(path.parent):
        if not path.exists():
            _put_leftovers_aside(path)
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """While nobody else makes a database there; closing lets the next one in."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems have no such locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _put_leftovers_aside(path: Path) -> None:
    """
    What a database that is gone has left, so that a new one does not take it for its own.

    Its log is kept: with the database that was moved away it is whole.
    """
    log = path.with_name(f"{path.name}-wal")
    with suppress(FileNotFoundError):
        log.replace(path.with_name(f"{log.name}.left"))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what is at `path` now; None where nothing is."""
    try:
        found = os.stat(path)  # asked at every write: a Path takes twice as long
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)


def _connect_to_read(path: Path, busy_seconds: float) -> sqlite3.Connection:
    place = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro"
    return sqlite3.connect(place, timeout=busy_seconds, isolation_level=None, uri=True, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, read_only: bool) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    if read_only:
        require_current(connection)
        return
    if not _asked(connection, "page_count"):
        with suppress(sqlite3.OperationalError):  # another process is first
            connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
    migrate(connection)
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    if _asked(connection, "journal_mode") != "wal":
        # While another process uses the file it stays as it is, which is slower and no less safe.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")


def refuse_damaged(path: Path, kind: type[HistoryError]) -> None:
    """Raises `kind` where SQLite finds damage in the database at `path`, within the size and time that there is."""
    with explained(path, kind):
        if path.stat().st_size > _CHECK_BYTES:
            return
        connection = _connect_to_read(path, _BUSY_SECONDS)
        try:
            problem = _damage(connection)
        finally:
            connection.close()
    if problem is not None:
        raise kind(f"{path}: it is damaged ({problem}); {_RESTORE.format(path)}")


def _damage(connection: sqlite3.Connection) -> str | None:
    """The first thing that is wrong, on one line."""
    end = time.monotonic() + _CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > end, _CHECK_STEPS)
    try:
        said = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if _code(error) == sqlite3.SQLITE_CORRUPT:
            return str(error)
        if _code(error) == sqlite3.SQLITE_INTERRUPT:  # the time is over
            return None
        raise
    return None if said == "ok" else " ".join(said.split())


def let_shrink(database: Database) -> None:
    """
    Make a database that was begun without it give free space back.

    That rewrites it, so it is left for another time while another process uses it.
    """
    if _asked(database.connection, "auto_vacuum") != _INCREMENTAL:
        with suppress(sqlite3.OperationalError):
            database.connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
            database.connection.execute("VACUUM")


def _asked(connection: sqlite3.Connection, pragma: str) -> Any:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


def size_used(connection: sqlite3.Connection) -> int:
    """Bytes of the database, without what is free inside it."""
    pages = int(_asked(connection, "page_count")) - int(_asked(connection, "freelist_count"))
    return pages * int(_asked(connection, "page_size"))


# Errors


@contextmanager
def explained(path: Path, kind: type[HistoryError], *, named_by: str = _STATE) -> Iterator[None]:
    """Whatever fails inside is raised as `kind`, with the file, the problem and the next step."""
    try:
        yield
    except HistoryError:
        raise
    except sqlite3.Error as error:
        by_entry = _code(error) in _BY_ENTRY
        raise kind(f"{path}: {_explanation(error, path, named_by)}", by_entry=by_entry) from None
    except OSError as error:
        raise kind(f"{path}: {error.strerror or error}; {_FOLDER.format(by=named_by)}") from None
    except NotOursError as error:
        raise kind(f"{path}: {error}") from None
    except (ValueError, OverflowError) as error:
        raise kind(f"{path}: an entry cannot be kept: {error}; nothing was recorded", by_entry=True) from None


_MOVE: Final = (
    "if this is new, move the file away (mv '{0}' '{0}.broken'): a new one is begun, and nothing else is lost"
)
_GONE: Final = (
    "the file was deleted, moved or replaced while it was in use; what was just written is not in it, and it is opened"
    " again for what comes next. To put a backup in its place, stop the service, remove '{0}-wal' and '{0}-shm', copy"
    " the backup, and start"
)
_RESTORE: Final = (
    "restore a backup: stop the service, remove '{0}-wal' and '{0}-shm', copy the backup to '{0}', and start; without"
    " a backup, move the file away (mv '{0}' '{0}.broken'), and a new one is begun"
)
_BY_ENTRY: Final = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH)

_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another process is writing to it; try again when that is done",
    sqlite3.SQLITE_LOCKED: "another process is writing to it; try again when that is done",
    sqlite3.SQLITE_READONLY: f"it cannot be written; {_FOLDER}",
    sqlite3.SQLITE_PERM: f"it cannot be written; {_FOLDER}",
    sqlite3.SQLITE_CANTOPEN: f"it cannot be opened; {_FOLDER}",
    sqlite3.SQLITE_FULL: "the disk is full; make room, and try again",
    sqlite3.SQLITE_IOERR: "it cannot be read or written; see whether the disk is full or failing",
    sqlite3.SQLITE_TOOBIG: "an entry is too large to be kept; nothing was recorded",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_CONSTRAINT: "an entry does not fit",
}


def _code(error: sqlite3.Error) -> int:
    """The primary code; 0 where Python raised the error itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _explanation(error: sqlite3.Error, path: Path, named_by: str) -> str:
    code = _code(error)
    known = _ADVICE.get(code, "").format(by=named_by)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"{known} ({error}); {_MOVE.format(path)}"
    if code == sqlite3.SQLITE_CONSTRAINT:
        return f"{known} ({error}): it names something that there is not; nothing was recorded"
    return f"{known} ({error})" if known else f"{error}; {_MOVE.format(path)}"


class Store:
    """What is kept in an open database: closed by `close`, or at the end of a `with`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.path = database.path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. Nothing is lost without it."""
        self._database.close()

    def is_current(self) -> bool:
        """Whether the database is still the file at its path: neither deleted, nor moved, nor replaced."""
        return self._database.is_current()
