"""A load from within the test, on one of its targets."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engram_diagnose.bench.sending.sender import Sender
from engram_diagnose.bench.sending.task import Kind, Progress, Result, Task

REQUEST = b"GET /api/v1/memories/recall?query=quiet HTTP/1.1\r\nHost: there\r\n\r\n"
RECALL = Kind("recall", (REQUEST,), frozenset({200}), (b'"memories"', b'"results"'))


def task(port: int, **changes: Any) -> Task:
    """One worker's load: 200 a second over 8 connections for a second."""
    usual = Task(
        host="127.0.0.1", port=port, connections=8, worker=0, workers=1, interval=1 / 200, seconds=1.0, kinds=(RECALL,),
        order=b"\0", picks=(0,), first_number=0, wait=1.0, drain=1.0, hang=1.5, window=0.5,
    )  # fmt: skip
    return replace(usual, **changes)


def sent(port: int, *, say: Callable[[Progress], None] = lambda progress: None, **changes: Any) -> Result:
    """What came of it; a load that could not begin is one that was ended."""
    reading, writing = os.pipe()
    try:
        sender = Sender(task(port, **changes), reading, say)
        why = sender.connect()
        return Result((), {}, 0, 0.0, 0.0, why) if why else sender.run(time.monotonic_ns() + 1_000_000)
    finally:
        os.close(reading)
        os.close(writing)
