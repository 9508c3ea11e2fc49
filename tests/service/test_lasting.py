"""A failure that lasts is told as it begins, seldom while it goes on, and once when it is over."""

import asyncio
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.history.incidents import IncidentStore, StoreError
from engram_diagnose.service.lasting import REMINDER_SECONDS, Lasting
from engram_diagnose.service.log import Log
from engram_diagnose.service.server import Service
from engram_diagnose.service.settings import Settings

AGAIN_SECONDS = 5.0


def lines(said: io.StringIO) -> list[tuple[Any, ...]]:
    """Level, event, error and failures of each line."""
    found = (json.loads(line) for line in said.getvalue().splitlines())
    return [(line["level"], line["event"], line.get("error"), line["failures"]) for line in found]


class Stepping:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


def test_half_an_hour_of_failures_is_four_lines_with_its_end() -> None:
    said, clock = io.StringIO(), Stepping()
    lasting = Lasting("retention", Log(said), clock=clock)
    for number in range(int(1795 / AGAIN_SECONDS)):
        lasting.failed(f"the disk is full, {number}")
        clock.now += AGAIN_SECONDS
    lasting.worked()
    each = int(REMINDER_SECONDS / AGAIN_SECONDS)
    assert lines(said) == [
        ("error", "retention failed", "the disk is full, 0", 1),
        ("error", "retention failed", f"the disk is full, {each}", each + 1),
        ("error", "retention failed", f"the disk is full, {2 * each}", 2 * each + 1),
        ("info", "retention works again", None, 359),
    ]


def test_what_works_says_nothing_and_a_second_failure_is_told_at_once() -> None:
    said, clock = io.StringIO(), Stepping()
    lasting = Lasting("retention", Log(said), clock=clock)
    lasting.worked()
    assert said.getvalue() == ""
    for _ in range(2):
        lasting.failed("the disk is full")
        lasting.worked()
        lasting.worked()
    assert [event for _, event, _, _ in lines(said)] == ["retention failed", "retention works again"] * 2


def test_retention_on_a_full_disk_is_tried_all_the_while_and_told_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part that removes, with pauses of its own; the disk has room again at the hundredth attempt."""
    said = io.StringIO()
    service = Service(Settings(database=tmp_path / "history.db"), Settings, Log(said))
    monkeypatch.setattr("engram_diagnose.service.server._AGAIN_SECONDS", 0.0)
    monkeypatch.setattr("engram_diagnose.service.server._PRUNE_SECONDS", 0.0)
    opened, tries = service._open, 0

    def store() -> IncidentStore:
        nonlocal tries
        tries += 1
        if tries < 100:
            raise StoreError("history.db: the disk is full")
        if tries > 105:
            raise asyncio.CancelledError
        return opened()

    monkeypatch.setattr(service, "_open", store)

    async def retained() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await service._retain()

    asyncio.run(retained())
    assert tries == 106
    assert lines(said) == [
        ("error", "retention failed", "history.db: the disk is full", 1),
        ("info", "retention works again", None, 99),
    ]
