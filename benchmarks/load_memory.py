"""
Memory of the load generator over ten minutes: that of each of its workers, and of the process that asks them.
"""

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from load_generator import load
from nginx import Nginx, NoTargetError
from outcome import Outcome

from engram_diagnose.bench.sending.task import Progress

BENCHMARK = "load_memory"
RATE = 1_000
CONNECTIONS = 100
WORKERS = 2
GROWTH = 1.05
PAGE = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Moment:
    """Resident bytes after so many requests."""

    sent: int
    parent: int
    workers: int


def run(*, quick: bool) -> list[Outcome]:
    """Every line; none where nginx is missing."""
    seconds = 20.0 if quick else 600.0
    moments: list[Moment] = []

    def look(so_far: Progress) -> None:
        if so_far.sent >= (moments[-1].sent if moments else 0) + RATE * seconds / 100:
            workers = _workers()
            moments.append(Moment(so_far.sent, _resident("self"), sum(map(_resident, workers))))

    try:
        with Nginx() as target:
            load(target.port, rate=RATE, seconds=seconds, connections=CONNECTIONS, workers=WORKERS, on_progress=look)
    except NoTargetError as error:
        print(f"{BENCHMARK}: {error}", file=sys.stderr)
        return []
    return [_line(moments, side, seconds) for side in ("parent", "workers")]


def _line(moments: list[Moment], side: str, seconds: float) -> Outcome:
    """The largest of the last quarter beside that of the second; notes come and go within a quarter."""
    quarter = len(moments) // 4
    last = max(getattr(one, side) for one in moments[-quarter:])
    second = max(getattr(one, side) for one in moments[quarter : 2 * quarter])
    what = f"memory of the {side} in the last quarter of {seconds:.0f} s at {RATE:,}/s"
    return Outcome(BENCHMARK, what, last, "in the second quarter", second, "B", bar=GROWTH)


def _workers() -> list[str]:
    return [
        pid
        for listed in Path("/proc/self/task").glob("*/children")
        for pid in listed.read_text().split()
        if b"sending.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def _resident(pid: str) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
