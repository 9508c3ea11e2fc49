"""The files as they are shipped."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def deploy(root: Path) -> Path:
    """Their folder."""
    return root / "templates" / "deploy"
