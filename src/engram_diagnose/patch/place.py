"""The configuration's place on the disk: its folder, locked, and what keeps a patch from being applied there."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from engram_diagnose.engine.language.problem import printable
from engram_diagnose.patch import disk
from engram_diagnose.patch.error import CannotApplyError


@dataclass(frozen=True, slots=True)
class Place:
    """A file by its name in an open, locked folder; `path` is what messages call it."""

    path: Path
    folder: int
    name: str

    @property
    def shown(self) -> str:
        """The path as a terminal may show it."""
        return printable(str(self.path))

    def beside(self, name: str) -> Path:
        """The path of another file of the folder."""
        return self.path.parent / name


@dataclass(frozen=True, slots=True)
class Present:
    """The file as it was read: its bytes, and the descriptor that stands for just this file."""

    content: bytes
    descriptor: int
    state: os.stat_result


@contextmanager
def opened(path: Path) -> Iterator[Place]:
    """
    The place of a configuration, with its folder locked; raises `CannotApplyError` where it may not be replaced.
    """
    name = _name_in_folder(path)
    folder = disk.open_folder(os.fspath(path.parent))
    try:
        place = Place(path.parent / name, folder, name)
        if not disk.lock(folder):
            raise CannotApplyError(
                f"{place.shown}: another run is at work in this folder; nothing was changed; wait until it has ended"
            )
        _refuse_unfit(place)
        yield place
    finally:
        with suppress(OSError):
            disk.close(folder)


def _name_in_folder(path: Path) -> str:
    """The name of the file itself: a link within one folder is followed, one that leads elsewhere refused."""
    folder, real = disk.real_path(os.fspath(path.parent)), disk.real_path(os.fspath(path))
    if os.path.dirname(real) != folder or real == folder:
        raise CannotApplyError(
            f"{printable(str(path))} is a link to {printable(real)}, in another folder; nothing was changed; "
            f"give the file itself: {printable(real)}"
        )
    return os.path.basename(real)


def _refuse_unfit(place: Place) -> None:
    try:
        state = disk.kind(place.folder, place.name)
    except FileNotFoundError:
        raise CannotApplyError(f"{place.shown}: no such file; give the server's configuration file") from None
    if not stat.S_ISREG(state.st_mode):
        raise CannotApplyError(f"{place.shown} is not a plain file; nothing was changed; give the configuration file")
    if state.st_nlink > 1:
        raise CannotApplyError(
            f"{place.shown} has {state.st_nlink} names (hard links), and replacing it would part them; nothing was "
            "changed; apply the patch with `patch`, or copy the file first"
        )
    if disk.is_read_only(place.folder):
        raise CannotApplyError(
            f"{place.shown} is on a file system mounted read-only; nothing was changed; mount it writable, or change "
            "the configuration where it comes from"
        )
    for name, words in ((place.name, place.shown), (".", f"the folder {printable(str(place.path.parent))}")):
        if not disk.may_write(place.folder, name):
            raise CannotApplyError(
                f"{words} is not writable by this user; nothing was changed; run this as the user that owns it, or "
                "as root"
            )


@contextmanager
def present(place: Place) -> Iterator[Present]:
    """The file as it is now."""
    descriptor = disk.open_file(place.folder, place.name)
    try:
        yield Present(disk.read(descriptor), descriptor, disk.state(descriptor))
    finally:
        with suppress(OSError):
            disk.close(descriptor)


def is_still(place: Place, before: Present) -> bool:
    """Whether the file is the one that was read, with the same bytes."""
    with present(place) as now:
        same_file = (now.state.st_dev, now.state.st_ino) == (before.state.st_dev, before.state.st_ino)
        return same_file and now.content == before.content
