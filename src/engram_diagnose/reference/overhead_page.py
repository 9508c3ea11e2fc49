"""
What looking costs the server, step by step, as the steps say themselves; what was measured stands there by hand.
"""

from collections.abc import Iterator
from typing import Final

from engram_diagnose.collectors.capture.deep import every_step, overheads
from engram_diagnose.reference.block import Block, Table, line, to_markdown
from engram_diagnose.reference.marked import with_part

PAGE: Final = "overhead.md"
BEGIN: Final = "<!-- made by `engram-diagnose rules docs docs/reference` from what each step says of itself -->"


def overhead_page(written: str) -> str:
    """The page with the table of steps between its marks; below what is there where it has none."""
    return with_part(written, to_markdown(list(_blocks())), begin=BEGIN)


def _blocks() -> Iterator[Block]:
    rows = tuple((line(name), line(asks), line(cost)) for name, asks, cost in overheads(every_step()))
    yield Table(("Step", "looks at", "costs the server"), rows)
