"""JSON from outside: bounded, and with our errors only."""

import json
from typing import Final

from engram_diagnose.collectors.parse.figures import UnparsedError, finite

MOST_CHARACTERS: Final = 32 << 20


def parse_json(text: str) -> object:
    """The value of a JSON text; raises `UnparsedError` with line and column."""
    if len(text) > MOST_CHARACTERS:
        raise UnparsedError(f"longer than {MOST_CHARACTERS} characters")
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnparsedError(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except (RecursionError, ValueError) as error:
        raise UnparsedError(f"not JSON that can be read: {type(error).__name__}") from None
    return value


def figure(value: object) -> float | None:
    """A JSON number as a finite float; None for everything else, booleans too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if finite(result) else None
