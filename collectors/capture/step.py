"""A step of a collection: what it needs, what it costs, and how it is run."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine
    from engram_diagnose.collectors.capture.target import LocalTarget


class Stop(threading.Event):
    """Set when collecting has to end at once; `why` is the reason, as a clause."""

    why = "collecting was stopped"

    def because(self, why: str) -> None:
        """Set it, for the first reason that was given."""
        if not self.is_set():
            self.why = why
            self.set()


class Spending:
    """Seconds of CPU by tool, ours and theirs; steps of several threads add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}

    def add(self, tool: str, cpu_seconds: float) -> None:
        """What one run of a tool used."""
        with self._lock:
            self._seconds[tool] = self._seconds.get(tool, 0.0) + cpu_seconds

    def by_tool(self) -> dict[str, float]:
        """So far, by the name of the tool."""
        with self._lock:
            return dict(sorted(self._seconds.items()))


@dataclass(frozen=True)
class Context:
    """
    What every step is given.

    `seconds` is how long it may watch; `stop` is set when collecting has to end at once; `limits` are the figures of
    `rules/catalogue/collection.yaml`, `events` the tables of `rules/events/` as they are read from there.
    """

    machine: Machine
    target: LocalTarget
    seconds: float
    stop: Stop = field(default_factory=Stop)
    limits: Mapping[str, float] = field(default_factory=dict)
    events: Mapping[str, object] = field(default_factory=dict)
    spending: Spending = field(default_factory=Spending)


@dataclass(frozen=True)
class Step:
    """
    One thing to look at.

    `name` is what progress and the table of overheads call it, `asks` what it looks at, `cost` what that costs the
    server, both as an operator reads them. `run` never raises for a source that is not there.
    """

    name: str
    asks: str
    cost: str
    run: Callable[[Context], list[Answer]]
