"""What the service answers, with a real database behind it."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engram_diagnose.history.incidents import StoreError, open_incidents
from engram_diagnose.history.records import Accepted, Search
from engram_diagnose.service.app import create_app
from engram_diagnose.service.commit import Full, GroupCommit
from engram_diagnose.service.log import Log
from engram_diagnose.service.metrics import Metrics, Running
from engram_diagnose.service.server import grouping_of
from engram_diagnose.service.services import Services
from engram_diagnose.service.settings import Incidents, Settings

NOW = 1_795_316_400.0


class Part:
    """A part of the service that only remembers whether it was woken."""

    state = None

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class Failing(Part):
    """A writer that cannot write."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    def keep(self, notification: Any, received: float) -> asyncio.Future[Accepted]:
        if isinstance(self.error, Full):
            raise self.error
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        if self.error:
            future.set_exception(self.error)
        return future


class Application:
    """The application, as a caller without a network sees it."""

    def __init__(self, folder: Path, settings: Settings, commit: Any = None, routes: list[Route] | None = None) -> None:
        self.database = folder / "history.db"
        self.log = (folder / "log").open("w+")
        self.supervisor, self.courier = Part(), Part()
        self.commit = commit or GroupCommit(lambda: open_incidents(self.database), grouping_of(settings))
        if commit is None:
            self.commit.start()
        self.services = Services(
            settings=settings,
            commit=self.commit,
            store=lambda: open_incidents(self.database),
            supervisor=self.supervisor,
            courier=self.courier,
            reconciler=Part(),  # type: ignore[arg-type]
            clock=lambda: NOW,
            log=Log(self.log),
            metrics=Metrics(),
        )
        self.app = create_app(self.services, routes or [])

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())

    def post(self, content: Any, path: str = "/api/v1/alerts") -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", path, content=body, headers={"content-type": "application/json"})

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def close(self) -> None:
        self.services.readers.stop()
        if isinstance(self.commit, GroupCommit):
            self.commit.stop()
        self.log.close()


Make = Callable[..., Application]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Application] = []

    def begin(commit: Any = None, routes: list[Route] | None = None, **settings: Any) -> Application:
        made.append(Application(tmp_path, Settings(**settings), commit, routes))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def alert(name: str = "RecallLatencyHigh", status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "instance": "db1:7432", "severity": "critical"} | labels,
        "annotations": {"summary": "slow"},
        "startsAt": "2026-11-22T02:55:00Z",
        "endsAt": "2026-11-22T03:10:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "0123456789abcdef",
    }


def notification(*alerts: Any) -> dict[str, Any]:
    return {
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "engram",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am",
        "alerts": list(alerts),
    }  # fmt: skip


