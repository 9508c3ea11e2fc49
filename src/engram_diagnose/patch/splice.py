"""The places where a text changes, and what is written there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.patch.layout import Beside, Block, InBlock, InNewTable, Inside, Layout, Quote
from engram_diagnose.patch.scan import Path, Statement
from engram_diagnose.patch.value import Value, edited_source, new_line

_INDENT: Final = re.compile(r"[ \t]*")
_BLANK_LINE: Final = re.compile(r"(?:^|\n)[ \t]*\r?\n")
_ENDS_BLANK: Final = re.compile(r"(?:\A|\n)[ \t]*\r?\n\Z")


@dataclass(frozen=True, slots=True)
class Splice:
    """What stands at `start` to `end` is replaced by `text`."""

    start: int
    end: int
    text: str


def spliced(text: str, changes: Sequence[Splice]) -> str:
    """The text with the changes made; they are in order and do not overlap."""
    parts, position = [], 0
    for change in changes:
        parts += [text[position : change.start], change.text]
        position = change.end
    return "".join([*parts, text[position:]])


def splices(text: str, found: Layout, changes: Mapping[Path, Value]) -> list[Splice]:
    """What to change for the values to stand at their paths, each place once, in order."""
    statements: dict[Statement, dict[Path, Value]] = {}
    lines: dict[int, list[str]] = {}
    tables: dict[Path, list[str]] = {}
    for path, value in changes.items():
        spot = found.spot(path)
        if isinstance(spot, Inside):
            statements.setdefault(spot.statement, {})[spot.below] = value
        elif isinstance(spot, InNewTable):
            line = new_line(spot.key, value, sign=" = ", quote=found.quote)
            tables.setdefault(spot.table, []).append(line)
        elif isinstance(spot, InBlock):
            at, line = _line_in_block(text, found, spot, value)
            lines.setdefault(at, []).append(line)
        else:
            lines.setdefault(spot.statement.end, []).append(_line_beside(text, found, spot, value))
    made = [_changed(text, found, statement, below) for statement, below in statements.items()]
    ending = "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"
    made += [_inserted(text, found, at, new, ending) for at, new in lines.items() if at < len(text)]
    made += _at_the_end(text, lines.get(len(text), []), tables, ending)
    return sorted(made, key=lambda splice: (splice.start, splice.end))


def _changed(text: str, found: Layout, statement: Statement, below: dict[Path, Value]) -> Splice:
    source = text[statement.equals : statement.end]
    new = edited_source(source, below, quote=_quote(found, found.blocks.get(statement.table)))
    return Splice(statement.equals, statement.end, new)


def _line_in_block(text: str, found: Layout, spot: InBlock, value: Value) -> tuple[int, str]:
    """Where the table's lines end, and the new one, set as the last of them is."""
    block = spot.block
    neighbour = block.last or block.header
    start, at = (neighbour.start, neighbour.end) if neighbour else (None, _start_of_root(text, found))
    indent = "" if start is None else _indent(text, start)
    sign = _sign(text, block.last)
    return at, indent + new_line(spot.key, value, sign=sign, quote=_quote(found, block))


def _start_of_root(text: str, found: Layout) -> int:
    """Where the first key before any table goes: below the comments that head the file."""
    if found.first_header is None:
        return len(text)
    blank_lines = list(_BLANK_LINE.finditer(text, 0, found.first_header.start))
    return blank_lines[-1].end() if blank_lines else 0


def _line_beside(text: str, found: Layout, spot: Beside, value: Value) -> str:
    """A line that begins as its neighbour does: `wal.sync_mode = …` below `wal.buffer_size_mb = …`."""
    statement = spot.statement
    shared = ".".join(_parts_as_written(text[statement.start : statement.equals])[: spot.shared])
    sign = _sign(text, statement)
    quote = _quote(found, found.blocks.get(statement.table))
    indent = _indent(text, statement.start)
    return indent + new_line(".".join([shared, *spot.keys]), value, sign=sign, quote=quote)


def _parts_as_written(keys: str) -> list[str]:
    """The parts of a dotted key with the quotes they have."""
    return re.findall(r'[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|\'[^\']*\'', keys)


def _indent(text: str, start: int) -> str:
    match = _INDENT.match(text, start)
    return match.group() if match else ""


def _sign(text: str, neighbour: Statement | None) -> str:
    """The equals sign with or without blanks, as the neighbour has it."""
    tight = neighbour is not None and text[neighbour.equals : neighbour.value] == "="
    return "=" if tight else " = "


def _quote(found: Layout, block: Block | None) -> Quote:
    return (block.quote if block else None) or found.quote


def _inserted(text: str, found: Layout, at: int, lines: list[str], ending: str) -> Splice:
    """Lines in the middle of a text; before the first table with a blank line after them."""
    root = found.blocks[()].last is None and at == _start_of_root(text, found)
    return Splice(at, at, "".join(line + ending for line in [*lines, *([""] if root else [])]))


def _at_the_end(text: str, lines: list[str], tables: Mapping[Path, list[str]], ending: str) -> list[Splice]:
    """Lines of the last table and new tables; a text that ended without a line end still does."""
    rows = list(lines)
    for table, new in tables.items():
        if rows or (text and not _ENDS_BLANK.search(text, max(0, len(text) - 1000))):
            rows.append("")
        rows += [f"[{'.'.join(table)}]", *new]
    if not rows:
        return []
    whole = not text or text.endswith("\n")
    new_text = "".join(row + ending for row in rows) if whole else ending + ending.join(rows)
    return [Splice(len(text), len(text), new_text)]
