"""
The courier: sends what waits to be sent, at least once, and keeps our open alerts alive.

Each destination has a lane of its own, so that one which is dead, slow or choosy holds up no other.
"""

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from engram_diagnose.history.announcing import Places
from engram_diagnose.history.incidents import IncidentStore, StoreError
from engram_diagnose.history.model import Finding, Incident, Message
from engram_diagnose.service.alertmanager import Alertmanager, as_posted
from engram_diagnose.service.announce import OwnAlert, alert_of, further_alert
from engram_diagnose.service.lanes import Lane, delay, destination_of, lanes_of, made_at
from engram_diagnose.service.log import Log
from engram_diagnose.service.outgoing import Refused
from engram_diagnose.service.room import Room
from engram_diagnose.service.services import Readers
from engram_diagnose.service.settings import Settings
from engram_diagnose.service.webhook import Webhook, WebhookTemplateError, minimal, rendered, template_of

_TICK: Final = 1.0
"""Seconds between two looks at what is due, for messages whose time comes and for a wake-up that got lost."""

_AT_ONCE: Final = 500
"""Messages of one channel that are looked at together."""

_PAUSE: Final = 0.5
_LOOK: Final = 5.0
"""Seconds between two looks at which incidents were closed: at least, since in a storm many are, and at most."""

_ROOM: Final = 2.0
"""Seconds between two looks at whether there is room for messages that wait for it."""

_MINUTE: Final = 60.0
_CLOSED_AT_ONCE: Final = 1000
"""Ends that are told in one call."""


