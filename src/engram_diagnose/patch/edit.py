"""
Editing a configuration: the keys that are assigned change, every other byte stays.

tomlkit does the editing, but gets to see only the statements that change: it takes 25 s for 10 MB. What came of
it is held against the original with `tomllib` before it is given back.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.engine.language.problem import printable
from engram_diagnose.patch.error import ConfigurationError as ConfigurationError
from engram_diagnose.patch.layout import Layout, layout
from engram_diagnose.patch.reading import FloatText, decoded, fault, parsed, refuse_long_keys
from engram_diagnose.patch.scan import Path
from engram_diagnose.patch.splice import spliced, splices
from engram_diagnose.patch.value import Value, refuse_unwritable, same, settled

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_INDENT: Final = re.compile(r"[ \t]*")
_MISSING: Final = object()
_BUG: Final = "change the keys by hand, and report this with the file"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A dotted key of plain parts (`wal.sync_mode`) and the value it is to have."""

    key: str
    value: Value


def edited(content: bytes, assignments: Sequence[Assignment], *, name: str) -> bytes:
    """
    The configuration `content` with the keys assigned; comments, order, unknown keys and line ends stay.

    A key that has the value already is left as it is written, a key that is missing gets a line of its own in its
    table. `name` is what messages call the file. Raises `ConfigurationError`, then nothing was changed.
    """
    wanted = _paths(assignments)
    mark, text = decoded(content, name=name)
    refuse_long_keys(text, name=name)
    before = parsed(text, name=name)
    found = layout(text, wanted)
    changes: dict[Path, Value] = {}
    for path, value in wanted.items():
        old = _old_value(before, path, text, found, name)
        if not same(old, value):
            changes[path] = settled(old, value)
    if not changes:
        return content
    after = spliced(text, splices(text, found, changes))
    _verify(before, after, changes, name=name)
    return (mark + after).encode("utf-8")


def _paths(assignments: Sequence[Assignment]) -> dict[Path, Value]:
    """The assignments by path; raises `ConfigurationError` for those that cannot all be met."""
    wanted: dict[Path, Value] = {}
    for assignment in assignments:
        key = assignment.key
        if not _PLAIN_KEY.fullmatch(key):
            raise ConfigurationError(f"{printable(key)!r} is no dotted key of plain parts, such as wal.sync_mode")
        refuse_unwritable(key, assignment.value)
        path = tuple(key.split("."))
        if path in wanted:
            raise ConfigurationError(f"{key} is assigned twice; decide on one value")
        wanted[path] = assignment.value
    for path in wanted:
        for length in range(1, len(path)):
            if path[:length] in wanted:
                raise ConfigurationError(f"{'.'.join(path)} is assigned below {'.'.join(path[:length])}; leave one out")
    return wanted


def _old_value(before: Mapping[str, object], path: Path, text: str, found: Layout, name: str) -> object:
    """The value at the path, `_MISSING` without one; raises `ConfigurationError` where none can be set."""
    node: object = before
    for depth, part in enumerate(path):
        assert isinstance(node, dict)  # noqa: S101 -- narrows the type; the loop has seen to it
        if part not in node:
            return _MISSING
        node = node[part]
        if depth + 1 < len(path) and not isinstance(node, dict):
            raise _in_the_way(path, path[: depth + 1], node, text, found, name)
    if isinstance(node, dict) or _is_tables(node):
        raise _in_the_way(path, path, node, text, found, name)
    return node


def _is_tables(node: object) -> bool:
    return isinstance(node, list) and any(isinstance(element, dict) for element in node)


def _in_the_way(path: Path, here: Path, node: object, text: str, found: Layout, name: str) -> ConfigurationError:
    """What stands where a table, or a value, is needed."""
    words, key = ".".join(here), ".".join(path)
    kind = "an array of tables" if _is_tables(node) else "a table" if isinstance(node, dict) else "a value, not a table"
    hint = f"set {key} by hand, or change what {words} is"
    place = found.place(here)
    if place is None:
        return ConfigurationError(f"{printable(name)}: {words} is {kind}: {key} cannot be set; {hint}")
    indent = _INDENT.match(text, place)
    offset = indent.end() if indent else place
    return fault(text, offset, f"{words} is {kind}: {key} cannot be set", name=name, hint=hint)


def _verify(before: dict[str, object], after_text: str, changes: Mapping[Path, Value], *, name: str) -> None:
    """Raises `ConfigurationError` unless the new text has the values, and everything else as it was."""
    after = parsed(after_text, name=f"{name} as edited")
    for path, value in changes.items():
        if not _is_exactly(_taken(after, path, kept=before), value):
            raise ConfigurationError(f"{printable(name)}: {'.'.join(path)} could not be edited; {_BUG}")
        _taken(before, path, kept=before)
    if repr(before) != repr(after):
        raise ConfigurationError(f"{printable(name)}: more would have changed than {_names(changes)}; {_BUG}")


def _names(changes: Mapping[Path, Value]) -> str:
    return ", ".join(".".join(path) for path in changes)


def _taken(document: dict[str, object], path: Path, *, kept: Mapping[str, object]) -> object:
    """The value at a path, taken out; so are tables that hold nothing more and are not in `kept`."""
    part, below = path[0], path[1:]
    if not below:
        return document.pop(part, _MISSING)
    table = document.get(part)
    if not isinstance(table, dict):
        return _MISSING
    counterpart = kept.get(part)
    value = _taken(table, below, kept=counterpart if isinstance(counterpart, dict) else {})
    if not table and part not in kept:
        del document[part]
    return value


def _is_exactly(found: object, value: Value) -> bool:
    """Whether a parsed value is the value in the same type, too."""
    if isinstance(value, tuple):
        return isinstance(found, list) and len(found) == len(value) and all(map(_is_exactly, found, value))
    plain = float(found.text) if isinstance(found, FloatText) else found
    return type(plain) is type(value) and plain == value
