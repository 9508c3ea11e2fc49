"""
What stands in the cells of the database: texts and mappings, whatever characters they hold.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec


def packed(items: Mapping[str, object]) -> str:
    """A mapping as JSON, readable as it is unless it holds what is no text in UTF-8."""
    try:
        return _ENCODER.encode(items).decode()
    except UnicodeEncodeError:
        return json.dumps(items, sort_keys=True, separators=(",", ":"), allow_nan=False)


_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def text(value: str) -> str:
    """A text to list and to look for; what is not UTF-8 in it shows as an escape."""
    return value if is_utf8(value) else value.encode("utf-8", "backslashreplace").decode()


def is_utf8(value: str) -> bool:
    """Whether it holds no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def marks(items: Iterable[object]) -> str:
    """As many question marks as items, for a query."""
    return ", ".join("?" for _ in items)
