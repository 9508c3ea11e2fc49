"""The courier's stage: settings that send quickly, a courier at work, and what the places it talks to were told."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from places import Book, Got, eventually, sending

from engram_diagnose.history.model import Alert
from engram_diagnose.service.courier import Courier
from engram_diagnose.service.settings import Alertmanager, Login, Settings, Webhook
from engram_diagnose.service.times import instant

QUICK = Login(timeout_seconds=1)


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


def send_until(happens: Callable[[], Any], what: str, *, by: Courier, seconds: float = 20) -> float:
    """Let a courier work until something happens; how many seconds that took."""

    async def sent() -> float:
        begun = time.monotonic()
        async with sending(by):
            await eventually(happens, what, seconds=seconds)
            return time.monotonic() - begun

    return asyncio.run(sent())


def diagnosed(book: Book, settings: Settings, number: int, **about: Any) -> list[Alert]:
    """So many open incidents with a diagnosis, of instances from `engram-0` on; the alert of each."""
    alerts = [book.alert(instance=f"engram-{one}") for one in range(number)]
    for alert in alerts:
        book.fire(alert)
        book.diagnose(settings, **about)
    return alerts


def fired(got: list[Got]) -> list[dict[str, Any]]:
    """The alerts that were posted."""
    return [alert for one in got for alert in one.json]


def resolved(got: list[Got]) -> bool:
    last = got[-1]
    return bool(last.json[0]["endsAt"] <= instant(last.at + 0.001))


def instances(got: list[Got]) -> set[str]:
    """The instances whose alert was posted as open."""
    return {one["labels"]["instance"] for call in got for one in call.json
            if "instance" in one["labels"] and one["endsAt"] > instant(call.at + 0.001)}  # fmt: skip


class Clock:
    """A clock that can be set ahead, by seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead
