"""
Locks whose waiters sleep in the kernel, so that waiting for them is seen there: U. Drepper, "Futexes are tricky".

A lock is one word: 0 is free, 1 held, 2 held with somebody asleep. Only the last costs a system call at the release.
Locks lie 128 bytes apart, so that none shares its line, nor the next that is fetched with it.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.atomics import atomic_add, compare_exchange, load_atomic, pause, store_atomic
from engram_diagnose.kernels.loops.compiled import inlined, loop
from engram_diagnose.lab.loops.native import futex_wait, futex_wake

STRIDE: Final = 32
"""Words of int32 from lock to lock."""
LONGEST_SLEEP_NS: Final = 100_000_000
"""No thread sleeps longer without looking again."""
_LOOKS: Final = 8
"""How often a held lock is looked at before its waiter goes to sleep: less than a microsecond."""

Words = npt.NDArray[np.int32]


def new_words(count: int) -> Words:
    """So many locks, all free, or other words to sleep at: word i is `words[i * STRIDE]`."""
    if count < 1:
        raise ValueError(f"there is one lock at least, not {count}")
    room = np.zeros((count + 1) * STRIDE, np.int32)
    skipped = -room.ctypes.data % (STRIDE * 4) // 4
    return room[skipped : skipped + count * STRIDE]


@inlined
def take(words: Any, index: Any) -> Any:
    """Take lock number `index`; how often this thread slept before it had it, 0 where the lock was free."""
    place = np.int64(index) * STRIDE
    if compare_exchange(words, place, np.int32(0), np.int32(1)) == 0:
        return 0
    return _waited(words, place)


@inlined
def release(words: Any, index: Any) -> None:
    """Free lock number `index`, which this thread holds, and wake one that sleeps for it."""
    place = np.int64(index) * STRIDE
    if atomic_add(words, place, np.int32(-1)) != 1:
        _freed(words, place)


@loop
def _waited(words: Any, place: Any) -> Any:
    for _ in range(_LOOKS):
        if load_atomic(words, place) == 0 and compare_exchange(words, place, np.int32(0), np.int32(1)) == 0:
            return 0
        pause()
    slept = 0
    # From here on the lock is taken as one that somebody sleeps for: whether others do is not known.
    while _marked(words, place) != 0:
        futex_wait(words, place, np.int32(2), LONGEST_SLEEP_NS)
        slept += 1
    return slept


@inlined
def _marked(words: Any, place: Any) -> Any:
    """Make the lock "held with somebody asleep", whatever it is; what it was."""
    while True:
        was = load_atomic(words, place)
        if compare_exchange(words, place, was, np.int32(2)) == was:
            return was


@loop
def _freed(words: Any, place: Any) -> None:
    store_atomic(words, place, np.int32(0))
    futex_wake(words, place, 1)
