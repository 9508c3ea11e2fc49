"""
Programs and stand-ins of this folder import each other by their names, also in processes of their own; and what the
tests of the parts that send, ask and write share: a database of incidents, and the thread that writes to it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from places import GROUPING, Book

from engram_diagnose.service.commit import GroupCommit


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "history.db")


@pytest.fixture
def commit(book: Book) -> Iterator[GroupCommit]:
    writer = GroupCommit(book.open, GROUPING)
    writer.start()
    yield writer
    writer.stop()
