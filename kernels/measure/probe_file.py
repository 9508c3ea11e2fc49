"""
A small file of our own in a folder of somebody else, which is gone afterwards, whatever happened.

It keeps its name while it is used: some file systems (btrfs) take no trouble to flush a file that has none, and its
flushes would look free. A run that was killed leaves it; the next one removes it, told by its name and by nobody
holding its lock.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")

PREFIX: Final = ".engram-diagnose-probe-"
_OURS: Final = re.compile(rf"{re.escape(PREFIX)}[0-9a-f]{{16}}")
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class NoProbeError(Exception):
    """Nothing can be written there: the message says why, `get_by` what to do."""

    def __init__(self, reason: str, get_by: str) -> None:
        super().__init__(reason)
        self.get_by = get_by


@dataclass(frozen=True, slots=True)
class ProbeFile:
    """The open file, and how to open it once more with other flags."""

    file: int
    name: str
    folder: int

    def again(self, flags: int) -> int:
        """Another descriptor of it, to be closed by the caller; raises `OSError`."""
        return os.open(self.name, _OLD | flags, dir_fd=self.folder)


def with_probe_file(folder: str, limits: Mapping[str, float], work: Callable[[ProbeFile], T]) -> T:
    """
    What `work` gives for a new, empty file in `folder`, which is then removed.

    Raises `NoProbeError` where none can be made, or where there is little room for it.
    """
    opened = _folder(folder)
    try:
        _remove_forgotten(opened)
        return _with_file(opened, limits, work)
    finally:
        os.close(opened)


def _with_file(folder: int, limits: Mapping[str, float], work: Callable[[ProbeFile], T]) -> T:
    name = f"{PREFIX}{secrets.token_hex(8)}"
    file = -1
    # The name is known before the file is there, so that an interruption at any point finds it here to be removed.
    try:
        file = _made(name, folder)
        with suppress(OSError):  # file systems without locks exist; nobody gets one to remove the file with, either
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only now: a file system that is read-only may be full by nature, and should be called what it is.
        _need_room(folder, limits)
        return work(ProbeFile(file, name, folder))
    finally:
        try:
            os.unlink(name, dir_fd=folder)
        except OSError as error:
            # Where none was made, what is raised already says why; a file that was made is gone, or stays for good.
            if file >= 0 and error.errno != errno.ENOENT:
                raise NoProbeError(f"{name} cannot be removed again: {error.strerror}", "remove it by hand") from None
        finally:
            if file >= 0:
                os.close(file)


def _folder(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        raise _refused(error) from None


def _made(name: str, folder: int) -> int:
    try:
        return os.open(name, _NEW, 0o600, dir_fd=folder)
    except OSError as error:
        raise _refused(error) from None


_GET_BY: Final[Mapping[int, str]] = {
    errno.ENOENT: "name the server's data directory as it is on this host",
    errno.ENOTDIR: "name a folder, the server's data directory",
    errno.EACCES: "run it as the server's user, or as root",
    errno.EPERM: "run it as the server's user, or as root",
    errno.EROFS: "name a folder on the same disk that can be written",
    errno.ENOSPC: "free space on its disk",
    errno.EDQUOT: "raise the quota of this user",
}


def _refused(error: OSError | ValueError) -> NoProbeError:
    number = error.errno if isinstance(error, OSError) else None
    said = os.strerror(number).lower() if number else str(error)
    return NoProbeError(
        f"no file can be made in the folder: {said}", _GET_BY.get(number or 0, "name the server's data directory")
    )


def _need_room(folder: int, limits: Mapping[str, float]) -> None:
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    share = found.f_bavail / found.f_blocks if found.f_blocks else 1.0
    if share < limits["wal_least_free"]:
        reason = (
            f"{share:.1%} of its disk is free, under the {limits['wal_least_free']:.0%} that are left to the server"
        )
        raise NoProbeError(reason, _GET_BY[errno.ENOSPC])
    if free < 2 * limits["wal_most_file"]:
        reason = (
            f"{free >> 20} MiB of its disk are free, under twice the {limits['wal_most_file'] / 2**20:.0f} MiB needed"
        )
        raise NoProbeError(reason, _GET_BY[errno.ENOSPC])


def _remove_forgotten(folder: int) -> None:
    """Remove what killed runs of this user left: files of our name that nobody holds."""
    try:
        names = [name for name in os.listdir(folder) if _OURS.fullmatch(name)]
    except OSError:
        return
    for name in names:
        try:
            _remove_unless_held(name, folder)
        except OSError:
            continue  # held, or gone, or not ours to remove


def _remove_unless_held(name: str, folder: int) -> None:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        return
    file = os.open(name, _OLD, dir_fd=folder)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(file)
