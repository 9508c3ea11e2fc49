"""TOML from outside, and where in it a key stands."""

import re
import tomllib
from collections.abc import Iterator, Mapping

from engram_diagnose.collectors.parse.figures import UnparsedError

_SURROGATE = re.compile("[\ud800-\udfff]")
_LONG_KEY = re.compile(r"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){100}")


def parse_toml(text: str) -> dict[str, object]:
    """The table of a TOML text; raises `UnparsedError` with line and column."""
    stray = _SURROGATE.search(text)
    if stray:
        line, column = position(text, stray.start())
        raise UnparsedError(f"not UTF-8 (line {line}, column {column})")
    if _LONG_KEY.search(text):  # the parser takes quadratic time on them
        raise UnparsedError("a key of more than 100 parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnparsedError(f"not TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        raise UnparsedError(f"not TOML that can be read: {type(error).__name__}") from None


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of a character."""
    before = text[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")


def leaves(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every value that is no table, by dotted key; an array is one value."""
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def line_of_key(text: str, key: str) -> int | None:
    """
    The line, from 1, on which a dotted key is set, as far as that can be told without parsing.
    """
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"[ \t]*\[([^\[\]]+)\]", line)
        if header:
            section = _plain(header.group(1)) + "."
            continue
        name, equals, _ = line.partition("=")
        path = section + _plain(name)
        if equals and (path == key or key.startswith(f"{path}.")):
            return number
    return None


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
