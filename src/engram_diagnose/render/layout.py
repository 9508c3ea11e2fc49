"""
Text laid out in a terminal's columns: words wrapped, labels in a gutter, nothing wider than the window.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

Span = tuple[str, str]
"""A piece of text and the name of its style (empty for none)."""

_UNITS: Final = r"(?:%|ns|µs|ms|s|min|h|d|[kKMGT]?i?B(?:/s)?|cores|GHz)(?![\w/])"
_WORD: Final = re.compile(rf"(?:(?<=\d) (?={_UNITS})|\S)+")
"""A figure and its unit are one word: they stay on one line."""

_BREAKS_AFTER: Final = frozenset("/.,;:=-_}")
_NARROW: Final = 60
"""Columns below which labels stand over their text instead of beside it."""

_WIDEST: Final = 100
"""Columns beyond which lines are hard to read."""

_LEAST: Final = 20
_DEEPEST: Final = 4


def cells(text: str) -> int:
    """The columns a text takes up in a terminal."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrap(spans: Sequence[Span], width: int, *, hang: int = 0) -> list[list[Span]]:
    """
    Lines of at most `width` columns, all but the first `hang` columns shorter.

    They are broken between words; within a word only where it is wider than a line.
    """
    text = "".join(part for part, _ in spans)
    return [_cut_out(spans, start, end) for start, end in _lines(text, max(1, width), max(1, width - hang))]


def _lines(text: str, room: int, further: int) -> Iterator[tuple[int, int]]:
    start = end = 0
    for word in _WORD.finditer(text):
        if end > start and _fit(text, start, word.end(), room) == word.end():
            end = word.end()
            continue
        if end > start:
            yield start, end
            room = further
        start, end = word.span()
        while (reach := _fit(text, start, end, room)) < end:
            reach = _break_before(text, start, reach)
            yield start, reach
            start, room = reach, further
    if end > start:
        yield start, end


def _fit(text: str, start: int, end: int, width: int) -> int:
    """How far a line from `start` reaches, one character at least."""
    if text.isascii():
        return min(end, start + width)
    room = width
    for position in range(start, end):
        room -= _cells(text[position])
        if room < 0:
            return max(position, start + 1)
    return end


def _break_before(text: str, start: int, reach: int) -> int:
    """A place to break a long word, behind punctuation in its last third if there is any."""
    for position in range(reach, start + (reach - start) * 2 // 3, -1):
        if text[position - 1] in _BREAKS_AFTER:
            return position
    return reach


def _cut_out(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    found, position = [], 0
    for text, style in spans:
        piece = text[max(0, start - position) : max(0, end - position)]
        if piece:
            found.append((piece, style))
        position += len(text)
    return found


class Page:
    """Lines of spans, filled from the top."""

    def __init__(self, columns: int, gutter: int) -> None:
        self.columns = min(_WIDEST, max(_LEAST, columns))
        self.narrow = self.columns < _NARROW
        self._gutter = gutter
        self.lines: list[list[Span]] = []

    def blank(self) -> None:
        """An empty line, unless there is one already."""
        if self.lines and self.lines[-1]:
            self.lines.append([])

    def put(self, *spans: Span, indent: int = 0, hang: int = 0) -> None:
        """A paragraph, indented, and by the spaces it begins with; its further lines by `hang` more."""
        start = spans[0][0] if spans else ""
        indent += min(_DEEPEST, len(start) - len(start.lstrip(" ")))
        for position, line in enumerate(wrap(spans, self.columns - indent, hang=hang)):
            self.lines.append([(" " * (indent + (hang if position else 0)), ""), *line])

    def field(self, label: Span, paragraphs: Iterable[Sequence[Span]], *, indent: int = 3) -> None:
        """Paragraphs with a label in the gutter; on a narrow page before them, or above several."""
        listed = list(paragraphs)
        if self.narrow:
            self._stacked(label, listed)
            return
        text, style = label
        for position, spans in enumerate(listed):
            start = len(self.lines)
            self.put(*spans, indent=indent + self._gutter, hang=2)
            if not position and len(self.lines) > start:
                room = " " * (self._gutter - cells(text))
                self.lines[start][:1] = [(" " * indent, ""), (text, style), (room, "")]

    def _stacked(self, label: Span, paragraphs: Sequence[Sequence[Span]]) -> None:
        text, style = label
        if len(paragraphs) == 1:
            self.put((f"{text}: ", style), *paragraphs[0], indent=1, hang=2)
        elif paragraphs:
            self.put((f"{text}:", style), indent=1)
            for spans in paragraphs:
                self.put(*spans, indent=3, hang=2)

    def exactly(self, line: Span, *, indent: int) -> None:
        """One line as it is, however wide."""
        self.lines.append([(" " * indent, ""), line])
