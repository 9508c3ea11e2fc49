"""
An engine that keeps memories in a list: what the front is tested against.

Run as a program it is a whole lab around that engine. What its texts say makes it misbehave: "wait" is answered a
second later, "full" and "broken" end so, "never" is not answered at all, "busy" is turned away.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engram_diagnose.lab.asking import DISK_FULL, DONE, FAILED, Busy, NoSuchSpace, TooManySpaces
from engram_diagnose.lab.figures import Figures, Histogram, PoolFigures, SpaceFigures, TierFigures, WalFigures
from engram_diagnose.lab.main import main
from engram_diagnose.lab.settings import Settings

MOST_SPACES = 4
BOUNDS = (0.001, 0.01, 0.1, 1.0)


@dataclass(frozen=True, slots=True)
class FakeAnswer:
    ticket: int
    status: int = DONE
    rows: Sequence[int] = ()
    scores: Sequence[float] = ()
    took_ns: int = 1_500_000


@dataclass(frozen=True, slots=True)
class FakeMemory:
    content: str
    confidence: float


@dataclass
class FakeEngine:
    stored: dict[str, list[FakeMemory]] = field(default_factory=lambda: {"default": []})
    submitted: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    answers: list[FakeAnswer] = field(default_factory=list)
    done: dict[tuple[str, str], int] = field(default_factory=dict)
    stopped: bool = False
    ticks: int = 0

    def __post_init__(self) -> None:
        self.event = os.eventfd(0, os.EFD_NONBLOCK)

    def start(self) -> None:
        return

    def stop(self) -> None:
        self.stopped = True

    def fileno(self) -> int:
        return self.event

    def submit(self, operation: str, space: str, *, text: bytes = b"", embedding: Any = None, limit: int = 10,
               confidence: float = 0.5, arrived_ns: int) -> int:  # fmt: skip
        said = text.decode()
        if said.startswith("busy"):
            raise Busy
        if operation == "store" and space not in self.stored:
            if len(self.stored) >= MOST_SPACES:
                raise TooManySpaces(f"there are {MOST_SPACES} memory spaces already")
            self.stored[space] = []
        if space not in self.stored:
            raise NoSuchSpace(space)
        self.submitted.append((operation, space, {"text": text, "embedding": embedding, "limit": limit}))
        ticket = len(self.submitted)
        answer = self._answer(ticket, operation, space, said, confidence, limit)
        if said.startswith("wait"):
            threading.Timer(1.0, self._give, [answer, (space, operation)]).start()
        elif not said.startswith("never"):
            self._give(answer, (space, operation))
        return ticket

    def completed(self) -> Sequence[FakeAnswer]:
        answers, self.answers = self.answers, []
        return answers

    def memory(self, row: int) -> FakeMemory | None:
        there = self.stored["default"]
        return there[row] if row < len(there) else None

    def spaces(self) -> Sequence[str]:
        return list(self.stored)

    def remove_space(self, name: str) -> bool:
        return self.stored.pop(name, None) is not None

    def tier_counts(self, space: str | None) -> tuple[int, int, int]:
        return sum(len(there) for name, there in self.stored.items() if space in (None, name)), 2, 1

    def tick(self) -> None:
        self.ticks += 1

    def figures(self) -> Figures:
        return figures(self.done, {name: len(there) for name, there in self.stored.items()})

    def _answer(self, ticket: int, operation: str, space: str, said: str, confidence: float, limit: int) -> FakeAnswer:
        if said.startswith("full"):
            return FakeAnswer(ticket, DISK_FULL)
        if said.startswith("broken"):
            return FakeAnswer(ticket, FAILED)
        if operation == "store":
            self.stored[space].append(FakeMemory(said, confidence))
            return FakeAnswer(ticket, rows=[len(self.stored[space]) - 1])
        rows = list(range(min(limit, 12)))
        return FakeAnswer(ticket, rows=rows, scores=[0.95 - 0.1 * row for row in rows])

    def _give(self, answer: FakeAnswer, key: tuple[str, str]) -> None:
        self.done[key] = self.done.get(key, 0) + 1
        self.answers.append(answer)
        os.eventfd_write(self.event, 1)


def figures(done: dict[tuple[str, str], int], nodes: dict[str, int]) -> Figures:
    """Figures in which each operation took half a millisecond, and everything has been there once."""
    moved = sum(done.values())
    quick = Histogram(BOUNDS, (moved, 0, 0, 0, 0), 0.0005 * moved)
    return Figures(
        latency={key: Histogram(BOUNDS, (count, 0, 0, 0, 0), 0.0005 * count) for key, count in done.items()},
        errors=dict.fromkeys(done, 0),
        in_flight=dict.fromkeys(done, 0),
        pools={name: PoolFigures(4, 1, 0, quick) for name in ("recall", "store")},
        spaces={name: SpaceFigures(count, 22.5, 1.0, 9 * moved, 10 * moved, 40 * moved, 1.5)
                for name, count in nodes.items()},
        tiers={name: TierFigures(100, 1000, 320_000, 5 * moved, moved, moved, quick, 8.0)
               for name in ("hot", "warm", "cold")},
        wal=WalFigures(quick, 4096 * moved, 1 << 20, 3, 0, 0.25),
        store_bytes=1000 * moved,
        similarity_seconds=1e-5 * moved,
        similarities=100 * moved,
        completion_candidates=42.0,
        completion_depth=2.0,
        consolidation_freshness=12.0,
        recall_result_size=10.0,
        memory_bytes=1 << 28,
        data_bytes=1 << 27,
    )  # fmt: skip


def make(settings: Settings, folder: Path) -> FakeEngine:
    time.sleep(float(os.environ.get("FAKE_ENGINE_SLOW", "0")))
    return FakeEngine()


if __name__ == "__main__":
    sys.exit(main(make_engine=make))