class Courier:
    """
    Sends messages and refreshes our open alerts until cancelled.

    `settings` and `store` are as the service has them; `store` is called in a thread of the courier's own. All methods
    belong to the thread of the event loop. `clock` gives seconds since the epoch, for what is stored or sent;
    `monotonic` those that durations are measured by, since a clock may be set. `chance` gives figures from 0 to 1.
    """

    def __init__(
        self,
        settings: Settings,
        store: Callable[[], IncidentStore],
        log: Log,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._store = store
        self._readers = Readers(store, threads=1)
        self._log = log
        self._clock = clock
        self._monotonic = monotonic
        self._chance = chance
        self._woken = asyncio.Event()
        self._replaced = asyncio.Event()
        self._sending: set[int] = set()
        self._told: deque[float] = deque()
        self._room = Room(
            lambda question: self._readers.ask(question),
            log,
            most=lambda: self._settings.alertmanager.most_announced,
            clock=clock,
        )

    def wake(self) -> None:
        """There is a new message, or an incident was closed."""
        self._woken.set()

    def use(self, settings: Settings) -> None:
        """Go on with other settings; what is being sent is sent by the former ones, and perhaps again by these."""
        self._settings = settings
        self._replaced.set()
        self.wake()

    async def run(self) -> None:
        """Send until cancelled; what was not sent by then is still in the database."""
        try:
            while True:
                self._replaced.clear()
                await self._with_lanes()
        finally:
            self._readers.stop()
            self._readers = Readers(self._store, threads=1)

    async def _with_lanes(self) -> None:
        """Send until the settings are replaced."""
        lanes = lanes_of(self._settings)
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._deliver_for_ever(lanes))]
        tasks += [
            asyncio.create_task(self._keep_up_for_ever(lane))
            for lane in lanes.values()
            if isinstance(lane.to, Alertmanager)
        ]
        tasks.append(asyncio.create_task(self._replaced.wait()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for lane in lanes.values():
                await lane.to.close()
            self._sending.clear()

    # Messages

    async def _deliver_for_ever(self, lanes: dict[str, Lane]) -> None:
        room_at = 0.0
        async with asyncio.TaskGroup() as sending:
            while True:
                self._woken.clear()
                try:
                    if (now := self._monotonic()) >= room_at:
                        room_at = now + _ROOM
                        await self._room.let_go()
                    await self._round(lanes, sending)
                except StoreError as error:
                    self._log.error("messages cannot be read", error=str(error))
                await _until(self._woken, _TICK)
                if self._woken.is_set():
                    for lane in lanes.values():
                        lane.changed.set()

    async def _round(self, lanes: dict[str, Lane], sending: asyncio.TaskGroup) -> None:
        """Hand what is due to the lanes that are free."""
        now = self._clock()
        sending_now = frozenset(self._sending)
        due = await self._readers.ask(lambda store: store.due(now, _AT_ONCE, besides=sending_now))
        waiting = sorted((message for message in due if message.id not in self._sending), key=destination_of)
        for name, group in itertools.groupby(waiting, key=destination_of):
            lane, messages = lanes.get(name), list(group)
            if lane is None:
                await self._unaddressed(messages)
            elif not lane.busy:
                lane.busy = True
                self._sending |= {message.id for message in messages}
                sending.create_task(self._send(lane, messages))

    async def _send(self, lane: Lane, messages: list[Message]) -> None:
        try:
            waiting = await self._with_room(lane, messages) if isinstance(lane.to, Alertmanager) else messages
            if not waiting:
                return
            if self._monotonic() < lane.not_before:
                await self._put_off(lane, waiting, Refused(lane.error))
            elif isinstance(lane.to, Alertmanager):
                await self._announce(lane, lane.to, waiting)
            else:
                await self._tell(lane, lane.to, waiting)
        except Exception as error:  # a message that cannot be sent must not keep others from it
            detail = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            self._log.error("messages could not be seen to", destination=lane.name, error=detail)
            await asyncio.sleep(_TICK)
        finally:
            lane.busy = False
            self._sending -= {message.id for message in messages}
            self._woken.set()  # what came meanwhile does not wait for the next look

    async def _with_room(self, lane: Lane, messages: Sequence[Message]) -> list[Message]:
        """The messages that may be sent; where others wait for room, whoever is on call is told soon that there are."""
        admitted = await self._room.admit(messages)
        if len(admitted) < len(messages) and not lane.further:
            lane.refresh_at = 0.0
            lane.changed.set()
        return admitted

    async def _unaddressed(self, messages: Sequence[Message]) -> None:
        """Messages to where the settings no longer lead."""
        refused = Refused(f"{destination_of(messages[0])} is no longer in the settings")
        await self._failed(messages, refused, self._clock(), give_up=True)

    async def _announce(self, lane: Lane, to: Alertmanager, messages: Sequence[Message]) -> None:
        """Post the alerts of many messages in one call; one by one where Alertmanager finds fault with some."""
        ids = list(dict.fromkeys(message.incident for message in messages))
        found = {item[0].id: item for item in await self._readers.ask(lambda store: store.opened(ids))}
        told = [(message, self._posted(*found[message.incident])) for message in messages if message.incident in found]
        await self._done(message for message in messages if message.incident not in found)
        if not told:
            return
        refused = await to.post_alerts([alert for _, alert in told])
        if refused is None:
            self._recovered(lane)
            self._room.now_announced(item[0] for item in found.values())
            await self._done(message for message, _ in told)
        elif refused.rejected and len(told) > 1:
            for message, alert in told:
                refused = await to.post_alerts([alert])
                if refused is None:
                    self._room.now_announced([found[message.incident][0]])
                await self._settle(lane, [message], refused)
        else:
            await self._settle(lane, [message for message, _ in told], refused)

    def _posted(self, incident: Incident, finding: Finding) -> dict[str, Any]:
        now, ends_at = self._clock(), self._holds_until()
        if incident.state == "closed":
            ends_at = now if incident.closed_at is None else min(incident.closed_at, now)
        return as_posted(alert_of(incident, finding, self._settings), ends_at)

    def _holds_until(self) -> float:
        """When an alert that is posted now counts as resolved, unless it is posted again."""
        return self._clock() + self._settings.alertmanager.resolve_after_seconds

    async def _tell(self, lane: Lane, to: Webhook, messages: Sequence[Message]) -> None:
        """Post messages to the webhook, as many as the rate allows; the others wait for their turn."""
        for number, message in enumerate(messages):
            wait = self._wait_for_turn()
            if wait > 0:
                most = self._settings.webhook.per_minute
                late = Refused(f"waits for its turn: {most} a minute are allowed")
                await self._failed(messages[number:], late, self._clock() + wait)
                return
            self._told.append(self._monotonic())
            body = self._body(message)
            refused = body if isinstance(body, Refused) else await to.send(body, message.key)
            await self._settle(lane, [message], refused)
            if refused is not None and not refused.rejected:
                await self._put_off(lane, messages[number + 1 :], refused)
                return

    def _wait_for_turn(self) -> float:
        """Seconds until one more message may go to the webhook, so that no minute has more than it may have."""
        most, now = self._settings.webhook.per_minute, self._monotonic()
        while self._told and self._told[0] <= now - _MINUTE:
            self._told.popleft()
        return self._told[-most] + _MINUTE - now if len(self._told) >= most else 0.0

    def _body(self, message: Message) -> bytes | Refused:
        """The body of a webhook's message; a minimal one where the template fails."""
        content: Any = message.body.get("content")
        if not isinstance(content, dict):
            return Refused("the message was written by another version, and cannot be read", rejected=True)
        try:
            return rendered(template_of(self._settings.webhook.template), content, message.key)
        except WebhookTemplateError as problem:
            self._log.error("the webhook's template fails; a minimal body is sent", key=message.key, error=str(problem))
            return minimal(content, message.key)

    # What became of a message

    async def _settle(self, lane: Lane, messages: Sequence[Message], refused: Refused | None) -> None:
        if refused is None:
            self._recovered(lane)
            await self._done(messages)
        elif refused.rejected:
            for message in messages:
                if not message.attempts:
                    self._log.warning("message refused", key=message.key, error=refused.detail)
                await self._failed([message], refused, self._clock() + self._wait(message.attempts + 1, refused))
        else:
            self._stumbled(lane, refused)
            await self._put_off(lane, messages, refused)

    async def _done(self, messages: Iterable[Message]) -> None:
        ids, now = [message.id for message in messages], self._clock()
        if ids:
            await self._readers.ask(lambda store: store.all_sent(ids, now))

    async def _put_off(self, lane: Lane, messages: Sequence[Message], refused: Refused) -> None:
        """Messages that wait until the destination may be tried again."""
        await self._failed(messages, refused, self._clock() + max(0.0, lane.not_before - self._monotonic()))

    async def _failed(
        self, messages: Sequence[Message], refused: Refused, not_before: float, *, give_up: bool = False
    ) -> None:
        now = self._clock()
        ends = {message.id: give_up or now - made_at(message) > self._give_up_seconds(message) for message in messages}
        if ends:
            await self._readers.ask(lambda store: store.all_failed(ends, refused.detail, not_before=not_before))
        for message in messages:
            if ends[message.id]:
                self._log.error("message given up", incident=message.incident, key=message.key, error=refused.detail)

    def _give_up_seconds(self, message: Message) -> float:
        settings = self._settings
        at = settings.webhook if message.channel == "webhook" else settings.alertmanager
        return at.give_up_seconds

    def _wait(self, attempts: int, refused: Refused) -> float:
        return max(refused.wait, delay(attempts, self._chance()))

    def _stumbled(self, lane: Lane, refused: Refused) -> None:
        lane.failures += 1
        lane.not_before = self._monotonic() + self._wait(lane.failures, refused)
        lane.error = refused.detail
        if lane.failures == 1:
            self._log.warning("destination cannot be reached", destination=lane.name, error=refused.detail)

    def _recovered(self, lane: Lane) -> None:
        if lane.failures:
            self._log.info("destination can be reached again", destination=lane.name, failures=lane.failures)
        lane.failures, lane.not_before, lane.error = 0, 0.0, ""

    # Our open alerts

    @property
    def _refresh_seconds(self) -> float:
        """One refresh may fail, and another be late, before an open alert would count as resolved."""
        settings = self._settings.alertmanager
        return min(settings.refresh_seconds, settings.resolve_after_seconds / 3)

    async def _keep_up_for_ever(self, lane: Lane) -> None:
        """Refresh the alerts of open incidents from time to time, and resolve those of closed ones at once."""
        while True:
            lane.changed.clear()
            now = self._monotonic()
            everything = now >= lane.refresh_at
            try:
                if now >= lane.not_before and await self._refresh(lane, everything=everything) and everything:
                    lane.refresh_at = now + self._refresh_seconds
            except StoreError as error:
                self._log.error("open incidents cannot be read", error=str(error))
            await asyncio.sleep(_PAUSE)
            await _until(lane.changed, min(_LOOK, max(lane.refresh_at, lane.not_before) - self._monotonic()))

    async def _refresh(self, lane: Lane, *, everything: bool) -> bool:
        """
        Post what the destination has to know, and say whether it knows: which incidents closed, and with `everything`
        those that are open.
        """
        assert isinstance(lane.to, Alertmanager)  # noqa: S101 -- only these are kept up
        since = self._clock() - self._settings.alertmanager.resolve_after_seconds - self._refresh_seconds
        places = await self._room.places() if everything else Places()
        closed = await self._readers.ask(lambda store: store.ended(since))
        fresh = [id for id in closed if id not in lane.settled][:_CLOSED_AT_ONCE]
        found = await self._readers.ask(lambda store: store.opened([*places.ids, *fresh]))
        further = self._further(places)
        ended = {name: alert for name, alert in lane.further.items() if everything and name not in further}
        posted = [self._posted(*item) for item in found]
        posted += [as_posted(alert, self._holds_until()) for alert in further.values()]
        posted += [as_posted(alert, self._clock()) for alert in ended.values()]
        refused = await lane.to.post_alerts(posted) if posted else None
        if refused is not None and not refused.rejected:
            self._stumbled(lane, refused)
            return False
        if posted:
            self._recovered(lane)
        self._room.now_announced(incident for incident, _ in found)
        lane.settled = (lane.settled & set(closed)) | set(fresh)
        lane.further = further if everything else lane.further
        return True

    def _further(self, places: Places) -> dict[str, OwnAlert]:
        """By severity the alert that says how many open incidents are not announced."""
        return {one.severity: further_alert(one, self._settings) for one in places.left_out}


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, or for so long; not at all for less than nothing."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
