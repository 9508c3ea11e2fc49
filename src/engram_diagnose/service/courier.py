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

from engram_diagnose.history.incidents import IncidentStore, StoreError
from engram_diagnose.history.model import Finding, Incident, Message
from engram_diagnose.service.alertmanager import Alertmanager, as_posted
from engram_diagnose.service.announce import MOST_ANNOUNCED, alert_of, chosen
from engram_diagnose.service.lanes import Lane, delay, destination_of, lanes_of, made_at
from engram_diagnose.service.log import Log
from engram_diagnose.service.outgoing import Refused
from engram_diagnose.service.services import Readers
from engram_diagnose.service.settings import Settings
from engram_diagnose.service.webhook import Webhook, WebhookTemplateError, minimal, rendered, template_of

_TICK: Final = 1.0
"""Seconds between two looks at what is due, for messages whose time comes and for a wake-up that got lost."""

_AT_ONCE: Final = 500
"""Messages that are looked at together."""

_PAUSE: Final = 0.5
_LOOK: Final = 5.0
"""Seconds between two looks at which incidents were closed: at least, since in a storm many are, and at most."""

_MINUTE: Final = 60.0
_CLOSED_AT_ONCE: Final = 10 * MOST_ANNOUNCED


class Courier:
    """
    Sends messages and refreshes our open alerts until cancelled.

    `settings` and `store` are as the service has them; `store` is called in a thread of the courier's own. All methods
    belong to the thread of the event loop. `clock` gives seconds since the epoch, `chance` figures from 0 to 1.
    """

    def __init__(
        self,
        settings: Settings,
        store: Callable[[], IncidentStore],
        log: Log,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._store = store
        self._readers = Readers(store, threads=1)
        self._log = log
        self._clock = clock
        self._chance = chance
        self._woken = asyncio.Event()
        self._replaced = asyncio.Event()
        self._sending: set[int] = set()
        self._told: deque[float] = deque()
        self._is_crowded = False

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
        async with asyncio.TaskGroup() as sending:
            while True:
                self._woken.clear()
                try:
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
        due = await self._readers.ask(lambda store: store.due(now, _AT_ONCE + len(self._sending)))
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
            if self._clock() < lane.not_before:
                await self._put_off(lane, messages, Refused(lane.error))
            elif isinstance(lane.to, Alertmanager):
                await self._announce(lane, lane.to, messages)
            else:
                await self._tell(lane, lane.to, messages)
        except Exception as error:  # a message that cannot be sent must not keep others from it
            detail = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            self._log.error("messages could not be seen to", destination=lane.name, error=detail)
            await asyncio.sleep(_TICK)
        finally:
            lane.busy = False
            self._sending -= {message.id for message in messages}
            self._woken.set()  # what came meanwhile does not wait for the next look

    async def _unaddressed(self, messages: Sequence[Message]) -> None:
        """Messages to where the settings no longer lead."""
        refused = Refused(f"{destination_of(messages[0])} is no longer in the settings")
        await self._failed(messages, refused, self._clock(), give_up=True)

    async def _announce(self, lane: Lane, to: Alertmanager, messages: Sequence[Message]) -> None:
        """Post the alerts of many messages in one call; one by one where Alertmanager finds fault with some."""
        alerts, crowded = await self._readers.ask(lambda store: self._alerts(store, messages))
        self._say_crowded(bool(crowded))
        if crowded:
            full = Refused(f"{MOST_ANNOUNCED} alerts are announced already")
            await self._failed(crowded, full, self._clock() + self._refresh_seconds)
        told = [(message, alert) for message, alert in alerts if alert is not None]
        await self._done(message for message, alert in alerts if alert is None)
        if not told:
            return
        refused = await to.post_alerts([alert for _, alert in told])
        if refused is None:
            self._recovered(lane)
            await self._done(message for message, _ in told)
        elif refused.rejected and len(told) > 1:
            for message, alert in told:
                await self._settle(lane, [message], await to.post_alerts([alert]))
        else:
            await self._settle(lane, [message for message, _ in told], refused)

    def _alerts(
        self, store: IncidentStore, messages: Sequence[Message]
    ) -> tuple[list[tuple[Message, dict[str, Any] | None]], list[Message]]:
        """The alert of each message, None where there is nothing left to say, and the messages there is no room for."""
        open_ = {item[0].id: item for item in store.open_findings()}
        announced = {incident.id for incident, _ in chosen(open_.values())}
        alerts: list[tuple[Message, dict[str, Any] | None]] = []
        crowded: list[Message] = []
        for message in messages:
            id = message.incident
            if id in open_ and id not in announced:
                crowded.append(message)
                continue
            incident, finding = open_.get(id) or (store.incident(id), store.finding(id))
            alerts.append((message, self._posted(incident, finding) if incident and finding else None))
        return alerts, crowded

    def _posted(self, incident: Incident, finding: Finding) -> dict[str, Any]:
        now = self._clock()
        ends_at = now + self._settings.alertmanager.resolve_after_seconds
        if incident.state == "closed":
            ends_at = now if incident.closed_at is None else min(incident.closed_at, now)
        return as_posted(alert_of(incident, finding, self._settings), ends_at)

    async def _tell(self, lane: Lane, to: Webhook, messages: Sequence[Message]) -> None:
        """Post messages to the webhook, as many as the rate allows; the others wait for their turn."""
        for number, message in enumerate(messages):
            room_at = self._room_at()
            if room_at > self._clock():
                most = self._settings.webhook.per_minute
                late = Refused(f"waits for its turn: {most} a minute are allowed")
                await self._failed(messages[number:], late, room_at)
                return
            self._told.append(self._clock())
            body = self._body(message)
            refused = body if isinstance(body, Refused) else await to.send(body, message.key)
            await self._settle(lane, [message], refused)
            if refused is not None and not refused.rejected:
                await self._put_off(lane, messages[number + 1 :], refused)
                return

    def _room_at(self) -> float:
        """When one more message may go to the webhook, so that no minute has more than it may have."""
        most, now = self._settings.webhook.per_minute, self._clock()
        while self._told and self._told[0] <= now - _MINUTE:
            self._told.popleft()
        return self._told[-most] + _MINUTE if len(self._told) >= most else now

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

        def sent(store: IncidentStore) -> None:
            for id in ids:
                store.sent(id, now)

        await self._readers.ask(sent)

    async def _put_off(self, lane: Lane, messages: Sequence[Message], refused: Refused) -> None:
        """Messages that wait until the destination may be tried again."""
        await self._failed(messages, refused, lane.not_before)

    async def _failed(
        self, messages: Sequence[Message], refused: Refused, not_before: float, *, give_up: bool = False
    ) -> None:
        now = self._clock()
        ends = {message.id: give_up or now - made_at(message) > self._give_up_seconds(message) for message in messages}

        def failed(store: IncidentStore) -> None:
            for id, is_over in ends.items():
                store.failed(id, refused.detail, not_before=not_before, give_up=is_over)

        await self._readers.ask(failed)
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
        lane.not_before = self._clock() + self._wait(lane.failures, refused)
        lane.error = refused.detail
        if lane.failures == 1:
            self._log.warning("destination cannot be reached", destination=lane.name, error=refused.detail)

    def _recovered(self, lane: Lane) -> None:
        if lane.failures:
            self._log.info("destination can be reached again", destination=lane.name, failures=lane.failures)
        lane.failures, lane.not_before, lane.error = 0, 0.0, ""

    def _say_crowded(self, is_crowded: bool) -> None:
        if is_crowded and not self._is_crowded:
            self._log.warning("more incidents are open than are announced", most=MOST_ANNOUNCED)
        self._is_crowded = is_crowded

    # Our open alerts

    @property
    def _refresh_seconds(self) -> float:
        """One refresh may fail, and another be late, before an open alert would count as resolved."""
        settings = self._settings.alertmanager
        return min(settings.refresh_seconds, settings.resolve_after_seconds / 3)

    async def _keep_up_for_ever(self, lane: Lane) -> None:
        """Refresh the alerts of open incidents from time to time, and resolve those of closed ones at once."""
        refresh_at = 0.0
        while True:
            lane.changed.clear()
            now = self._clock()
            try:
                if now >= lane.not_before and await self._refresh(lane, everything=now >= refresh_at):
                    refresh_at = refresh_at if now < refresh_at else now + self._refresh_seconds
            except StoreError as error:
                self._log.error("open incidents cannot be read", error=str(error))
            await asyncio.sleep(_PAUSE)
            await _until(lane.changed, min(_LOOK, max(refresh_at, lane.not_before) - self._clock()))

    async def _refresh(self, lane: Lane, *, everything: bool) -> bool:
        """
        Post what the destination has to know, and say whether it knows: which incidents closed, and with `everything`
        those that are open.
        """
        since = self._clock() - self._settings.alertmanager.resolve_after_seconds - self._refresh_seconds

        def told(store: IncidentStore) -> tuple[list[dict[str, Any]], set[str]]:
            open_ = chosen(store.open_findings()) if everything else []
            closed = store.closed_findings(since)
            fresh = [item for item in closed if item[0].id not in lane.settled]
            posted = [self._posted(*item) for item in (*open_, *fresh[-_CLOSED_AT_ONCE:])]
            return posted, {incident.id for incident, _ in closed}

        posted, closed = await self._readers.ask(told)
        assert isinstance(lane.to, Alertmanager)  # noqa: S101 -- only these are kept up
        refused = await lane.to.post_alerts(posted) if posted else None
        if refused is not None and not refused.rejected:
            self._stumbled(lane, refused)
            return False
        if posted:
            self._recovered(lane)
        lane.settled = closed
        return True


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, or for so long; not at all for less than nothing."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
