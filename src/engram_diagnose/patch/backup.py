"""
Backups of a configuration, beside it: `engram.toml.backup-20260301T093000Z-BASE-RESULT`.

BASE and RESULT are the first twelve digits of the SHA-256 of what the backup holds and of what replaced it.
"""

import datetime
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from engram_diagnose.patch import disk
from engram_diagnose.patch.error import CannotApplyError
from engram_diagnose.patch.file import digest
from engram_diagnose.patch.place import Place, Present
from engram_diagnose.patch.whole import discard, prepare

_DIGITS: Final = 12
_TIME: Final = "%Y%m%dT%H%M%SZ"
_MARKS: Final = re.compile(r"\.backup-(\d{8}T\d{6}Z)-([0-9a-f]{12})-([0-9a-f]{12})")


@dataclass(frozen=True, slots=True, order=True)
class Backup:
    """A backup as its name tells it; later ones are greater."""

    time: str
    name: str
    base: str
    result: str

    def holds(self, content: bytes) -> bool:
        """Whether its name says that it holds just this."""
        return digest(content).startswith(self.base)

    def led_to(self, content: bytes) -> bool:
        """Whether its name says that this replaced it."""
        return digest(content).startswith(self.result)


def named(name: str, *, now: datetime.datetime, base: str, result: str) -> Backup:
    """The backup of a file of this name, made now; `base` and `result` are whole digests."""
    time = now.astimezone(datetime.UTC).strftime(_TIME)
    base, result = base[:_DIGITS], result[:_DIGITS]
    return Backup(time, f"{name}.backup-{time}-{base}-{result}", base, result)


def backups(place: Place) -> list[Backup]:
    """The backups beside the file, the latest first."""
    found = []
    for name in disk.names(place.folder):
        marks = _MARKS.fullmatch(name.removeprefix(place.name)) if name.startswith(place.name) else None
        if marks:
            found.append(Backup(marks[1], name, marks[2], marks[3]))
    return sorted(found, reverse=True)


def content_of(place: Place, backup: Backup) -> bytes | None:
    """What a backup holds; None when that is not what its name says, or it cannot be read."""
    try:
        descriptor = disk.open_file(place.folder, backup.name)
    except OSError:
        return None
    try:
        content = disk.read(descriptor)
    except OSError:
        return None
    finally:
        with suppress(OSError):
            disk.close(descriptor)
    return content if backup.holds(content) else None


def keep(place: Place, backup: Backup, now: Present) -> None:
    """
    Have the file's backup on the disk, whole.

    Raises `OSError`, and `CannotApplyError` where its name is taken by something else.
    """
    if backup.name in disk.names(place.folder):
        if content_of(place, backup) == now.content:
            return
        shown = place.beside(backup.name)
        raise CannotApplyError(f"{shown} is there, but is no backup of {place.shown}; move it away and try again")
    temporary = prepare(place, now.content, like=now)
    try:
        disk.rename(place.folder, temporary, backup.name)
        disk.fsync_folder(place.folder)
    except BaseException:
        discard(place)
        raise


def remove(place: Place, backup: Backup) -> None:
    """Remove a backup that is no longer needed, as far as the disk lets us."""
    with suppress(OSError):
        disk.unlink(place.folder, backup.name)


def remove_idle(place: Place, now: Present) -> None:
    """
    Remove the latest backup if it holds what is there: its patch was never put in place, or was taken back, by a run
    that was killed.
    """
    found = backups(place)
    if not found or any(other.time == found[0].time for other in found[1:]):
        return
    if found[0].holds(now.content) and not found[0].led_to(now.content) and content_of(place, found[0]) == now.content:
        remove(place, found[0])
