"""
Loads that wait for one another: a pointer chase along one cycle through all cache lines, in no order that a prefetcher
could guess.

The cycle needs no shuffling: with a bijection h of the lines' numbers, line h(k) points to line h(k + 1), and each link
can be written without the one before it.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.compiled import loop

LINE: Final = 64
"""Bytes that are loaded at once: one link lies in each. CPUs with lines of 128 bytes load two links at once."""

_SLOTS: Final = 8
"""Links that a line has room for; the first is used."""

_HALF: Final = np.uint64(0x9E3779B97F4A7C15)
_OTHER: Final = np.uint64(0xD6E8FEB86659FD93)
_SHIFT: Final = np.uint64(3)
_ONE: Final = np.uint64(1)


@dataclass(frozen=True, slots=True)
class Cycle:
    """Memory for a cycle of `lines` links: of `slots` (uint64, 8 by line) every eighth holds the place of the next."""

    slots: npt.NDArray[np.uint64]

    def __post_init__(self) -> None:
        slots: Any = self.slots
        if not isinstance(slots, np.ndarray) or slots.dtype != np.uint64 or slots.ndim != 1:
            raise ValueError("slots of a cycle: a flat array of uint64 is needed")
        if not slots.flags.c_contiguous or not slots.flags.writeable or slots.ctypes.data % LINE:
            raise ValueError(f"slots of a cycle: they must be writable, contiguous and aligned to {LINE} bytes")
        if len(slots) < _SLOTS or len(slots) % _SLOTS:
            raise ValueError(f"slots of a cycle: whole lines of {_SLOTS} are needed, not {len(slots)}")

    @property
    def lines(self) -> int:
        """How many links the cycle has."""
        return len(self.slots) // _SLOTS

    def lay(self, *, part: int = 0, parts: int = 1) -> None:
        """Write the links, or one of several shares of them: they may be written at the same time, in any order."""
        if parts < 1 or not 0 <= part < parts:
            raise ValueError(f"a cycle has no part {part} of {parts}")
        first, last = (self.lines * edge // parts for edge in (part, part + 1))
        bits = max(1, (self.lines - 1).bit_length())
        _lay(
            self.slots,
            np.uint64(self.lines),
            np.uint64((1 << bits) - 1),
            np.uint64((bits + 1) // 2),
            np.uint64(first),
            np.uint64(last),
        )

    def chase(self, at: int, hops: int) -> int:
        """
        Follow so many links from slot `at` (0 lies on every cycle); the slot that they lead to.

        The next chase goes on from there: one that starts over reads what the last one left in the caches.
        """
        if not 0 <= at < len(self.slots) or at % _SLOTS or hops < 0:
            raise ValueError(f"a chase of {hops} hops cannot begin at slot {at} of {len(self.slots)}")
        return int(_chase(self.slots, np.uint64(at), np.uint64(hops)))


@loop
def _mixed(number: Any, lines: Any, mask: Any, shift: Any) -> Any:
    """
    A bijection of the numbers below `lines`.

    Each step is one of the numbers up to `mask`: a shifted xor, a product with an odd number. What lies outside is
    mixed again until it lies inside; since `mask` is less than twice `lines`, that is seldom more than once.
    """
    while True:
        number ^= number >> shift
        number = (number * _HALF) & mask
        number ^= number >> shift
        number = (number * _OTHER) & mask
        number ^= number >> shift
        if number < lines:
            return number


@loop
def _lay(slots: Any, lines: Any, mask: Any, shift: Any, first: Any, last: Any) -> None:
    here = _mixed(first, lines, mask, shift)
    number = first
    while number < last:
        number += _ONE
        there = _mixed(number if number < lines else number - lines, lines, mask, shift)
        slots[here << _SHIFT] = there << _SHIFT
        here = there


@loop
def _chase(slots: Any, at: Any, hops: Any) -> Any:
    # Unsigned throughout: a signed index is looked at for being negative at every hop, two fifths on top of a load.
    for _ in range(hops):
        at = slots[at]
    return at
