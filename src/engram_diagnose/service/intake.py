"""
Alertmanager's webhook, version 4, into a notification: the body of a POST from Alertmanager 0.25 to 0.33.

    {"version": "4", "receiver": …, "groupKey": …, "externalURL": …, "truncatedAlerts": 0, "alerts": [
      {"status": "firing", "labels": {"alertname": …}, "annotations": {…}, "startsAt": "2026-11-22T06:57:24.624Z",
       "endsAt": "0001-01-01T00:00:00Z", "generatorURL": …, "fingerprint": …}]}

What it does not need it does not look at, so that a field of a later version is no reason to lose an alert, and an
alert that is malformed is none to lose those beside it. Nothing of what is wrong is quoted in a message: it may be
anything.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from engram_diagnose.history.model import Alert, Notification

VERSION: Final = "4"
"""The version of the webhook that is read; Alertmanager has had no other since 0.6."""

T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400.0
_END_OF_TIME: Final = 253_402_300_800.0 - 2 * _DAY
"""The year 10,000 in seconds since 1970, less what a reader in any time zone needs to show it."""


MOST_MALFORMED: Final = 1000
"""Alerts of one body that may be malformed: what has more comes from no Alertmanager, and is not looked through."""


class PayloadError(ValueError):
    """A body that is no notification, or an alert that is none; the message says what is wrong with it and where."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a body holds that can be taken in, and for each alert that cannot, where it stands and why."""

    notification: Notification
    malformed: tuple[str, ...] = ()


_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _WireAlert(msgspec.Struct, rename={"starts_at": "startsAt", "ends_at": "endsAt", "generator": "generatorURL"}):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: _Time
    ends_at: _Time | None = None
    annotations: dict[str, str] | None = None
    generator: str | None = None
    fingerprint: str | None = None


class _Envelope(
    msgspec.Struct,
    kw_only=True,
    rename={"group_key": "groupKey", "external_url": "externalURL", "truncated": "truncatedAlerts"},
):
    version: str = VERSION
    receiver: str | None = None
    group_key: str | None = None
    external_url: str | None = None
    truncated: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class _Wire(_Envelope, kw_only=True):
    alerts: list[_WireAlert]


class _Loose(_Envelope, kw_only=True):
    """A body whose alerts are not looked at yet."""

    alerts: list[msgspec.Raw]


_DECODER: Final = msgspec.json.Decoder(_Wire)
_LOOSE: Final = msgspec.json.Decoder(_Loose)
_ALONE: Final = msgspec.json.Decoder(_WireAlert)


def parse_notification(body: bytes, *, replica_labels: frozenset[str] = frozenset()) -> Parsed:
    """
    The notification that a body holds; `replica_labels` are those that only tell replicas apart.

    Raises `PayloadError` for a body that is none, for one without an alert, and where every alert is malformed.
    """
    try:
        wire: _Wire | _Loose = _decoded(body, _DECODER)
    except PayloadError as error:
        wire = _loose(body, error)
    if wire.version != VERSION:
        raise PayloadError(f"$.version is not {VERSION!r}, the one version of Alertmanager's webhook that is read here")
    if not wire.alerts:
        raise PayloadError("$.alerts is empty: a notification speaks of one alert at least")
    alerts, malformed = _sifted(wire.alerts, replica_labels)
    if not alerts:
        raise PayloadError(malformed[0])
    notification = Notification(
        alerts=tuple(alerts),
        receiver=wire.receiver or "",
        external_url=wire.external_url or "",
        group_key=wire.group_key or "",
        truncated=wire.truncated,
        version=wire.version,
    )
    return Parsed(notification, tuple(malformed))


def _sifted(sent: Sequence[_WireAlert | msgspec.Raw], replica_labels: frozenset[str]) -> tuple[list[Alert], list[str]]:
    """The alerts, and what is wrong with those that are none. Raises `PayloadError` where those are too many."""
    alerts: list[Alert] = []
    malformed: list[str] = []
    for position, one in enumerate(sent):
        try:
            wire = _decoded_alone(one, position) if isinstance(one, msgspec.Raw) else one
            alerts.append(_alert(wire, position, replica_labels))
        except PayloadError as error:
            malformed.append(str(error))
            if len(malformed) > MOST_MALFORMED:
                text = f"more than {MOST_MALFORMED:,} alerts are malformed, the first because {malformed[0]}"
                raise PayloadError(text) from None
    return alerts, malformed


def identity_of(labels: Mapping[str, str], replica_labels: frozenset[str] = frozenset()) -> str:
    """
    What an alert is known by: SHA-256, in hexadecimal, over its labels in order, those of replicas left out.

    A label that is empty is to Prometheus a label that is not there.
    """
    told = sorted((name, value) for name, value in labels.items() if value and name not in replica_labels)
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _loose(body: bytes, error: PayloadError) -> _Loose:
    """The body, of which some alert may be malformed; raises `error` where it is the body that is wrong."""
    try:
        return _decoded(body, _LOOSE)
    except PayloadError:
        raise error from None


def _decoded(body: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise PayloadError(f"this is no notification of Alertmanager: {_place_last(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(f"the body is not JSON: {_without_text(error)}") from None
    except RecursionError:
        raise PayloadError("the body is nested too deeply: a notification has five levels at most") from None


def _decoded_alone(sent: msgspec.Raw, position: int) -> _WireAlert:
    """Raises `PayloadError`; places are those in the whole body."""
    try:
        return _ALONE.decode(sent)
    except msgspec.ValidationError as error:
        what = _place_last(str(error).replace(" - at `$", f" - at `$.alerts[{position}]"), f"$.alerts[{position}]")
        raise PayloadError(f"this is no alert of Alertmanager: {what}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(f"$.alerts[{position}] is not JSON: {_without_text(error)}") from None
    except RecursionError:
        raise PayloadError(f"$.alerts[{position}] is nested too deeply: an alert has three levels at most") from None


def _place_last(message: str, otherwise: str = "$") -> str:
    """A message with the place that msgspec names behind a dash; without one it is the whole."""
    what, _, place = message.partition(" - at `")
    what = re.sub(r"(Invalid enum value) .*", r'\1, not "firing" or "resolved"', what)
    return f"{what[:1].lower()}{what[1:].replace('`', '')}, at {place.rstrip('`') or otherwise}"


def _without_text(error: Exception) -> str:
    return (
        "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).removeprefix("JSON is malformed: ")
    )


def _alert(wire: _WireAlert, position: int, replica_labels: frozenset[str]) -> Alert:
    if not wire.labels:
        raise PayloadError(f"$.alerts[{position}].labels is empty: an alert is known by its labels")
    starts_at = _seconds(wire.starts_at)
    if not 0 <= starts_at < _END_OF_TIME:
        raise PayloadError(f"$.alerts[{position}].startsAt is before 1970 or after 9999: no alert fires then")
    return Alert(
        identity=identity_of(wire.labels, replica_labels),
        status=wire.status,
        labels=wire.labels,
        annotations=wire.annotations or {},
        starts_at=starts_at,
        ends_at=_end(wire, starts_at) if wire.status == "resolved" else None,
        fingerprint=wire.fingerprint or "",
        generator=wire.generator or "",
    )


def _end(wire: _WireAlert, starts_at: float) -> float:
    """When a resolved alert ended: not before it began, which is all that is known where it does not say."""
    ended = _seconds(wire.ends_at) if wire.ends_at is not None else starts_at
    return max(starts_at, min(ended, _END_OF_TIME))


def _seconds(time: datetime) -> float:
    return (time - _EPOCH).total_seconds()
