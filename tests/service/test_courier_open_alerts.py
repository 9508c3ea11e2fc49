"""Our alerts stay open in Alertmanager for as long as their incidents do, and end with them."""

import asyncio
import time
from itertools import pairwise

from courier_stage import Clock, courier_of, diagnosed, fired, resolved, send_until, to
from places import Book, Got, eventually, place, sending

from engram_diagnose.service.times import instant


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


def test_after_a_restart_the_end_of_an_incident_that_closed_meanwhile_is_told(book: Book) -> None:
    with place() as at:
        settings = to(at.url)
        alert = book.alert()
        book.fire(alert)
        book.diagnose(settings)
        send_until(lambda: book.counts().sent == 1, "the message to be sent", by=courier_of(book, settings))
        book.resolve(alert)
        told = len(at.told())
        over = courier_of(book, settings)
        send_until(lambda: len(at.told()) > told and resolved(at.told()), "the end to be told", by=over)


def test_an_incident_that_closed_before_it_could_be_told_of_is_posted_as_resolved(book: Book) -> None:
    with place() as at:
        settings = to(at.url)
        alert = book.alert()
        book.fire(alert)
        book.resolve(alert)
        book.diagnose(settings)
        send_until(lambda: book.counts().sent == 1, "the message to be sent", by=courier_of(book, settings))
        assert resolved(at.told())


def test_a_clock_that_is_set_back_or_forth_holds_up_no_refresh_and_lets_no_more_through(book: Book) -> None:
    clock = Clock()
    with place() as at, place() as hook:
        settings = to(at.url, webhook=hook.url, per_minute=2, resolve_after=3)
        diagnosed(book, settings, 6)

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
