"""
What a caller asks for in a URL: which incidents, and which part of the list.
"""

import re
import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from engram_diagnose.history.records import Mark, Search
from engram_diagnose.service.problem import ProblemError

STATES: Final = ("open", "closed", "queued", "running", "done", "parked")
"""Of an incident, and of the job that diagnoses it."""
SEVERITIES: Final = ("critical", "warning", "info")
PARAMETERS: Final = ("text", "state", "severity", "instance", "since", "until", "limit", "cursor")
PART: Final = ("limit", "cursor")
PLACE: Final = "([0-9a-f]{16})-([0-9])-([0-9]{1,18})"
"""A cursor behind a place in an incident's alerts or timeline: its time, its rank and its number."""
LIMIT: Final = 50
MOST: Final = 200
LONGEST: Final = 200
"""Characters of a text that is looked for."""

_FROM_BEFORE: Final = "take it from the page before, as it is"
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INSTANT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII | re.IGNORECASE
)


def search_of(pairs: Iterable[tuple[str, str]], *, limit: int = LIMIT) -> Search:
    """
    The search that parameters ask for; raises `ProblemError` (400) naming the first that is wrong.

    Times are ISO 8601; without an offset they are UTC.
    """
    given = _given(pairs, PARAMETERS)
    return Search(
        text=_text(given, "text"),
        state=_one_of(given, "state", STATES),
        severity=_one_of(given, "severity", SEVERITIES),
        instance=_text(given, "instance"),
        since=_instant(given, "since"),
        until=_instant(given, "until"),
        limit=_limit(given, limit),
        cursor=_cursor(given),
    )


def part_of(pairs: Iterable[tuple[str, str]]) -> tuple[int, Mark | None]:
    """
    Which part of a list that follows an incident is asked for: how many, and behind which place.

    Raises `ProblemError` (400) naming the first parameter that is wrong.
    """
    given = _given(pairs, PART)
    return _limit(given, LIMIT), _mark(_cursor(given))


def cursor_of(mark: Mark | None) -> str | None:
    """The cursor that asks for what comes behind a place; None where nothing does."""
    return None if mark is None else f"{struct.pack('>d', mark.at).hex()}-{mark.rank}-{mark.number}"


def _mark(cursor: str) -> Mark | None:
    if not cursor:
        return None
    match = re.fullmatch(PLACE, cursor)
    if match is None:
        raise _wrong("cursor", _FROM_BEFORE)
    (at,) = struct.unpack(">d", bytes.fromhex(match[1]))
    return Mark(at, int(match[2]), int(match[3]))


def lenient(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Parameters as a form sends them: what was left empty, or is somebody else's, asks nothing."""
    kept = {name: value.strip() for name, value in pairs if name in PARAMETERS and value.strip()}
    return list(kept.items())


def _given(pairs: Iterable[tuple[str, str]], known: tuple[str, ...]) -> dict[str, str]:
    """Each parameter once, and none but those that are known."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise _wrong(name, f"there is no such parameter; there are {', '.join(known)}")
        if name in given:
            raise _wrong(name, "give it once")
        given[name] = value
    return given


def _text(given: Mapping[str, str], name: str) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if not 1 <= len(value) <= LONGEST:
        raise _wrong(name, f"it is 1 to {LONGEST} characters long")
    return value


def _one_of(given: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = given.get(name)
    if value is not None and value not in allowed:
        raise _wrong(name, f"it is one of {', '.join(allowed)}")
    return value or ""


def _limit(given: Mapping[str, str], default: int) -> int:
    value = given.get("limit")
    if value is None:
        return default
    if not re.fullmatch(r"[0-9]{1,4}", value) or not 1 <= int(value) <= MOST:
        raise _wrong("limit", f"it is a whole number from 1 to {MOST}")
    return int(value)


def _cursor(given: Mapping[str, str]) -> str:
    value = given.get("cursor")
    if value is not None and not _CURSOR.fullmatch(value):
        raise _wrong("cursor", _FROM_BEFORE)
    return value or ""


def _instant(given: Mapping[str, str], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    match = _INSTANT.fullmatch(value)
    if match is None:
        raise _wrong(name, _TIME)
    day, minute, second, fraction, offset = match.groups()
    # A leap second is the end of the second before it: no clock here knows it.
    text = f"{day}T{minute or '00:00'}:{'59' if second == '60' else second or '00'}{offset or 'Z'}"
    try:
        moment = datetime.fromisoformat(text.upper())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() + float(fraction or 0)
    except (ValueError, OverflowError):
        raise _wrong(name, _TIME) from None


_TIME: Final = "it is a time such as 2026-11-22T03:00:00Z, or 2026-11-22T03:00 for UTC"


def _wrong(name: str, what: str) -> ProblemError:
    return ProblemError(400, f"parameter {name[:40]!r}: {what}")
