"""The courier: nothing it was given is lost, and nobody who is dead, slow or choosy holds up another."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import Answer, Book, Got, alertmanager, eventually, free_port, place, sending

from engram_diagnose.history.incidents import NewMessage
from engram_diagnose.service import courier as module
from engram_diagnose.service.courier import Courier
from engram_diagnose.service.lanes import delay
from engram_diagnose.service.settings import Alertmanager, Login, Settings, Webhook
from engram_diagnose.service.times import instant

QUICK = Login(timeout_seconds=1)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "history.db")


def to(*urls: str, webhook: str = "", **about: Any) -> Settings:
    """Settings that send to these Alertmanagers and this webhook."""
    return Settings(
        public_url="https://diagnose.example",
        alertmanager=Alertmanager(
            urls=urls,
            login=QUICK,
            resolve_after_seconds=about.pop("resolve_after", 300),
            most_announced=about.pop("most", 100),
        ),
        webhook=Webhook(url=webhook, login=QUICK, **about),
    )


def courier_of(book: Book, settings: Settings, **about: Any) -> Courier:
    return Courier(settings, book.open, book.log, **about)


def fired(got: list[Got]) -> list[dict[str, Any]]:
    """The alerts that were posted."""
    return [alert for one in got for alert in one.json]


# Alertmanager


def test_what_the_worker_wrote_is_posted_once_and_kept_as_sent(book: Book) -> None:
    with place() as at:
        settings = to(at.url)
        incident = book.fire(book.alert())

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                await eventually(lambda: book.events() == [], "a quiet start")
                book.diagnose(settings)
                courier.wake()
                await eventually(lambda: book.counts().sent == 1, "the message to be sent")

        asyncio.run(told())
        alert = fired(at.told())[-1]
    assert alert["labels"] == {"alertname": "EngramDiagnosis", "instance": "engram-1:7432", "severity": "critical",
                               "incident": incident}  # fmt: skip
    assert alert["annotations"]["cause"] == "The hot tier is too small"
    assert alert["generatorURL"] == f"https://diagnose.example/incidents/{incident}"
    assert alert["endsAt"] > alert["startsAt"]
    assert book.counts().pending == 0


def test_what_is_written_while_another_is_being_sent_does_not_wait_for_the_next_look(book: Book) -> None:
    with place(lambda _: Answer(seconds=0.2)) as at:
        settings = to(at.url)

        async def told() -> float:
            async with sending(courier_of(book, settings)) as courier:
                for number in range(2):
                    book.fire(book.alert(instance=f"engram-{number}"))
                    book.diagnose(settings)
                    courier.wake()
                    await asyncio.sleep(0.1)
                begun = time.monotonic()
                await eventually(lambda: book.counts().sent == 2, "both")
                return time.monotonic() - begun

        assert asyncio.run(told()) < 0.8


def test_a_message_that_nobody_woke_it_for_is_sent_too(book: Book) -> None:
    with place() as at:
        settings = to(at.url)

        async def told() -> None:
            async with sending(courier_of(book, settings)):
                await asyncio.sleep(0.3)
                book.fire(book.alert())
                book.diagnose(settings)
                await eventually(lambda: book.counts().sent == 1, "the message to be sent")

        asyncio.run(told())


def test_a_dead_a_slow_and_a_broken_alertmanager_hold_up_no_other(book: Book) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with place() as well, place(lambda _: Answer(seconds=30)) as slow, place(lambda _: Answer(500)) as broken:
        settings = to(dead, slow.url, broken.url, well.url)
        for number in range(5):
            book.fire(book.alert(instance=f"engram-{number}"))
            book.diagnose(settings)

        async def told() -> float:
            begun = time.monotonic()
            async with sending(courier_of(book, settings)):
                await eventually(lambda: book.counts().sent == 5, "the one that is well to be told")
                return time.monotonic() - begun

        assert asyncio.run(told()) < 1
    assert book.counts().pending == 15
    assert book.counts().given_up == 0


def test_one_that_comes_back_is_told_what_it_missed(book: Book) -> None:
    states = {"down": True}
    with place(lambda _: Answer(503 if states["down"] else 200)) as at:
        settings = to(at.url)
        book.fire(book.alert())
        book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings)):
                await eventually(lambda: len(at.told()) >= 2, "the first attempts")
                states["down"] = False
                await eventually(lambda: book.counts().sent == 1, "the message to be sent")

        asyncio.run(told())
    said = [event["event"] for event in book.events()]
    assert said == ["destination cannot be reached", "destination can be reached again"]
    assert "answers 503" in book.events()[0]["error"]


def test_a_message_that_is_refused_does_not_keep_others_of_the_same_call_from_arriving(book: Book) -> None:
    def choosy(got: Got) -> Answer:
        bad = got.body and any(alert["labels"]["instance"] == "bad" for alert in got.json)
        return Answer(400, b'"invalid label"') if bad else Answer()

    with place(choosy) as at:
        settings = to(at.url)
        for instance in ("good-1", "bad", "good-2"):
            book.fire(book.alert(instance=instance))
            book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings)):
                await eventually(lambda: book.counts().sent == 2, "the others to be sent")

        asyncio.run(told())
    assert book.counts().pending == 1


def test_what_cannot_be_sent_for_long_enough_is_given_up_and_logged(book: Book) -> None:
    settings = to(f"http://127.0.0.1:{free_port()}", webhook=f"http://127.0.0.1:{free_port()}/secret-path")
    book.fire(book.alert())
    book.diagnose(settings, made_at=time.time() - 2 * 86400)

    async def told() -> None:
        async with sending(courier_of(book, settings)):
            await eventually(lambda: book.counts().given_up == 2, "the messages to be given up")

    asyncio.run(told())
    given_up = [event for event in book.events() if event["event"] == "message given up"]
    assert len(given_up) == 2
    assert all("cannot be connected to" in event["error"] for event in given_up)
    assert "secret-path" not in book.said.getvalue()


def test_stopped_at_any_instant_it_loses_nothing_and_repeats_under_the_same_key(book: Book) -> None:
    chance = random.Random(20260101)
    with place(lambda _: Answer(seconds=0.005)) as at, place(lambda _: Answer(seconds=0.005)) as hook:
        settings = to(at.url, webhook=hook.url, per_minute=6000)
        ids = []
        for number in range(20):
            ids.append(book.fire(book.alert(instance=f"engram-{number}")))
            book.diagnose(settings)

        async def briefly() -> None:
            async with sending(courier_of(book, settings)):
                await asyncio.sleep(chance.uniform(0, 0.08))

        for _ in range(200):
            asyncio.run(briefly())
            if book.counts().sent == 40:
                break
    assert (book.counts().sent, book.counts().pending, book.counts().given_up) == (40, 0, 0)
    assert {alert["labels"]["incident"] for alert in fired(at.told())} == set(ids)
    assert {got.headers["Idempotency-Key"] for got in hook.got} == {f"{id}.webhook" for id in ids}


def test_a_message_to_an_alertmanager_that_left_the_settings_is_given_up(book: Book) -> None:
    book.fire(book.alert())
    book.diagnose(to("http://former.example:9093"))

    async def told() -> None:
        async with sending(courier_of(book, Settings())):
            await eventually(lambda: book.counts().given_up == 1, "the message to be given up")

    asyncio.run(told())
    assert "no longer in the settings" in book.events()[0]["error"]


def test_other_settings_count_at_once(book: Book) -> None:
    with place() as former, place() as later:

        async def told() -> None:
            async with sending(courier_of(book, to(former.url))) as courier:
                await asyncio.sleep(0.1)
                courier.use(to(later.url))
                book.fire(book.alert())
                book.diagnose(to(later.url))
                await eventually(lambda: book.counts().sent == 1, "the message to be sent")

        asyncio.run(told())
    assert former.told() == []
    assert later.told()


def test_an_open_alert_is_refreshed_before_it_would_end_and_resolved_at_once_when_the_incident_closes(
    book: Book,
) -> None:
    with place() as at:
        settings = to(at.url, resolve_after=3)
        alert = book.alert()
        book.fire(alert)
        book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                await eventually(lambda: len({one["endsAt"] for one in fired(at.told())}) >= 4, "three refreshes")
                assert_never_lapsed(at.told())
                book.resolve(alert)
                closed = time.time()
                courier.wake()
                await eventually(lambda: resolved(at.told()), "the end to be told", seconds=5)
                assert at.got[-1].at - closed < 1.5
                count = len(at.told())
                await asyncio.sleep(2.5)
                assert len(at.told()) == count, "told again of what is closed"

        asyncio.run(told())


def assert_never_lapsed(got: list[Got]) -> None:
    ends = [(one.at, one.json[0]["endsAt"]) for one in got]
    for (_, end), (at, _) in pairwise(ends):
        assert end > instant(at)


def resolved(got: list[Got]) -> bool:
    last = got[-1]
    return bool(last.json[0]["endsAt"] <= instant(last.at + 0.001))


def test_after_a_restart_the_end_of_an_incident_that_closed_meanwhile_is_told(book: Book) -> None:
    with place() as at:
        settings = to(at.url)
        alert = book.alert()
        book.fire(alert)
        book.diagnose(settings)

        async def once(happens: Callable[[], bool]) -> None:
            async with sending(courier_of(book, settings)):
                await eventually(happens, "what was to be told")

        asyncio.run(once(lambda: book.counts().sent == 1))
        book.resolve(alert)
        told = len(at.told())
        asyncio.run(once(lambda: len(at.told()) > told and resolved(at.told())))


def test_an_incident_that_closed_before_it_could_be_told_of_is_posted_as_resolved(book: Book) -> None:
    with place() as at:
        settings = to(at.url)
        alert = book.alert()
        book.fire(alert)
        book.resolve(alert)
        book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings)):
                await eventually(lambda: book.counts().sent == 1, "the message to be sent")

        asyncio.run(told())
        assert resolved(at.told())


def instances(got: list[Got]) -> set[str]:
    """The instances whose alert was posted as open."""
    return {one["labels"]["instance"] for call in got for one in call.json
            if "instance" in one["labels"] and one["endsAt"] > instant(call.at + 0.001)}  # fmt: skip


def test_no_more_alerts_are_open_than_anybody_reads_and_the_next_takes_a_closed_ones_place(
    book: Book,
) -> None:
    most = 3
    with place() as at:
        settings = to(at.url, most=most, resolve_after=3)
        alerts = [book.alert(instance=f"engram-{number}") for number in range(5)]
        for alert in alerts:
            book.fire(alert)
            book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                await eventually(lambda: book.counts().sent == 3, "as many as there is room for")
                await asyncio.sleep(1.5)
                assert instances(at.told()) == {"engram-0", "engram-1", "engram-2"}
                book.resolve(alerts[0])
                courier.wake()
                await eventually(lambda: book.counts().sent == 4, "the next one")

        asyncio.run(told())
    assert book.events()[0]["event"] == "more incidents are open than are announced"


def test_what_is_announced_stays_so_although_worse_comes_and_through_a_restart(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alert that vanished would say that all is well again."""
    most = 3
    with place() as at:
        settings = to(at.url, most=most, resolve_after=3)

        def fire(severity: str, *numbers: int) -> None:
            for number in numbers:
                book.fire(book.alert(instance=f"{severity}-{number}"))
                book.diagnose(settings, severity=severity)

        async def announced(happens: Callable[[], bool]) -> set[str]:
            async with sending(courier_of(book, settings)) as courier:
                courier.wake()
                await eventually(happens, "what was to be told")
                await asyncio.sleep(1)
                begun = len(at.told())
                await asyncio.sleep(2)
                return instances(at.told()[begun:])

        fire("warning", 0, 1, 2)
        assert asyncio.run(announced(lambda: book.counts().sent == 3)) == {"warning-0", "warning-1", "warning-2"}
        fire("critical", 3, 4)
        after = asyncio.run(announced(lambda: book.events() != []))
    assert after == {"warning-0", "warning-1", "warning-2"}
    assert book.counts().pending == 2


