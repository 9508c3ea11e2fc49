"""What the tests of the incidents share: made alerts, and a store of their own."""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "making"))

import pytest

from engram_diagnose.history.incidents import IncidentStore, open_incidents


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.db"


@pytest.fixture
def store(database: Path) -> Iterator[IncidentStore]:
    with open_incidents(database) as opened:
        yield opened
