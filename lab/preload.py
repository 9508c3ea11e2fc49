"""
A lab that begins with memories: seeded texts in clusters, stored and linked once, and copied from then on.
"""

import os
import random
import select
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from engram_diagnose.lab.asking import DEFAULT_SPACE, DONE, Busy, Runnable
from engram_diagnose.lab.host import read_host
from engram_diagnose.lab.settings import Settings, fitting
from engram_diagnose.lab.sparse import copy_folder

MOST: Final = 60_000
"""What fits into the default space and leaves it some room."""
_FORMAT: Final = 3
"""Rises when other texts are stored, or the engine's files change."""
_SEED: Final = 20_240_607
_TOPICS: Final = 200
_WORDS: Final = 4000
_OWN_WORDS: Final = 24
"""Of a topic."""
_IN_FLIGHT: Final = 512
_PATIENCE_SECONDS: Final = 120
"""Without an answer; the first one comes after loops were compiled."""
_FILES_OF_ITS_OWN: Final = frozenset({"lock", "engram.toml"})


def texts(count: int, *, seed: int = _SEED) -> Iterator[str]:
    """
    So many texts of 8 to 20 words, always the same ones.

    Each is about one of two hundred topics, some of which are far more common than others: most of its words are the
    topic's, the rest are anybody's. Neighbours of a text are therefore many, and close to each other.
    """
    chance = random.Random(seed)  # noqa: S311 -- the same texts each time
    words = [_word(chance) for _ in range(_WORDS)]
    topics = [chance.sample(words, _OWN_WORDS) for _ in range(_TOPICS)]
    weights = [1 / (1 + rank) for rank in range(_TOPICS)]
    for topic in chance.choices(topics, weights, k=count):
        length = chance.randint(8, 20)
        yield " ".join(chance.choice(topic if chance.random() < 0.7 else words) for _ in range(length))


def preload(
    folder: Path,
    *,
    count: int,
    settings: Settings,
    make_engine: Callable[[Settings, Path], Runnable],
    say: Callable[[str], None],
) -> None:
    """
    Fill an empty data folder with `count` memories; one that has data is left as it is.

    What was stored and linked once, for a count and an index's parameters, is kept beside the folder and copied.
    Raises `ValueError` for more memories than fit, `OSError` where nothing can be written.
    """
    if count > MOST:
        raise ValueError(f"at most {MOST} memories can be there to begin with, not {count}")
    if any(path.name not in _FILES_OF_ITS_OWN for path in folder.iterdir()):
        say("there are data already; nothing is preloaded")
        return
    kept = folder.parent / f".engram-lab-{_FORMAT}-{count}-{_index_of(settings)}"
    _remove_abandoned(kept)
    if not kept.is_dir():
        _build(kept, count=count, settings=settings, make_engine=make_engine, say=say)
    _copy(kept, folder)
    say(f"preloaded {count} memories")


def _index_of(settings: Settings) -> str:
    return f"{settings.hnsw_index_m}-{settings.hnsw_index_max_m0}-{settings.hnsw_index_ef_construction}"


def _build(
    kept: Path,
    *,
    count: int,
    settings: Settings,
    make_engine: Callable[[Settings, Path], Runnable],
    say: Callable[[str], None],
) -> None:
    """Store and link with settings that fit the host, whatever is wrong with those of the lab."""
    building = kept.with_name(f"{kept.name}.{os.getpid()}")
    building.mkdir(parents=True)
    try:
        engine = make_engine(_quick(settings, building), building)
        engine.start()
        try:
            _store(engine, count, say=say)
            _wait_for_links(engine, say=say)
        finally:
            engine.stop()
        _put_in_place(building, kept)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _remove_abandoned(kept: Path) -> None:
    """What a lab that was killed while it built, or copied, left behind."""
    for path in kept.parent.glob(f"{kept.name}.*"):
        if not Path(f"/proc/{path.suffix[1:]}").exists():
            shutil.rmtree(path, ignore_errors=True)


def _put_in_place(building: Path, kept: Path) -> None:
    try:
        building.rename(kept)
    except OSError:
        if not kept.is_dir():  # else another lab was quicker, with the same memories
            raise


def _quick(settings: Settings, folder: Path) -> Settings:
    return replace(
        fitting(read_host(folder)),
        hnsw_index_m=settings.hnsw_index_m,
        hnsw_index_max_m=settings.hnsw_index_max_m,
        hnsw_index_max_m0=settings.hnsw_index_max_m0,
        hnsw_index_ef_construction=settings.hnsw_index_ef_construction,
        wal_sync_mode="batch",
        storage_mmap_populate=False,
        consolidation_enabled=False,
    )


def _store(engine: Runnable, count: int, *, say: Callable[[str], None]) -> None:
    filling, told = _Filling(engine), time.monotonic()
    for stored, text in enumerate(texts(count)):
        filling.store(text)
        if time.monotonic() - told > 1:
            told = time.monotonic()
            say(f"preloading: {stored} of {count} memories")
    filling.finish()


class _Filling:
    """Stores, so many at once as are taken."""

    def __init__(self, engine: Runnable) -> None:
        self._engine = engine
        self._waiting = 0
        self._answered = time.monotonic()

    def store(self, text: str) -> None:
        """Have a text stored; raises `OSError` where one before it could not be."""
        while self._waiting >= _IN_FLIGHT or not self._submitted(text):
            self._wait()
        self._waiting += 1

    def finish(self) -> None:
        """Wait until all are stored; raises `OSError`."""
        while self._waiting:
            self._wait()

    def _submitted(self, text: str) -> bool:
        try:
            self._engine.submit("store", DEFAULT_SPACE, text=text.encode(), arrived_ns=time.monotonic_ns())
        except Busy:
            return False
        return True

    def _wait(self) -> None:
        """Wait a moment for some of them."""
        ready, _, _ = select.select([self._engine.fileno()], [], [], 0.1)
        if ready:
            os.read(self._engine.fileno(), 8)
        answers = self._engine.completed()
        if any(answer.status != DONE for answer in answers):
            raise OSError("a memory could not be stored; is the disk full?")
        if answers:
            self._waiting -= len(answers)
            self._answered = time.monotonic()
        elif time.monotonic() - self._answered > _PATIENCE_SECONDS:
            raise OSError(f"no store was answered for {_PATIENCE_SECONDS} s")


def _wait_for_links(engine: Runnable, *, say: Callable[[str], None]) -> None:
    told = time.monotonic()
    while True:
        space = engine.figures().spaces.get(DEFAULT_SPACE)
        if space is None or space.coverage is None or space.coverage >= 1:
            return
        if time.monotonic() - told > 1:
            told = time.monotonic()
            say(f"preloading: {space.coverage:.0%} of the index is linked")
        time.sleep(0.05)


def _copy(kept: Path, folder: Path) -> None:
    """Into the folder, which is there and empty."""
    new = kept.with_name(f"{kept.name}.{os.getpid()}")
    try:
        copy_folder(kept, new)
        for path in new.iterdir():
            if path.name not in _FILES_OF_ITS_OWN:
                path.rename(folder / path.name)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _word(chance: random.Random) -> str:
    return "".join(chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(chance.randint(2, 4)))
