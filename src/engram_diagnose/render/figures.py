"""
Figures and names in words, the same in every format.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_PLAIN: Final = re.compile(r"[^\s{}=,\"']+")
_TARGET: Final = re.compile(r"\(target\.[^()]*\)")
_PLACES: Final = 4


def percent(share: float) -> str:
    """A share as a whole percentage that is 0 or 100 only when it is exactly that."""
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{share * 100:.0f} %"


def calibration_words(rule_base: Mapping[str, Any]) -> str:
    """What a document's confidences rest on: `uncalibrated`, or the labelled cases that they were fitted on."""
    if not rule_base["calibrated"]:
        return "uncalibrated"
    fitted = rule_base.get("calibration")
    return str(fitted["sentence"]) if fitted else ""


def percent_range(low: float, high: float) -> str:
    """An interval of shares."""
    first, last = percent(low), percent(high)
    return first if first == last else f"{first} to {last}"


def labels(scope: Mapping[str, str]) -> str:
    """A scope as it stands behind a name: `{space=default}`; nothing for the instance."""
    return "{" + ", ".join(f"{name}={_value(value)}" for name, value in scope.items()) + "}" if scope else ""


def _value(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else f'"{value}"'


def titled(head: Mapping[str, Any]) -> str:
    """A rule's title with the scope it was decided in."""
    return f"{head['title']} {labels(head['scope'])}".strip()


def named(reading: Mapping[str, Any]) -> str:
    """A fact's name with its scope."""
    return f"{reading['name']}{labels(reading['scope'])}"


def count(number: int, noun: str) -> str:
    """`1 cause`, `2 causes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(items: Iterable[str], most: int) -> str:
    """The first of a list, and how many more there are."""
    listed = list(items)
    more = len(listed) - most
    return ", ".join(listed) if more <= 0 else f"{', '.join(listed[:most])} and {more:,} more"


def places(scopes: Iterable[str]) -> str:
    """The scopes of one title in a row: `{space=a}, {space=b}`."""
    return some((scope for scope in scopes if scope), _PLACES)


def worded(sentence: str) -> str:
    """A sentence of the document, with the name of a target, which repeats what is measured, left out."""
    return _TARGET.sub("(the target)", sentence)


def instant(text: str | None) -> str:
    """`2026-09-21 14:13:20 UTC` for an ISO instant in UTC."""
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z$", r"\1 \2 UTC", text or "")


def values(readings: Iterable[Mapping[str, Any]], sentence: str, most: int = 3) -> str:
    """The readings that a sentence rests on and does not state: `disk.flush_rate{device=sda} 2,500/s`."""
    unstated = [f"{named(reading)} {reading['text']}" for reading in readings
                if reading["text"] not in sentence and not reading["name"].startswith("target.")]  # fmt: skip
    return some(dict.fromkeys(unstated), most)


def reading_words(reading: Mapping[str, Any]) -> str:
    """`wal.flush.p99 9 ms, from engram_x[5m], db1, 2026-09-21 14:13:20 UTC`."""
    origin = ", ".join(filter(None, (reading["source"], reading["host"], instant(reading["time"]))))
    status = "" if reading["status"] in ("measured", "unknown") else f" ({reading['status']})"
    return f"{named(reading)} {reading['text']}{status}" + (f", from {origin}" if origin else "")
