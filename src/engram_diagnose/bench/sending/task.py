"""
What a worker is told and what it tells: plain data, sent through pipes between processes of this program.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engram_diagnose.bench.sending.histogram import Histogram, merged

STOPPED: Final = "stopped by hand"
"""Why a load ended that was told to."""


@dataclass(frozen=True, slots=True)
class Kind:
    """
    Requests of one operation, ready to be sent.

    Request `n` is `ready[n % len(ready)]`; with `numbered`, its `mark` is replaced by a number that counts up, in as
    many digits, so that no two are alike. `good` are the statuses of a good answer, and one of `signs` stands in it.
    """

    operation: str
    ready: tuple[bytes, ...] = field(repr=False)
    good: frozenset[int]
    signs: tuple[bytes, ...]
    numbered: bool = False
    mark: bytes = b""


@dataclass(frozen=True, slots=True)
class Task:
    """
    One worker's part of a load.

    Of the requests 0, 1, 2 … of the whole load, due `interval` seconds apart, it sends every `workers`-th from `worker`
    on. `order` says which kind each is, and `picks` which of the ready requests, both over and over again.
    """

    host: str
    port: int
    connections: int
    worker: int
    workers: int
    interval: float
    seconds: float
    kinds: tuple[Kind, ...]
    order: bytes = field(repr=False)
    picks: tuple[int, ...] = field(repr=False)
    first_number: int
    wait: float
    drain: float
    hang: float
    window: float


@dataclass(slots=True)
class Told:
    """What came of one operation, times in nanoseconds."""

    sent: int = 0
    ok: int = 0
    ok_in_time: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    response: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class Second:
    """One second of the load, by when its requests were meant to start; `response` are the latest of its times."""

    sent: int = 0
    ok: int = 0
    errors: int = 0
    response: Histogram = field(default_factory=Histogram)
    _packed: bytes = field(default=b"", repr=False)

    def pack(self) -> None:
        """Keep the times so far in little room: there are as many seconds as the load lasts."""
        self._packed, self.response = self.times.packed(), Histogram()

    @property
    def times(self) -> Histogram:
        """All times of its good answers."""
        return merged([Histogram.unpacked(self._packed), self.response])


@dataclass(frozen=True, slots=True)
class Progress:
    """So far: requests sent, good answers, failed."""

    sent: int
    ok: int
    failed: int


@dataclass(frozen=True, slots=True)
class Result:
    """
    A worker's figures: by kind of request the operation and what came of it, and by second.

    `due` is how many requests were to be sent by the time it ended. `cpu` is its share of a core, `aborted` says why
    it ended early. `connected` is how many connections it had at once, of those that it was to have.
    """

    told: tuple[tuple[str, Told], ...]
    seconds: Mapping[int, Second]
    due: int
    lasted: float
    cpu: float
    aborted: str = ""
    connected: int = 0
