"""The pages: the answer first, a search that keeps its filters, notes, and nothing hostile that does anything."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from filled_site import BUNDLE, HOSTILE, LONG, NOW, Site, diagnosed, fill, site, soiled

from engram_diagnose.render.html import style_source
from engram_diagnose.render.view import report
from engram_diagnose.service.forms import COOKIE, TEXT


@pytest.fixture
def here(tmp_path: Path) -> Site:
    return site(tmp_path / "history.db")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with sixty incidents of every kind."""
    found = site(tmp_path_factory.mktemp("full") / "history.db")
    fill(found, 7, 60)
    return found


def titles(page: str) -> list[str]:
    return re.findall(r'<h2><a href="/incidents/([^"]+)">', page)


def token(page: str) -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert found is not None
    return found.group(1)


# One incident


def test_an_incident_says_what_is_slow_why_what_to_do_and_how_to_undo_it(here: Site) -> None:
    page = here.browser().get(f"/incidents/{here.example()}").text
    order = [
        "<h1>", "5,296/s against 10,000/s</h1>", "Top cause: The WAL writes far more", "Confidence", "First:", "iostat",
        "To undo:", "Then:", "To undo:", "tune", "Evidence:", "Timeline", "Alerts", "Other causes",
        "Every fact as it was",
    ]  # fmt: skip
    place = 0
    for words in order:
        place = page.find(words, place)
        assert place >= 0, words


def test_the_evidence_is_there_as_it_was_and_can_be_taken_along(here: Site) -> None:
    id, browser = here.example(), here.browser()
    page = browser.get(f"/incidents/{id}").text
    assert page.count('<th scope="row"><code>') > 100
    assert browser.get(f"/api/v1/incidents/{id}/bundle").content == BUNDLE
    alone = browser.get(f"/incidents/{id}/report.html")
    assert alone.status_code == 200
    assert style_source() in alone.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in alone.headers["content-security-policy"]
    for link in re.findall(r'<a href="(/(?:api|incidents)/[^"#]+)"', page):
        assert browser.get(link).status_code == 200, link


def test_an_incident_that_waits_says_so_and_one_that_failed_says_why(here: Site) -> None:
    waiting, failed = here.open("db1:7432"), here.open("db2:7432")
    here.park(failed, "the worker was killed after 120 s")
    browser = here.browser()
    assert "The diagnosis has not begun" in browser.get(f"/incidents/{waiting}").text
    page = browser.get(f"/incidents/{failed}").text
    assert "The diagnosis failed" in page
    assert "the worker was killed after 120 s" in page


def test_a_finding_that_says_more_than_the_report_is_shown_with_it(here: Site) -> None:
    alone, plain = here.open("db1:7432"), here.example("db2:7432")
    answer = report(diagnosed()).verdict.answer.partition(": ")[2]
    here.diagnose(alone, diagnosed(), sentence=f"{answer}; without metrics: Prometheus did not answer")
    browser = here.browser()
    said = '<p class="notice">without metrics: Prometheus did not answer</p>'
    assert said in browser.get(f"/incidents/{alone}").text
    assert 'class="notice"' not in browser.get(f"/incidents/{plain}").text


def test_the_timeline_tells_what_happened_in_order(here: Site) -> None:
    id = here.example()
    here.close("db1:7432", NOW)
    page = here.browser().get(f"/incidents/{id}").text
    times = page[page.index("Timeline") :]
    places = [
        times.index(words) for words in ("EngramStoreSlow fires", "first alert arrived", "Diagnosed:", "is resolved")
    ]
    assert places == sorted(places)
    assert ">closed</span>" in page


def test_addresses_in_alerts_are_texts_and_no_links(here: Site) -> None:
    page = here.browser().get(f"/incidents/{here.example()}").text
    assert "javascript:alert(1)" in page
    assert not re.findall(r'(?:href|src|action)="(?!/|#|data:,")[^"]*"', page)


