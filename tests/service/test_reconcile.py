"""What never arrived is found, what is over is resolved, and our own alerts never come back."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from places import GROUPING, Answer, Book, Got, alertmanager, eventually, free_port, place, sending, until

from engram_diagnose.history.incidents import Accepted
from engram_diagnose.history.model import Incident, Notification
from engram_diagnose.service.commit import Full, GroupCommit
from engram_diagnose.service.courier import Courier
from engram_diagnose.service.intake import parse_notification
from engram_diagnose.service.reconcile import Reconciler
from engram_diagnose.service.settings import Alertmanager, Incidents, Login, Settings
from engram_diagnose.service.times import instant

QUICK = Login(timeout_seconds=1)
LONG_AGO = "2020-01-01T00:00:00.000Z"
REPLICAS = frozenset({"replica"})


def settings_of(*urls: str, **about: Any) -> Settings:
    incidents = Incidents(replica_labels=("replica",), ignore=("Watchdog",))
    return Settings(
        alertmanager=Alertmanager(urls=urls, login=QUICK, reconcile_seconds=1, **about), incidents=incidents
    )


def listed(name: str = "WALLagHigh", *, state: str = "active", receiver: str = "engram-diagnose", ago: float = 30.0,
           **labels: str) -> dict[str, Any]:  # fmt: skip
    """An alert as the API lists it."""
    found = {"alertname": name, "instance": "engram-1", **labels}
    return {"labels": found, "annotations": {}, "startsAt": instant(time.time() - ago), "fingerprint": "f",
            "endsAt": instant(time.time() + 300), "generatorURL": "", "receivers": [{"name": receiver}],
            "status": {"state": state, "silencedBy": [], "inhibitedBy": []}}  # fmt: skip


def api(alerts: Sequence[dict[str, Any]], *, started: str = LONG_AGO, receivers: Sequence[str] = ("engram-diagnose",)):  # type: ignore[no-untyped-def]
    """What Alertmanager answers."""

    def answer(got: Got) -> Answer:
        said: Any = {"uptime": started}
        if got.path.startswith("/api/v2/alerts"):
            said = list(alerts)
        elif got.path.startswith("/api/v2/receivers"):
            said = [{"name": name} for name in receivers]
        return Answer(200, json.dumps(said).encode())

    return answer


def rounds(book: Book, commit: Any, settings: Settings, number: int = 1, **about: Any) -> list[Accepted]:
    """Reconcile so many times; what was accepted."""
    accepted: list[Accepted] = []

    async def reconciled() -> None:
        from engram_diagnose.service.alertmanager import Alertmanager as Client
        from engram_diagnose.service.announce import destinations

        reconciler = Reconciler(settings, book.open, commit, book.log, accepted=accepted.append, **about)
        clients = [Client(name, url, QUICK) for name, url in destinations(settings).items()]
        for _ in range(number):
            await reconciler.reconcile(clients)
        for client in clients:
            await client.close()
        reconciler._readers.stop()

    asyncio.run(reconciled())
    return accepted


def taken(body: bytes) -> Notification:
    """What the webhook takes in of a body."""
    return parse_notification(body, replica_labels=REPLICAS).notification


def by_webhook(book: Book, alert: dict[str, Any], status: str = "firing") -> None:
    """The alert comes by the webhook."""
    body = {"version": "4", "alerts": [{**alert, "status": status}]}
    with book.open() as store:
        store.accept(taken(json.dumps(body).encode()), time.time(), GROUPING)


def firing(incident: Incident) -> list[str]:
    return [alert.name for alert in incident.alerts if alert.status == "firing"]


def test_an_alert_that_never_arrived_opens_its_incident_once(book: Book, commit: GroupCommit) -> None:
    with place(api([listed()])) as at:
        accepted = rounds(book, commit, settings_of(at.url), 3)
    (incident,) = book.incidents()
    assert [(one.opened, one.incidents) for one in accepted] == [(1, (incident.id,))]
    assert firing(incident) == ["WALLagHigh"]
    with book.open() as store:
        assert [(moment.what, moment.source) for moment in store.timeline(incident.id) if moment.alert] == [
            ("firing", "reconciled")
        ]


def test_an_alert_that_the_webhook_brought_is_not_new(book: Book, commit: GroupCommit) -> None:
    alert = listed()
    by_webhook(book, alert)
    with place(api([alert])) as at:
        assert rounds(book, commit, settings_of(at.url)) == []


def test_an_alert_that_the_webhook_brings_later_is_not_new_either(book: Book, commit: GroupCommit) -> None:
    alert = listed()
    with place(api([alert])) as at:
        rounds(book, commit, settings_of(at.url))
    by_webhook(book, alert)
    (incident,) = book.incidents()
    assert len(incident.alerts) == 1


def test_what_two_replicas_list_is_one_incident(book: Book, commit: GroupCommit) -> None:
    with place(api([listed(replica="a")])) as one, place(api([listed(replica="b", ago=27)])) as two:
        rounds(book, commit, settings_of(one.url, two.url), 2)
    (incident,) = book.incidents()
    assert len(incident.alerts) == 1


def test_of_two_replicas_that_never_arrived_one_s_resolution_leaves_the_other_firing(
    book: Book, commit: GroupCommit
) -> None:
    one, two = ({**listed(replica=name), "fingerprint": f"f{name}"} for name in "ab")
    with place(api([one, two])) as at:
        rounds(book, commit, settings_of(at.url))
    by_webhook(book, {**one, "endsAt": instant(time.time())}, status="resolved")
    (incident,) = book.incidents()
    assert (incident.state, firing(incident)) == ("open", ["WALLagHigh"])


@pytest.mark.parametrize("alert", [
    listed("EngramDiagnosis", incident="x"), listed("Watchdog"), listed(state="suppressed"), listed(receiver="others"),
    {**listed(), "startsAt": "no time"},
])  # fmt: skip
def test_our_own_ignored_silenced_foreign_and_malformed_ones_are_not_taken_in(
    book: Book, commit: GroupCommit, alert: dict[str, Any]
) -> None:
    with place(api([alert, listed("HighErrorRate")])) as at:
        rounds(book, commit, settings_of(at.url), 2)
    assert [alert.name for incident in book.incidents() for alert in incident.alerts] == ["HighErrorRate"]


def test_without_a_receiver_in_the_settings_everything_is_taken_in(book: Book, commit: GroupCommit) -> None:
    with place(api([listed(receiver="others")])) as at:
        rounds(book, commit, settings_of(at.url, receiver=""))
    assert len(book.incidents()) == 1


def test_what_fires_no_more_is_resolved_and_its_incident_closed(book: Book, commit: GroupCommit) -> None:
    by_webhook(book, listed())
    by_webhook(book, listed("HighErrorRate", instance="engram-2"))
    with place(api([listed("HighErrorRate", instance="engram-2")])) as at:
        (accepted,) = rounds(book, commit, settings_of(at.url), 2)
    by_instance = {incident.instance: incident for incident in book.incidents()}
    assert by_instance["engram-1"].state == "closed"
    assert by_instance["engram-2"].state == "open"
    assert accepted.closed == (by_instance["engram-1"].id,)


def test_a_silence_does_not_end_an_incident(book: Book, commit: GroupCommit) -> None:
    by_webhook(book, listed())
    with place(api([listed(state="suppressed")])) as at:
        rounds(book, commit, settings_of(at.url))
    assert [incident.state for incident in book.incidents()] == ["open"]


@pytest.mark.parametrize("other", [Answer(500), Answer(200, b"{}"), Answer(302, headers={"Location": "/"})])
def test_while_one_of_them_does_not_answer_nothing_counts_as_over_and_what_is_new_is_still_found(
    book: Book, commit: GroupCommit, other: Answer
) -> None:
    by_webhook(book, listed())
    with place(api([listed("HighErrorRate", instance="engram-2")])) as at, place(lambda _: other) as broken:
        rounds(book, commit, settings_of(at.url, broken.url), 2)
    assert {incident.instance: incident.state for incident in book.incidents()} == {
        "engram-1": "open",
        "engram-2": "open",
    }
    problems = [event["alertmanager"] for event in book.events()]
    assert problems == [broken.url], "said once, not each minute"


def test_one_that_has_just_started_knows_of_nothing_yet(book: Book, commit: GroupCommit) -> None:
    by_webhook(book, listed())
    with place(api([], started=instant(time.time() - 100))) as at:
        rounds(book, commit, settings_of(at.url))
        assert [incident.state for incident in book.incidents()] == ["open"]
        rounds(book, commit, settings_of(at.url), clock=lambda: time.time() + 250)
    assert [incident.state for incident in book.incidents()] == ["closed"]


def test_an_alert_that_arrives_while_alertmanager_is_asked_is_not_taken_for_one_that_is_over(
    book: Book, commit: GroupCommit
) -> None:
    late = listed()

    def answer(got: Got) -> Answer:
        if got.path.startswith("/api/v2/alerts"):
            by_webhook(book, late)
        return api([])(got)

    with place(answer) as at:
        rounds(book, commit, settings_of(at.url))
    assert [incident.state for incident in book.incidents()] == ["open"]


def test_a_receiver_that_is_not_there_is_said_to_be(book: Book, commit: GroupCommit) -> None:
    with place(api([], receivers=["pager"])) as at:
        rounds(book, commit, settings_of(at.url), 3)
    (event,) = book.events()
    assert "no receiver engram-diagnose" in event["error"]


def test_thousands_at_once_are_taken_in(book: Book, commit: GroupCommit) -> None:
    alerts = [listed(instance=f"engram-{number}") for number in range(1500)]
    with place(api(alerts)) as at:
        assert sum(one.opened for one in rounds(book, commit, settings_of(at.url), 2)) == 1500


def test_a_writer_without_room_costs_a_round_and_no_alert(book: Book, commit: GroupCommit) -> None:
    class Busy:
        tries = 0

        def submit(self, *args: Any, **about: Any) -> Any:
            Busy.tries += 1
            if Busy.tries == 1:
                raise Full("no room")
            return commit.submit(*args, **about)

    with place(api([listed()])) as at:

        async def reconciled() -> None:
            reconciler = Reconciler(settings_of(at.url), book.open, Busy(), book.log)
            task = asyncio.create_task(reconciler.run())
            await eventually(lambda: book.incidents(), "the incident")
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(reconciled())
    assert book.events()[0]["event"] == "not reconciled"


def test_without_an_alertmanager_there_is_nothing_to_do(book: Book, commit: GroupCommit) -> None:
    assert rounds(book, commit, settings_of()) == []


def test_other_settings_count_at_once(book: Book, commit: GroupCommit) -> None:
    with place(api([listed()])) as at:

        async def reconciled() -> None:
            reconciler = Reconciler(Settings(), book.open, commit, book.log)
            task = asyncio.create_task(reconciler.run())
            await asyncio.sleep(0.1)
            reconciler.use(settings_of(at.url))
            await eventually(lambda: book.incidents(), "the incident", seconds=5)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(reconciled())


# Real Alertmanagers


@pytest.mark.server
def test_an_alert_whose_webhook_was_never_delivered_is_found_and_ends(
    book: Book, commit: GroupCommit, tmp_path: Path
) -> None:
    labels = {"alertname": "RecallLatencyHigh", "instance": "engram-1"}
    with alertmanager(tmp_path / "am", webhook=f"http://127.0.0.1:{free_port()}") as real:
        real.fire(labels, seconds_ago=120)
        real.fire({"alertname": "HighErrorRate", "instance": "engram-9", "team": "others"})
        real.silence("SilencedOne")
        real.fire({"alertname": "SilencedOne", "instance": "engram-8"})
        until(lambda: len(real.alerts()) == 3, "the alerts")
        until(lambda: real.alerts(alertname="SilencedOne")[0]["status"]["state"] == "suppressed", "the silence")
        rounds(book, commit, settings_of(real.url), 2, settled=0.0)
        (incident,) = book.incidents()
        assert firing(incident) == ["RecallLatencyHigh"]
        assert abs(incident.at - (time.time() - 120)) < 20
        real.fire(labels, seconds_ago=120, lasts=-1)
        until(lambda: not real.alerts(alertname="RecallLatencyHigh"), "the end")
        rounds(book, commit, settings_of(real.url), settled=0.0)
    assert [incident.state for incident in book.incidents()] == ["closed"]


@pytest.mark.server
def test_what_the_webhook_brings_and_what_the_api_lists_is_one_alert(
    book: Book, commit: GroupCommit, tmp_path: Path
) -> None:
    with place() as hook, alertmanager(tmp_path / "am", webhook=hook.url) as real:
        real.fire({"alertname": "WALLagHigh", "instance": "engram-1", "replica": "a"}, seconds_ago=60)
        until(hook.told, "the webhook")
        commit.submit(taken(hook.told()[0].body), time.time()).result(5)
        assert rounds(book, commit, settings_of(real.url), 2, settled=0.0) == []
    (incident,) = book.incidents()
    assert len(incident.alerts) == 1


@pytest.mark.server
def test_a_pair_of_alertmanagers_makes_one_incident_by_webhook_and_by_reconciliation(
    book: Book, commit: GroupCommit, tmp_path: Path
) -> None:
    first, second = free_port(), free_port()
    with (
        place() as hook,
        alertmanager(tmp_path / "one", webhook=hook.url, cluster=first) as one,
        alertmanager(tmp_path / "two", webhook=hook.url, cluster=second, peers=[first]) as two,
    ):
        for number, (real, replica) in enumerate([(one, "a"), (two, "b"), (one, "b"), (two, "a")]):
            real.fire(
                {"alertname": "WALLagHigh", "instance": "engram-1", "replica": replica}, seconds_ago=60 + number % 2
            )
        until(lambda: len(one.alerts()) == len(two.alerts()) == 2, "both to have both")
        rounds(book, commit, settings_of(one.url, two.url), 2, settled=0.0)
        until(hook.told, "the webhook")
        time.sleep(1.5)
        for got in hook.told():
            commit.submit(taken(got.body), time.time()).result(5)
    (incident,) = book.incidents()
    assert len(incident.alerts) == 1
    assert incident.state == "open"


@pytest.mark.server
def test_our_own_alert_never_comes_back_as_an_incident(book: Book, commit: GroupCommit, tmp_path: Path) -> None:
    """Alertmanager routes it to the webhook and lists it, as it does any other."""
    from engram_diagnose.service.announce import is_ours, without

    with place() as hook, alertmanager(tmp_path / "am", webhook=hook.url) as real:
        settings = settings_of(real.url)
        real.fire({"alertname": "WALLagHigh", "instance": "engram-1"}, seconds_ago=60)
        until(lambda: real.alerts(alertname="WALLagHigh"), "the alert")
        rounds(book, commit, settings)
        book.diagnose(settings)

        async def announced() -> None:
            async with sending(Courier(settings, book.open, book.log)):
                await eventually(lambda: real.alerts(alertname="EngramDiagnosis"), "our alert")
                await eventually(lambda: any(ours(got) for got in hook.told()), "our alert by the webhook")

        def ours(got: Got) -> bool:
            return any(is_ours(alert["labels"]) for alert in got.json["alerts"])

        asyncio.run(announced())
        rounds(book, commit, settings, 2, settled=0.0)
        for got in hook.told():
            kept = without(taken(got.body))
            assert ours(got) == (kept.alerts == ())
    (incident,) = book.incidents()
    assert {alert.name for alert in incident.alerts} == {"WALLagHigh"}
