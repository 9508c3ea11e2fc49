"""
The BLAS library that numpy multiplies matrices with, kept to one thread.
"""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MAPS = Path("/proc/self/maps")
_PATTERNS = (
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
)
"""How libraries are asked for their number of threads, and told it."""


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Keep every BLAS library of this process to one thread until the block ends; gives whether one was found."""
    found = [pair for path in _libraries() if (pair := _controls(path)) is not None]
    before = [ask() for ask, _ in found]
    for _, tell in found:
        tell(1)
    try:
        yield bool(found)
    finally:
        for (_, tell), threads in zip(found, before, strict=True):
            tell(threads)


def _libraries() -> list[str]:
    try:
        text = _MAPS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return sorted(set(re.findall(r"(?m) (/\S*(?:openblas|mkl_rt|blis)\S*\.so\S*)$", text)))


def _controls(path: str) -> tuple[Any, Any] | None:
    try:
        library = ctypes.CDLL(path)  # it is in this process already
    except OSError:
        return None
    for ask, tell in _PATTERNS:
        if hasattr(library, ask) and hasattr(library, tell):
            return getattr(library, ask), getattr(library, tell)
    return None
