"""The JSON API: what it answers, what may be cached, and how it says what is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from filled_site import BUNDLE, GROUPING, HOSTILE, LONG, NOW, Site, alert, diagnosed, fill, site

from engram_diagnose.history.model import Notification

BASE = "/api/v1/incidents"


@pytest.fixture
def here(tmp_path: Path) -> Site:
    return site(tmp_path / "history.db")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Site:
    found = site(tmp_path_factory.mktemp("full") / "history.db")
    fill(found, 11, 50)
    return found


def test_an_incident_is_told_with_its_alerts_its_finding_and_what_happened(here: Site) -> None:
    id = here.example()
    here.close("db1:7432", NOW)
    told = here.browser().get(f"{BASE}/{id}").json()
    assert (told["id"], told["state"], told["instance"]) == (id, "closed", "db1:7432")
    assert (told["at"], told["closed_at"]) == ("2026-09-21T14:13:20.000Z", "2026-09-21T14:14:20.000Z")
    assert told["job"] == {"state": "done", "attempts": 1, "error": ""}
    assert told["finding"]["title"] == "The WAL writes far more than the clients store"
    assert told["finding"]["severity"] == "critical"
    assert [one["labels"]["instance"] for one in told["alerts"]] == ["db1:7432"]
    assert {one["what"] for one in told["timeline"]} == {"firing", "opened", "diagnosed", "resolved", "closed"}


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, str]:
    """An incident of 450 alerts, of which every third is over."""
    found = site(tmp_path_factory.mktemp("storm") / "history.db")
    alerts = [
        alert("db1:7432", NOW - 300 + number / 10, name=f"Alert{number:03}", ends=None if number % 3 else NOW)
        for number in range(450)
    ]
    firing = [replace(one, status="firing", ends_at=None) for one in alerts]
    found.store.accept(Notification(tuple(firing)), NOW - 200, GROUPING)
    (id,) = found.store.accept(Notification(tuple(alerts)), NOW - 100, GROUPING).incidents
    return found, id


def test_of_an_incident_with_many_alerts_the_first_are_told_and_how_many_there_are(storm: tuple[Site, str]) -> None:
    here, id = storm
    told = here.browser().get(f"{BASE}/{id}").json()
    assert (len(told["alerts"]), told["alerts_in_all"]) == (200, 450)
    assert (len(told["timeline"]), told["timeline_in_all"]) == (200, 450 + 150 + 1)
    assert told["alert_names"] == [f"Alert{number:03}" for number in range(100)]


@pytest.mark.parametrize(("what", "in_all"), [("alerts", 450), ("timeline", 601)])
@pytest.mark.parametrize("limit", ["", "limit=7", "limit=200"])
def test_the_rest_comes_page_by_page(storm: tuple[Site, str], what: str, in_all: int, limit: str) -> None:
    here, id = storm
    browser, found = here.browser(), []
    cursor = ""
    while cursor is not None:
        page = browser.get(f"{BASE}/{id}/{what}?{limit}" + (f"&cursor={cursor}" if cursor else "")).json()
        found += page[what]
        cursor = page["cursor"]
    assert found[:200] == browser.get(f"{BASE}/{id}").json()[what]
    assert len({json.dumps(one, sort_keys=True) for one in found}) == len(found) == in_all


@pytest.mark.parametrize(
    ("query", "names"),
    [("limit=0", "limit"), ("limit=201", "limit"), ("cursor=x", "cursor"), ("cursor=20260922T0300", "cursor"),
     ("cursor=41dab5a3f0000000-0-9999999999999999999", "cursor"), ("state=open", "state"),
     ("limit=1&limit=2", "limit")],
)  # fmt: skip
@pytest.mark.parametrize("what", ["alerts", "timeline"])
def test_a_wrong_parameter_of_a_part_is_named(storm: tuple[Site, str], what: str, query: str, names: str) -> None:
    here, id = storm
    answer = here.browser().get(f"{BASE}/{id}/{what}?{query}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"parameter '{names}': ")
    assert here.browser().get(f"{BASE}/nope/{what}").status_code == 404


@pytest.mark.parametrize(
    "cursor", ["7ff0000000000000-0-1", "7ff8000000000000-0-1", "41dab5a3f0000000-9-999999999999999999"]
)
@pytest.mark.parametrize("what", ["alerts", "timeline"])
def test_behind_the_end_there_is_nothing(storm: tuple[Site, str], what: str, cursor: str) -> None:
    here, id = storm
    assert here.browser().get(f"{BASE}/{id}/{what}?cursor={cursor}").json() == {what: [], "cursor": None}


def test_what_has_no_finding_yet_says_null(here: Site) -> None:
    told = here.browser().get(f"{BASE}/{here.open('db1:7432')}").json()
    assert told["finding"] is None
    assert told["job"]["state"] == "queued"


def test_document_and_bundle_come_back_as_they_were_kept(here: Site) -> None:
    id, browser = here.example(), here.browser()
    assert browser.get(f"{BASE}/{id}/document").json() == diagnosed()
    bundle = browser.get(f"{BASE}/{id}/bundle")
    assert bundle.content == BUNDLE
    assert bundle.headers["content-type"] == "application/gzip"
    assert bundle.headers["content-disposition"] == f'attachment; filename="{id}.bundle"'


@pytest.mark.parametrize("what", ["document", "bundle"])
def test_what_never_changes_is_sent_once(here: Site, what: str) -> None:
    path, browser = f"{BASE}/{here.example()}/{what}", here.browser()
    first = browser.get(path)
    tag, date = first.headers["etag"], first.headers["last-modified"]
    assert "immutable" in first.headers["cache-control"]
    assert "private" in first.headers["cache-control"]
    assert date == "Mon, 21 Sep 2026 14:13:30 GMT"
    for held in (
        {"if-none-match": tag}, {"if-none-match": f'"x", W/{tag}'}, {"if-none-match": "*"}, {"if-modified-since": date},
    ):  # fmt: skip
        again = browser.get(path, headers=held)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), held
    for stale in (
        {"if-none-match": '"x"'}, {"if-none-match": '"x"', "if-modified-since": date},
        {"if-modified-since": "Mon, 21 Sep 2026 14:13:29 GMT"}, {"if-modified-since": "whenever"},
    ):  # fmt: skip
        assert browser.get(path, headers=stale).status_code == 200, stale


def test_head_tells_the_headers_alone(here: Site) -> None:
    path = f"{BASE}/{here.example()}/bundle"
    answer = here.browser().request("HEAD", path)
    assert answer.status_code == 200
    assert answer.headers["etag"] == here.browser().get(path).headers["etag"]


def test_pages_follow_each_other_without_gap_or_repetition(full: Site) -> None:
    browser = full.browser()
    every = [one["id"] for one in browser.get(f"{BASE}?limit=200").json()["incidents"]]
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = browser.get(f"{BASE}?limit=7" + (f"&cursor={cursor}" if cursor else "")).json()
        found += [one["id"] for one in page["incidents"]]
        cursor = page["cursor"]
    assert found == every == sorted(every, reverse=True)
    assert len(every) == 50


def test_filters_select_what_they_say(full: Site) -> None:
    browser = full.browser()
    every = browser.get(f"{BASE}?limit=200").json()["incidents"]

    def asked(**parameters: str) -> list[dict[str, object]]:
        answer = browser.get(BASE, params={"limit": "200", **parameters})
        assert answer.status_code == 200
        return list(answer.json()["incidents"])

    assert asked(state="parked") == [one for one in every if one["job"]["state"] == "parked"] != []
    assert asked(state="closed") == [one for one in every if one["state"] == "closed"] != []
    assert asked(instance="db1:7432") == [one for one in every if one["instance"] == "db1:7432"] != []
    middle = every[25]["at"]
    assert asked(since=middle) == every[:26]
    assert asked(until=middle) == every[26:]
    assert asked(since=middle[:-1] + "+01:00") == every[:27]
    assert asked(text="100%") == []
    assert asked(text="alert(1)") != []


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("stat=open", "stat"), ("state=shut", "state"), ("state=", "state"), ("state=open&state=closed", "state"),
        ("limit=0", "limit"), ("limit=201", "limit"), ("limit=1e3", "limit"), ("limit=٣", "limit"),
        ("since=2026-02-30", "since"), ("until=now", "until"), ("since=0000-01-01T00:00:00Z", "since"),
        ("cursor=%00", "cursor"), ("text=", "text"), (f"text={'x' * 201}", "text"), ("severity=fatal", "severity"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(full: Site, query: str, names: str) -> None:
    answer = full.browser().get(f"{BASE}?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["title"], problem["status"]) == ("Bad Request", 400)
    assert problem["detail"].startswith(f"parameter '{names}': ")


def test_a_diagnosis_that_is_not_made_yet_is_not_there_and_not_cached(here: Site) -> None:
    id = here.open("db1:7432")
    for what in ("document", "bundle"):
        answer = here.browser().get(f"{BASE}/{id}/{what}")
        assert answer.status_code == 404
        assert "no diagnosis yet; it is queued" in answer.json()["detail"]
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", [f"{BASE}/nope", f"{BASE}/nope/document", f"{BASE}/nope/notes", f"{BASE}/%00%ff/bundle", "/api/v2", "/api/"]
)
def test_what_is_not_there_is_a_problem(here: Site, path: str) -> None:
    answer = here.browser().get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_method_that_is_not_possible_is_a_problem_that_names_those_that_are(here: Site) -> None:
    for path, allowed in ((BASE, "GET, HEAD"), (f"{BASE}/x/notes", "GET, HEAD, POST")):
        answer = here.browser().request("PUT", path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.headers["content-type"] == "application/problem+json"
    assert here.browser().get("/api/v1/alerts").status_code == 405


def test_nothing_in_an_answer_acts_on_a_terminal(here: Site) -> None:
    id = here.open(HOSTILE, name=HOSTILE, team=LONG)
    text = here.browser().get(f"{BASE}/{id}").text
    assert text.rstrip("\n").isprintable()
    assert json.loads(text)["instance"] == HOSTILE


# Notes


def test_a_note_is_kept(here: Site) -> None:
    path, browser = f"{BASE}/{here.example()}/notes", here.browser()
    answer = browser.post(path, json={"author": "Ada", "text": "Restarted\r\nit "})
    assert answer.status_code == 201
    assert answer.headers["location"] == path
    assert answer.json() == {"id": 1, "at": "2026-09-21T18:13:20.000Z", "author": "Ada", "text": "Restarted\nit"}
    assert browser.get(path).json() == {"notes": [answer.json()]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"[]", 400), (b"{}", 400), (b'{"text": 1}', 400), (b'{"text": " "}', 400), (b"\xff", 400),
        (b'{"text": "\\ud800"}', 400), (b'{"text": "x", "more": 1}', 400), (b'{"text": "x", "author": null}', 400),
        (b"[" * 60_000, 400), (b'{"text": "' + b"x" * 70_000 + b'"}', 413),
        (b'{"text": "' + b"x" * 4001 + b'"}', 400),
    ],
)  # fmt: skip
def test_a_note_that_cannot_be_kept_is_a_problem(here: Site, body: bytes, status: int) -> None:
    id = here.example()
    answer = here.browser().post(f"{BASE}/{id}/notes", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert here.store.notes(id) == ()


def test_a_form_cannot_pass_for_a_program(here: Site) -> None:
    """What another site's page can send without asking is refused."""
    path = f"{BASE}/{here.example()}/notes"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert here.browser().post(path, content=b'{"text": "x"}', headers={"content-type": kind}).status_code == 415
    foreign = {"origin": "https://evil.example"}
    assert here.browser().post(path, json={"text": "x"}, headers=foreign).status_code == 403


