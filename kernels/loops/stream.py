"""
What STREAM does to memory: arrays of float64 are copied, scaled, added and read, window by window.

A run goes over several windows of its arrays and may begin at any: so a run takes as long as is wanted, however large
the arrays are, and arrays that are larger than the caches are never found in them. The bytes of a window are counted as
STREAM counts them: those that the formula names, without the line that a store reads before it.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.doubles import (
    ALIGNMENT,
    LANES,
    added,
    all_lanes,
    end_of_stores,
    load,
    multiplied,
    store_past_caches,
    total,
)

Array = npt.NDArray[np.float64]

_UNROLLED: Final = 8 * LANES


@dataclass(frozen=True, slots=True)
class Windows:
    """
    `rounds` windows of `length` items (0: of the whole array), from the one numbered `first` on.

    They lie side by side from the array's start; after the last comes the first again. Items that make no whole window
    at the end of the array belong to none.
    """

    length: int = 0
    first: int = 0
    rounds: int = 1

    def of(self, array: Array) -> "Windows":
        """The same of an array, with their length; raises `ValueError` where it has no such windows."""
        length = self.length or len(array)
        if not 0 < length <= len(array):
            raise ValueError(f"there is no window of {self.length} items in an array of {len(array)}")
        if self.first < 0 or self.rounds < 0:
            raise ValueError(f"{self.rounds} windows from number {self.first} on: neither may be negative")
        return Windows(length, self.first, self.rounds)


ALL: Final = Windows()
"""The whole array, once."""


def copy(target: Array, source: Array, windows: Windows = ALL) -> None:
    """`target[i] = source[i]`: 16 bytes an item."""
    over = _checked(windows, target=target, source=source)
    _copy(target, source, over.length, over.first, over.rounds)


def scale(target: Array, source: Array, factor: float, windows: Windows = ALL) -> None:
    """`target[i] = factor * source[i]`: 16 bytes an item."""
    over = _checked(windows, target=target, source=source)
    _scale(target, source, float(factor), over.length, over.first, over.rounds)


def add(target: Array, left: Array, right: Array, windows: Windows = ALL) -> None:
    """`target[i] = left[i] + right[i]`: 24 bytes an item."""
    over = _checked(windows, target=target, left=left, right=right)
    _add(target, left, right, over.length, over.first, over.rounds)


def triad(target: Array, left: Array, right: Array, factor: float, windows: Windows = ALL) -> None:
    """`target[i] = left[i] + factor * right[i]`: 24 bytes an item."""
    over = _checked(windows, target=target, left=left, right=right)
    _triad(target, left, right, float(factor), over.length, over.first, over.rounds)


def triad_past_caches(target: Array, left: Array, right: Array, factor: float, windows: Windows = ALL) -> None:
    """
    As `triad`, with stores that go past the caches, so that no line of the target is read before it is written.

    `target` must be aligned to `ALIGNMENT` bytes and a window a multiple of `LANES` items: such a store is of a whole
    aligned vector, or ends the process.
    """
    over = _checked(windows, target=target, left=left, right=right)
    if target.ctypes.data % ALIGNMENT:
        raise ValueError(f"target must be aligned to {ALIGNMENT} bytes: stores past the caches are")
    if over.length % LANES:
        raise ValueError(f"a window of {over.length} items is not one of whole vectors of {LANES}")
    _triad_past_caches(target, left, right, float(factor), over.length, over.first, over.rounds)


def read(array: Array, windows: Windows = ALL) -> float:
    """The sum over the windows, added up in no particular order: 8 bytes an item."""
    over = _checked(windows, array=array)
    return float(_read(array, over.length, over.first, over.rounds))


def _checked(windows: Windows, **arrays: Array) -> Windows:
    for name, array in arrays.items():
        given: Any = array
        if not isinstance(given, np.ndarray) or given.dtype != np.float64 or given.ndim != 1:
            raise ValueError(f"{name} must be a flat array of float64")
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError(f"{name} must be contiguous and aligned to its items")
    first, *others = arrays.items()
    for name, array in others:
        if len(array) != len(first[1]):
            raise ValueError(f"{name} has {len(array)} items, {first[0]} has {len(first[1])}")
        if np.may_share_memory(array, first[1]):
            raise ValueError(f"{name} and {first[0]} overlap: what is read would be what was written")
    if others and not first[1].flags.writeable:
        raise ValueError(f"{first[0]} must be writable")
    return windows.of(first[1])


# The loops go over slices: LLVM does not vectorise what runs between signed bounds that it knows nothing of.


@loop
def _copy(target: Any, source: Any, length: Any, first: Any, rounds: Any) -> None:
    windows = len(target) // length
    for number in range(first, first + rounds):
        start = number % windows * length
        into, values = target[start : start + length], source[start : start + length]
        for item in range(len(into)):
            into[item] = values[item]


@loop
def _scale(target: Any, source: Any, factor: Any, length: Any, first: Any, rounds: Any) -> None:
    windows = len(target) // length
    for number in range(first, first + rounds):
        start = number % windows * length
        into, values = target[start : start + length], source[start : start + length]
        for item in range(len(into)):
            into[item] = factor * values[item]


@loop
def _add(target: Any, left: Any, right: Any, length: Any, first: Any, rounds: Any) -> None:
    windows = len(target) // length
    for number in range(first, first + rounds):
        start = number % windows * length
        into, ones, others = (
            target[start : start + length],
            left[start : start + length],
            right[start : start + length],
        )
        for item in range(len(into)):
            into[item] = ones[item] + others[item]


@loop
def _triad(target: Any, left: Any, right: Any, factor: Any, length: Any, first: Any, rounds: Any) -> None:
    windows = len(target) // length
    for number in range(first, first + rounds):
        start = number % windows * length
        into, ones, others = (
            target[start : start + length],
            left[start : start + length],
            right[start : start + length],
        )
        for item in range(len(into)):
            into[item] = ones[item] + factor * others[item]


@loop
def _triad_past_caches(target: Any, left: Any, right: Any, factor: Any, length: Any, first: Any, rounds: Any) -> None:
    windows = len(target) // length
    factors = all_lanes(factor)
    for number in range(first, first + rounds):
        start = number % windows * length
        for item in range(start, start + length, LANES):
            products = multiplied(factors, load(right, item))
            store_past_caches(target, item, added(load(left, item), products))
    end_of_stores()


@loop
def _read(array: Any, length: Any, first: Any, rounds: Any) -> Any:
    # Eight accumulators: with one, an addition waits for the one before and a sum runs at half of memory's speed or
    # less. They are added up once at the end, which would take as long as a tenth of a window in the first cache.
    windows = len(array) // length
    whole = length // _UNROLLED * _UNROLLED
    a = b = c = d = e = f = g = h = all_lanes(0.0)
    rest = 0.0
    for number in range(first, first + rounds):
        start = number % windows * length
        for item in range(start, start + whole, _UNROLLED):
            a = added(a, load(array, item))
            b = added(b, load(array, item + LANES))
            c = added(c, load(array, item + 2 * LANES))
            d = added(d, load(array, item + 3 * LANES))
            e = added(e, load(array, item + 4 * LANES))
            f = added(f, load(array, item + 5 * LANES))
            g = added(g, load(array, item + 6 * LANES))
            h = added(h, load(array, item + 7 * LANES))
        for item in range(start + whole, start + length):
            rest += array[item]
    return rest + total(added(added(added(a, b), added(c, d)), added(added(e, f), added(g, h))))
