"""
Texts from outside, made harmless: whatever a label value holds, it shows and does nothing.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

_MARKS: Final = 3
"""Combining marks in a row that any script needs; more pile up over the lines above."""

_LONGEST: Final = 2000
"""Characters of one text that are shown."""

_BREAKS: Final = re.compile(r"[ \t\r\n]+")
_PROSE: Final = frozenset({"because", "false_positives", "investigate", "reason", "title", "tradeoff", "why"})
"""Keys of a document under which authors write paragraphs, which they may break into lines."""
_WHOLE: Final = frozenset({"promql"})
"""Keys of texts that are copied rather than read."""


def clean(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a document with every text in it, keys included, as `visible` shows it."""
    return {visible(key): _clean(value, key) for key, value in document.items()}


def _clean(value: Any, key: str) -> Any:
    if isinstance(value, str) and key in _WHOLE:
        return printed(value)
    if isinstance(value, str):
        return visible(_BREAKS.sub(" ", value).strip() if key in _PROSE else value)
    if isinstance(value, dict):
        return clean(value)
    if isinstance(value, list | tuple):
        return [_clean(item, key) for item in value]
    return value


@lru_cache(maxsize=8192)  # a document says most of its keys and names many times
def visible(text: str) -> str:
    r"""
    The text with everything that does not print escaped: `\x1b`, `\n`, `\u202e`.

    That is control characters, direction overrides, zero-width and unassigned characters, lone surrogates, spaces other
    than the plain one. What is longer than anybody reads is cut, and says so.
    """
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}... ({len(text) - _LONGEST:,} more characters)"
    return printing(text)


def printing(text: str) -> str:
    """The text with everything that does not print escaped, however long it is."""
    return printed(text)


def printed(text: str) -> str:
    """The same, however long: half a query is none."""
    return text if text.isascii() and text.isprintable() else "".join(_shown(text))


def _shown(text: str) -> list[str]:
    found, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        harmless = character.isprintable() and marks <= _MARKS
        found.append(character if harmless else escaped(character))
    return found


def escaped(character: str) -> str:
    r"""One character as Python writes it: `\x1b`, `\u202e`, `\U000e0041`."""
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
