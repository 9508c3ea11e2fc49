"""No more of our alerts are open at a time than anybody reads; the others wait, and are counted."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from courier_stage import courier_of, diagnosed, instances, send_until, to
from places import Answer, Book, Got, eventually, place, sending

from engram_diagnose.service.times import instant


def test_no_more_alerts_are_open_than_anybody_reads_and_the_next_takes_a_closed_ones_place(book: Book) -> None:
    most = 3
    with place() as at:
        settings = to(at.url, most=most, resolve_after=3)
        alerts = diagnosed(book, settings, 5)

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


def test_what_is_announced_stays_so_although_worse_comes_and_through_a_restart(book: Book) -> None:
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
        diagnosed(book, before, 3)

        async def announced(most: int) -> set[str]:
            async with sending(courier_of(book, to(at.url, most=most, resolve_after=3))):
                await eventually(lambda: book.counts().sent == 3, "what was to be told")
                begun = len(at.told())
                await eventually(lambda: len(at.told()) > begun + 1, "two more refreshes")
                return instances(at.told()[begun + 1 :])

        assert asyncio.run(announced(3)) == asyncio.run(announced(1)) == {"engram-0", "engram-1", "engram-2"}


def test_how_many_more_are_open_is_told_in_one_alert_for_each_severity_which_ends_with_them(book: Book) -> None:
    most = 2
    with place() as at:
        settings = to(at.url, most=most, resolve_after=3)
        alerts = diagnosed(book, settings, 5)

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


def test_messages_without_room_are_out_of_the_way_of_others_and_cost_no_attempt(book: Book) -> None:
    most = 1
    with place() as at, place() as hook:
        settings = to(at.url, most=most)
        diagnosed(book, settings, 30, made_at=time.time() - 2 * 86400)

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
        send_until(lambda: hook.told(), "the webhook", by=courier_of(book, both))


def test_an_incident_that_closes_while_there_is_no_room_for_it_leaves_no_message_behind(book: Book) -> None:
    most = 1
    with place() as at:
        settings = to(at.url, most=most)
        alerts = diagnosed(book, settings, 2)

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
        alerts = diagnosed(book, settings, 2, made_at=time.time() - 2 * 86400)

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