def assert_problem(answer: httpx.Response) -> None:
    """Whoever refuses says so in one way."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["title"]
    assert told["detail"]


def test_an_alert_that_was_accepted_is_on_the_disk(make: Make) -> None:
    app = make()
    answer = app.post(notification(alert()))
    assert answer.status_code == 202
    assert answer.json()["new"] == 1
    (incident,) = answer.json()["incidents"]
    with open_incidents(app.database) as store:
        found = store.incident(incident)
        assert found is not None
        assert [one.name for one in found.alerts] == ["RecallLatencyHigh"]
        assert store.counts().queued == 1
    assert app.supervisor.woken == 1


def test_what_was_sent_before_is_accepted_and_changes_nothing(make: Make) -> None:
    app = make()
    first, again = app.post(notification(alert())), app.post(notification(alert()))
    assert (again.status_code, again.json()["new"], again.json()["duplicates"]) == (202, 0, 1)
    assert again.json()["incidents"] == first.json()["incidents"]
    assert app.supervisor.woken == 1


def test_the_end_of_an_incident_wakes_the_courier(make: Make) -> None:
    app = make()
    app.post(notification(alert()))
    assert app.post(notification(alert(status="resolved"))).status_code == 202
    assert app.courier.woken == 1


def test_our_own_alerts_and_ignored_ones_are_not_taken_in(make: Make) -> None:
    app = make(incidents=Incidents(ignore=("Watchdog",)))
    answer = app.post(notification(alert("EngramDiagnosis"), alert("Watchdog")))
    assert (answer.status_code, answer.json()["ignored"], answer.json()["incidents"]) == (202, 2, [])
    assert app.post(notification(alert("EngramDiagnosis"), alert())).json()["new"] == 1
    with open_incidents(app.database) as store:
        assert len(store.search(Search()).items) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"1e999", b"[" * 100_000, b'{"alerts": 3}', b'{"version": "4"}',
     b'{"version": "4", "alerts": [{"status": "firing", "labels": {"a": 1}}]}'],
)  # fmt: skip
def test_what_is_no_notification_is_refused_for_good(make: Make, body: bytes) -> None:
    app = make()
    answer = app.post(body)
    assert answer.status_code == 400
    assert_problem(answer)
    with open_incidents(app.database) as store:
        assert store.counts().alerts == 0


def test_a_malformed_alert_is_left_out_counted_logged_and_said(make: Make) -> None:
    app = make()
    answer = app.post(notification(alert(), {"status": "firing", "labels": ["a"]}, alert("EngramDiagnosis"), 7))
    assert answer.status_code == 202
    told = answer.json()
    assert (told["new"], told["ignored"], told["malformed"], len(told["problems"])) == (1, 1, 2, 2)
    assert "$.alerts[1]" in told["problems"][0]
    assert "$.alerts[3]" in told["problems"][1]
    assert 'engram_diagnose_alerts_total{result="malformed"} 2.0' in app.ask("GET", "/metrics").text
    assert "malformed alerts left out" in app.said()
    with open_incidents(app.database) as store:
        assert store.counts().alerts == 1
    many = app.post(notification(alert(), *[{}] * 300)).json()
    assert (many["malformed"], len(many["problems"])) == (300, 20)


def test_when_too_much_waits_the_sender_is_asked_to_come_again(make: Make) -> None:
    answer = make(Failing(Full("full"))).post(notification(alert()))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert_problem(answer)


@pytest.mark.parametrize("error", [StoreError("history.db: the disk is full; make room"), OSError("gone")])
def test_when_the_disk_fails_the_sender_is_asked_to_come_again(make: Make, error: Exception) -> None:
    app = make(Failing(error))
    answer = app.post(notification(alert()))
    assert answer.status_code == 503
    assert "disk is full" not in answer.text
    assert str(error) in app.said()
    assert app.supervisor.woken == 0
    assert app.services.failed_at is not None


def test_when_the_disk_does_not_answer_nothing_is_promised(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engram_diagnose.service.app._DISK_SECONDS", 0.1)
    assert make(Failing()).post(notification(alert())).status_code == 503


@pytest.mark.parametrize("path", ["/api/v1/alerts/", "//api/v1/alerts", "/api/v1/alerts/x", "/API/v1/alerts", "/api"])
def test_no_webhook_is_ever_redirected(make: Make, path: str) -> None:
    assert make().post(notification(alert()), path).status_code == 404


def test_the_webhook_takes_nothing_but_a_post(make: Make) -> None:
    app = make()
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = app.ask(method, "/api/v1/alerts")
        assert answer.status_code == 405
        assert_problem(answer)


def test_probes_say_whether_alerts_are_taken_in(make: Make) -> None:
    app = make()
    assert app.ask("GET", "/-/healthy").text == "healthy\n"
    assert app.ask("GET", "/-/ready").json() == {"ready": True, "worker": "down"}
    app.services.running = lambda: Running(worker=True)
    assert app.ask("GET", "/-/ready").json()["worker"] == "up"
    app.services.not_ready = lambda: ("the service is stopping",)
    answer = app.ask("GET", "/-/ready")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["the service is stopping"])
    assert_problem(answer)
    assert app.ask("GET", "/-/healthy").status_code == 200


def test_a_reload_says_what_came_of_it(make: Make) -> None:
    app = make()

    async def broken() -> str | None:
        return "rules/x.yaml:3:1: unknown fact"

    assert app.ask("POST", "/-/reload").json() == {"reloaded": True}
    app.services.reload = broken
    answer = app.ask("POST", "/-/reload")
    assert answer.status_code == 500
    assert_problem(answer)
    assert answer.json()["detail"] == "rules/x.yaml:3:1: unknown fact"
    assert answer.json()["reloaded"] is False
    assert app.ask("GET", "/-/reload").status_code == 405


def test_what_nobody_foresaw_is_logged_and_not_told(make: Make) -> None:
    async def broken(request: Request) -> Response:
        raise RuntimeError("a secret path")

    app = make(routes=[Route("/broken", broken)])
    answer = app.ask("GET", "/broken")
    assert answer.status_code == 500
    assert_problem(answer)
    assert "secret" not in answer.text
    assert "a secret path" in app.said()
    assert 'responses_total{code="500"} 1.0' in app.ask("GET", "/metrics").text


def test_pages_pass_the_same_guard(make: Make) -> None:
    async def page(request: Request) -> Response:
        return PlainTextResponse("page")

    app = make(routes=[Route("/", page)])
    assert "content-security-policy" in app.ask("GET", "/").headers
    assert app.ask("GET", "/", headers={"host": "evil.example"}).status_code == 421


def test_text_from_outside_makes_no_second_line_in_the_log(make: Make) -> None:
    app = make()
    app.post(b'{"version": "4", "alerts": [{"status": "fi\\nring\\u001b[31m"}]}')
    lines = app.said().splitlines()
    assert all(json.loads(line) for line in lines)
    assert "\x1b" not in app.said()


def test_hundreds_at_once_are_all_kept(make: Make) -> None:
    app = make()

    async def storm() -> list[int]:
        transport = httpx.ASGITransport(app.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            posts = [client.post("/api/v1/alerts", json=notification(alert(shard=str(n)))) for n in range(300)]
            return [answer.status_code for answer in await asyncio.gather(*posts)]

    assert asyncio.run(storm()) == [202] * 300
    with open_incidents(app.database) as store:
        assert store.counts().alerts == 300


def test_questions_are_asked_in_threads_of_their_own(make: Make) -> None:
    app = make()

    async def names() -> set[str]:
        found = await asyncio.gather(*(app.services.ask(lambda _: threading.current_thread().name) for _ in range(8)))
        return set(found)

    assert threading.current_thread().name not in asyncio.run(names())