def test_a_note_about_nothing_is_a_problem(here: Site) -> None:
    assert here.browser().post(f"{BASE}/nope/notes", json={"text": "x"}).status_code == 404


def test_a_database_that_fails_is_a_problem_to_try_again_and_gives_nothing_away(here: Site) -> None:
    here.store.close()
    here.path.write_bytes(b"no database at all, " * 500)
    for path in (BASE, f"{BASE}/x", f"{BASE}/x/document", f"{BASE}/x/notes"):
        answer = here.browser().get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert str(here.path) not in answer.text
    assert str(here.path) in here.log.getvalue()


# Trying again


def test_a_diagnosis_that_was_put_aside_is_tried_again_when_somebody_asks_for_it(here: Site) -> None:
    id = here.open("db1:7432")
    here.park(id, "the worker was killed after 120 s")
    answer = here.browser().post(f"{BASE}/{id}/retry")
    assert (answer.status_code, answer.json()) == (202, {"state": "queued", "attempts": 0, "error": ""})
    taken = here.store.take_job(NOW + 1)
    assert taken is not None
    assert taken[0].incident == id


def test_what_is_not_put_aside_cannot_be_tried_again(here: Site) -> None:
    waiting, done, browser = here.open("db1:7432"), here.example("db2:7432"), here.browser()
    for id, state in ((waiting, "queued"), (done, "done")):
        answer = browser.post(f"{BASE}/{id}/retry")
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert state in answer.json()["detail"]
    assert browser.post(f"{BASE}/nope/retry").status_code == 404
    assert browser.get(f"{BASE}/{done}/retry").status_code == 405
    assert here.browser().get(f"{BASE}/{done}").json()["job"]["state"] == "done"


def test_a_page_of_another_site_cannot_have_it_tried_again(here: Site) -> None:
    id = here.open("db1:7432")
    here.park(id, "killed")
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert here.browser().post(f"{BASE}/{id}/retry", headers=headers).status_code == 403
    assert here.store.counts().parked == 1
