"""
Texts from outside, made harmless: whatever a label value holds, it shows and does nothing.
"""

import re
import unicodedata
from typing import Final

_MARKS: Final = 3
"""Combining marks in a row that any script needs; more pile up over the lines above."""

_BREAKS: Final = re.compile(r"[ \t\r\n]+")


def visible(text: str) -> str:
    r"""
    The text with everything that does not print escaped: `\x1b`, `\n`, `\u202e`.

    Control characters, direction overrides, zero-width and unassigned characters, lone surrogates, spaces other than
    the plain one.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(text))


def prose(text: str) -> str:
    """A paragraph that an author may have broken into lines, as one line."""
    return visible(_BREAKS.sub(" ", text).strip())


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
