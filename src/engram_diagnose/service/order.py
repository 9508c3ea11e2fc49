"""
What the service and its worker process say to each other: the order at the start, the bytes after it, the exit codes.

Packs travel as text, so that a worker that starts again has the rules that were in force, whatever stands in the
files by then.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from engram_diagnose.rulebase import pack_files
from engram_diagnose.service.settings import Settings

WAKE: Final = b"w"
"""There may be a new job."""
BEGIN: Final = b"b"
"""Take jobs: no other worker does."""
FINISH: Final = b"f"
"""End once the job in hand is done."""

REFUSED: Final = 3
"""Exit code: the rules cannot be used."""
STORELESS: Final = 4
"""Exit code: the database cannot be used."""
OUT_OF_MEMORY: Final = 5
"""Exit code: more memory was needed than the settings allow."""
ORPHANED: Final = 70
"""Exit code: the service is gone."""

_LENGTH: Final = 8
LONGEST_BACKOFF_SECONDS: Final = 3600.0
"""Nothing in the database is put off by more."""


@dataclass(frozen=True, slots=True)
class Order:
    """`database` is None for the one in the state folder. `diagnose` names another function in its place, for tests."""

    settings: Settings
    database: Path | None
    packs: tuple[Mapping[str, bytes], ...] = ()
    diagnose: str = ""


def order_of(settings: Settings, database: Path | None, *, diagnose: str = "") -> Order:
    """The order for these settings, with the packs as they are now; raises `RuleBaseError` for an unreadable one."""
    return Order(settings, database, tuple(pack_files(path) for path in settings.rules), diagnose)


def packed(order: Order) -> bytes:
    """The order as bytes that say how long they are. It goes to our own child, over a pipe of its own."""
    plain = replace(order, packs=tuple(dict(pack) for pack in order.packs))
    content = pickle.dumps(plain)
    return len(content).to_bytes(_LENGTH, "big") + content


def read_order(stream: BinaryIO) -> Order:
    """The order at the head of a stream, of which no byte more is read; raises `EOFError` where it is cut short."""
    content = _exactly(stream, int.from_bytes(_exactly(stream, _LENGTH), "big"))
    found = pickle.loads(content)  # noqa: S301 -- from our parent, who could run anything in our place
    if not isinstance(found, Order):
        raise EOFError("the service sent no order")
    return found


def _exactly(stream: BinaryIO, length: int) -> bytes:
    content = b""
    while len(content) < length:
        more = stream.read(length - len(content))
        if not more:
            raise EOFError("the service closed the pipe before it said what to do")
        content += more
    return content


def backoff(first_seconds: float, attempts: int) -> float:
    """How long a job waits after so many attempts: each time twice as long, an hour at most."""
    return min(first_seconds * 2.0 ** min(max(attempts - 1, 0), 32), LONGEST_BACKOFF_SECONDS)
