"""
What a host attained, as text for a terminal, a pipe or a page.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from engram_diagnose.attaining.roofs import roofline_of
from engram_diagnose.attaining.standing import Attained
from engram_diagnose.render.attained import SAYS, FactView, PartView, Row, View, view
from engram_diagnose.render.layout import Page, Span, cells, wrap
from engram_diagnose.render.roofline import legend, plotted
from engram_diagnose.render.style import coloured_text, plain_text

Json = Mapping[str, Any]

_GUTTER: Final = 9
_INDENT: Final = 3
_COLUMNS: Final = (("median", 12), ("spread", 10), ("threads", 9))
_DOUBT: Final = 10
"""Columns for `unstable`, with the blanks before it."""
_FACT_FIGURE: Final = 12


def render_kernels(
    attained: Attained, *, console_width: int = 80, color: bool = False, ascii_only: bool = False
) -> str:
    """
    The record as text; no line is wider than `console_width`, and without `color` no escape sequence in it.

    With `ascii_only` it is in ASCII: for a terminal whose encoding has no more.
    """
    page = Page(console_width, _GUTTER)
    _Writer(page, ascii_only=ascii_only).write(view(attained))
    text = coloured_text(page.lines) if color else plain_text(page.lines)
    return _in_ascii(text) if ascii_only else text


def _in_ascii(text: str) -> str:
    return text.translate({ord("µ"): "u", ord("–"): "-"}).encode("ascii", "backslashreplace").decode("ascii")


class _Writer:
    def __init__(self, page: Page, *, ascii_only: bool) -> None:
        self._page = page
        self._ascii_only = ascii_only
        self._what = page.columns - _INDENT - sum(width for _, width in _COLUMNS) - _DOUBT

    def write(self, shown: View) -> None:
        page = self._page
        page.put(("WHAT THIS HOST ATTAINS", "heading"), (f"  {shown.host}", ""), hang=2)
        self._facts(shown.facts)
        self._roofline(shown.record)
        for part in shown.parts:
            self._part(part)
        if any(part.rows for part in shown.parts):
            page.blank()
            page.put((SAYS, "dim"), hang=2)

    def _heading(self, title: str, note: str) -> None:
        self._page.blank()
        self._page.put((title.upper(), "heading"), (f"  {note}" if note else "", "dim"), hang=2)

    def _facts(self, facts: Iterable[FactView]) -> None:
        known = [one for one in facts if one.figure]
        unknown = [one for one in facts if not one.figure]
        if not known and not unknown:
            return
        self._heading("facts", "what diagnoses of this host take from it: what three repeats of four reach")
        wide = max((cells(one.name) for one in known), default=0)
        for one in known:
            figure = f"{one.figure:>{_FACT_FIGURE}}"
            until = f"  until {one.until}" if one.until else ""
            self._page.put((f"{one.name:<{wide}}", "label"), (figure, ""), (until, "dim"), indent=_INDENT, hang=2)
        for one in unknown:
            self._page.put((f"not known: {one.name}", "dim"), (f": {one.note}", "dim"), indent=_INDENT, hang=2)

    def _roofline(self, record: Json) -> None:
        roofline = roofline_of(record)
        if roofline is None:
            return
        self._heading("roofline", "of one core: what arithmetic, and what each level of memory allow")
        if not self._page.narrow:
            self._page.blank()
            width = self._page.columns - _INDENT
            for line in plotted(roofline, width=width, ascii_only=self._ascii_only):
                self._page.exactly((line, ""), indent=_INDENT)
        for line in legend(roofline):
            self._page.put((line, ""), indent=_INDENT, hang=3)

    def _part(self, part: PartView) -> None:
        self._heading(part.name, part.about)
        self._page.put((part.when, "dim"), indent=_INDENT, hang=2)
        if part.rows and not self._page.narrow:
            self._line(" " * self._what, [name for name, _ in _COLUMNS], "", "dim")
        for row in part.rows:
            self._row(row)
        for note in part.notes:
            self._page.put(("note: ", "label"), (note, ""), indent=_INDENT, hang=2)
        for one in part.missing:
            how = f"; to have it: {one.get_by}" if one.get_by else ""
            self._page.put(("not measured: ", "label"), (f"{one.what}: {one.reason}{how}", ""), indent=_INDENT, hang=2)
        if part.meaning:
            self._page.put(("so: ", "label"), (part.meaning, ""), indent=_INDENT, hang=2)

    def _row(self, row: Row) -> None:
        columns = (row.figure, row.spread, row.threads)
        if self._page.narrow or any(cells(text) >= width for text, (_, width) in zip(columns, _COLUMNS, strict=True)):
            threads = f"{row.threads} thread{'' if row.threads == '1' else 's'}"
            said = ", ".join(filter(None, (row.figure, f"spread {row.spread}", threads, row.doubt)))
            self._page.put((f"{row.what}: ", "label"), (said, ""), indent=1, hang=2)
            return
        *above, last = wrap([(row.what, "")], self._what, hang=2) or [[("", "")]]
        for number, spans in enumerate(above):
            self._page.lines.append([(" " * (_INDENT + (2 if number else 0)), ""), *spans])
        text = "  " * bool(above) + "".join(text for text, _ in last)
        self._line(text, columns, row.doubt, "")

    def _line(self, what: str, columns: Iterable[str], doubt: str, style: str) -> None:
        """A line of the table."""
        room = " " * max(0, self._what - cells(what))
        figures = "".join(" " * max(1, width - cells(text)) + text
                          for text, (_, width) in zip(columns, _COLUMNS, strict=True))  # fmt: skip
        spans: list[Span] = [(" " * _INDENT, ""), (what + room, style or "label"), (figures, style)]
        self._page.lines.append([*spans, (f"  {doubt}", "warning")] if doubt else spans)
