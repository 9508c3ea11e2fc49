"""Alertmanager's API as it answers, and as it does not."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from places import Answer, alertmanager, place, until

from engram_diagnose.service.alertmanager import Alertmanager, Raised, as_posted
from engram_diagnose.service.announce import OwnAlert
from engram_diagnose.service.outgoing import Refused
from engram_diagnose.service.settings import Login

T = TypeVar("T")
AT = 1_700_000_000.0
OWN = OwnAlert({"alertname": "EngramDiagnosis", "incident": "one"}, {"cause": "a cause"}, AT, "http://page.example/one")


def ask(url: str, question: Callable[[Alertmanager], Awaitable[T]], login: Login | None = None) -> T:
    async def asked() -> T:
        client = Alertmanager("am", url, login or Login(timeout_seconds=1))
        try:
            return await question(client)
        finally:
            await client.close()

    return asyncio.run(asked())


def refusal(answer: object) -> Refused:
    assert isinstance(answer, Refused)
    return answer


def test_an_alert_is_posted_with_its_start_its_end_and_its_page() -> None:
    with place() as at:
        assert ask(at.url + "/prefix", lambda client: client.post_alerts([as_posted(OWN, AT + 300)])) is None
    assert at.got[0].path == "/prefix/api/v2/alerts"
    assert at.got[0].headers["Content-Type"] == "application/json"
    assert at.got[0].json == [
        {"labels": OWN.labels, "annotations": OWN.annotations, "generatorURL": OWN.link,
         "startsAt": "2023-11-14T22:13:20.000Z", "endsAt": "2023-11-14T22:18:20.000Z"}
    ]  # fmt: skip


def test_an_end_before_the_start_takes_the_start_along_because_alertmanager_insists() -> None:
    posted = as_posted(OWN, AT - 10)
    assert posted["startsAt"] == posted["endsAt"] == "2023-11-14T22:13:10.000Z"


def test_a_login_goes_along_and_a_token_that_changes_counts_at_once(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first-secret\n")

    async def twice(client: Alertmanager) -> None:
        await client.alerts()
        token.write_text("second-secret\n")
        await client.alerts()

    with place() as at:
        ask(at.url, twice, Login(bearer_token_file=token, headers={"X-Scope-OrgID": "7"}))
    assert [got.headers["Authorization"] for got in at.got] == ["Bearer first-secret", "Bearer second-secret"]
    assert at.got[0].headers["X-Scope-OrgID"] == "7"


def test_user_and_password_of_the_address_become_a_login_and_stay_out_of_messages() -> None:
    with place(lambda _: Answer(500, b"no entry for swordfish")) as at:
        url = at.url.replace("http://", "http://admin:swordfish@")
        answer = refusal(ask(url, lambda client: client.alerts()))
    assert at.got[0].headers["Authorization"] == "Basic YWRtaW46c3dvcmRmaXNo"
    assert "swordfish" not in str(answer)


def test_a_secret_that_cannot_be_read_is_a_refusal_that_names_its_file(tmp_path: Path) -> None:
    login = Login(bearer_token_file=tmp_path / "none")
    assert str(tmp_path / "none") in refusal(ask("http://127.0.0.1:9", lambda client: client.alerts(), login)).detail


@pytest.mark.parametrize(("answer", "said", "rejected"), [
    (Answer(500, b"boom"), "answers 500 (boom)", False),
    (Answer(503, b"<html>"), "answers 503 (an HTML page)", False),
    (Answer(400, b'"bad label \\u001b[31m"'), "answers 400 (bad label [31m)", True),
    (Answer(400, b'{"code": 601, "message": "alerts in body is required"}'), "alerts in body is required", True),
    (Answer(401), "check the login", False),
    (Answer(404), "answers 404", True),
    (Answer(429, b"slow down"), "answers 429 (slow down)", False),
    (Answer(302, headers={"Location": "https://x.example/in?token=s3cret"}), "redirects to https://x.example,", False),
    (Answer(200, seconds=3), "did not answer within 1 s", False),
])  # fmt: skip
def test_what_goes_wrong_is_said_in_one_line_and_redirects_are_not_followed(
    answer: Answer, said: str, rejected: bool
) -> None:
    with place(lambda _: answer) as at:
        refused = refusal(ask(at.url, lambda client: client.post_alerts([as_posted(OWN, AT)])))
    assert said in refused.detail
    assert "s3cret" not in refused.detail
    assert refused.detail.isprintable()
    assert refused.rejected is rejected
    assert len(at.got) == 1


def test_one_that_is_not_there_is_said_to_be_not_there() -> None:
    refused = refusal(ask("http://127.0.0.1:9", lambda client: client.alerts()))
    assert "http://127.0.0.1:9 cannot be connected to" in refused.detail


@pytest.mark.parametrize(("after", "wait"), [
    ("7", 7.0), ("999999", 3600.0), ("nonsense", 0.0), ("-3", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ("Wed, 21 Oct 2099 07:28:00 GMT", 3600.0), ("Wed, 21 Oct 2015 07:28:00", 0.0),
])  # fmt: skip
def test_how_long_it_asks_to_be_left_alone_is_heard_within_bounds(after: str, wait: float) -> None:
    with place(lambda _: Answer(503, headers={"Retry-After": after})) as at:
        assert refusal(ask(at.url, lambda client: client.post_alerts([]))).wait == wait


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'[{"labels": 7}]', b"[" * 200_000, b"<html></html>", b"\xff",
                                  b'[{"labels":{},"startsAt":1}]'])  # fmt: skip
def test_an_answer_of_something_else_is_refused(body: bytes) -> None:
    with place(lambda _: Answer(200, body)) as at:
        assert (
            "does not answer as Alertmanager's API does" in refusal(ask(at.url, lambda client: client.alerts())).detail
        )


def test_an_alert_of_the_api_is_read_and_what_is_new_in_it_ignored() -> None:
    body = [{"labels": {"alertname": "A"}, "annotations": {"summary": "s"}, "startsAt": "2023-11-14T22:13:20.000Z",
             "endsAt": "2023-11-14T22:18:20.000Z", "updatedAt": "x", "fingerprint": "f", "generatorURL": "http://g",
             "receivers": [{"name": "r", "future": 1}], "status": {"state": "active", "mutedBy": []}}]  # fmt: skip
    with place(lambda _: Answer(200, json.dumps(body).encode())) as at:
        assert ask(at.url, lambda client: client.alerts()) == [
            Raised({"alertname": "A"}, {"summary": "s"}, "2023-11-14T22:13:20.000Z", "f", "http://g", frozenset({"r"}),
                   "active")
        ]  # fmt: skip


def test_hundreds_of_calls_leave_no_connection_open() -> None:
    with place() as at:

        async def often(client: Alertmanager) -> None:
            await asyncio.gather(*(client.alerts() for _ in range(200)))

        ask(at.url, often, Login(timeout_seconds=30))
    assert len(at.got) == 200


@pytest.mark.server
def test_a_real_one_takes_an_alert_lists_it_and_forgets_it_once_resolved(tmp_path: Path) -> None:
    own = OwnAlert(OWN.labels, OWN.annotations, time.time() - 30, OWN.link)
    with alertmanager(tmp_path) as real:
        assert ask(real.url, lambda client: client.post_alerts([as_posted(own, time.time() + 60)])) is None
        until(lambda: real.alerts(alertname="EngramDiagnosis"), "the alert")
        (found,) = ask(real.url, lambda client: client.alerts())
        assert (found.labels, found.annotations, found.generator) == (own.labels, own.annotations, own.link)
        assert found.receivers == {"engram-diagnose"}
        assert ask(real.url, lambda client: client.receivers()) == {"engram-diagnose", "others"}
        started = ask(real.url, lambda client: client.started())
        assert isinstance(started, float)
        assert 0 <= time.time() - started < 30
        assert ask(real.url, lambda client: client.post_alerts([as_posted(own, time.time() - 1)])) is None
        until(lambda: not real.alerts(alertname="EngramDiagnosis"), "the alert to go")
        assert ask(real.url, lambda client: client.alerts()) == []


@pytest.mark.server
def test_of_several_a_real_one_takes_those_it_finds_valid(tmp_path: Path) -> None:
    good = as_posted(OwnAlert({"alertname": "Good"}, {}, time.time(), ""), time.time() + 60)
    with alertmanager(tmp_path) as real:
        answer = ask(real.url, lambda client: client.post_alerts([good, {**good, "labels": {"not a name": "x"}}]))
        assert refusal(answer).rejected
        until(lambda: real.alerts(alertname="Good"), "the valid one")
