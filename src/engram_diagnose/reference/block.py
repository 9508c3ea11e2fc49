"""
A description as blocks, printed plainly for a terminal or as Markdown.

What authors wrote is escaped either way: a rule's title can neither move a cursor nor break a page.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engram_diagnose.render.escape import cell_code, code, markdown
from engram_diagnose.render.neutral import visible


@dataclass(frozen=True, slots=True)
class Code:
    """A name or an expression, as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A name that leads to another place of the pages; on a terminal, the name."""

    text: str
    target: str


Part = str | Code | Link
Line = tuple[Part, ...]
"""Prose with names in it."""


@dataclass(frozen=True, slots=True)
class Heading:
    """`level` 1 is a page, 2 a part of it, 3 an entry, 4 a part of an entry."""

    text: str
    level: int


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph."""

    line: Line


@dataclass(frozen=True, slots=True)
class Items:
    """A list; each item stands `depth` levels deep."""

    items: "tuple[tuple[int, Line], ...]"


@dataclass(frozen=True, slots=True)
class Snippet:
    """Text to be kept as it is, such as YAML."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below a head. For a terminal each row becomes an item, since a column there is too narrow for prose."""

    head: tuple[str, ...]
    rows: "tuple[tuple[Line, ...], ...]"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture beside the page; a terminal shows what it is of."""

    of: str
    target: str


Block = Heading | Paragraph | Items | Snippet | Table | Picture


def line(*parts: Part) -> Line:
    """Parts as one line."""
    return parts


def items(lines: Iterable[Line]) -> Items:
    """A flat list."""
    return Items(tuple((0, one) for one in lines))


def joined(parts: Iterable[Part], between: str = ", ") -> Line:
    """Parts with something between them."""
    found: list[Part] = []
    for part in parts:
        found += [between, part] if found else [part]
    return tuple(found)


# --- Markdown -------------------------------------------------------------------------------------


def to_markdown(blocks: Sequence[Block]) -> str:
    """
    The blocks as a page, ending with a newline.

    A paragraph is one line: broken anywhere else, a minus at the start of a line would become a list.
    """
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escaped(text)}"
        case Paragraph(parts):
            return _inline(parts)
        case Items(entries):
            return "\n".join(f"{'  ' * depth}- {_inline(parts)}" for depth, parts in entries)
        case Snippet(text, language):
            fence = "~~~" if "```" in text else "```"
            return f"{fence}{language}\n{text.rstrip()}\n{fence}"
        case Picture(of, target):
            return f"![{escaped(of)}]({target})"
        case Table(head, rows):
            lines = ["| " + " | ".join(map(escaped, head)) + " |", "|" + "---|" * len(head)]
            lines += ["| " + " | ".join(_inline(cell, in_table=True) for cell in row) + " |" for row in rows]
            return "\n".join(lines)


def _inline(parts: Line, *, in_table: bool = False) -> str:
    return "".join(_markdown_part(part, in_table) for part in parts).strip()


def _markdown_part(part: Part, in_table: bool) -> str:
    match part:
        case Code(text):
            return str((cell_code if in_table else code)(visible(text)))
        case Link(text, target):
            return f"[{escaped(text)}]({target})"
        case str():
            return escaped(part)


def escaped(text: str) -> str:
    """Prose in which Markdown finds nothing to act on; the space at its ends is kept."""
    return _at_ends(text, str(markdown(visible(" ".join(text.split())))))


# --- A terminal -----------------------------------------------------------------------------------


def to_text(blocks: Sequence[Block], *, width: int) -> str:
    """The blocks for a terminal of `width` columns."""
    parts: list[str] = []
    for block in blocks:
        apart = bool(parts) and isinstance(block, Heading | Snippet)
        parts.append("\n" * apart + _text(block, width))
    return "\n".join(parts)


def _text(block: Block, width: int) -> str:
    match block:
        case Heading(text, level):
            return visible(text) if level > 2 else f"{visible(text)}\n{'=' * min(width, len(text))}"
        case Paragraph(parts):
            return wrapped(plain(parts), width, first="  ", rest="  ")
        case Items(entries):
            return "\n".join(
                wrapped(plain(parts), width, first="  " * (depth + 1) + "- ", rest="  " * (depth + 2))
                for depth, parts in entries
            )
        case Snippet(text):
            return textwrap.indent("\n".join(map(visible, text.rstrip().splitlines())), "    ")
        case Picture(of, target):
            return wrapped(f"{visible(of)} ({visible(target)})", width, first="  ", rest="  ")
        case Table(head, rows):
            return "\n".join(_row(head, row, width) for row in rows)


def _row(head: tuple[str, ...], row: tuple[Line, ...], width: int) -> str:
    cells = [(name, plain(cell)) for name, cell in zip(head[1:], row[1:], strict=True)]
    rest = "; ".join(f"{name}: {text}" for name, text in cells if text)
    first = wrapped(plain(row[0]), width, first="  - ", rest="    ")
    return f"{first}\n{wrapped(rest, width, first='      ', rest='      ')}" if rest else first


def plain(parts: Line) -> str:
    """A line without markup, safe for a terminal."""
    return "".join(_plain(part) for part in parts)


def _plain(part: Part) -> str:
    return _at_ends(part, visible(" ".join(part.split()))) if isinstance(part, str) else visible(part.text)


def _at_ends(text: str, shown: str) -> str:
    """`shown` with one space wherever `text` has some at its ends, since names stand beside it."""
    if not text.strip():
        return " " * bool(text)
    return " " * text[0].isspace() + shown + " " * text[-1].isspace()


def wrapped(text: str, width: int, *, first: str = "", rest: str = "") -> str:
    """Text broken at spaces; a name that is longer than the line stays whole."""
    return textwrap.fill(text, max(width, 30), initial_indent=first, subsequent_indent=rest,
                         break_long_words=False, break_on_hyphens=False) or first.rstrip()  # fmt: skip
