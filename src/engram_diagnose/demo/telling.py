"""
Telling what happens: the story on stdout, what is being waited for on stderr.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from engram_diagnose.render.layout import Page, Span
from engram_diagnose.render.style import coloured_text, plain_text

_GUTTER: Final = 13
Say = Callable[[str], None]


class Teller(Protocol):
    """Whoever shows the story."""

    def chapter(self, title: str) -> None:
        """The next part begins."""

    def tell(self, *spans: Span, indent: int = 0, hang: int = 0) -> None:
        """A paragraph of it."""

    def show(self, text: str) -> None:
        """Text that is laid out already."""

    def waiting(self, what: str) -> Any:
        """A context in which something takes its time; gives what changes the words (`Say`)."""


@dataclass(slots=True)
class Terminal:
    """
    Tells on a terminal, or line by line into a pipe.

    `live` shows on stderr what is being waited for, with the seconds; without it each wait is one line there.
    """

    columns: int = 80
    color: bool = False
    live: bool = False
    out: Any = field(default_factory=lambda: sys.stdout)
    err: Any = field(default_factory=lambda: sys.stderr)
    _chapters: int = 0

    def chapter(self, title: str) -> None:
        self._chapters += 1
        self._put([[], [(f"{self._chapters}  {title}", "heading")]])

    def tell(self, *spans: Span, indent: int = 3, hang: int = 0) -> None:
        page = Page(self.columns, _GUTTER)
        page.put(*spans, indent=indent, hang=hang)
        self._put(page.lines)

    def show(self, text: str) -> None:
        self.out.write(text if text.endswith("\n") else text + "\n")
        self.out.flush()

    @contextmanager
    def waiting(self, what: str) -> Iterator[Say]:
        if not self.live:
            self.err.write(f"… {what}\n")
            self.err.flush()
            yield lambda _: None
            return
        with _spinner(what, self.err) as say:
            yield say

    def _put(self, lines: list[list[Span]]) -> None:
        self.show(coloured_text(lines) if self.color else plain_text(lines))


@contextmanager
def _spinner(what: str, err: Any) -> Iterator[Say]:
    """Something that turns, what is waited for, and for how long; gone once it is done."""
    from rich.console import Console
    from rich.text import Text

    started = time.monotonic()
    words = what

    class Line:
        def __rich__(self) -> Text:
            return Text(f"{words}  {time.monotonic() - started:.0f} s", style="dim")

    def say(text: str) -> None:
        nonlocal words
        words = text

    console = Console(file=err)
    with console.status(Line(), spinner="line", refresh_per_second=5):
        yield say
