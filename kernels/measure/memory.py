"""
Buffers to measure with: aligned, touched, on pages of a known kind.

numpy asks for huge pages for its large arrays by itself, and a plain anonymous mapping does not get them where they are
given on request only: so every buffer says what it asked for, and whether it was given.
"""

import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.measure.placement import bind

Pages = Literal["huge", "small"]

HUGE: Final = 2 << 20
"""Bytes of a huge page on x86-64, and on ARM with small ones of 4 KiB."""

_MAPPING: Final = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ")
_PAGES: Final = re.compile(r"(Anonymous|AnonHugePages): +([0-9]{1,18}) kB")


@dataclass(frozen=True, slots=True)
class Buffer:
    """
    Memory to measure with: bytes, aligned to a huge page, every page of which was written once.

    `huge` is the share of it that lies on huge pages, None where the kernel does not say.
    """

    bytes: npt.NDArray[np.uint8]
    pages: Pages
    huge: float | None

    def of(self, kind: Any) -> npt.NDArray[Any]:
        """The buffer as an array of another type; what does not make a whole item at its end is left out."""
        item = np.dtype(kind).itemsize
        return self.bytes[: len(self.bytes) // item * item].view(kind)


def buffer(size: int, *, pages: Pages = "huge", byte: int = 0, node: int | None = None) -> Buffer:
    """
    Get so many bytes, each of them `byte`, on a NUMA node if one is named and otherwise on that of the calling thread.

    Raises `MemoryError` where the system has not got them, and `OSError` where it does not place memory on that node.
    """
    if size <= 0:
        raise ValueError("a buffer has one byte at least")
    try:
        # Private: what may be shared with others is on small pages, whatever is asked for.
        mapped = mmap.mmap(-1, size + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, ValueError, OverflowError) as error:
        raise MemoryError(f"{size} bytes cannot be mapped: {error}") from None
    _advise(mapped, pages)
    whole = np.frombuffer(mapped, np.uint8)
    if node is not None:
        bind(whole.ctypes.data, len(whole), node)  # the mapping begins with a page
    skipped = -whole.ctypes.data % HUGE
    found = whole[skipped : skipped + size]
    found.fill(byte)  # the first touch places the page, and is slow
    return Buffer(found, pages, share_on_huge_pages(found.ctypes.data, size))


def _advise(mapped: mmap.mmap, pages: Pages) -> None:
    wanted = getattr(mmap, "MADV_HUGEPAGE" if pages == "huge" else "MADV_NOHUGEPAGE", None)
    try:
        if wanted is not None:
            mapped.madvise(wanted)
    except OSError:
        return  # a kernel without them: all pages are small


def share_on_huge_pages(address: int, size: int, path: Path = Path("/proc/self/smaps")) -> float | None:
    """
    The share of memory at `address` that lies on huge pages, None where that cannot be read.

    The kernel joins neighbours of one kind to one mapping, and counts the pages of all of it: the share is that of the
    mappings which hold any of the memory, of what was touched of them.
    """
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    counted = {"Anonymous": 0, "AnonHugePages": 0}
    inside = False
    for line in text.splitlines():
        if found := _MAPPING.match(line):
            inside = int(found.group(1), 16) < address + size and int(found.group(2), 16) > address
        elif inside and (found := _PAGES.match(line)):
            counted[found.group(1)] += int(found.group(2))
    return min(1.0, counted["AnonHugePages"] / counted["Anonymous"]) if counted["Anonymous"] else None