def test_with_fewer_places_than_before_what_is_announced_stays_so_through_a_restart(book: Book) -> None:
    with place() as at:
        before = to(at.url, most=3, resolve_after=3)
        for number in range(3):
            book.fire(book.alert(instance=f"engram-{number}"))
            book.diagnose(before)

        async def announced(most: int) -> set[str]:
            async with sending(courier_of(book, to(at.url, most=most, resolve_after=3))):
                await eventually(lambda: book.counts().sent == 3, "what was to be told")
                begun = len(at.told())
                await eventually(lambda: len(at.told()) > begun + 1, "two more refreshes")
                return instances(at.told()[begun + 1 :])

        assert asyncio.run(announced(3)) == asyncio.run(announced(1)) == {"engram-0", "engram-1", "engram-2"}


def test_how_many_more_are_open_is_told_in_one_alert_for_each_severity_which_ends_with_them(
    book: Book,
) -> None:
    most = 2
    with place() as at:
        settings = to(at.url, most=most, resolve_after=3)
        alerts = [book.alert(instance=f"engram-{number}") for number in range(5)]
        for alert in alerts:
            book.fire(alert)
            book.diagnose(settings)

        def further() -> list[tuple[Got, dict[str, Any]]]:
            return [(got, one) for got in at.told() for one in got.json if one["labels"]["incident"] == "further"]

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                await eventually(further, "that there are more")
                for alert in alerts[:3]:
                    book.resolve(alert)
                courier.wake()
                await eventually(lambda: further()[-1][1]["endsAt"] <= instant(further()[-1][0].at + 0.001), "its end")

        asyncio.run(told())
        _, first = further()[0]
    assert first["labels"] == {"alertname": "EngramDiagnosis", "severity": "critical", "incident": "further"}
    assert first["annotations"]["summary"] == "3 more incidents are open, of severity critical, beyond those announced"
    assert first["generatorURL"] == "https://diagnose.example/incidents?state=open"


