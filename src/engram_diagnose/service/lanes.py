"""
The lanes that messages take: one for each destination, and how it has been doing.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from engram_diagnose.history.model import Message
from engram_diagnose.service.alertmanager import Alertmanager
from engram_diagnose.service.announce import OwnAlert, destinations
from engram_diagnose.service.settings import Settings
from engram_diagnose.service.webhook import Webhook

_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 300.0
"""Seconds before the second attempt, and between attempts at most."""

_WEBHOOK: Final = "webhook"


@dataclass(slots=True)
class Lane:
    """
    One destination.

    It is left alone until `not_before` (monotonic clock) after `failures` calls in a row that went wrong, the last one
    by `error`. An Alertmanager has its open alerts refreshed at `refresh_at` (monotonic clock). `settled` are incidents
    that it knows to be closed; `changed` is set when there may be more of them. `further` are, by severity, the alerts
    there that stand for incidents which are not announced.
    """

    name: str
    to: Alertmanager | Webhook
    failures: int = 0
    not_before: float = 0.0
    error: str = ""
    busy: bool = False
    refresh_at: float = 0.0
    further: dict[str, OwnAlert] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


def lanes_of(settings: Settings) -> dict[str, Lane]:
    """A lane to each Alertmanager, and to the webhook where there is one; by what `destination_of` says."""
    lanes = {
        name: Lane(name, Alertmanager(name, url, settings.alertmanager.login))
        for name, url in destinations(settings).items()
    }
    if settings.webhook.url or settings.webhook.url_file:
        lanes[_WEBHOOK] = Lane(_WEBHOOK, Webhook(settings.webhook))
    return lanes


def destination_of(message: Message) -> str:
    """The name of the lane that a message takes."""
    return _WEBHOOK if message.channel == "webhook" else str(message.body.get("to", ""))


def made_at(message: Message) -> float:
    """When a message was written, which its patience counts from."""
    made = message.body.get("made")
    return float(made) if isinstance(made, int | float) else 0.0


def delay(attempts: int, chance: float) -> float:
    """
    Seconds to wait after so many failed attempts; `chance`, from 0 to 1, spreads the wait over its upper half.

    It doubles with each attempt, so that what is overloaded is left alone, and is bounded, so that what is back is
    noticed.
    """
    longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(max(attempts - 1, 0), 30))
    return longest * (0.5 + chance / 2)
