"""
A comparison as text for a terminal, a pipe or a page.
"""

from collections.abc import Mapping
from typing import Any, Final

from engram_diagnose.render.layout import Page
from engram_diagnose.render.style import coloured_text, plain_text
from engram_diagnose.render.verification import Row, Told, told

_GUTTER: Final = 15
_STYLES: Final = {
    "improved": "good",
    "held": "good",
    "no change": "title",
    "worse": "critical",
    "regressed": "critical",
    "inconclusive": "open",
    "not comparable": "open",
}


def verification_text(document: Mapping[str, Any], *, console_width: int = 80, color: bool = False) -> str:
    """The comparison as text; no line is wider than `console_width`, and without `color` no escape sequence in it."""
    page = Page(console_width, _GUTTER)
    view = told(document)
    _verdict(page, view)
    _load(page, view)
    _figures(page, view)
    _listed(page, "the patch", view.patch)
    _listed(page, "also changed", view.also)
    _listed(page, "next", view.next)
    return coloured_text(page.lines) if color else plain_text(page.lines)


def _verdict(page: Page, view: Told) -> None:
    page.put((view.label, _STYLES[view.state]), ("  ", ""), (view.sentence, "title"), hang=2)
    if view.counts:
        page.put((view.counts, ""), indent=2, hang=2)
    for side in view.sides:
        page.put((side, "dim"), indent=2, hang=2)
    for note in view.notes:
        page.put((note, "dim"), indent=2, hang=2)


def _load(page: Page, view: Told) -> None:
    _heading(page, "load", view.load)
    for one in view.measures:
        values = f"{one.before}, then {one.after}"
        page.put((f"{one.name} ", "label"), (f"{values}: {one.state}", ""), indent=2, hang=2)


def _figures(page: Page, view: Told) -> None:
    if not view.rows:
        return
    _heading(page, "figures", view.interval)
    for row in view.rows:
        _row(page, row)


def _row(page: Page, row: Row) -> None:
    style = _STYLES[row.verdict]
    page.field((row.verdict, style), [[(row.name, "title")]], indent=2)
    change = f"  {row.change}" if row.change else ""
    interval = f" ({row.interval})" if row.interval else ""
    lines = [f"{row.before}, then {row.after}{change}{interval}", row.limit, row.predicted, row.note]
    for line in filter(None, lines):
        page.put((line, "dim" if line is row.note else ""), indent=2 + (_GUTTER if not page.narrow else 1), hang=2)


def _listed(page: Page, heading: str, lines: tuple[str, ...]) -> None:
    if not lines:
        return
    _heading(page, heading, "")
    for line in lines:
        page.put((line, ""), indent=2, hang=2)


def _heading(page: Page, heading: str, note: str) -> None:
    page.blank()
    page.put((heading.upper(), "heading"), (f"  {note}" if note else "", "dim"), hang=2)