def test_messages_without_room_are_out_of_the_way_of_others_and_cost_no_attempt(
    book: Book,
) -> None:
    most = 1
    with place() as at, place() as hook:
        settings = to(at.url, most=most)
        for number in range(30):
            book.fire(book.alert(instance=f"engram-{number}"))
            book.diagnose(settings, made_at=time.time() - 2 * 86400)

        async def told() -> None:
            async with sending(courier_of(book, settings)):
                await eventually(lambda: book.counts().sent == 1, "the one that there is room for")
                await asyncio.sleep(1.5)

        asyncio.run(told())
        with book.open() as store:
            assert store.due(time.time() + 10 * 86400, 100) == [], "what has no room is fetched again and again"
        assert (book.counts().pending, book.counts().given_up) == (29, 0)
        both = to(at.url, most=most, webhook=hook.url)
        book.fire(book.alert(instance="later"))
        book.diagnose(both)

        async def meanwhile() -> None:
            async with sending(courier_of(book, both)):
                await eventually(lambda: hook.told(), "the webhook")

        asyncio.run(meanwhile())


def test_an_incident_that_closes_while_there_is_no_room_for_it_leaves_no_message_behind(
    book: Book,
) -> None:
    most = 1
    with place() as at:
        settings = to(at.url, most=most)
        alerts = [book.alert(instance=f"engram-{number}") for number in range(2)]
        for alert in alerts:
            book.fire(alert)
            book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings)):
                await eventually(lambda: book.counts().sent == 1, "the one that there is room for")
                book.resolve(alerts[1])
                await eventually(lambda: book.counts().pending == 0, "the other")

        asyncio.run(told())
    assert instances(at.told()) == {"engram-0"}


