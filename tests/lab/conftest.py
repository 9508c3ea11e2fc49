"""Programs and stand-ins of this folder import each other by their names, also in processes of their own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_front import Lab, running


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running() as there:
        yield there
