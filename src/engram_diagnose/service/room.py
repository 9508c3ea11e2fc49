"""
Room at Alertmanager: which open incidents are announced, and which messages wait until there is room for them.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from engram_diagnose.engine.language.rule import SEVERITIES
from engram_diagnose.history.announcing import Places
from engram_diagnose.history.incidents import IncidentStore
from engram_diagnose.history.model import Incident, Message
from engram_diagnose.service.log import Log

Ask = Callable[[Callable[[IncidentStore], Any]], Awaitable[Any]]
"""Puts a question to the store, and gives the answer or raises what the question raised."""


class Room:
    """
    Remembers what is announced, which stays so until it closes.

    `most` gives how many alerts may be announced at a time, `clock` seconds since the epoch. What is asked of the store
    raises `StoreError`.
    """

    def __init__(self, ask: Ask, log: Log, *, most: Callable[[], int], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._log = log
        self._most = most
        self._clock = clock
        self._announced: set[str] = set()
        self._has_begun = False
        self._is_crowded = False

    async def places(self) -> Places:
        """The open incidents that are announced; it is logged when there come to be more than there are places."""
        most = self._most()
        if not self._has_begun:
            told: frozenset[str] = await self._ask(lambda store: store.told())
            self._announced |= told
            self._has_begun = True
        before = frozenset(self._announced)
        found: Places = await self._ask(lambda store: store.places(most, before, SEVERITIES))
        self._announced -= before - found.kept
        self._say_crowded(found)
        return found

    async def admit(self, messages: Sequence[Message]) -> list[Message]:
        """The messages that may be sent; the others, whose incidents have no place, are put out of the way."""
        placed = frozenset((await self.places()).ids)
        others = {message.incident for message in messages} - placed
        if not others:
            return list(messages)
        crowded: frozenset[str] = await self._ask(lambda store: store.still_open(others))
        held = [message.id for message in messages if message.incident in crowded]
        if held:
            why = f"waits for room: {self._most()} alerts are announced at a time"
            await self._ask(lambda store: store.hold(held, why))
        return [message for message in messages if message.incident not in crowded]

    async def let_go(self) -> None:
        """Let go the messages for which there is room by now, and those of incidents that closed meanwhile."""
        if await self._ask(lambda store: store.is_holding()):
            found, now = await self.places(), self._clock()
            await self._ask(lambda store: store.let_go(found.ids, now))

    def now_announced(self, incidents: Iterable[Incident]) -> None:
        """Those of these incidents that are open were announced."""
        self._announced |= {incident.id for incident in incidents if incident.state == "open"}

    def _say_crowded(self, places: Places) -> None:
        if places.left_out and not self._is_crowded:
            number = sum(one.number for one in places.left_out)
            self._log.warning("more incidents are open than are announced", announced=len(places.ids), others=number)
        self._is_crowded = bool(places.left_out)
