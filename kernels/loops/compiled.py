"""
How every loop is compiled, and where the machine code is kept.

numba's cache looks at the file a loop is in alone: what the loop calls may change elsewhere, and it goes on with the
old code. So the folder's name says what all loops together are made of. The cache holds pickles, which can run any
code: it is used only where nobody else can write, and where there is no such place, loops are compiled anew each time.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import llvmlite
import numba
from llvmlite import binding

F = TypeVar("F", bound=Callable[..., Any])

_LOOPS: Final = Path(__file__).parent
_FAST: Final = {"contract", "reassoc", "nsz", "arcp", "afn"}
"""What a reduction needs to be computed in lanes. Not `nnan` and `ninf`: vectors of others may hold both."""


def loop(function: F) -> F:
    """Compile a loop: without the GIL, with the arithmetic of IEEE 754."""
    return cast(F, numba.njit(nogil=True, cache=_CACHED, error_model="numpy")(function))


def fast_loop(function: F) -> F:
    """Compile a loop whose sums may be added up in any order, without which they are one long chain of additions."""
    return cast(F, numba.njit(nogil=True, cache=_CACHED, error_model="numpy", fastmath=_FAST)(function))


def digest() -> str:
    """What the machine code depends on: the loops, the compiler, the CPU."""
    hashed = hashlib.sha256()
    for part in sorted(_LOOPS.glob("*.py")):
        hashed.update(part.name.encode() + b"\0" + part.read_bytes() + b"\0")
    for word in (numba.__version__, llvmlite.__version__, binding.get_host_cpu_name()):
        hashed.update(word.encode() + b"\0")
    return hashed.hexdigest()[:16]


def cache_folder() -> Path | None:
    """
    The folder for machine code, made where it is missing; None where none is private to this user.

    `NUMBA_CACHE_DIR` names another one, whose owner answers for it.
    """
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(named)
    above = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(above) if above and Path(above).is_absolute() else Path.home() / ".cache"
        folder = base / "engram-diagnose" / "kernels" / digest()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _is_private(folder) else None
    except (OSError, RuntimeError):  # no home, a full disk, a folder of somebody else
        return None


def _is_private(folder: Path) -> bool:
    found = folder.stat()
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return found.st_uid == os.geteuid() and not others and os.access(folder, os.W_OK | os.X_OK)


def _prepare() -> bool:
    """Name the cache to numba, and let inline assembly be compiled; whether there is a cache."""
    binding.initialize_native_asmparser()  # without it a loop with inline assembly ends the process
    folder = cache_folder()
    if folder is not None:
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # made when it is imported
    return folder is not None


_CACHED: Final = _prepare()
