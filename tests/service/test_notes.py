"""Notes beyond the most that an incident has: refused in words, and nothing that was written is lost from the form."""

import re
from pathlib import Path

import pytest
from filled_site import NOW, Site, site

from engram_diagnose.history.incidents import MOST_NOTES


@pytest.fixture
def here(tmp_path: Path) -> Site:
    return site(tmp_path / "history.db")


def filled(here: Site) -> str:
    id = here.open("db1:7432")
    for number in range(MOST_NOTES):
        here.store.add_note(id, "ada", f"{number}", NOW + number)
    return id


def test_the_api_says_that_no_more_notes_are_kept_and_what_to_do(here: Site) -> None:
    id, browser = filled(here), here.browser()
    answer = browser.post(f"/api/v1/incidents/{id}/notes", json={"text": "one more"})
    assert answer.status_code == 409
    assert f"{MOST_NOTES} notes, which is the most; write on where" in answer.json()["detail"]
    assert str(here.path) not in answer.text
    assert len(browser.get(f"/api/v1/incidents/{id}/notes").json()["notes"]) == MOST_NOTES
    operation = browser.get("/api/v1/openapi.json").json()["paths"]["/api/v1/incidents/{id}/notes"]["post"]
    assert "409" in operation["responses"]
    assert here.log.getvalue() == "", "nothing of the service's failed"


def test_the_page_says_so_beside_what_was_written(here: Site) -> None:
    id, browser = filled(here), here.browser()
    token = re.search(r'name="token" value="([0-9a-f]+)"', browser.get(f"/incidents/{id}").text)
    assert token is not None
    answer = browser.post(f"/incidents/{id}/notes", data={"token": token.group(1), "text": "what I did at night"})
    assert answer.status_code == 409
    assert f"Not kept: this incident has {MOST_NOTES} notes" in answer.text
    assert "what I did at night" in answer.text


def test_the_page_for_operators_says_how_many_notes_there_may_be() -> None:
    page = Path(__file__).parents[2] / "docs" / "operations" / "service.md"
    assert f"An incident has {MOST_NOTES} notes at most" in " ".join(page.read_text().split())
