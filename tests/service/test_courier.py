"""The courier: nothing it was given is lost, and nobody who is dead, slow or choosy holds up another."""

import asyncio
import random
import time
from typing import Any

from courier_stage import courier_of, diagnosed, fired, send_until, to
from hypothesis import given
from hypothesis import strategies as st
from places import Answer, Book, Got, eventually, free_port, place, sending

from engram_diagnose.history.incidents import NewMessage, StoreError
from engram_diagnose.service.courier import Courier
from engram_diagnose.service.lanes import delay
from engram_diagnose.service.settings import Settings


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
        diagnosed(book, settings, 5)
        courier = courier_of(book, settings)
        assert send_until(lambda: book.counts().sent == 5, "the one that is well to be told", by=courier) < 1
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
        send_until(lambda: book.counts().sent == 2, "the others to be sent", by=courier_of(book, settings))
    assert book.counts().pending == 1


def test_what_cannot_be_sent_for_long_enough_is_given_up_and_logged(book: Book) -> None:
    settings = to(f"http://127.0.0.1:{free_port()}", webhook=f"http://127.0.0.1:{free_port()}/secret-path")
    book.fire(book.alert())
    book.diagnose(settings, made_at=time.time() - 2 * 86400)
    send_until(lambda: book.counts().given_up == 2, "the messages to be given up", by=courier_of(book, settings))
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
    send_until(lambda: book.counts().given_up == 1, "the message to be given up", by=courier_of(book, Settings()))
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


def test_a_database_that_cannot_be_read_is_logged_and_tried_again(book: Book) -> None:
    tries = {"left": 3}

    def opened() -> Any:
        tries["left"] -= 1
        if tries["left"] > 0:
            raise StoreError("the disk is away; wait")
        return book.open()

    with place() as at:
        settings = to(at.url)
        book.fire(book.alert())
        book.diagnose(settings)
        courier = Courier(settings, opened, book.log)
        send_until(lambda: book.counts().sent == 1, "the message to be sent", by=courier)
    assert any("the disk is away" in event["error"] for event in book.events())


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


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_waits_grow_within_bounds_and_are_spread(attempts: int, chance: float) -> None:
    assert 0.5 <= delay(attempts, chance) <= 300
    assert delay(attempts, chance) <= 2 * delay(attempts + 1, 0.0)
    assert delay(attempts, 0.0) < delay(attempts, 1.0)
