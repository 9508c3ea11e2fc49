"""
Alertmanager's webhook, version 4, into a notification: the body of a POST from Alertmanager 0.25 to 0.33.

    {"version": "4", "receiver": …, "groupKey": …, "externalURL": …, "truncatedAlerts": 0, "alerts": [
      {"status": "firing", "labels": {"alertname": …}, "annotations": {…}, "startsAt": "2026-11-22T06:57:24.624Z",
       "endsAt": "0001-01-01T00:00:00Z", "generatorURL": …, "fingerprint": …}]}

What it does not need it does not look at, so that a field of a later version is no reason to lose an alert. Nothing of
what is wrong is quoted in a message: it may be anything.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec

from engram_diagnose.history.model import Alert, Notification

VERSION: Final = "4"
"""The version of the webhook that is read; Alertmanager has had no other since 0.6."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400.0
_END_OF_TIME: Final = 253_402_300_800.0 - 2 * _DAY
"""The year 10,000 in seconds since 1970, less what a reader in any time zone needs to show it."""


class PayloadError(ValueError):
    """A body that is no notification; the message says what is wrong with it and where."""


_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _WireAlert(msgspec.Struct, rename={"starts_at": "startsAt", "ends_at": "endsAt", "generator": "generatorURL"}):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: _Time
    ends_at: _Time | None = None
    annotations: dict[str, str] | None = None
    generator: str | None = None
    fingerprint: str | None = None


class _Wire(
    msgspec.Struct,
    rename={"group_key": "groupKey", "external_url": "externalURL", "truncated": "truncatedAlerts"},
):
    alerts: list[_WireAlert]
    version: str = VERSION
    receiver: str | None = None
    group_key: str | None = None
    external_url: str | None = None
    truncated: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


_DECODER: Final = msgspec.json.Decoder(_Wire)


def parse_notification(body: bytes, *, replica_labels: frozenset[str] = frozenset()) -> Notification:
    """
    The notification that a body holds; `replica_labels` are those that only tell replicas apart.

    Raises `PayloadError` for a body that is none, and for one without an alert.
    """
    wire = _decoded(body)
    if wire.version != VERSION:
        raise PayloadError(f"$.version is not {VERSION!r}, the one version of Alertmanager's webhook that is read here")
    if not wire.alerts:
        raise PayloadError("$.alerts is empty: a notification speaks of one alert at least")
    return Notification(
        alerts=tuple(_alert(alert, position, replica_labels) for position, alert in enumerate(wire.alerts)),
        receiver=wire.receiver or "",
        external_url=wire.external_url or "",
        group_key=wire.group_key or "",
        truncated=wire.truncated,
        version=wire.version,
    )


def identity_of(labels: Mapping[str, str], replica_labels: frozenset[str] = frozenset()) -> str:
    """
    What an alert is known by: SHA-256, in hexadecimal, over its labels in order, those of replicas left out.

    A label that is empty is to Prometheus a label that is not there.
    """
    told = sorted((name, value) for name, value in labels.items() if value and name not in replica_labels)
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _decoded(body: bytes) -> _Wire:
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise PayloadError(f"this is no notification of Alertmanager: {_place_last(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(f"the body is not JSON: {_without_text(error)}") from None
    except RecursionError:
        raise PayloadError("the body is nested too deeply: a notification has five levels at most") from None


def _place_last(message: str) -> str:
    """A message with the place that msgspec names behind a dash; without one it is the whole."""
    what, _, place = message.partition(" - at `")
    what = re.sub(r"(Invalid enum value) .*", r'\1, not "firing" or "resolved"', what)
    return f"{what[:1].lower()}{what[1:].replace('`', '')}, at {place.rstrip('`') or '$'}"


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
