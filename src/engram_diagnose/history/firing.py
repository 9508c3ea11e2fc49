"""
Who says of an alert that it fires: replicas of Prometheus tell of one alert, each under a fingerprint of its own.

An alert is over when the last of them is done with it. What comes without a fingerprint speaks for all of them.
Every function runs inside a transaction of the caller.
"""

from dataclasses import dataclass
from sqlite3 import Connection
from typing import Final

SPEAKS_FOR: Final = "(fingerprint IN (:sender, '') OR :sender = '')"
"""Which senders one speaks for: itself, and who has no fingerprint; without one, for all."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a sender has said of an alert: that it fires, that it was over at some time, and that only just now."""

    fires: bool
    over: bool
    lately: bool


def said(connection: Connection, alert: int, sender: str, *, received: float, tolerance: float) -> Said:
    """
    What was heard of a sender until `received`, in seconds since the epoch.

    An end that was heard more than `tolerance` seconds later than now is from before the clock was set back.
    """
    bounds = {"alert": alert, "sender": sender, "from": received - tolerance, "until": received + tolerance}
    return Said(*(bool(cell) for cell in connection.execute(_SAID, bounds).fetchone()))


_SAID = f"""
    SELECT max(fires AND fingerprint = :sender), count(received), max(received BETWEEN :from AND :until)
    FROM senders WHERE alert = :alert AND {SPEAKS_FOR}
"""  # noqa: S608 -- ours


def fires(connection: Connection, alert: int, sender: str) -> bool:
    """Whether a sender with a fingerprint has the alert firing."""
    query = "SELECT 1 FROM senders WHERE alert = ? AND fingerprint = ? AND fires"
    return bool(sender) and connection.execute(query, (alert, sender)).fetchone() is not None


def begin(connection: Connection, alert: int, sender: str) -> None:
    """A sender has the alert firing."""
    connection.execute(_BEGIN, (alert, sender))


_BEGIN = """
    INSERT INTO senders (alert, fingerprint, fires, told) VALUES (?, ?, 1, 0)
    ON CONFLICT DO UPDATE SET fires = 1, told = 0, ends_at = NULL, received = NULL
"""


def hear(connection: Connection, alert: int, sender: str) -> None:
    """A sender has told of the alert when another one had said already that it was over."""
    query = "INSERT INTO senders (alert, fingerprint, fires, told) VALUES (?, ?, 0, 1) ON CONFLICT DO NOTHING"
    connection.execute(query, (alert, sender))


def end(connection: Connection, alert: int, sender: str, ends_at: float, *, received: float, everybody: bool) -> None:
    """
    A sender says that the alert is over, whether or not it was heard to say that it fires; or `everybody` says so.

    The end that was told first stays. Nobody else's is told by it but that of who has no fingerprint.
    """
    told = {"alert": alert, "sender": sender, "end": ends_at, "received": received, "everybody": everybody}
    connection.execute(_END, told)
    connection.execute(_END_OTHERS, told)


_END = """
    INSERT INTO senders (alert, fingerprint, fires, told, ends_at, received)
    VALUES (:alert, :sender, 0, 1, :end, :received)
    ON CONFLICT DO UPDATE SET fires = 0, told = 1, ends_at = excluded.ends_at, received = excluded.received
    WHERE NOT told OR received IS NULL
"""
_END_OTHERS = f"""
    UPDATE senders SET fires = 0, told = 1, ends_at = :end,
        received = CASE WHEN :everybody OR :sender = '' THEN :received ELSE received END
    WHERE alert = :alert AND fingerprint <> :sender AND NOT told AND (:everybody OR {SPEAKS_FOR})
"""  # noqa: S608 -- ours


def succeed(connection: Connection, alert: int, sender: str, start: float, *, received: float) -> None:
    """
    A sender has had the alert begin again at `start`, so it was over by then.

    That gives way to an end that is told, and to a start that is earlier.
    """
    connection.execute(_SUCCEED, {"alert": alert, "sender": sender, "start": start, "received": received})


def overtaken(connection: Connection, alert: int, sender: str, start: float, *, received: float) -> None:
    """
    What a sender has said of an alert comes after the news that it began again at `start`.

    Who has no fingerprint may not have said that itself.
    """
    query = "UPDATE senders SET fires = 0, ends_at = ?, received = ? WHERE alert = ? AND fingerprint = ?"
    connection.execute(query, (start, received if sender else None, alert, sender))


UNTOLD: Final = "(fires OR (NOT told AND ends_at > :start))"
"""Who has not ended before the start of another firing, as far as was told."""
_SUCCEED = f"""
    UPDATE senders SET fires = 0, ends_at = :start,
        received = CASE WHEN fingerprint = :sender OR :sender = '' THEN coalesce(received, :received) END
    WHERE alert = :alert AND {SPEAKS_FOR} AND {UNTOLD}
"""  # noqa: S608 -- ours


def outcome(connection: Connection, alert: int) -> tuple[bool, float | None]:
    """Whether a sender has the alert firing; where none has, when it was over for the last of them."""
    is_firing, end = connection.execute(_OUTCOME, (alert,)).fetchone()
    return bool(is_firing), None if is_firing else end


_OUTCOME = "SELECT max(fires), max(ends_at) FROM senders WHERE alert = ?"
