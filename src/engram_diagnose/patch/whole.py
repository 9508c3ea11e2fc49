"""Writing a file of the folder whole or not at all, with the mode, owner and attributes of another."""

import stat
from contextlib import suppress
from typing import Final

from engram_diagnose.patch import disk
from engram_diagnose.patch.error import CannotApplyError
from engram_diagnose.patch.place import Place, Present

ACCESS_LIST: Final = "system.posix_acl_access"
_OF_THE_BYTES: Final = frozenset({"security.ima", "security.evm"})
"""Attributes that vouch for the old bytes; the kernel makes them anew."""


def temporary_name(name: str) -> str:
    """The name a file has while it is written; the folder is locked, so that one is enough."""
    return f".{name}.engram-diagnose-unfinished"


def prepare(place: Place, content: bytes, *, like: Present) -> str:
    """
    Have `content` on the disk under the temporary name, as `like` has mode and owner; gives the name.

    Raises `OSError`, or `CannotApplyError` when the owner or the access list cannot be kept; then nothing is left.
    """
    name = temporary_name(place.name)
    try:
        descriptor = disk.create(place.folder, name)
        try:
            _write_all(descriptor, content)
            _keep_owner(place, descriptor, like)
            disk.chmod(descriptor, stat.S_IMODE(like.state.st_mode))
            _keep_attributes(place, descriptor, like)
            disk.fsync(descriptor)
        finally:
            with suppress(OSError):
                disk.close(descriptor)
    except BaseException:
        discard(place)
        raise
    return name


def discard(place: Place) -> None:
    """Remove what was begun, as far as the disk lets us; the next run does it otherwise."""
    with suppress(OSError):
        disk.unlink(place.folder, temporary_name(place.name))


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[disk.write(descriptor, rest) :]


def _keep_owner(place: Place, descriptor: int, like: Present) -> None:
    mine, wanted = disk.state(descriptor), like.state
    if (mine.st_uid, mine.st_gid) == (wanted.st_uid, wanted.st_gid):
        return
    try:
        disk.chown(descriptor, wanted.st_uid, wanted.st_gid)
    except PermissionError:
        raise CannotApplyError(
            f"{place.shown} belongs to user {wanted.st_uid} and group {wanted.st_gid}, and this user cannot give files "
            "to them; nothing was changed; run this as that user, or as root"
        ) from None


def _keep_attributes(place: Place, descriptor: int, like: Present) -> None:
    """Extended attributes as far as we may; the access list must be kept: the server may depend on it."""
    wanted = [name for name in disk.attribute_names(like.descriptor) if name not in _OF_THE_BYTES]
    for name in disk.attribute_names(descriptor):
        if name not in wanted:  # as a folder's default access list would have it
            with suppress(OSError):
                disk.remove_attribute(descriptor, name)
    for name in wanted:
        try:
            disk.set_attribute(descriptor, name, disk.attribute(like.descriptor, name))
        except OSError as error:
            if name == ACCESS_LIST:
                raise CannotApplyError(
                    f"{place.shown}: its access control list cannot be kept ({error.strerror}); nothing was changed; "
                    "run this as the user that owns it, or as root"
                ) from None
