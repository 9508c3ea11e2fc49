"""Questions to the database: each thread has its own connection, opened again when that is needed and only then."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.history.incidents import IncidentStore, StoreError, open_incidents
from engram_diagnose.service.problem import ProblemError
from engram_diagnose.service.services import Readers


class Opening:
    """Opens a database, and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.times = 0

    def __call__(self) -> IncidentStore:
        self.times += 1
        return open_incidents(self.path)


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    return Opening(tmp_path / "history.db")


@pytest.fixture
def readers(opening: Opening) -> Iterator[Readers]:
    readers = Readers(opening, threads=1)
    yield readers
    readers.stop()


def ask(readers: Readers, question: Callable[[Any], Any]) -> Any:
    return asyncio.run(readers.ask(question))


def raising(error: Exception) -> Callable[[Any], None]:
    def question(_: object) -> None:
        raise error

    return question


@pytest.mark.parametrize(
    "error",
    [ProblemError(404, "there is no such incident"), ValueError("a page that fails"), StoreError("x", by_entry=True)],
)
def test_an_answer_of_no_costs_no_new_connection(readers: Readers, opening: Opening, error: Exception) -> None:
    for _ in range(3):
        with pytest.raises(type(error)):
            ask(readers, raising(error))
    assert ask(readers, lambda store: store.counts()).open == 0
    assert opening.times == 1


def test_a_failing_database_is_opened_again_for_the_next_question(readers: Readers, opening: Opening) -> None:
    with pytest.raises(StoreError):
        ask(readers, raising(StoreError("history.db: it cannot be read or written")))
    assert ask(readers, lambda store: store.counts()).open == 0
    assert opening.times == 2


def test_one_that_cannot_be_opened_is_tried_again(opening: Opening) -> None:
    opening.path.write_bytes(b"certainly no database" * 100)
    readers = Readers(opening, threads=1)
    for _ in range(2):
        with pytest.raises(StoreError, match="mv "):
            ask(readers, lambda store: store.counts())
    opening.path.unlink()
    assert ask(readers, lambda store: store.counts()).open == 0
    readers.stop()


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_what_is_shown_is_the_file_that_is_there_now(
    readers: Readers, opening: Opening, tmp_path: Path, how: str
) -> None:
    with open_incidents(tmp_path / "other.db") as other:
        other.seen(2.0)
    ask(readers, lambda store: store.seen(1.0))
    for name in ("history.db-wal", "history.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    if how == "deleted":
        opening.path.unlink()
    else:
        (tmp_path / "other.db").replace(opening.path)
    assert ask(readers, lambda store: store.seen_at()) == (None if how == "deleted" else 2.0)
    assert ask(readers, lambda store: store.is_current())
    assert opening.times == 2


def test_a_scrape_does_not_wait_for_pages(opening: Opening) -> None:
    from test_app import Application

    from engram_diagnose.service.settings import Settings

    application = Application(opening.path.parent, Settings())
    services, go = application.services, threading.Event()

    async def crowded() -> Any:
        pages = [asyncio.create_task(services.ask(lambda _: go.wait(30))) for _ in range(50)]
        try:
            await asyncio.sleep(0)
            return await asyncio.wait_for(asyncio.to_thread(application.ask, "GET", "/metrics"), 20)
        finally:
            go.set()
            await asyncio.gather(*pages)

    assert "engram_diagnose_database_up 1.0" in asyncio.run(crowded()).text
    services.stop_reading()
    application.close()
