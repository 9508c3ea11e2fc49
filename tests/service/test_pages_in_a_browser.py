"""The pages in a real browser: nothing on the console, nothing wider than the window, everything by keyboard."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from chromium import Chromium, chromium, program
from filled_site import HOSTILE, LONG, Site, diagnosed, site, soiled

from engram_diagnose.render.html import render_html

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(program() is None, reason="no Chromium on PATH (Debian's package chromium has it)"),
]

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNFOLD = "document.querySelectorAll('details').forEach(one => one.open = true)"
FOCUSED = "document.activeElement.textContent.trim()"
OUTLINE = "getComputedStyle(document.activeElement).outlineStyle"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Site:
    found = site(tmp_path_factory.mktemp("site") / "history.db")
    found.example()
    found.open("waits:7432")
    found.park(found.open("fails:7432"), "the worker was killed")
    hostile = found.open(HOSTILE, name=HOSTILE, team=LONG)
    found.diagnose(hostile, soiled(diagnosed(), [HOSTILE, LONG]), title=HOSTILE, action=LONG)
    return found


@contextmanager
def served(found: Site) -> Iterator[str]:
    """The address of the site, served by a thread."""
    server = uvicorn.Server(uvicorn.Config(found.app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(here: Site) -> Iterator[str]:
    with served(here) as found:
        yield found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_page_fits_the_window_and_tells_the_console_nothing(
    here: Site, address: str, browser: Chromium, width: int, dark: bool
) -> None:
    ids = [one["id"] for one in here.browser().get("/api/v1/incidents").json()["incidents"]]
    assert len(ids) == 4
    paths = ["/", "/?text=wal&state=open", *(f"/incidents/{id}" for id in ids)]
    for path in paths:
        browser.show(address + path, width=width, dark=dark)
        for _ in range(2):
            assert browser.value(WIDER) <= 0, path
            browser.value(UNFOLD)
        assert browser.value("getComputedStyle(document.body).backgroundColor") == (
            "rgb(18, 20, 24)" if dark else "rgb(246, 247, 249)"
        )
        assert browser.value("document.scripts.length") == 0
    assert browser.complaints == []


@pytest.mark.parametrize("width", [1280, 400])
def test_the_offline_report_fits_and_keeps_to_its_policy(tmp_path: Path, browser: Chromium, width: int) -> None:
    for name, document in (("plain", diagnosed()), ("hostile", soiled(diagnosed(), [HOSTILE, LONG]))):
        path = tmp_path / f"{name}.html"
        path.write_text(render_html(document), encoding="utf-8")
        browser.show(path.as_uri(), width=width, dark=False)
        browser.value(UNFOLD)
        assert browser.value(WIDER) <= 0
        assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
    assert browser.complaints == []


def test_the_skip_link_comes_first_and_the_focus_is_seen(here: Site, address: str, browser: Chromium) -> None:
    browser.show(address + f"/incidents/{here.browser().get('/api/v1/incidents').json()['incidents'][-1]['id']}",
                 width=400, dark=False)  # fmt: skip
    browser.press("Tab", 9)
    assert browser.value(FOCUSED) == "Skip to the content"
    assert browser.value(OUTLINE) == "solid"
    assert browser.value("document.activeElement.getBoundingClientRect().top >= 0")
    browser.press("Enter", 13)
    browser.press("Tab", 9)
    assert browser.value("document.querySelector('main').contains(document.activeElement)")
    assert browser.value(OUTLINE) == "solid"


def test_what_is_folded_opens_by_key(here: Site, address: str, browser: Chromium) -> None:
    browser.show(address + "/", width=400, dark=True)
    for _ in range(12):
        browser.press("Tab", 9)
        if browser.value(FOCUSED) == "More filters":
            break
    browser.press("Enter", 13)
    assert browser.value("document.activeElement.parentElement.open")
