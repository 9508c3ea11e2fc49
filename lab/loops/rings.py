"""
Queues of tickets between the front and the workers: bounded rings behind locks, at which threads sleep.

A ring holds each ticket once at most, so that one with room for all of them is never full.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.atomics import atomic_add, compare_exchange, load_atomic, store_atomic
from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.lab.loops.locks import LONGEST_SLEEP_NS, STRIDE, new_words, release, take
from engram_diagnose.lab.loops.native import futex_wait, futex_wake, signal

RECALLS: Final = 0
STORES: Final = 1
DONE: Final = 2
RINGS: Final = 3
TICKETS: Final = 4096
"""In flight at most; a power of two."""

_EVENT: Final = RINGS
_SLEEPERS: Final = 2 * RINGS
_TOLD: Final = 3 * RINGS
STOP: Final = _TOLD + 1
LINK: Final = STOP + 1
WORDS: Final = LINK + 1
"""
A lock for each ring, a word that changes when something comes, how many sleep for that; whether the front was told of
answers; whether all is to end; a word that changes when there is something to link.
"""
_MASK: Final = TICKETS - 1


class Rings(NamedTuple):
    """`ends` has the first and the end of each ring, `tickets` what is in it; `file` the eventfd of the front."""

    words: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int64]
    tickets: npt.NDArray[np.int32]
    file: npt.NDArray[np.int32]


def new_rings(eventfd: int) -> Rings:
    """Empty ones."""
    return Rings(
        words=new_words(WORDS),
        ends=np.zeros(RINGS * 2 * 8, np.int64),
        tickets=np.zeros(RINGS * TICKETS, np.int32),
        file=np.array([eventfd], np.int32),
    )


@loop
def push(rings: Any, ring: Any, ticket: Any) -> None:
    """Put a ticket at the end of a ring, and wake one that sleeps for it."""
    take(rings.words, ring)
    end = rings.ends[ring * 16 + 8]
    rings.tickets[ring * TICKETS + (end & _MASK)] = ticket
    rings.ends[ring * 16 + 8] = end + 1
    release(rings.words, ring)
    event = (_EVENT + ring) * STRIDE
    atomic_add(rings.words, event, np.int32(1))
    if load_atomic(rings.words, (_SLEEPERS + ring) * STRIDE) > 0:
        futex_wake(rings.words, event, 1)


@loop
def pop(rings: Any, ring: Any) -> Any:
    """The first ticket of a ring; -1 where none came in a tenth of a second."""
    event = (_EVENT + ring) * STRIDE
    seen = load_atomic(rings.words, event)
    ticket = _first(rings, ring)
    if ticket < 0 and not stopping(rings):
        sleepers = (_SLEEPERS + ring) * STRIDE
        atomic_add(rings.words, sleepers, np.int32(1))
        futex_wait(rings.words, event, seen, LONGEST_SLEEP_NS)
        atomic_add(rings.words, sleepers, np.int32(-1))
        ticket = _first(rings, ring)
    return ticket


@loop
def _first(rings: Any, ring: Any) -> Any:
    ticket = np.int64(-1)
    take(rings.words, ring)
    first = rings.ends[ring * 16]
    if first < rings.ends[ring * 16 + 8]:
        ticket = np.int64(rings.tickets[ring * TICKETS + (first & _MASK)])
        rings.ends[ring * 16] = first + 1
    release(rings.words, ring)
    return ticket


@loop
def answer(rings: Any, ticket: Any) -> None:
    """A ticket is done: tell the front, unless it was told and has not looked yet."""
    push(rings, DONE, ticket)
    if compare_exchange(rings.words, _TOLD * STRIDE, np.int32(0), np.int32(1)) == 0:
        signal(rings.file[0])


@loop
def drain(rings: Any, tickets: Any) -> Any:
    """Take what is done into `tickets` (int32, `TICKETS` of them); how many."""
    store_atomic(rings.words, _TOLD * STRIDE, np.int32(0))
    count = 0
    while count < len(tickets):
        ticket = _first(rings, DONE)
        if ticket < 0:
            break
        tickets[count] = ticket
        count += 1
    return count


@loop
def stopping(rings: Any) -> Any:
    """Whether all threads are to end."""
    return load_atomic(rings.words, STOP * STRIDE) != 0


@loop
def stop(rings: Any) -> None:
    """Tell all threads to end, and wake those that sleep."""
    store_atomic(rings.words, STOP * STRIDE, np.int32(1))
    for ring in range(RINGS):
        atomic_add(rings.words, (_EVENT + ring) * STRIDE, np.int32(1))
        futex_wake(rings.words, (_EVENT + ring) * STRIDE, 1 << 20)
    call_linkers(rings)


@loop
def call_linkers(rings: Any) -> None:
    """There is something to link."""
    atomic_add(rings.words, LINK * STRIDE, np.int32(1))
    futex_wake(rings.words, LINK * STRIDE, 1)


@loop
def rest(rings: Any, nanoseconds: Any) -> None:
    """Sleep until there is something to link, or so long."""
    seen = load_atomic(rings.words, LINK * STRIDE)
    if not stopping(rings):
        futex_wait(rings.words, LINK * STRIDE, seen, nanoseconds)


def waiting(rings: Rings, ring: int) -> int:
    """How many tickets a ring holds."""
    return max(0, int(rings.ends[ring * 16 + 8] - rings.ends[ring * 16]))
