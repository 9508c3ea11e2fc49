"""
One service to one database: a lock on a file beside it, which the kernel lets go of with the process that has it.

Two services would send every message twice, and each would take the other's diagnoses for broken off. Whatever else
opens the database (a worker, a backup, the ledger) asks for no such lock.
"""

import errno
import fcntl
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_SUFFIX: Final = "-lock"
"""Beside SQLite's own `-wal` and `-shm`. The file stays: taking it away would let two services lock two of them."""
_PATIENCE_SECONDS: Final = 2.0
"""How long to wait for one that is just ending, as when it is killed and started again at once."""
_LOOK_SECONDS: Final = 0.05
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_HOLDER: Final = re.compile(r"(\d{1,10}) (\S{1,255})\n")
_ADVICE: Final = "stop that one first{kill}, or give this one a database of its own with --database"
_RISK: Final = "see to it that no second service is started on this database"


class HeldError(ValueError):
    """The database is another service's, or its lock cannot be looked at; says whose, which file, and what to do."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The database is this process's until the end of the `with`; `caution` says where that cannot be relied on."""

    descriptor: int | None
    caution: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


def hold(database: Path, *, patience_seconds: float = _PATIENCE_SECONDS) -> Hold:
    """
    Lock the database at `database` for a service, be it there already or not; by whatever name it is called.

    Raises `HeldError` where another service still has it after so many seconds. Where the file system has no locks, or
    no room for one, that is said as the hold's `caution`.
    """
    path = lock_of(database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in _FULL:
            return Hold(None, _caution(path, error))
        raise HeldError(
            f"{path}: {error.strerror or error}: it is what keeps a second service away; check the owner and mode of"
            " the file and of its folder, or name another database with --database"
        ) from None
    try:
        return _locked(descriptor, path, database, patience_seconds)
    except BaseException:
        os.close(descriptor)
        raise


def lock_of(database: Path) -> Path:
    """The file whose lock stands for the database: one, however many links lead to it."""
    return Path(os.path.realpath(database) + _SUFFIX)


def _locked(descriptor: int, path: Path, database: Path, patience_seconds: float) -> Hold:
    end = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise HeldError(f"{database}: {_explanation(descriptor, path)}") from None
            time.sleep(_LOOK_SECONDS)
        except OSError as error:
            return Hold(descriptor, _caution(path, error))
        else:
            _sign(descriptor)
            return Hold(descriptor)


def _caution(path: Path, error: OSError) -> str:
    return f"{path} cannot be locked: {error.strerror or error}; {_RISK}"


def _sign(descriptor: int) -> None:
    """Say who has it, for the one that comes second; a full disk is no reason not to start."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
    except OSError:
        return


def _explanation(descriptor: int, path: Path) -> str:
    signed = _HOLDER.fullmatch(os.pread(descriptor, 300, 0).decode("ascii", "replace"))
    if signed is None:
        return f"another service runs on it, and has locked {path}; {_ADVICE.format(kill='')}"
    pid, host = signed.groups()
    here = host == socket.gethostname()
    who = f"process {pid}" if here else f"process {pid} on {host}"
    kill = f" (kill {pid})" if here else ""
    return f"another service runs on it, {who}, and has locked {path}; {_ADVICE.format(kill=kill)}"
