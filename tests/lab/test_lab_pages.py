"""The lab's pages name all that it has."""

from pathlib import Path

import pytest
from fake_front import Lab
from unknown_to_the_lab import NOT_KNOWN_TO_THE_LAB

from engram_diagnose.lab.settings import key_names


@pytest.fixture
def page() -> str:
    return (Path(__file__).parents[2] / "docs" / "reference" / "lab-api.md").read_text()


def test_the_page_names_every_setting(page: str) -> None:
    assert [name for name in key_names() if f"`{name}`" not in page] == []


def test_the_page_names_every_route(page: str, lab: Lab) -> None:
    routes = lab.ask("GET", "/").json["routes"]
    assert [route for route in routes if route not in page] == []


def test_the_page_names_every_fact_the_lab_cannot_tell_and_no_other(page: str) -> None:
    assert [name for name in NOT_KNOWN_TO_THE_LAB if f"`{name}`" not in page] == []
