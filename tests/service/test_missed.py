"""What fired and ended while the service was down is found afterwards, once, and by nobody else's alerts."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from places import GROUPING, Answer, Book, Got, free_port, place, until

from engram_diagnose.history.model import Alert, Notification
from engram_diagnose.service.commit import GroupCommit
from engram_diagnose.service.missed import is_matchers
from engram_diagnose.service.reconcile import Reconciler
from engram_diagnose.service.settings import Alertmanager, Incidents, Prometheus, Settings

NOW = 1_800_000_000.0
DOWN = NOW - 1800
"""Half an hour without the service."""


def settings_of(url: str, *missed: str) -> Settings:
    return Settings(
        prometheus=Prometheus(url),
        alertmanager=Alertmanager(missed=missed or ('job="engram"',)),
        incidents=Incidents(ignore=("Watchdog",)),
    )


def looked_back(book: Book, commit: GroupCommit, settings: Settings, *times: float) -> list[int]:
    """Look back at each of the instants with one service; what each look found."""
    now = list(times or (NOW,))

    async def looked() -> list[int]:
        reconciler = Reconciler(settings, book.open, commit, book.log, clock=lambda: now[0])
        found = []
        while now:
            found.append(await reconciler.look_back())
            del now[0]
        reconciler._readers.stop()
        return found

    return asyncio.run(looked())


def seen(book: Book, at: float = DOWN) -> None:
    with book.open() as store:
        store.seen(at)


def seen_at(book: Book) -> float | None:
    with book.open() as store:
        return store.seen_at()


def series(begin: float, end: float, name: str = "EngramDown", **labels: str) -> dict[str, Any]:
    """`ALERTS` of one alert, evaluated every 15 s."""
    metric = {"__name__": "ALERTS", "alertstate": "firing", "alertname": name, "instance": "engram-1", **labels}
    return {"metric": metric, "values": [[begin + step, "1"] for step in range(0, int(end - begin) + 1, 15)]}


def prometheus(*all: dict[str, Any]) -> Any:
    """What Prometheus answers: the samples in the window that is asked for."""

    def answer(got: Got) -> Answer:
        form = {name: values[0] for name, values in parse_qs(got.body.decode()).items()}
        at, query = float(form["time"]), form["query"]
        length = float(query.rpartition("[")[2].removesuffix("s]")) if query.endswith("]") else 0.0
        result = []
        for one in all:
            values = [pair for pair in one["values"] if at - max(length, 15) < pair[0] <= at]
            shown: Any = {"values": values} if length else {"value": [at, "1"]}
            result += [{"metric": one["metric"], **shown}] if values else []
        kind = "matrix" if length else "vector"
        return Answer(200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode())

    return answer


def test_an_alert_that_fired_and_ended_meanwhile_has_its_incident_which_is_closed_and_to_be_diagnosed(
    book: Book, commit: GroupCommit
) -> None:
    seen(book)
    with place(prometheus(series(DOWN + 300, DOWN + 600))) as at:
        assert looked_back(book, commit, settings_of(at.url), NOW, NOW + 60) == [1, 0]
    (incident,) = book.incidents()
    assert (incident.state, incident.at, incident.closed_at) == ("closed", DOWN + 300, DOWN + 600)
    assert [(alert.name, alert.status) for alert in incident.alerts] == [("EngramDown", "resolved")]
    with book.open() as store:
        assert {moment.source for moment in store.timeline(incident.id) if moment.alert} == {"reconciled"}
        assert store.counts().queued == 1
    assert seen_at(book) == NOW + 60
    assert book.events() == []


def test_a_service_that_was_never_there_missed_nothing(book: Book, commit: GroupCommit) -> None:
    with place(prometheus(series(DOWN + 300, DOWN + 600))) as at:
        assert looked_back(book, commit, settings_of(at.url)) == [0]
        assert at.got == []
    assert seen_at(book) == NOW


def test_what_is_asked_for_is_what_the_settings_say(book: Book, commit: GroupCommit) -> None:
    seen(book)
    with place(prometheus()) as at:
        looked_back(book, commit, settings_of(at.url, 'job="engram"', 'team=~"db|infra"'))
        asked = {parse_qs(got.body.decode())["query"][0].partition("[")[0] for got in at.got}
    assert asked == {'ALERTS{alertstate="firing",job="engram"}', 'ALERTS{alertstate="firing",team=~"db|infra"}'}


@pytest.mark.parametrize("one", [
    series(DOWN + 300, NOW), series(DOWN - 590, DOWN + 300), series(DOWN + 300, DOWN + 600, "Watchdog"),
    series(DOWN + 300, DOWN + 600, "EngramDiagnosis"), series(DOWN - 250, DOWN - 60),
], ids=["still fires", "fired before", "ignored", "ours", "over before"])  # fmt: skip
def test_what_others_tell_of_and_what_is_not_to_be_diagnosed_is_left_out(
    book: Book, commit: GroupCommit, one: dict[str, Any]
) -> None:
    seen(book)
    with place(prometheus(one)) as at:
        assert looked_back(book, commit, settings_of(at.url)) == [0]
    assert book.incidents() == []


def test_an_alert_that_the_webhook_brought_with_further_labels_is_known(book: Book, commit: GroupCommit) -> None:
    labels = {"alertname": "EngramDown", "instance": "engram-1", "cluster": "eu", "replica": "a"}
    with book.open() as store:
        told = Alert("x", "firing", labels, {}, DOWN - 20)
        store.accept(Notification((told,)), DOWN, GROUPING)
    seen(book)
    with place(prometheus(series(DOWN - 15, DOWN + 600))) as at:
        assert looked_back(book, commit, settings_of(at.url)) == [0]


def test_two_firings_are_two_events(book: Book, commit: GroupCommit) -> None:
    seen(book)
    one = series(DOWN + 60, DOWN + 120)
    one["values"] += series(DOWN + 900, DOWN + 960)["values"]
    with place(prometheus(one)) as at:
        assert looked_back(book, commit, settings_of(at.url)) == [2]


def test_a_day_is_looked_back_at_most(book: Book, commit: GroupCommit) -> None:
    seen(book, NOW - 10 * 86400)
    found = [series(NOW - 86400 + 60, NOW - 86000), series(NOW - 2 * 86400, NOW - 2 * 86400 + 600, "Older")]
    with place(prometheus(*found)) as at:
        assert looked_back(book, commit, settings_of(at.url)) == [1]
        assert len(at.got) <= 27


@pytest.mark.parametrize("answer", [Answer(500), Answer(200, b"{}"), Answer(200, b'{"status":"success","data":[]}')])
def test_prometheus_is_asked_until_it_answers(book: Book, commit: GroupCommit, answer: Answer) -> None:
    seen(book)
    with place(lambda _: answer) as at:
        assert looked_back(book, commit, settings_of(at.url), NOW, NOW + 60) == [0, 0]
        assert seen_at(book) == DOWN
        at.answer = prometheus(series(DOWN + 300, DOWN + 600))
        assert looked_back(book, commit, settings_of(at.url)) == [1]
    (event,) = book.events()
    assert event["event"].startswith("Prometheus cannot be asked")


def test_what_is_not_as_prometheus_writes_it_is_left_out(book: Book, commit: GroupCommit) -> None:
    seen(book)
    odd = [{"metric": []}, 3, {"metric": {}, "values": [["x", "1"]]}, {"metric": {"a": "b"}, "value": 7}]
    body = {"status": "success", "data": {"resultType": "matrix", "result": odd}}
    with place(lambda _: Answer(200, json.dumps(body).encode())) as at:
        assert looked_back(book, commit, settings_of(at.url)) == [0]


def test_a_host_that_stood_still_is_looked_back_on_as_well(book: Book, commit: GroupCommit) -> None:
    seen(book, NOW - 60)
    with place(prometheus(series(NOW + 600, NOW + 900))) as at:
        assert looked_back(book, commit, settings_of(at.url), NOW, NOW + 60, NOW + 3600, NOW + 3660) == [0, 0, 1, 0]


def test_what_is_looked_for_by_default_is_about_servers_and_not_about_this_service() -> None:
    matchers = Alertmanager().missed
    assert all(map(is_matchers, matchers))
    assert all('job!~"engram-diagnos.*"' in one for one in matchers), "which was down, and no server was"


@pytest.mark.parametrize("text", ['job="engram"', 'a="1",b!~"x|y"', "alertname=~'Engram.*'"])
def test_matchers_are_those_of_promql(text: str) -> None:
    assert is_matchers(text)


@pytest.mark.parametrize(
    "text", ["", "job", 'job="a"} or up{x="y"', 'job="a"}[5m', 'job=~"("', '__name__="up"} or {a="b"']
)
def test_anything_else_is_none(text: str) -> None:
    assert not is_matchers(text)


@pytest.mark.server
def test_a_real_prometheus_tells_of_an_alert_that_fired_and_ended(
    book: Book, commit: GroupCommit, tmp_path: Path
) -> None:
    seen(book, time.time() - 2)
    with evaluating(tmp_path / "prometheus", f"vector(time()) < {time.time() + 6:.0f}") as url:
        until(lambda: alerts_of(url), "the alert", seconds=30)
        until(lambda: not alerts_of(url), "its end", seconds=30)
        assert looked_back(book, commit, settings_of(url, 'component="engram"'), time.time()) == [1]
    (incident,) = book.incidents()
    assert incident.state == "closed"
    assert incident.instance == "engram-1"
    assert incident.closed_at is not None
    assert 0 <= incident.closed_at - incident.at < 10
    assert abs(incident.closed_at - time.time()) < 40


def alerts_of(url: str) -> Sequence[Any]:
    import urllib.request

    with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=5) as answer:
        found: Sequence[Any] = json.load(answer)["data"]["alerts"]
    return found


class evaluating:  # noqa: N801 -- a context manager, called as a function
    """Prometheus, which evaluates one alert each second."""

    def __init__(self, folder: Path, expression: str) -> None:
        folder.mkdir()
        labels = {"component": "engram", "instance": "engram-1"}
        rule = {"alert": "EngramDown", "expr": expression, "labels": labels}
        groups = {"groups": [{"name": "g", "interval": "1s", "rules": [rule]}]}
        (folder / "rules.yml").write_text(json.dumps(groups))  # YAML, too
        (folder / "prometheus.yml").write_text(json.dumps({"rule_files": ["rules.yml"]}))
        self._folder, self._url = folder, f"127.0.0.1:{free_port()}"

    def __enter__(self) -> str:
        binary = shutil.which("prometheus")
        assert binary is not None
        command = [binary, f"--config.file={self._folder}/prometheus.yml", f"--storage.tsdb.path={self._folder}/data",
                   f"--web.listen-address={self._url}", "--log.level=warn"]  # fmt: skip
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._ready, "Prometheus to be ready")
        return f"http://{self._url}"

    def _ready(self) -> bool:
        try:
            return isinstance(alerts_of(f"http://{self._url}"), list)
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
