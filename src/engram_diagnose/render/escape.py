"""
Texts inside Markdown: shown as they are, whatever they look like.
"""

import re
from typing import Final

from markupsafe import Markup

_SPECIAL: Final = re.compile(r"[\\`*\[\]|~$#]")
_EMPHASIS: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_BLOCK: Final = re.compile(r"^(?=[-+=>:])|^\d{1,9}(?=[.)])")
_REFERRING: Final = re.compile(r"(?<!\w)@(?=\w)|@(?=[\w-]*\.)|#(?=\d)|:(?=//)|\bwww(?=\.)", re.IGNORECASE)
_GAP: Final = "&#8203;"
"""A space of no width: links, mentions and references are made from the rendered text, past any escape."""


def markdown(text: str) -> Markup:
    """
    A text as inline Markdown (CommonMark, GitHub's): no markup, HTML, link, mention or reference comes of it.

    The text has no control characters in it, so no line breaks either.
    """
    text = text.strip().replace("&", "&amp;").replace("<", "&lt;")
    text = _EMPHASIS.sub(r"\_", _SPECIAL.sub(r"\\\g<0>", text))
    text = _REFERRING.sub(rf"\g<0>{_GAP}", _BLOCK.sub(r"\g<0>\\", text))
    return Markup(text)  # noqa: S704 -- escaped above


def code(text: str) -> Markup:
    """A text as a code span."""
    if not text:
        return Markup("")
    fence = "`" * (_longest_run(text) + 1)
    room = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return Markup(f"{fence}{room}{text}{room}{fence}")  # noqa: S704 -- nothing in a code span is markup


def cell_code(text: str) -> Markup:
    """A code span within a table, where a bar would end the cell."""
    return Markup(code(text).replace("|", "\\|"))  # noqa: S704 -- as above


def fenced(lines: tuple[str, ...], language: str = "") -> Markup:
    """Lines as a block of code."""
    fence = "`" * max(3, *(_longest_run(line) + 1 for line in lines))
    return Markup("\n".join([f"{fence}{language}", *lines, fence]))  # noqa: S704 -- as above


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
