"""
The reconciler: asks Alertmanager what fires, takes in what never arrived, and resolves what is over.

A webhook that could not be delivered for as long as an alert fired is not delivered later, neither firing nor resolved.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.collectors.prometheus.options import Refusal
from engram_diagnose.history.incidents import Accepted, IncidentStore, StoreError
from engram_diagnose.history.model import Alert, Notification
from engram_diagnose.service.alertmanager import SUPPRESSED, Alertmanager, Raised, as_webhook
from engram_diagnose.service.announce import destinations, is_ours
from engram_diagnose.service.commit import Full
from engram_diagnose.service.intake import PayloadError, parse_notification
from engram_diagnose.service.log import Log
from engram_diagnose.service.login import LoginError, options_of
from engram_diagnose.service.missed import Fired, fired, to_take_in
from engram_diagnose.service.outgoing import Refused
from engram_diagnose.service.services import Commit, Readers
from engram_diagnose.service.settings import Settings

SETTLED_SECONDS: Final = 300.0
"""
How long an Alertmanager has to run before what it does not have counts as over: it starts without alerts, and is told
of them again within minutes.
"""

_STANDSTILL_SECONDS: Final = 60.0
"""After a pause so much longer than three rounds the service has stood still, with its host perhaps."""
_PROMETHEUS: Final = "Prometheus"

_AT_ONCE: Final = 200
"""Alerts in one notification."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a round came to: alerts that had never arrived, alerts that were over, and alerts that were both."""

    found: int = 0
    resolved: int = 0
    missed: int = 0