def test_what_waited_for_room_for_days_is_not_given_up_at_the_first_failure(book: Book) -> None:
    states = {"down": False}
    with place(lambda _: Answer(503 if states["down"] else 200)) as at:
        settings = to(at.url, most=1)
        alerts = [book.alert(instance=f"engram-{number}") for number in range(2)]
        for alert in alerts:
            book.fire(alert)
            book.diagnose(settings, made_at=time.time() - 2 * 86400)

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                await eventually(lambda: book.counts().sent == 1, "the one that there is room for")
                states["down"] = True
                book.resolve(alerts[0])
                courier.wake()
                await eventually(lambda: any("cannot be reached" in one["event"] for one in book.events()), "trouble")
                await asyncio.sleep(3)
                states["down"] = False
                await eventually(lambda: book.counts().sent == 2, "the next one")

        asyncio.run(told())
    assert book.counts().given_up == 0


def test_a_clock_that_is_set_back_or_forth_holds_up_no_refresh_and_lets_no_more_through(book: Book) -> None:
    clock = Clock()
    with place() as at, place() as hook:
        settings = to(at.url, webhook=hook.url, per_minute=2, resolve_after=3)
        for number in range(6):
            book.fire(book.alert(instance=f"engram-{number}"))
            book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings, clock=clock)) as courier:
                await eventually(lambda: len(hook.told()) == 2, "what a minute allows")
                for ahead in (-7200.0, 7200.0):
                    clock.ahead = ahead
                    before = len(at.told())
                    courier.wake()
                    await eventually(lambda before=before: len(at.told()) > before + 1, "refreshes", seconds=5)
                assert len(hook.told()) == 2, "a minute went by on the wall alone"

        asyncio.run(told())


