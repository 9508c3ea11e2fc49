"""
Alertmanager's API, version 2: what fires there, and our own alerts, posted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from engram_diagnose.collectors.prometheus.options import shown
from engram_diagnose.service.announce import OwnAlert
from engram_diagnose.service.login import options_of
from engram_diagnose.service.outgoing import Outgoing, Refused
from engram_diagnose.service.settings import Login
from engram_diagnose.service.times import instant

SUPPRESSED: Final = "suppressed"
"""The state of an alert that a silence or an inhibition keeps from being sent to anybody."""

_EVERYTHING: Final = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "true"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert that fires, as the API has it: `starts_at` is text as it came, `state` says whether it is suppressed."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str
    fingerprint: str
    generator: str
    receivers: frozenset[str]
    state: str


class _Receiver(msgspec.Struct):
    name: str = ""


class _Status(msgspec.Struct):
    state: str = ""


class _Alert(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    starts_at: str
    annotations: dict[str, str] = {}
    fingerprint: str = ""
    generator_url: str = msgspec.field(default="", name="generatorURL")
    receivers: list[_Receiver] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Uptime(msgspec.Struct):
    uptime: str


class Alertmanager:
    """
    One Alertmanager. `name` is its address without a login. Nothing is raised: what went wrong is a `Refused`.
    """

    def __init__(self, name: str, url: str, login: Login) -> None:
        self.name = name
        self._outgoing = Outgoing(lambda: options_of(url, login))

    async def close(self) -> None:
        """Close the connections."""
        await self._outgoing.close()

    async def post_alerts(self, alerts: Sequence[Mapping[str, Any]]) -> Refused | None:
        """
        Raise, keep up or resolve alerts (see `as_posted`); None once Alertmanager has taken them.

        Of several it takes those it finds valid, also when it rejects the call for the others.
        """
        answer = await self._outgoing.post("/api/v2/alerts", msgspec.json.encode(list(alerts)))
        return answer if isinstance(answer, Refused) else None

    async def alerts(self) -> list[Raised] | Refused:
        """Every alert that fires there, also those that are silenced or inhibited."""
        found = _decoded(await self._outgoing.get("/api/v2/alerts", _EVERYTHING), list[_Alert], self.name)
        return found if isinstance(found, Refused) else [_raised(alert) for alert in found]

    async def receivers(self) -> frozenset[str] | Refused:
        """The names of its receivers."""
        found = _decoded(await self._outgoing.get("/api/v2/receivers"), list[_Receiver], self.name)
        return found if isinstance(found, Refused) else frozenset(receiver.name for receiver in found)

    async def started(self) -> float | Refused:
        """When it started. It forgets the alerts when it stops, and is told again only bit by bit."""
        found = _decoded(await self._outgoing.get("/api/v2/status"), _Uptime, self.name)
        if isinstance(found, Refused):
            return found
        try:
            return datetime.fromisoformat(found.uptime).timestamp()
        except (ValueError, OverflowError):
            return Refused(f"{self.name} does not say since when it runs ({shown(found.uptime)})")


def as_posted(alert: OwnAlert, ends_at: float) -> dict[str, Any]:
    """
    An alert as Alertmanager takes it. It counts as resolved from `ends_at` on.

    Alertmanager insists on an end that is not before the start.
    """
    return {
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": instant(min(alert.starts_at, ends_at)),
        "endsAt": instant(ends_at),
        "generatorURL": alert.link,
    }


def as_webhook(alerts: Iterable[Raised], receiver: str) -> bytes:
    """Alerts of the API as the webhook would have brought them, so that there is one way to read either."""
    body = {
        "version": "4",
        "status": "firing",
        "receiver": receiver,
        "groupKey": "",
        "externalURL": "",
        "truncatedAlerts": 0,
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "alerts": [
            {
                "status": "firing",
                "labels": alert.labels,
                "annotations": alert.annotations,
                "startsAt": alert.starts_at,
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": alert.generator,
                "fingerprint": alert.fingerprint,
            }
            for alert in alerts
        ],
    }
    return msgspec.json.encode(body)


def _decoded(answer: bytes | Refused, kind: type[T], name: str) -> T | Refused:
    if isinstance(answer, Refused):
        return answer
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        return Refused(f"{name} does not answer as Alertmanager's API does ({shown(str(error))}); check the address")


def _raised(alert: _Alert) -> Raised:
    return Raised(
        alert.labels,
        alert.annotations,
        alert.starts_at,
        alert.fingerprint,
        alert.generator_url,
        frozenset(receiver.name for receiver in alert.receivers),
        alert.status.state,
    )
