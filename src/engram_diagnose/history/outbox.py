"""
Messages that wait to be sent, and what became of them.

Every function runs inside a transaction of the caller.
"""

import json
from collections.abc import Collection, Iterable
from sqlite3 import Connection
from typing import get_args

from engram_diagnose.history.cells import packed, text
from engram_diagnose.history.model import Channel, Message
from engram_diagnose.history.records import NewMessage


def enqueue(connection: Connection, messages: Iterable[NewMessage]) -> int:
    """Keep those whose key is new and whose incident there is; how many that were."""
    added = 0
    for one in messages:
        cursor = connection.execute(
            "INSERT INTO messages (channel, incident, key, state, not_before, body)"
            " SELECT ?, id, ?, 'pending', ?, ? FROM incidents WHERE id = ? ON CONFLICT (key) DO NOTHING",
            (one.channel, one.key, one.not_before, packed(one.body), one.incident),
        )
        added += cursor.rowcount
    return added


def due(connection: Connection, now: float, limit: int, besides: Collection[int]) -> list[Message]:
    """Those that may be sent, by how long they wait: of each channel `limit`, without those of these numbers."""
    asked = {"now": now, "limit": limit, "besides": json.dumps(sorted(besides))}
    found = [row for one in get_args(Channel) for row in connection.execute(_DUE, {**asked, "channel": one})]
    return [_message(*row) for row in sorted(found, key=lambda row: (row[5], row[0]))]


_DUE = """
    SELECT id, channel, incident, key, attempts, not_before, body, error FROM messages
    WHERE state = 'pending' AND not_before <= :now AND channel = :channel
    AND id NOT IN (SELECT value FROM json_each(:besides)) ORDER BY not_before, id LIMIT :limit
"""


def _message(
    id: int, channel: Channel, incident: str, key: str, attempts: int, not_before: float, body: str, error: str
) -> Message:
    return Message(id, channel, incident, key, attempts, not_before, json.loads(body), error)


def sent(connection: Connection, id: int, now: float) -> None:
    """It was sent; also one that was given up meanwhile."""
    connection.execute(
        "UPDATE messages SET state = 'sent', attempts = attempts + 1, sent_at = ?, error = ''"
        " WHERE id = ? AND state <> 'sent'",
        (now, id),
    )


def failed(connection: Connection, id: int, error: str, *, not_before: float, give_up: bool) -> None:
    """It was not sent; nothing changes where it was sent meanwhile."""
    connection.execute(
        "UPDATE messages SET state = ?, attempts = attempts + 1, not_before = ?, error = ?"
        " WHERE id = ? AND state = 'pending'",
        ("given up" if give_up else "pending", not_before, text(error), id),
    )
