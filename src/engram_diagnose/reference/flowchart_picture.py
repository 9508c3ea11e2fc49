"""
A chart as a picture: questions below each other, `yes` to the right, `no` further down.

SVG that needs nothing but fonts that are there, so that it shows in a browser without a network as it does on a page.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from engram_diagnose.reference.flowchart import Chart, Question
from engram_diagnose.render.neutral import visible

_WIDTH: Final = 900
_LEFT, _QUESTION_WIDTH = 20, 470
_RIGHT, _ANSWER_WIDTH = 570, 310
_LINE, _PADDING, _GAP = 17, 10, 26
_TOP: Final = 58
_STYLE: Final = (
    "text{font-family:system-ui,sans-serif;font-size:13px;fill:#1f2328}"
    ".title{font-size:17px;font-weight:600}.bold{font-weight:600}"
    ".test{font-family:ui-monospace,monospace;font-size:11px}.dim{fill:#59636e;font-size:11px}"
    ".question{fill:#f6f8fa;stroke:#59636e}.answer{fill:#fff8c5;stroke:#9a6700}"
    ".next{fill:#ddf4ff;stroke:#0969da}.end{fill:#dafbe1;stroke:#1a7f37}"
    ".way{stroke:#59636e;fill:none}"
)
_COLUMNS: Final = {"bold": 58, "plain": 40, "test": 64, "dim": 66}
"""Characters that fit into a box, by what they are set in; wide fonts leave little room to spare."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A line within a box, and what it is set in."""

    text: str
    style: str


def picture(chart: Chart) -> str:
    """The chart as an SVG document, ending with a newline."""
    parts: list[str] = []
    top = _TOP
    for question in chart.questions:
        asked, answer = list(_asked(question)), list(_answered(question))
        height = max(_height(asked), _height(answer))
        parts += _rung(top, height, asked, answer, "next" if question.chart else "answer")
        top += height + _GAP
    last = [*_wrapped(chart.otherwise, "bold"), *(_Text(f"→ {visible(title)}", "plain") for _, title in chart.next)]
    parts += _box(_LEFT, top, _QUESTION_WIDTH, _height(last), last, "next" if chart.next else "end")
    return "\n".join([*_opening(chart, top + _height(last) + 20), *parts, "</svg>"]) + "\n"


def _opening(chart: Chart, height: int) -> Iterator[str]:
    title = escape(visible(chart.title))
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
           f'height="{height}" role="img" aria-label={quoteattr(visible(chart.title))}>')  # fmt: skip
    yield f"<title>{title}</title>"
    yield f"<style>{_STYLE}</style>"
    yield ('<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
           '<path d="M0 0L8 4L0 8z" fill="#59636e"/></marker></defs>')  # fmt: skip
    yield f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    yield f'<text class="title" x="{_LEFT}" y="34">{title}</text>'


def _asked(question: Question) -> Iterator[_Text]:
    if question.asks:
        yield from _wrapped(question.asks, "bold")
    yield from _wrapped(question.test if question.asks else f"{question.test}?", "test")
    if question.look:
        yield from _wrapped(f"look at: {question.look}", "dim")


def _answered(question: Question) -> Iterator[_Text]:
    if question.chart:
        yield from _wrapped(f"Go to: {question.yes}", "bold", columns=_COLUMNS["plain"] - 4)
        return
    yield from _wrapped(question.yes, "bold", columns=_COLUMNS["plain"] - 4)
    yield from _wrapped(question.action, "plain")
    yield from _wrapped(", ".join(question.rules), "dim")


def _wrapped(text: str, style: str, *, columns: int | None = None) -> Iterator[_Text]:
    for line in textwrap.wrap(visible(text), columns or _COLUMNS[style]):
        yield _Text(line, style)


def _height(lines: list[_Text]) -> int:
    return 2 * _PADDING + _LINE * len(lines)


def _rung(top: int, height: int, asked: list[_Text], answer: list[_Text], kind: str) -> Iterator[str]:
    """A question, its answer beside it, and the ways out of it."""
    middle, bottom, down = top + height // 2, top + height, _LEFT + 40
    yield from _box(_LEFT, top, _QUESTION_WIDTH, height, asked, "question")
    own = _height(answer)
    yield from _box(_RIGHT, middle - own // 2, _ANSWER_WIDTH, own, answer, kind)
    yield f'<path class="way" d="M{_LEFT + _QUESTION_WIDTH} {middle}H{_RIGHT}" marker-end="url(#tip)"/>'
    yield f'<text class="dim" x="{_LEFT + _QUESTION_WIDTH + 26}" y="{middle - 6}">yes</text>'
    yield f'<path class="way" d="M{down} {bottom}V{bottom + _GAP}" marker-end="url(#tip)"/>'
    yield f'<text class="dim" x="{down + 8}" y="{bottom + 17}">no</text>'


def _box(left: int, top: int, width: int, height: int, lines: list[_Text], kind: str) -> Iterator[str]:
    above = (height - _height(lines)) // 2
    yield f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="8"/>'
    for number, line in enumerate(lines, 1):
        style = "" if line.style == "plain" else f' class="{line.style}"'
        at = top + above + _PADDING + number * _LINE - 4
        yield f'<text{style} x="{left + 12}" y="{at}">{escape(line.text)}</text>'
