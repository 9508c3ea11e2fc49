"""
What a worker notes of each request: raw times, which become histograms a great many at once.

A note is an append to an array; turning it into buckets costs ten times as much, and is put off until there are enough.
"""

from array import array
from collections.abc import Callable
from typing import Final

import numpy as np

from engram_diagnose.bench.sending.histogram import IntArray
from engram_diagnose.bench.sending.task import Kind, Second, Told

_NS: Final = 1_000_000_000
_MANY: Final = 1 << 14
"""Notes of one kind that are kept: 128 kB an array, and a millisecond to take them over."""


class Lane:
    """
    One kind of request: how it is made, how its answers are known, and the notes on it.

    `note_sent` is called for each request that is sent, `note_lag` for each that is late, `note_done`, `note_start` and
    `note_end` for each good answer, with nanoseconds of the monotonic clock. `known` is how the last good answer began,
    up to the first byte of its body, and `known_size` how long it was: the next one is mostly alike.
    """

    __slots__ = (
        "_done", "_ends", "_lags", "_sents", "_starts", "first_sign", "good", "kind", "known", "known_size", "mark",
        "note_done", "note_end", "note_lag", "note_sent", "note_start", "number", "ready", "size", "told",
    )  # fmt: skip

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind, self.number = kind, number
        self.ready, self.size = kind.ready, len(kind.ready)
        self.good, self.first_sign = kind.good, kind.signs[0]
        self.known, self.known_size = b"", -1
        self.told = Told()
        self.mark = kind.mark if kind.numbered else b""
        self._fresh()

    def _fresh(self) -> None:
        self._sents, self._lags, self._done, self._starts, self._ends = (array("q") for _ in range(5))
        self.note_sent: Callable[[int], None] = self._sents.append
        self.note_lag: Callable[[int], None] = self._lags.append
        self.note_done: Callable[[int], None] = self._done.append
        self.note_start: Callable[[int], None] = self._starts.append
        self.note_end: Callable[[int], None] = self._ends.append

    def makes_sense(self, body: bytes) -> bool:
        """Whether a body is that of a good answer."""
        return body[:1] == b"{" and any(sign in body for sign in self.kind.signs)

    @property
    def is_full(self) -> bool:
        """Whether the notes should be taken over."""
        return len(self._sents) >= _MANY

    @property
    def sent(self) -> int:
        """Requests sent so far."""
        return self.told.sent + len(self._sents)

    @property
    def ok(self) -> int:
        """Good answers so far."""
        return self.told.ok + len(self._done)

    def take_over(self, seconds: dict[int, Second], *, start: int, end: int) -> None:
        """Turn the notes into figures: `seconds` are those of the load, which lasts from `start` to `end`."""
        told = self.told
        sents, lags, dues, starts, ends = (
            np.frombuffer(one, np.int64) if one else np.zeros(0, np.int64)
            for one in (self._sents, self._lags, self._done, self._starts, self._ends)
        )
        told.sent += len(sents)
        told.ok += len(dues)
        told.ok_in_time += int((ends <= end).sum())
        told.lag.add_all(lags)
        told.lag.add_all(np.zeros(len(sents) - len(lags), np.int64))
        told.response.add_all(ends - dues)
        told.service.add_all(ends - starts)
        _by_second(seconds, (sents - start) // _NS, (dues - start) // _NS, ends - dues)
        self._fresh()


def _by_second(seconds: dict[int, Second], sent: IntArray, ok: IntArray, response: IntArray) -> None:
    for place in np.unique(sent).tolist():
        second_at(seconds, place).sent += int((sent == place).sum())
    for place in np.unique(ok).tolist():
        these = response[ok == place]
        second = second_at(seconds, place)
        second.ok += len(these)
        second.response.add_all(these)
        second.pack()


def second_at(seconds: dict[int, Second], place: int) -> Second:
    """The second of that number, which is there from now on."""
    return seconds.setdefault(place, Second())
