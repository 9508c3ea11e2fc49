"""
An engine of a test, and what tests ask of it.

Run as a program, with a folder and the way of flushing, it stores memories until it is killed and says which were
answered.
"""

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engram_diagnose.lab.engine import Done, Engine
from engram_diagnose.lab.host import Host
from engram_diagnose.lab.preload import texts
from engram_diagnose.lab.settings import Settings, fitting

SMALL = Host(cores=2, memory_mb=1024, numa_nodes=1, avx="avx2", flash=True)


def settings(**changed: Any) -> Settings:
    """Of a small host, with an index that is built quickly."""
    quick: dict[str, Any] = {
        "hnsw_index_m": 8, "hnsw_index_ef_construction": 60, "hnsw_index_ef_search": 60, "wal_buffer_size_mb": 1.0,
        "storage_hot_tier_size_mb": 64.0, "storage_mmap_populate": False, "consolidation_enabled": False,
    }  # fmt: skip
    return replace(fitting(SMALL), **{**quick, **changed})


@contextmanager
def running(folder: Path, **changed: Any) -> Iterator[Engine]:
    engine = Engine(settings(**changed), folder)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def submit(engine: Engine, operation: str, text: str, *, space: str = "default", **more: Any) -> int:
    return engine.submit(operation, space, text=text.encode(), arrived_ns=time.monotonic_ns(), **more)


def answers(engine: Engine, count: int, *, exactly: bool = True, patience_seconds: float = 60.0) -> list[Done]:
    """The next `count` answers, or as many at least."""
    found: list[Done] = []
    until = time.monotonic() + patience_seconds
    while len(found) < count and time.monotonic() < until:
        if select.select([engine.fileno()], [], [], 0.5)[0]:
            os.read(engine.fileno(), 8)
        found += engine.completed()
    assert len(found) == count or (not exactly and len(found) > count), f"{len(found)} of {count} answers came"
    return found


def ask(engine: Engine, operation: str, text: str, **more: Any) -> Done:
    submit(engine, operation, text, **more)
    return answers(engine, 1)[0]


def fill(engine: Engine, count: int, *, space: str = "default") -> list[str]:
    """Store so many texts and link them; the texts, in the order of their rows."""
    wanted = list(texts(count))
    for low in range(0, count, 500):
        for text in wanted[low : low + 500]:
            submit(engine, "store", text, space=space)
        answers(engine, len(wanted[low : low + 500]))
    linked(engine, space=space)
    base = min(row for row, kept in engine._kept.items() if kept.content in set(wanted))
    return [engine._kept[base + number].content for number in range(count)]


def linked(engine: Engine, *, space: str = "default", patience_seconds: float = 120.0) -> None:
    """Wait until all of a space is."""
    until = time.monotonic() + patience_seconds
    while engine.figures().spaces[space].coverage != 1:
        assert time.monotonic() < until, "not everything was linked"
        time.sleep(0.02)


def _store_until_killed(folder: Path, mode: str) -> None:
    with running(folder, wal_sync_mode=mode, wal_flush_interval_ms=20.0) as engine:
        number = 0
        while True:
            for _ in range(8):
                submit(
                    engine, "store", f"killed memory number{number}", space="other" if number % 4 == 0 else "default"
                )
                number += 1
            for done in answers(engine, 8):
                kept = engine.memory(done.rows[0])
                assert kept is not None
                print(done.rows[0], kept.content, flush=True)


if __name__ == "__main__":
    _store_until_killed(Path(sys.argv[1]), sys.argv[2])