def test_a_database_that_cannot_be_read_is_logged_and_tried_again(book: Book) -> None:
    tries = {"left": 3}

    def opened() -> Any:
        tries["left"] -= 1
        if tries["left"] > 0:
            raise module.StoreError("the disk is away; wait")
        return book.open()

    with place() as at:
        settings = to(at.url)
        book.fire(book.alert())
        book.diagnose(settings)

        async def told() -> None:
            async with sending(Courier(settings, opened, book.log)):
                await eventually(lambda: book.counts().sent == 1, "the message to be sent")

        asyncio.run(told())
    assert any("the disk is away" in event["error"] for event in book.events())


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_waits_grow_within_bounds_and_are_spread(attempts: int, chance: float) -> None:
    assert 0.5 <= delay(attempts, chance) <= 300
    assert delay(attempts, chance) <= 2 * delay(attempts + 1, 0.0)
    assert delay(attempts, 0.0) < delay(attempts, 1.0)


# The webhook


def test_the_webhook_is_told_in_json_under_a_key_that_is_the_same_at_each_attempt(book: Book) -> None:
    answers = iter([Answer(500), Answer(seconds=1.5), Answer(302, headers={"Location": "/elsewhere"}), Answer(204)])
    with place(lambda _: next(answers, Answer())) as at:
        settings = to(webhook=at.url + "/hook?token=1")
        incident = book.fire(book.alert())
        book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings, chance=lambda: 0.0)):
                await eventually(lambda: book.counts().sent == 1, "the message to be sent", seconds=30)

        asyncio.run(told())
    assert len(at.got) == 4
    assert {got.path for got in at.got} == {"/hook?token=1"}
    assert {got.headers["Idempotency-Key"] for got in at.got} == {f"{incident}.webhook"}
    assert at.got[0].json["finding"]["title"] == "The hot tier is too small"
    assert "hook?token" not in book.said.getvalue()


def test_a_webhook_that_is_down_holds_up_no_alertmanager(book: Book) -> None:
    with place() as at, place(lambda _: Answer(seconds=30)) as slow:
        settings = to(at.url, webhook=slow.url)
        for number in range(20):
            book.fire(book.alert(instance=f"engram-{number}"))
            book.diagnose(settings)

        async def told() -> float:
            begun = time.monotonic()
            async with sending(courier_of(book, settings)):
                await eventually(lambda: book.counts().sent == 20, "Alertmanager to be told")
                return time.monotonic() - begun

        assert asyncio.run(told()) < 1


def test_thousands_that_wait_for_a_slow_webhook_are_not_in_the_way_of_alertmanager(book: Book) -> None:
    with place() as at, place(lambda _: Answer(seconds=0.5)) as slow:
        settings = to(at.url, webhook=slow.url, per_minute=6000)
        book.fire(book.alert(instance="engram-0"))
        book.diagnose(to(webhook=slow.url), made_at=time.time() - 60)
        with book.open() as store:
            (one,) = store.due(time.time())
            store.enqueue(NewMessage("webhook", one.incident, f"old-{number}", one.body, 0.0) for number in range(2000))
        incident = book.fire(book.alert(instance="engram-1"))

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                await eventually(lambda: slow.got, "the webhook to be busy")
                book.diagnose(settings)
                courier.wake()
                await eventually(lambda: is_told(incident), "Alertmanager to be told")

        def is_told(incident: str) -> bool:
            with book.open() as store:
                return incident in store.told()

        asyncio.run(told())


def test_a_message_the_webhook_refuses_does_not_hold_up_the_next(book: Book) -> None:
    with place(lambda got: Answer(422 if b"engram-0" in got.body else 200)) as at:
        settings = to(webhook=at.url)
        for number in range(3):
            book.fire(book.alert(instance=f"engram-{number}"))
            book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings)):
                await eventually(lambda: book.counts().sent == 2, "the others to be sent")

        asyncio.run(told())
    assert book.counts().pending == 1


def test_the_webhook_gets_no_more_in_a_minute_than_it_may_and_the_rest_later(book: Book) -> None:
    clock = Clock()
    with place() as at:
        settings = to(webhook=at.url, per_minute=4)
        for number in range(10):
            book.fire(book.alert(instance=f"engram-{number}"))
            book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings, clock=clock, monotonic=clock)) as courier:
                for minute, sent in enumerate([4, 8, 10]):
                    await eventually(lambda sent=sent: book.counts().sent == sent, f"minute {minute}")
                    await asyncio.sleep(0.3)
                    assert book.counts().sent == sent
                    clock.ahead += 61
                    courier.wake()

        asyncio.run(told())
    assert len({got.headers["Idempotency-Key"] for got in at.got}) == 10
    assert book.counts().given_up == 0


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.mark.parametrize("template", ["{{ nonsense }}", '{"text": "{{ finding.title', None])
def test_a_template_that_breaks_costs_its_form_and_not_the_message(
    book: Book, tmp_path: Path, template: str | None
) -> None:
    path = tmp_path / "body.j2"
    if template:
        path.write_text(template)
    with place() as at:
        settings = to(webhook=at.url, template=path)
        incident = book.fire(book.alert())
        book.diagnose(settings)

        async def told() -> None:
            async with sending(courier_of(book, settings)):
                await eventually(lambda: book.counts().sent == 1, "the message to be sent")

        asyncio.run(told())
    assert at.got[0].json == {
        "key": f"{incident}.webhook",
        "text": "engram-1:7432: The hot tier is too small (87 %)",
        "severity": "critical",
        "incident": incident,
        "link": f"https://diagnose.example/incidents/{incident}",
    }
    assert "template fails" in book.events()[0]["event"]


