"""Where in a TOML text a key stands, or where one that is missing belongs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from engram_diagnose.patch.scan import Header, Path, Statement, scan

Quote = Literal['"', "'"]
ROOT: Final[Path] = ()


@dataclass(slots=True)
class Block:
    """A table's own lines: its header (none for the root) and the last statement of it."""

    header: Header | None
    last: Statement | None = None
    quote: Quote | None = None


@dataclass(frozen=True, slots=True)
class Inside:
    """The value of `statement` is what changes: all of it, or the part at `below` of an inline table."""

    statement: Statement
    below: Path


@dataclass(frozen=True, slots=True)
class InBlock:
    """A new line in a table, after its last statement."""

    block: Block
    key: str


@dataclass(frozen=True, slots=True)
class Beside:
    """A new line after `statement`, whose first `shared` key parts it repeats as they are written there."""

    statement: Statement
    shared: int
    keys: Path


@dataclass(frozen=True, slots=True)
class InNewTable:
    """A line in a table that is not there yet."""

    table: Path
    key: str


Spot = Inside | InBlock | Beside | InNewTable


@dataclass(slots=True)
class Layout:
    """What of a text concerns the paths that were asked for."""

    statements: dict[Path, Statement] = field(default_factory=dict)
    dotted: dict[Path, tuple[Statement, int]] = field(default_factory=dict)
    blocks: dict[Path, Block] = field(default_factory=dict)
    places: dict[Path, int] = field(default_factory=dict)
    first_header: Header | None = None
    quote: Quote = '"'

    def place(self, path: Path) -> int | None:
        """The offset of the line on which a key or table is first set; None where nothing names it."""
        if path in self.places:
            return self.places[path]
        return self.dotted[path][0].start if path in self.dotted else None

    def spot(self, path: Path) -> Spot:
        """Where the key `path` stands or belongs; the document has no value that is in its way."""
        for length in range(len(path), 0, -1):
            if statement := self.statements.get(path[:length]):
                return Inside(statement, path[length:])
        table = path[:-1]
        if block := self.blocks.get(table):
            return InBlock(block, path[-1])
        for length in range(len(table), 0, -1):
            # A table that dotted keys made must not get a header.
            if found := self.dotted.get(path[:length]):
                statement, shared = found
                return Beside(statement, shared, path[length:])
            if path[:length] in self.blocks:
                break
        return InNewTable(table, path[-1])


def layout(text: str, paths: Iterable[Path]) -> Layout:
    """The layout of a valid TOML text, as far as `paths` and the tables around them go."""
    wanted = {path[:length] for path in paths for length in range(len(path) + 1)}
    found = Layout(blocks={ROOT: Block(None)})
    block: Block | None = found.blocks[ROOT]
    first_quote: Quote | None = None
    for item in scan(text):
        if item.path in wanted:
            found.places.setdefault(item.path, item.start)
        if isinstance(item, Header):
            found.first_header = found.first_header or item
            block = Block(item) if item.path in wanted and not item.array else None
            if block:
                found.blocks[item.path] = block
            continue
        first = text[item.value]
        quote: Quote | None = '"' if first == '"' else "'" if first == "'" else None
        first_quote = first_quote or quote
        if block:
            block.last, block.quote = item, quote or block.quote
        _note(item, wanted, found)
    found.quote = first_quote or '"'
    return found


def _note(item: Statement, wanted: set[Path], found: Layout) -> None:
    path = item.path
    if path in wanted:
        found.statements[path] = item
    if len(item.keys) > 1:
        for shared in range(1, len(item.keys)):
            table = item.table + item.keys[:shared]
            if table in wanted:
                found.dotted[table] = (item, shared)
