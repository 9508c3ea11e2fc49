"""
Putting a new configuration in place, and taking it back.

At every instant the file is the old one or the new one, whole. The backup is on the disk before the new file is. A
run that was killed leaves at most a temporary file and a backup that is not needed; the next run removes them.
"""

import datetime
import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engram_diagnose.engine.language.problem import printable
from engram_diagnose.patch import backup as backing
from engram_diagnose.patch import disk
from engram_diagnose.patch.error import CannotApplyError as CannotApplyError
from engram_diagnose.patch.error import NothingToRollBackError as NothingToRollBackError
from engram_diagnose.patch.file import digest
from engram_diagnose.patch.place import Place, Present, is_still, opened, present
from engram_diagnose.patch.whole import discard, prepare, temporary_name


@dataclass(frozen=True, slots=True)
class AppliedFile:
    """The new configuration is in place; `base` and `result` are SHA-256 in hexadecimal digits."""

    path: Path
    backup: Path
    base: str
    result: str


@dataclass(frozen=True, slots=True)
class AlreadyApplied:
    """The configuration was the result already; nothing was done."""

    path: Path
    result: str


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The configuration is what the backup held; the backup, no longer needed, is gone."""

    path: Path
    restored_from: Path
    result: str


_NEXT: Final = {
    errno.ENOSPC: "free some space there and run this again",
    errno.EDQUOT: "free some space there and run this again",
    errno.EACCES: "run this as the user that owns the file and its folder, or as root",
    errno.EPERM: "run this as the user that owns the file and its folder, or see whether it is protected (`lsattr`)",
    errno.EROFS: "mount the file system writable, or change the configuration where it comes from",
    errno.EBUSY: "the file is mounted by itself, as into a container: apply the patch where it comes from",
    errno.ENAMETOOLONG: "the backup beside it needs a longer name than the file system allows: shorten the file's name",
    errno.ENOENT: "give the server's configuration file",
    errno.ENOTDIR: "give the server's configuration file",
}


def apply(path: Path, *, base: str, content: bytes, now: datetime.datetime) -> AppliedFile | AlreadyApplied:
    """
    Replace the configuration, if it is still the one whose SHA-256 is `base`, keeping a backup beside it.

    Raises `CannotApplyError` that says what, where, and what to do next.
    """
    with _explained(path), opened(path) as place, present(place) as old:
        result = digest(content)
        if digest(old.content) == result:
            return AlreadyApplied(place.path, result)
        if digest(old.content) != base:
            raise CannotApplyError(
                f"{place.shown} moved on since the patch was made; nothing was changed; make the patch again"
            )
        _clean(place, old)
        backup = backing.named(place.name, now=now, base=base, result=result)
        try:
            backing.keep(place, backup, old)
            _replace(place, content, old)
        except BaseException:
            _forget_unused(place, backup, old)
            raise
        _settle(place)
        return AppliedFile(place.path, place.beside(backup.name), base, result)


def roll_back(path: Path) -> RolledBack:
    """
    Restore, byte for byte, what the configuration was before the latest patch in effect.

    Done again, it takes back the patch before that. Mode and owner stay as they are. Raises
    `NothingToRollBackError` when no patch is in effect, and `CannotApplyError`.
    """
    with _explained(path), opened(path) as place, present(place) as old:
        _clean(place, old)
        backup, content = _to_restore(place, old)
        _replace(place, content, old)
        _settle(place)
        backing.remove(place, backup)
        return RolledBack(place.path, place.beside(backup.name), digest(content))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What the system refuses, in words; it comes before the new file is in place."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        step = _NEXT.get(error.errno or 0, "put that right and run this again")
        message = f"{printable(str(path))} could not be replaced: {reason}; it is as it was; {step}"
        raise CannotApplyError(message) from None


def _clean(place: Place, now: Present) -> None:
    """Remove what a killed run left."""
    disk.unlink(place.folder, temporary_name(place.name))
    backing.remove_idle(place, now)


def _replace(place: Place, content: bytes, old: Present) -> None:
    """Put `content` where `old` is, in one step."""
    temporary = prepare(place, content, like=old)
    try:
        if not is_still(place, old):
            raise CannotApplyError(f"{place.shown} was changed by somebody else just now; look at it, and start again")
        disk.rename(place.folder, temporary, place.name)
    except BaseException:
        discard(place)
        raise


def _forget_unused(place: Place, backup: backing.Backup, old: Present) -> None:
    """Remove the backup of a patch that was not put in place."""
    with suppress(OSError):
        if is_still(place, old) and backing.content_of(place, backup) == old.content:
            backing.remove(place, backup)


def _settle(place: Place) -> None:
    """Have the new name on the disk."""
    try:
        disk.fsync_folder(place.folder)
    except OSError as error:
        raise CannotApplyError(
            f"{place.shown} was replaced, but may not survive a power failure: its folder could not be flushed "
            f"({error.strerror}); run `sync`, and look at the disk"
        ) from None


def _to_restore(place: Place, now: Present) -> tuple[backing.Backup, bytes]:
    """The latest backup that what is there now replaced, and what it holds."""
    found = backing.backups(place)
    matching = [backup for backup in found if backup.led_to(now.content)]
    for backup in matching:
        content = backing.content_of(place, backup)
        if content is not None:
            return backup, content
    if not found or (not matching and any(backup.holds(now.content) for backup in found)):
        raise NothingToRollBackError(f"{place.shown}: nothing to roll back: no patch is in effect")
    names = ", ".join(printable(backup.name) for backup in matching or found)
    if matching:
        raise CannotApplyError(
            f"{place.shown}: nothing was changed: its backup does not hold what its name says ({names}); compare and "
            "copy by hand"
        )
    raise CannotApplyError(
        f"{place.shown} was changed since the last patch; nothing was rolled back; compare it with the backups beside "
        f"it ({names}) and copy by hand"
    )
