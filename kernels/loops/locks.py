"""
A table cut into shards with a spin lock each, as concurrent maps are: threads that count keys in it.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.atomics import compare_exchange, load_atomic, nanoseconds, pause, store_atomic
from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.kernels.loops.gate import Span, arrive, checked_gate, nanoseconds_of

STRIDE: Final = 16
"""Items of int64 from lock to lock: 128 bytes, so that none shares its line, nor the next that is fetched with it."""
_BATCH: Final = 256
"""Operations from one look at the clock to the next."""
_MOST_PAUSES: Final = 8
"""How far a wait for a lock backs off; there, parking_lot would give the CPU away, which a jitted loop cannot."""
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: multiplied by it, neighbouring keys fall into different shards (Knuth, 6.4)."""
_FALL: Final = np.uint64(40)


def new_locks(shards: int) -> npt.NDArray[np.int64]:
    """The locks of so many shards, all free; a power of two."""
    if shards < 1 or shards & (shards - 1):
        raise ValueError(f"the number of shards is a power of two, not {shards}")
    room = np.zeros((shards + 1) * STRIDE, np.int64)
    skipped = -room.ctypes.data % (STRIDE * 8) // 8
    return room[skipped : skipped + shards * STRIDE]


def count_for(
    locks: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    keys: npt.NDArray[np.int32],
    gate: npt.NDArray[np.int64],
    threads: int,
    *,
    gate_seconds: float,
    window_seconds: float,
) -> Span:
    """
    Count keys for `window_seconds` after `threads` threads came to the gate: take the lock of the key's shard, add 1 to
    `counts[key]`, free it. `keys` are taken in their order, again and again; how many were counted is given.

    The addition is an ordinary one: only the locks keep others on the same `locks` and `counts` from losing it.
    """
    _check(locks, counts, keys)
    checked_gate(gate, threads)
    waits, window = nanoseconds_of(gate_seconds, "gate_seconds"), nanoseconds_of(window_seconds, "window_seconds")
    count, taken = _count(locks, counts, keys, gate, threads, waits, window)
    return Span(count, taken / 1e9)


def shard_of(key: int, shards: int) -> int:
    """Where a key belongs, of a number of shards that is a power of two."""
    return (key * int(_GOLDEN) % (1 << 64) >> int(_FALL)) & (shards - 1)


def _check(locks: npt.NDArray[Any], counts: npt.NDArray[Any], keys: npt.NDArray[Any]) -> None:
    for name, array, kind in (("locks", locks, np.int64), ("counts", counts, np.int64), ("keys", keys, np.int32)):
        if array.dtype != kind or array.ndim != 1 or not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError(f"{name} are a contiguous, aligned row of {np.dtype(kind)}")
        if not len(array):
            raise ValueError(f"there are no {name}")
    shards, left = divmod(len(locks), STRIDE)
    if left or shards & (shards - 1):
        raise ValueError("locks are those that new_locks() makes: a power of two of them")
    if keys.min() < 0 or keys.max() >= len(counts):
        raise ValueError(f"keys are 0 to {len(counts) - 1}, as many as there are counts")


@loop
def _count(locks: Any, counts: Any, keys: Any, gate: Any, threads: Any, patience: Any, window: Any) -> Any:
    if not arrive(gate, threads, patience):
        return 0, 0
    start = nanoseconds()
    now, count = start, 0
    at, length = np.uint64(0), np.uint64(len(keys))  # unsigned: a signed index may count from the end, and is looked at
    mask, stride, one = np.uint64(len(locks) // STRIDE - 1), np.uint64(STRIDE), np.uint64(1)
    while now - start < window:
        for _ in range(_BATCH):
            key = np.uint64(np.uint32(keys[at]))
            lock = (((key * _GOLDEN) >> _FALL) & mask) * stride
            if compare_exchange(locks, lock, 0, 1) != 0 and not _waited(locks, lock, start + window):
                return count, nanoseconds() - start
            counts[key] += 1
            store_atomic(locks, lock, 0)
            count += 1
            at += one
            if at == length:
                at = np.uint64(0)
        now = nanoseconds()
    return count, now - start


@loop
def _waited(locks: Any, lock: Any, until: Any) -> Any:
    """Take a lock that was not free, as soon as it is; False if the clock says `until` before that."""
    pauses = 1
    while pauses < _MOST_PAUSES or nanoseconds() < until:
        for _ in range(pauses):
            pause()
        # It is looked at, not tried, while it is held: trying would take the line away from its holder.
        if load_atomic(locks, lock) == 0 and compare_exchange(locks, lock, 0, 1) == 0:
            return True
        if pauses < _MOST_PAUSES:
            pauses *= 2
    return False