def test_a_message_that_cannot_be_read_is_logged_and_holds_up_no_other(book: Book) -> None:
    with place() as at, place() as hook:
        settings = to(at.url, webhook=hook.url)
        incident = book.fire(book.alert())
        book.diagnose(settings)
        with book.open() as store:
            store.enqueue([NewMessage("webhook", incident, "of-a-later-version", {"made": time.time()}, 0.0)])

        async def told() -> None:
            async with sending(courier_of(book, settings)):
                await eventually(lambda: book.counts().sent == 2, "what can be sent")
                await eventually(lambda: any("another version" in str(event) for event in book.events()), "the log")

        asyncio.run(told())


# A real Alertmanager


@pytest.mark.server
def test_in_a_real_alertmanager_our_alert_appears_lives_on_and_goes(book: Book, tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with place() as hook, alertmanager(tmp_path / "am", webhook=hook.url) as real:
        settings = to(dead, real.url, resolve_after=3)
        alert = book.alert()
        incident = book.fire(alert)

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                book.diagnose(settings)
                courier.wake()
                await eventually(lambda: real.alerts(incident=incident), "our alert")
                (found,) = real.alerts(alertname="EngramDiagnosis")
                assert found["annotations"]["action"] == "Set storage.hot_tier_size_mb to 2048"
                assert found["annotations"]["confidence"] == "87 %"
                first = found["endsAt"]
                await eventually(lambda: real.alerts(incident=incident)[0]["endsAt"] > first, "a refresh")
                await asyncio.sleep(3)
                assert len(real.alerts(alertname="EngramDiagnosis")) == 1, "outlives its first end"
                await eventually(lambda: hook.told(), "Alertmanager to route it to people")
                book.resolve(alert)
                courier.wake()
                await eventually(lambda: not real.alerts(incident=incident), "our alert to go", seconds=5)

        asyncio.run(told())
        sent = [json.loads(got.body) for got in hook.told()]
    assert sent[0]["alerts"][0]["annotations"]["cause"] == "The hot tier is too small"
    assert {one["labels"]["alertname"] for got in sent for one in got["alerts"]} == {"EngramDiagnosis"}


@pytest.mark.server
def test_a_real_alertmanager_that_was_restarted_has_our_alert_again(book: Book, tmp_path: Path) -> None:
    settings = to(resolve_after=3)
    incident = ""

    async def told(url: str, happens: Callable[[], Any]) -> None:
        at = replace(settings, alertmanager=replace(settings.alertmanager, urls=(url,)))
        async with sending(courier_of(book, at)):
            await eventually(happens, "our alert")

    incident = book.fire(book.alert())
    book.diagnose(settings)
    for life in ("first", "second"):
        with alertmanager(tmp_path / life) as real:
            asyncio.run(told(real.url, lambda real=real: real.alerts(incident=incident)))


@pytest.mark.server
@pytest.mark.slow
def test_a_finding_is_in_alertmanagers_api_within_the_second(book: Book, tmp_path: Path) -> None:
    took: list[float] = []
    with alertmanager(tmp_path / "am") as real:
        settings = to(real.url)

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                for number in range(100):
                    incident = book.fire(book.alert(instance=f"engram-{number}"))
                    book.diagnose(settings)
                    begun = time.monotonic()
                    courier.wake()
                    await eventually(lambda id=incident: real.alerts(incident=id), "our alert")
                    took.append(time.monotonic() - begun)

        asyncio.run(told())
    took.sort()
    print(f"finding to Alertmanager: p50 {took[50] * 1000:.0f} ms, p99 {took[98] * 1000:.0f} ms")
    assert took[98] < 1
