"""
How every loop is compiled, and where the machine code is kept.

numba's cache looks at the file a loop is in alone: what the loop calls may change elsewhere, and it goes on with the
old code. So the folder's name says what all loops together are made of. The lab's loops call those of the kernels, and
never the other way round: they have a folder of their own, so that the kernels' code outlives a change of the lab. The
cache holds pickles, which can run any code: it is used only where nobody else can write, and where there is no such
place, loops are compiled anew each time.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import llvmlite
import numba
from llvmlite import binding

F = TypeVar("F", bound=Callable[..., Any])

_LOOPS: Final = Path(__file__).parent
_LAB: Final = _LOOPS.parents[1] / "lab" / "loops"
_FAST: Final = {"contract", "reassoc", "nsz", "arcp", "afn"}
"""What a reduction needs to be computed in lanes. Not `nnan` and `ninf`: vectors of others may hold both."""


def loop(function: F) -> F:
    """Compile a loop: without the GIL, with the arithmetic of IEEE 754."""
    return _compiled(function)


def fast_loop(function: F) -> F:
    """Compile a loop whose sums may be added up in any order, without which they are one long chain of additions."""
    return _compiled(function, fastmath=_FAST)


def inlined(function: F) -> F:
    """
    Compile a piece of a loop into each of its callers.

    A call counts references to every array it is given, one atomic operation each: as long as a small piece takes.
    """
    return _compiled(function, forceinline=True)


def digest(*, lab: bool = False) -> str:
    """What the machine code of the kernels, or of the lab, depends on: the loops, the compiler, the CPU."""
    hashed = hashlib.sha256()
    for folder in (_LOOPS, _LAB) if lab else (_LOOPS,):
        hashed.update(b"\0")
        for part in sorted(folder.glob("*.py")):
            hashed.update(part.name.encode() + b"\0" + part.read_bytes() + b"\0")
    for word in (numba.__version__, llvmlite.__version__, binding.get_host_cpu_name()):
        hashed.update(word.encode() + b"\0")
    return hashed.hexdigest()[:16]


def cache_folder(*, lab: bool = False) -> Path | None:
    """
    The folder for machine code of the kernels, or of the lab, made where it is missing; None where none is private to
    this user.

    `NUMBA_CACHE_DIR` names another place for it, whose owner answers for who may rename what is in it.
    """
    named = os.environ.get("NUMBA_CACHE_DIR")
    try:
        # A folder of its own there as well: numba's names do not say what other files a loop was compiled with.
        above = Path(named) if named else _base() / "engram-diagnose" / "kernels"
        made_of = digest(lab=lab)
        folder = above / (f"engram-diagnose-{made_of}" if named else made_of)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        safe = _is_private(folder) and (bool(named) or all(map(_keeps, folder.resolve().parents)))
        return folder if safe else None
    except (OSError, RuntimeError, ValueError):  # no home, a full disk, a folder of somebody else, no name of a folder
        return None


def _base() -> Path:
    named = os.environ.get("XDG_CACHE_HOME")
    if named and Path(named).is_absolute():
        return Path(named)
    home = Path.home()
    if not home.is_dir():
        raise RuntimeError(f"{home} is not there, and is not ours to make")
    return home / ".cache"


def _is_private(folder: Path) -> bool:
    found = folder.stat()
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return found.st_uid == os.geteuid() and not others and os.access(folder, os.W_OK | os.X_OK)


def _keeps(folder: Path) -> bool:
    """
    Whether nobody else can put something in the place of what is in a folder.

    Groups are trusted: where each user has one of their own, folders are writable by it.
    """
    found = folder.stat()
    mine = found.st_uid in (0, os.geteuid())
    return mine and (not found.st_mode & stat.S_IWOTH or bool(found.st_mode & stat.S_ISVTX))


def _compiled(function: F, **options: Any) -> F:
    """The function, compiled when it is called first; all but kernels are kept with the lab's, which they may call."""
    folder = _folder(lab=Path(function.__code__.co_filename).parent != _LOOPS)
    if folder is not None:
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # made when it is imported
    made = numba.njit(nogil=True, cache=folder is not None, error_model="numpy", **options)(function)
    return cast(F, made)


@cache
def _folder(*, lab: bool) -> Path | None:
    return cache_folder(lab=lab)


binding.initialize_native_asmparser()  # without it a loop with inline assembly ends the process
