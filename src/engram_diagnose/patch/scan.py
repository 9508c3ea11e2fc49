"""
Where the statements of a TOML text stand.

Strings, arrays over lines and comments are known for what they are, so that nothing within them is taken for a
table or a key. Only for texts that `tomllib` accepts; of others as much is found as can be.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Final, NamedTuple

Path = tuple[str, ...]


class Header(NamedTuple):
    """`[a.b]` or, with `array`, `[[a.b]]`; the offsets are of its line or lines, the line end included."""

    path: Path
    array: bool
    start: int
    end: int


class Statement(NamedTuple):
    """
    `key = value` in the table `table`.

    `start` is the offset of its line, `end` the one after its line end (and its comment), `equals` the one after
    the key and `value` the one of the value.
    """

    table: Path
    keys: Path
    start: int
    equals: int
    value: int
    end: int

    @property
    def path(self) -> Path:
        """The full path of the key."""
        return self.table + self.keys


_END: Final = r"[ \t]*+(?:\#[^\n]*+)?\r?(?:\n|\Z)"
_IGNORED: Final = re.compile(r"(?:[ \t]*+(?:\#[^\n]*+)?\r?\n)*+(?:[ \t]*+(?:\#[^\n]*+)?\Z)?")
_BLANK: Final = re.compile(r"[ \t]*+")
_BARE: Final = re.compile(r"([A-Za-z0-9_-]++)[ \t]*+(?==)")
_PART: Final = re.compile(
    r"""[ \t]*+(?:(?P<bare>[A-Za-z0-9_-]++)|"(?P<basic>(?:[^"\\\n]|\\.)*+)"|'(?P<literal>[^'\n]*+)')"""
)
_DOT: Final = re.compile(r"[ \t]*+\.")
_EQUALS: Final = re.compile(r"=[ \t]*+")
_PLAIN_VALUE: Final = re.compile(
    r"""(?:"(?:[^"\\\n]|\\.)*+"(?!")|'[^'\n]*+'(?!')|[^\s"'\#\[\]{}][^"'\#\[\]{}\n]*+)""" + _END
)
_TOKEN: Final = re.compile(
    r'''"""(?:[^\\"]++|\\[\s\S]|"(?!""))*+"{3,5}'''
    r"""|'''(?:[^']++|'(?!''))*+'{3,5}"""
    r"""|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'|\#[^\n]*+|[\[{]|[\]}]|\n|[^"'\#\[\]{}\n]++"""
)
_LINE_REST: Final = re.compile(r"[^\n]*+\n?")


def scan(text: str) -> Iterator[Header | Statement]:
    """Every table header and every `key = value`, in order; it ends where the text is no longer TOML."""
    table: Path = ()
    position = 0
    while True:
        position = _end_of(_IGNORED, text, position)
        if position >= len(text):
            return
        found = _header(text, position) or _statement(text, position, table)
        if found is None:
            return
        if isinstance(found, Header):
            table = found.path
        yield found
        position = found.end


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _header(text: str, start: int) -> Header | None:
    position = _end_of(_BLANK, text, start)
    if not text.startswith("[", position):
        return None
    array = text.startswith("[[", position)
    path, position = read_key(text, position + 1 + array)
    end = _end_of(_LINE_REST, text, position)
    return Header(path, array, start, end) if path else None


def _statement(text: str, start: int, table: Path) -> Statement | None:
    position = _end_of(_BLANK, text, start)
    bare = _BARE.match(text, position)
    if bare:
        keys: Path = (bare.group(1),)
        after = bare.end(1)
        sign = bare.end()
    else:
        keys, after = read_key(text, position)
        sign = _end_of(_BLANK, text, after)
    equals = _EQUALS.match(text, sign)
    if not keys or not equals:
        return None
    return Statement(table, keys, start, after, equals.end(), _end_of_value(text, equals.end()))


def read_key(text: str, position: int) -> tuple[Path, int]:
    """The parts of a dotted key, and the offset after it; no parts where there is no key."""
    parts: list[str] = []
    while match := _PART.match(text, position):
        parts.append(_part(match))
        position = match.end()
        dot = _DOT.match(text, position)
        if not dot:
            return tuple(parts), position
        position = dot.end()
    return (), position


def _part(match: re.Match[str]) -> str:
    basic = match["basic"]
    if basic is None:
        return match["bare"] if match["bare"] is not None else match["literal"]
    if "\\" not in basic:
        return basic
    try:
        return str(tomllib.loads(f'key = "{basic}"')["key"])
    except tomllib.TOMLDecodeError:
        return basic


def _end_of_value(text: str, position: int) -> int:
    """The offset after the line on which a value ends."""
    plain = _PLAIN_VALUE.match(text, position)
    if plain:
        return plain.end()
    depth = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        sign = match.group() if match.end() - match.start() == 1 else ""
        if sign == "\n" and depth <= 0:
            return position
        depth += (sign in ("[", "{")) - (sign in ("]", "}"))
    return position if position >= len(text) else _end_of(_LINE_REST, text, position)
