"""
The service's log: one JSON object a line, on stderr.

Text that came from outside is escaped by JSON to ASCII, so that no line can pretend to be two, or drive a terminal.
Secrets that `hide_all_of` was told of never appear.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

_SELDOM_SECONDS: Final = 10.0
_LONGEST: Final = 2000
"""Characters of one value; what comes from outside must not fill the disk."""
_ENCODER: Final = msgspec.json.Encoder()
_CUT: Final = "…"
"""Stands where a text was cut off, be it inside a secret."""
_TELLING: Final = 4
"""Characters of a secret's beginning that are hidden before a cut."""


class Log:
    """Writes events. Several threads may use it; a log that cannot be written is no reason to stop."""

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._lock = threading.Lock()
        self._secrets: Callable[[], frozenset[str]] = frozenset
        self._said: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def hide_all_of(self, secrets: Callable[[], frozenset[str]]) -> None:
        """Never write any of what this gives, which is asked before each line."""
        self._secrets = secrets

    def info(self, event: str, **fields: Any) -> None:
        """What an operator may want to know."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What may need looking at."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """What failed."""
        self._write("error", event, fields)

    def seldom(self, event: str, **fields: Any) -> None:
        """A warning that callers can cause as often as they like: a line in ten seconds, and how many were left out."""
        now = time.monotonic()
        with self._lock:
            if now - self._said.get(event, -_SELDOM_SECONDS) < _SELDOM_SECONDS:
                self._left_out[event] = self._left_out.get(event, 0) + 1
                return
            self._said[event] = now
            before = self._left_out.pop(event, 0)
        self._write("warning", event, fields | ({"left_out_before": before} if before else {}))

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        secrets = sorted(self._secrets(), key=len, reverse=True)
        moment = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": moment.replace("+00:00", "Z"), "level": level, "event": _safe(event, secrets)}
        line |= {name: _safe(value, secrets) for name, value in fields.items() if name not in line}
        text = _written(line) + "\n"
        try:
            with self._lock:
                self._stream.write(text)
                self._stream.flush()
        except (OSError, ValueError):
            return


def _written(line: Mapping[str, Any]) -> str:
    """The line as JSON in printable ASCII. What is that anyhow takes the faster way there, as most lines do."""
    try:
        quick = _ENCODER.encode(line)
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(line)
    return msgspec.json.format(quick, indent=0).decode() if _is_plain(quick) else json.dumps(line)


def _is_plain(text: bytes) -> bool:
    return text.isascii() and b"\x7f" not in text


def _safe(value: Any, secrets: Sequence[str]) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_safe(item, secrets) for item in value[:100]]
    if isinstance(value, dict):
        return {str(_safe(str(name), secrets)): _safe(item, secrets) for name, item in list(value.items())[:100]}
    text = str(value)
    for secret in secrets:
        text = text.replace(secret, "***")
    if _CUT in text:
        text = _CUT.join([*(_without_beginning(part, secrets) for part in text.split(_CUT)[:-1]), text.split(_CUT)[-1]])
    return text if len(text) <= _LONGEST else text[:_LONGEST] + _CUT


def _without_beginning(text: str, secrets: Sequence[str]) -> str:
    """The text without the beginning of a secret at its end."""
    for secret in secrets:
        for length in range(min(len(secret), len(text)), _TELLING - 1, -1):
            if text.endswith(secret[:length]):
                return text[:-length] + "***"
    return text
