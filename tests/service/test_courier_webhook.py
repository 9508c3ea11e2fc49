"""The courier and a webhook: told in a form of its own, at its pace, and in nobody's way."""

import asyncio
import time
from pathlib import Path

import pytest
from courier_stage import Clock, courier_of, diagnosed, send_until, to
from places import Answer, Book, eventually, place, sending

from engram_diagnose.history.incidents import NewMessage


def test_the_webhook_is_told_in_json_under_a_key_that_is_the_same_at_each_attempt(book: Book) -> None:
    answers = iter([Answer(500), Answer(seconds=1.5), Answer(302, headers={"Location": "/elsewhere"}), Answer(204)])
    with place(lambda _: next(answers, Answer())) as at:
        settings = to(webhook=at.url + "/hook?token=1")
        incident = book.fire(book.alert())
        book.diagnose(settings)
        courier = courier_of(book, settings, chance=lambda: 0.0)
        send_until(lambda: book.counts().sent == 1, "the message to be sent", by=courier, seconds=30)
    assert len(at.got) == 4
    assert {got.path for got in at.got} == {"/hook?token=1"}
    assert {got.headers["Idempotency-Key"] for got in at.got} == {f"{incident}.webhook"}
    assert at.got[0].json["finding"]["title"] == "The hot tier is too small"
    assert "hook?token" not in book.said.getvalue()


def test_a_webhook_that_is_down_holds_up_no_alertmanager(book: Book) -> None:
    with place() as at, place(lambda _: Answer(seconds=30)) as slow:
        settings = to(at.url, webhook=slow.url)
        diagnosed(book, settings, 20)
        courier = courier_of(book, settings)
        assert send_until(lambda: book.counts().sent == 20, "Alertmanager to be told", by=courier) < 1


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
        diagnosed(book, settings, 3)
        send_until(lambda: book.counts().sent == 2, "the others to be sent", by=courier_of(book, settings))
    assert book.counts().pending == 1


def test_the_webhook_gets_no_more_in_a_minute_than_it_may_and_the_rest_later(book: Book) -> None:
    clock = Clock()
    with place() as at:
        settings = to(webhook=at.url, per_minute=4)
        diagnosed(book, settings, 10)

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
        send_until(lambda: book.counts().sent == 1, "the message to be sent", by=courier_of(book, settings))
    assert at.got[0].json == {
        "key": f"{incident}.webhook",
        "text": "engram-1:7432: The hot tier is too small (87 %)",
        "severity": "critical",
        "incident": incident,
        "link": f"https://diagnose.example/incidents/{incident}",
    }
    assert "template fails" in book.events()[0]["event"]