class Reconciler:
    """
    Asks every Alertmanager at once when it starts, and from time to time after that.

    `accepted` is called in the event loop for each notification that was written. `clock` gives seconds since the
    epoch; `settled` is `SETTLED_SECONDS` but in tests.
    """

    def __init__(
        self,
        settings: Settings,
        store: Callable[[], IncidentStore],
        commit: Commit,
        log: Log,
        *,
        accepted: Callable[[Accepted], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        settled: float = SETTLED_SECONDS,
    ) -> None:
        self._settings = settings
        self._store = store
        self._readers = Readers(store, threads=1)
        self._commit = commit
        self._log = log
        self._accepted = accepted
        self._clock = clock
        self._settled = settled
        self._replaced = asyncio.Event()
        self._said: dict[str, str] = {}
        self._looked_back = False

    def use(self, settings: Settings) -> None:
        """Go on with other settings, at once."""
        self._settings = settings
        self._replaced.set()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        try:
            while True:
                self._replaced.clear()
                await self._with_alertmanagers()
        finally:
            self._readers.stop()
            self._readers = Readers(self._store, threads=1)

    async def _with_alertmanagers(self) -> None:
        settings = self._settings.alertmanager
        asked = [Alertmanager(name, url, settings.login) for name, url in destinations(self._settings).items()]
        try:
            while not self._replaced.is_set():
                await self._one_round(asked)
                await self._pause(settings.reconcile_seconds)
        finally:
            for one in asked:
                await one.close()

    async def _one_round(self, asked: Sequence[Alertmanager]) -> None:
        try:
            done = replace(await self.reconcile(asked), missed=await self.look_back())
        except Exception as error:  # a round that fails must not be the last
            known = isinstance(error, StoreError | Full)
            self._log.error("not reconciled", error=str(error) if known else f"{type(error).__name__}: {error}")
            return
        if done.found or done.resolved:
            self._log.info("reconciled", found=done.found, resolved=done.resolved)
        if done.missed:
            self._log.info("alerts of the time without the service", found=done.missed)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._replaced.wait()
        except TimeoutError:
            return

    async def reconcile(self, asked: Sequence[Alertmanager]) -> Reconciled:
        """
        One round. Raises `StoreError`, and `Full` where the writer has no room.

        What is kept is read before Alertmanager is asked, so that an alert which arrives in between is not taken for
        one that is over.
        """
        if not asked:
            return Reconciled()
        kept: dict[int, str] = await self._readers.ask(lambda store: store.firing())
        answers = await asyncio.gather(*(self._ask(one) for one in asked))
        raised = [alert for answer in answers if not isinstance(answer, Refused) for alert in answer]
        ours = self._to_take_in(raised)
        known = frozenset(kept.values())
        found = [alert for alert in await asyncio.to_thread(self._parsed, ours) if alert.identity not in known]
        await self._submit(found)
        if not all([await self._is_settled(one, answer) for one, answer in zip(asked, answers, strict=True)]):
            return Reconciled(found=len(found))
        firing = {alert.identity for alert in await asyncio.to_thread(self._parsed, raised)}
        gone = [number for number, identity in kept.items() if identity not in firing]
        alerts: list[Alert] = await self._readers.ask(lambda store: store.still_firing(gone)) if gone else []
        now = self._clock()
        over = [replace(alert, status="resolved", ends_at=now) for alert in alerts]
        await self._submit(over)
        return Reconciled(len(found), len(over))

    async def look_back(self) -> int:
        """
        Take in what fired and ended while the service was down or stood still; how many alerts that was.

        Prometheus is asked until it answers: the time from which it is asked is kept in the database. Raises
        `StoreError`, and `Full`.
        """
        now, settings = self._clock(), self._settings
        since = await self._readers.ask(lambda store: store.seen_at())
        taken: list[tuple[Alert, Alert]] = []
        if since is not None and self._was_away(now - since):
            found = await asyncio.to_thread(_fired, settings, since, now)
            self._say_missed(found)
            if isinstance(found, Refusal | LoginError):
                return 0
            if found:
                spare = settings.incidents.tolerance_seconds
                begin, end = found[0].starts_at - spare, found[-1].starts_at + spare
                known = await self._readers.ask(lambda store: store.alerts_between(begin, end))
                taken = to_take_in(found, known, settings)
                await self._submit([alert for pair in taken for alert in pair])
        await self._readers.ask(lambda store: store.seen(now))
        self._looked_back = True
        return len(taken)

    def _was_away(self, seconds: float) -> bool:
        about = self._settings
        missing = not self._looked_back or seconds > 3 * about.alertmanager.reconcile_seconds + _STANDSTILL_SECONDS
        return missing and bool(about.prometheus.url and about.alertmanager.missed)

    def _say_missed(self, found: object) -> None:
        problem = "" if isinstance(found, list) else str(found)
        before, self._said[_PROMETHEUS] = self._said.get(_PROMETHEUS, ""), problem
        if problem and problem != before:
            self._log.warning("Prometheus cannot be asked for alerts of the time without the service", error=problem)

    async def _ask(self, one: Alertmanager) -> list[Raised] | Refused:
        answer = await one.alerts()
        await self._say(one, answer)
        return answer

    async def _is_settled(self, one: Alertmanager, answer: list[Raised] | Refused) -> bool:
        """Whether what this Alertmanager does not have is over. One that does not answer says nothing."""
        if isinstance(answer, Refused):
            return False
        started = await one.started()
        return not isinstance(started, Refused) and self._clock() - started >= self._settled

    def _to_take_in(self, raised: Iterable[Raised]) -> list[Raised]:
        """What the webhook would have brought: not our own, not what is ignored or silenced, not what others get."""
        receiver, ignored = self._settings.alertmanager.receiver, self._settings.incidents.ignore
        return [
            alert
            for alert in raised
            if not is_ours(alert.labels)
            and alert.labels.get("alertname", "") not in ignored
            and alert.state != SUPPRESSED
            and (not receiver or receiver in alert.receivers)
        ]

    def _parsed(self, raised: Sequence[Raised]) -> list[Alert]:
        """
        The alerts as the webhook would have brought them: each once though every Alertmanager has it, and that of each
        replica of Prometheus by itself.
        """
        found: dict[tuple[str, str], Alert] = {}
        for start in range(0, len(raised), _AT_ONCE):
            for alert in self._parse(raised[start : start + _AT_ONCE]):
                found.setdefault((alert.identity, alert.fingerprint), alert)
        return list(found.values())

    def _parse(self, raised: Sequence[Raised]) -> Sequence[Alert]:
        """Alerts of one body; where some of them are malformed, those that are not."""
        replicas = frozenset(self._settings.incidents.replica_labels)
        try:
            body = as_webhook(raised, self._settings.alertmanager.receiver)
            parsed = parse_notification(body, replica_labels=replicas)
        except PayloadError as error:
            self._log.warning("alerts of Alertmanager cannot be read", error=str(error))
            return ()
        for problem in parsed.malformed:
            self._log.warning("an alert of Alertmanager cannot be read", error=problem)
        return parsed.notification.alerts

    async def _submit(self, alerts: Sequence[Alert]) -> None:
        for start in range(0, len(alerts), _AT_ONCE):
            notification = Notification(alerts=tuple(alerts[start : start + _AT_ONCE]),
                                        receiver=self._settings.alertmanager.receiver)  # fmt: skip
            future = self._commit.submit(notification, self._clock(), source="reconciled")
            self._accepted(await asyncio.wrap_future(future))

    async def _say(self, one: Alertmanager, answer: list[Raised] | Refused) -> None:
        """Log what is wrong with an Alertmanager when that begins, and when it ends."""
        problem = answer.detail if isinstance(answer, Refused) else await self._without_receiver(one)
        before, self._said[one.name] = self._said.get(one.name, ""), problem
        if problem and problem != before:
            self._log.warning("Alertmanager cannot be reconciled with", alertmanager=one.name, error=problem)
        elif before and not problem:
            self._log.info("Alertmanager can be reconciled with again", alertmanager=one.name)

    async def _without_receiver(self, one: Alertmanager) -> str:
        """What is wrong with its receivers; asked until the one that calls us was seen."""
        receiver = self._settings.alertmanager.receiver
        if not receiver or self._said.get(one.name) == "":
            return ""
        names = await one.receivers()
        if isinstance(names, Refused) or receiver in names:
            return ""
        return f"it has no receiver {receiver}; name the one that calls this service as `receiver` of [alertmanager]"


def _fired(settings: Settings, since: float, until: float) -> list[Fired] | Refusal | LoginError:
    try:
        options = options_of(settings.prometheus.url, settings.prometheus.login)
    except LoginError as error:
        return error
    return fired(options, settings.alertmanager.missed, since=since, until=until)
