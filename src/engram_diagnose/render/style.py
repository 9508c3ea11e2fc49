"""
Styles by name, as the sixteen colours of any terminal, so that its own theme decides how they look.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from engram_diagnose.render.layout import Span

_STYLES: Final = {
    "critical": "bold red",
    "warning": "bold yellow",
    "info": "bold cyan",
    "good": "bold green",
    "open": "bold magenta",
    "heading": "bold",
    "title": "bold",
    "label": "cyan",
    "change": "bold green",
    "command": "green",
    "for": "green",
    "against": "yellow",
    "dim": "dim",
}


def plain_text(lines: Iterable[Sequence[Span]]) -> str:
    """The lines without colour."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def coloured_text(lines: Iterable[Sequence[Span]]) -> str:
    """The lines with the escape sequences of their styles."""
    return "".join("".join(_painted(text, style) for text, style in line).rstrip(" ") + "\n" for line in lines)


def _painted(text: str, style: str) -> str:
    start, end = _sequences(style) if style in _STYLES else ("", "")
    return f"{start}{text}{end}"


@lru_cache(maxsize=len(_STYLES))
def _sequences(style: str) -> tuple[str, str]:
    # Late, as it costs more than the whole report: only a terminal needs it.
    from rich.color import ColorSystem
    from rich.style import Style

    start, _, end = Style.parse(_STYLES[style]).render("\0", color_system=ColorSystem.STANDARD).partition("\0")
    return start, end
