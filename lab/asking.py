"""
What the front and the engine tell each other; neither numba nor numpy is needed to say it.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from engram_diagnose.lab.figures import Figures

OPERATIONS: Final = ("store", "recall", "activation", "pattern_completion", "consolidation")
DIMENSIONS: Final = 768
MOST_CONTENT_BYTES: Final = 4000
"""Of one memory."""
MOST_RESULTS: Final = 100
"""Of one recall."""
DEFAULT_SPACE: Final = "default"

DONE: Final = 0
DISK_FULL: Final = 1
NO_ROOM: Final = 2
FAILED: Final = 3
"""
How an operation ended: as it was asked, its log could not be written for want of room on the disk, its space takes no
more memories, or something broke.
"""


class Busy(RuntimeError):  # noqa: N818 -- a state, not a fault
    """The engine has as much in flight as it takes; the client may come back."""


class NoSuchSpace(LookupError):  # noqa: N818 -- a state, not a fault
    """Nothing was ever stored in a space of that name."""


class TooManySpaces(RuntimeError):  # noqa: N818 -- a state, not a fault
    """There are as many spaces as the engine takes."""


class Answer(Protocol):
    """What became of a ticket: how it ended, the rows that were found, best first, and their scores."""

    @property
    def ticket(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def rows(self) -> Sequence[int]: ...
    @property
    def scores(self) -> Sequence[float]: ...
    @property
    def took_ns(self) -> int: ...


class Memory(Protocol):
    """What was stored."""

    @property
    def content(self) -> str: ...
    @property
    def confidence(self) -> float: ...


class Engine(Protocol):
    """
    What the front asks of an engine; all of it returns at once.

    `fileno` is an eventfd that is readable when `completed` has something to give.
    """

    def fileno(self) -> int: ...
    def submit(
        self,
        operation: str,
        space: str,
        *,
        text: bytes = b"",
        embedding: Any = None,
        limit: int = 10,
        confidence: float = 0.5,
        arrived_ns: int,
    ) -> int:
        """A ticket; raises `Busy`, `NoSuchSpace` (reads), `TooManySpaces` (stores)."""
        ...

    def completed(self) -> Sequence[Answer]: ...
    def memory(self, row: int) -> Memory | None: ...
    def spaces(self) -> Sequence[str]: ...
    def remove_space(self, name: str) -> bool: ...
    def tier_counts(self, space: str | None) -> tuple[int, int, int]: ...
    def figures(self) -> Figures: ...
    def tick(self) -> None: ...


class Runnable(Engine, Protocol):
    """An engine with a life: `start` recovers what was stored, `stop` writes what was answered."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
