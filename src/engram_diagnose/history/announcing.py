"""
Which open incidents are announced, and the messages of the others, which wait until there is room.

No more are announced at a time than there are places. One that is announced keeps its place until it closes: to take
its alert away would tell people that it is over. The last tenth of the places is for the most severe findings alone.

Every function runs inside a transaction of the caller, and none reads an alert: a storm has many.
"""

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Final

_RESERVED: Final = 10
"""One place in so many is for the most severe findings."""

_HELD: Final = math.inf
"""When a message may be sent that waits for room: not before somebody lets it go."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Open incidents of one severity that are not announced: how many, and when the first of them opened."""

    severity: str
    number: int
    since: float


@dataclass(frozen=True, slots=True)
class Places:
    """
    The incidents that are announced, in the order of their importance, and those that there is no room for.

    `kept` are those of them that were announced before. `left_out` is in the order of the severities, most severe
    first.
    """

    ids: tuple[str, ...] = ()
    kept: frozenset[str] = frozenset()
    left_out: tuple[LeftOut, ...] = ()


def places(connection: Connection, most: int, announced: Collection[str], severities: Sequence[str]) -> Places:
    """
    The open incidents with a diagnosis that are announced, of which there are `most` or as many as are so already.

    `announced` keep their places; the others come by severity and then by age. `severities` go from the least severe
    to the most; a finding without one of them counts as the least severe.
    """
    asked = {
        "announced": json.dumps(sorted(announced)),
        "severities": json.dumps(list(severities)),
        "top": len(severities) - 1,
        "most": most,
        "ordinary": most - most // _RESERVED,
    }
    ids, kept, left_out = [], [], []
    for given, id, rank, known, number, since in connection.execute(_PLACES, asked):
        if given:
            ids.append(id)
            kept += [id] if known else []
        else:
            left_out.append(LeftOut(severities[rank], number, since))
    return Places(tuple(ids), frozenset(kept), tuple(left_out))


_STANDING: Final = """
    SELECT incidents.id, opened_at, coalesce(ranks.key, 0) AS rank
    FROM incidents JOIN diagnoses ON incident = incidents.id LEFT JOIN json_each(:severities) ranks ON value = severity
    WHERE incidents.state = 'open'
"""
_PLACES: Final = f"""
    WITH standing AS (
        SELECT *, id IN (SELECT value FROM json_each(:announced)) AS known FROM ({_STANDING})
    ), placed AS (
        SELECT *, row_number() OVER (ORDER BY known DESC, rank DESC, opened_at, id) AS place FROM standing
    ), given AS (
        SELECT *, known OR place <= iif(rank = :top, :most, :ordinary) AS given FROM placed
    )
    SELECT given, id, rank, known, count(*), min(opened_at) FROM given
    GROUP BY given, iif(given, id, rank) ORDER BY given DESC, rank DESC, opened_at, id
"""  # noqa: S608 -- ours


def told(connection: Connection) -> frozenset[str]:
    """
    The open incidents that Alertmanager was told of, be they more than there are places now.

    It tells who announces them what was announced before it began.
    """
    return frozenset(row[0] for row in connection.execute(_TOLD))


_TOLD: Final = """
    SELECT id FROM incidents WHERE state = 'open' AND EXISTS (
        SELECT 1 FROM messages WHERE incident = incidents.id AND channel = 'alertmanager' AND messages.state = 'sent')
"""


def ended(connection: Connection, since: float) -> list[str]:
    """
    The closed incidents with a diagnosis of which something was learnt at or after `since`, those learnt of last last.

    Without those of which Alertmanager has never been told: the messages about them are still to be sent.
    """
    return [row[0] for row in connection.execute(_ENDED, (since,))]


_ENDED: Final = """
    SELECT id FROM incidents JOIN diagnoses ON incident = id
    WHERE incidents.state = 'closed' AND updated_at >= ? AND coalesce((
        SELECT max(messages.state <> 'pending') FROM messages
        WHERE messages.incident = incidents.id AND channel = 'alertmanager'), 1)
    ORDER BY updated_at, id
"""


def still_open(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    """Those of these incidents that are open."""
    rows = connection.execute(
        "SELECT id FROM incidents WHERE state = 'open' AND id IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(ids)),),
    )
    return frozenset(row[0] for row in rows)


# Messages without a place


def hold(connection: Connection, messages: Collection[int], why: str) -> None:
    """Put messages out of the way until they are let go; that is no attempt, and their patience is not asked."""
    connection.execute(
        "UPDATE messages SET not_before = ?, error = ? WHERE state = 'pending' AND id IN (SELECT value FROM"
        " json_each(?))",
        (_HELD, why, json.dumps(sorted(messages))),
    )


def is_holding(connection: Connection) -> bool:
    """Whether there are messages that wait for room."""
    row = connection.execute(
        "SELECT 1 FROM messages WHERE state = 'pending' AND not_before = ? LIMIT 1", (_HELD,)
    ).fetchone()
    return row is not None


def released(connection: Connection, announced: Collection[str]) -> list[int]:
    """The messages that need wait no more: their incident is among those that are announced, or it is closed."""
    rows = connection.execute(
        "SELECT messages.id FROM messages JOIN incidents ON incidents.id = incident"
        " WHERE messages.state = 'pending' AND not_before = ?"
        " AND (incidents.state = 'closed' OR incident IN (SELECT value FROM json_each(?)))",
        (_HELD, json.dumps(sorted(announced))),
    )
    return [row[0] for row in rows]


def let_go(connection: Connection, messages: Collection[int], now: float) -> None:
    """Messages that waited for room may be sent now, and are as patient as if they were made now."""
    connection.execute(
        "UPDATE messages SET not_before = :now, error = '', body = json_set(body, '$.made', :now)"
        " WHERE state = 'pending' AND not_before = :held AND id IN (SELECT value FROM json_each(:ids))",
        {"now": now, "held": _HELD, "ids": json.dumps(sorted(messages))},
    )