def test_what_is_not_there_is_a_page_that_leads_on(here: Site) -> None:
    for path in ("/incidents/nope", "/nope", "/incidents/%00%ff/report.html", "/static/../secrets"):
        answer = here.browser().get(path)
        assert answer.status_code == 404
        assert "<h1>Not Found</h1>" in answer.text
        assert '<a href="/">All incidents</a>' in answer.text


def test_a_method_that_makes_no_sense_is_refused(here: Site) -> None:
    for path, allowed in (("/", "GET, HEAD"), (f"/incidents/{here.example()}/notes", "POST")):
        answer = here.browser().request("DELETE", path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_links_stand_below_the_path_that_people_use(tmp_path: Path) -> None:
    found = site(tmp_path / "history.db", public_url="https://ops.example/engram")
    page = found.browser().get(f"/incidents/{found.example()}").text
    links = re.findall(r'(?:href|action)="([^"]+)"', page)
    assert all(link.startswith(("/engram/", "#", "data:,")) for link in links)


# The list


def test_the_list_names_cause_first_step_and_time_of_each_incident(here: Site) -> None:
    id = here.example()
    page = here.browser().get("/").text
    assert titles(page) == [id]
    for words in (
        "The WAL writes far more than the clients store",
        "wal.sync_mode: immediate",
        "4 hours ago",
        "CRITICAL",
    ):
        assert words in page


def test_an_empty_list_says_whether_nothing_came_or_nothing_fits(here: Site) -> None:
    assert "No alert has arrived yet" in here.browser().get("/").text
    here.example()
    page = here.browser().get("/?text=nobody").text
    assert "No incident fits" in page
    assert '<a href="/">Show all</a>' in page


def test_pages_follow_each_other_without_gap_or_repetition_and_keep_the_filters(full: Site) -> None:
    browser, found, path = full.browser(), [], "/?severity=critical&text=WAL&utm_source=mail"
    while path:
        page = browser.get(path).text
        found += titles(page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = older.group(1).replace("&amp;", "&") if older else ""
        if path:
            asked = parse_qs(urlsplit(path).query)
            assert (asked["severity"], asked["text"]) == (["critical"], ["WAL"])
            assert set(asked) == {"severity", "text", "cursor"}
    expected = []
    for one in browser.get("/api/v1/incidents?limit=200&severity=critical&text=WAL").json()["incidents"]:
        expected.append(one["id"])
    assert found == expected
    assert len(found) > 10


def test_the_form_shows_what_was_asked(full: Site) -> None:
    page = full.browser().get("/?state=open&severity=critical&text=%22%3Eb&since=2026-09-20T10:00&until=").text
    assert '<option value="open" selected>' in page
    assert '<option value="critical" selected>' in page
    assert 'value="&#34;&gt;b"' in page
    assert 'value="2026-09-20T10:00"' in page


@pytest.mark.parametrize(
    "query", ["since=yesterday", "state=shut", "cursor=%27%3B--", "severity=bad", "text=" + "x" * 201]
)
def test_a_filter_that_is_wrong_is_said_and_lists_nothing(full: Site, query: str) -> None:
    answer = full.browser().get(f"/?{query}")
    assert answer.status_code == 400
    assert titles(answer.text) == []
    assert f"parameter &#39;{query.partition('=')[0]}&#39;" in answer.text


# Hostile texts


def test_no_text_from_outside_does_anything_on_any_page(full: Site) -> None:
    browser = full.browser()
    ids = [one["id"] for one in browser.get("/api/v1/incidents?limit=200").json()["incidents"]]
    for path in ["/", *(f"/incidents/{id}" for id in ids[:30]), f"/?text={'%3Cscript%3E'}"]:
        page = browser.get(path).text
        assert "<script" not in page
        assert "<img" not in page
        assert page.replace("\n", "").isprintable()
        assert page.count("<title>") == page.count("</title>") == 1
        assert "x" * 2001 not in page


def test_a_hostile_incident_is_shown_as_it_is_named(here: Site) -> None:
    id = here.open(HOSTILE, name=HOSTILE, team=LONG)
    here.diagnose(id, soiled(diagnosed(), [HOSTILE, LONG]), title=HOSTILE, action=LONG)
    page = here.browser().get(f"/incidents/{id}").text
    assert r"\x1b[31m&lt;/title&gt;&lt;/style&gt;&lt;script&gt;alert(1)" in page
    assert r"\u202eevil" in page
    assert "(8,000 more characters)" in page


# Notes


def written(here: Site, id: str, browser: Any = None, **fields: str) -> Any:
    browser = browser or here.browser()
    form = {"token": token(browser.get(f"/incidents/{id}").text), "author": "Ada", "text": "Restarted it", **fields}
    return browser.post(f"/incidents/{id}/notes", data=form)


def test_a_note_is_kept_and_shown(here: Site) -> None:
    id = here.example()
    answer = written(here, id, text="Restarted it.\r\n<b>P99</b> fell\u202e")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"/incidents/{id}#note-")
    (note,) = here.store.notes(id)
    assert (note.author, note.text) == ("Ada", "Restarted it.\n<b>P99</b> fell\u202e")
    page = here.browser().get(f"/incidents/{id}").text
    assert r"<bdi>Restarted it.</bdi><br><bdi>&lt;b&gt;P99&lt;/b&gt; fell\u202e</bdi>" in page
    assert f'id="{answer.headers["location"].partition("#")[2]}"' in page


@pytest.mark.parametrize("forged", ["", "0" * 64, "é"])
def test_a_form_of_another_site_keeps_nothing_and_what_was_written_is_not_lost(here: Site, forged: str) -> None:
    id = here.example()
    answer = written(here, id, token=forged, text="line one\nline </textarea><script>two")
    assert answer.status_code == 403
    assert here.store.notes(id) == ()
    assert "line one\nline &lt;/textarea&gt;&lt;script&gt;two</textarea>" in answer.text
    assert "out of date" in answer.text


def test_a_token_fits_one_browser_and_one_incident(here: Site) -> None:
    one, other = here.example("db1:7432"), here.example("db2:7432")
    browser, stranger = here.browser(), here.browser()
    fresh = token(browser.get(f"/incidents/{one}").text)
    assert written(here, other, browser, token=fresh).status_code == 403
    stranger.get(f"/incidents/{one}")
    assert written(here, one, stranger, token=fresh).status_code == 403
    assert browser.request("POST", f"/incidents/{one}/notes", data={"token": fresh, "text": "x"}).status_code == 303


def test_the_cookie_goes_to_no_other_site_and_no_script(tmp_path: Path) -> None:
    found = site(tmp_path / "history.db", public_url="https://ops.example")
    cookie = found.browser().get(f"/incidents/{found.example()}").headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=strict", "Secure", "Path=/incidents"} <= set(cookie.split("; "))


@pytest.mark.parametrize("text", ["", "  \n ", "x" * (TEXT + 1)])
def test_a_note_that_cannot_be_kept_says_why(here: Site, text: str) -> None:
    id = here.example()
    answer = written(here, id, text=text)
    assert answer.status_code == 400
    assert "Not kept:" in answer.text
    assert here.store.notes(id) == ()


def test_a_note_comes_as_a_form_of_reasonable_size(here: Site) -> None:
    browser, path = here.browser(), f"/incidents/{here.example()}/notes"
    assert browser.post(path, content=b"text=x", headers={"content-type": "text/plain"}).status_code == 415
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert browser.post(path, content=b"text=" + b"x" * 70_000, headers=form).status_code == 413
    assert browser.post(path, content=b"text=%ff", headers=form).status_code == 400
    assert browser.post(path, content=b"&".join([b"a=1"] * 50), headers=form).status_code == 400


def test_nobody_writes_about_an_incident_that_is_not_there(here: Site) -> None:
    id, browser = here.example(), here.browser()
    fresh = token(browser.get(f"/incidents/{id}").text)
    assert browser.post("/incidents/nope/notes", data={"token": fresh, "text": "x"}).status_code == 404


# Trying again


def retried(here: Site, id: str, browser: Any = None, **form: str) -> Any:
    browser = browser or here.browser()
    page = browser.get(f"/incidents/{id}").text
    return browser.post(f"/incidents/{id}/retry", data={"token": token(page), **form})


def test_the_button_has_a_diagnosis_that_failed_tried_again(here: Site) -> None:
    id = here.open("db1:7432")
    here.park(id, "the worker was killed after 120 s")
    browser = here.browser()
    assert "Try it again" in browser.get(f"/incidents/{id}").text
    answer = retried(here, id, browser)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/incidents/{id}")
    page = browser.get(f"/incidents/{id}").text
    assert "The diagnosis has not begun" in page
    assert "Try it again" not in page
    assert here.store.counts().parked == 0


@pytest.mark.parametrize("forged", ["", "0" * 64])
def test_a_form_of_another_site_has_nothing_tried_again(here: Site, forged: str) -> None:
    id = here.open("db1:7432")
    here.park(id, "killed")
    answer = retried(here, id, token=forged)
    assert answer.status_code == 403
    assert "nothing was done" in answer.text
    assert "Try it again" in answer.text
    assert here.store.counts().parked == 1


def test_the_button_pressed_twice_does_no_harm(here: Site) -> None:
    id = here.open("db1:7432")
    here.park(id, "killed")
    browser = here.browser()
    fresh = token(browser.get(f"/incidents/{id}").text)
    for _ in range(2):
        assert browser.post(f"/incidents/{id}/retry", data={"token": fresh}).status_code == 303
    done = here.example("db2:7432")
    assert "Try it again" not in browser.get(f"/incidents/{done}").text
    path = f"/incidents/{done}/retry"
    assert browser.post(path, content=b"", headers={"content-type": "text/plain"}).status_code == 415


# What goes with every page


def test_every_page_has_landmarks_headings_in_order_and_labels(full: Site) -> None:
    browser = full.browser()
    id = titles(browser.get("/?severity=critical").text)[0]
    for path in ("/", "/?state=open", f"/incidents/{id}", "/nope"):
        page = browser.get(path).text
        assert page.startswith("<!doctype html>")
        for landmark in ('<main id="answer"', "<header", "<footer", "<nav", 'class="skip" href="#answer"', "<h1>"):
            assert landmark in page, (path, landmark)
        levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
        assert all(after <= before + 1 for before, after in zip([0, *levels], levels, strict=False)), (path, levels)
        fields = re.findall(r'<(?:input|select|textarea) id="([^"]+)"', page)
        assert all(f'<label for="{field}">' in page for field in fields)
        assert len(re.findall(r"<(?:input|select|textarea)(?! type=.hidden)", page)) == len(fields)
        ids = re.findall(r' id="([^"]+)"', page)
        assert len(ids) == len(set(ids))
        assert "style=" not in page


def test_no_page_needs_more_than_its_style_sheet(full: Site) -> None:
    browser = full.browser()
    page = browser.get("/")
    assert re.findall(r'<link rel="stylesheet" href="([^"]+)">', page.text) == ["/static/engram-diagnose.css"]
    sheet = browser.get("/static/engram-diagnose.css")
    assert sheet.headers["content-type"].startswith("text/css")
    assert "style-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"


def test_a_database_that_fails_is_a_page_that_says_try_again(here: Site) -> None:
    here.store.close()
    for suffix in ("", "-wal", "-shm"):
        here.path.with_name(here.path.name + suffix).write_bytes(b"no database at all, " * 500)
    answer = here.browser().get("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert str(here.path) not in answer.text
    assert str(here.path) in here.log.getvalue()


def test_a_storm_of_alerts_is_counted_and_shown_in_part(here: Site) -> None:
    for number in range(230):
        id = here.open("db9:7432", NOW, shard=str(number))
        here.open("db9:7432", NOW, name=f"Alert{number:03}")
    page = here.browser().get(f"/incidents/{id}").text
    assert "Alert000, Alert001, Alert002 and 228 more" in page
    assert re.search(r"The first 200 of 460; <a href=\"[^\"]*/alerts\">the JSON</a> has all of them", page)
