"""Values as TOML, in the style of what stood there before; tomlkit writes them."""

import math
import re
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, InlineTable, Integer, Item, String, Trivia, Whitespace

from engram_diagnose.patch.error import ConfigurationError
from engram_diagnose.patch.layout import Quote
from engram_diagnose.patch.reading import FloatText
from engram_diagnose.patch.scan import Path

Scalar = bool | int | float | str
Value = Scalar | tuple[Scalar, ...]

_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?:_\d{3})+")
_UNQUOTABLE: Final = re.compile(r"['\x00-\x08\x0a-\x1f\x7f]")
_EXACT: Final = 2.0**53
_INTEGERS: Final = range(-(2**63), 2**63)


def same(old: object, new: object) -> bool:
    """Whether a parsed value is the value to be written: 64 and 64.0 are one, true and 1 are not."""
    if isinstance(old, list) and isinstance(new, tuple):
        return len(old) == len(new) and all(map(same, old, new))
    if isinstance(old, FloatText):
        old = float(old.text)
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    if isinstance(old, str) or isinstance(new, str):
        return isinstance(old, str) and isinstance(new, str) and old == new
    return isinstance(old, int | float) and old == new


def settled(old: object, new: Value) -> Value:
    """The value in the type it is written in: a whole float is an integer, unless a float stood there."""
    if isinstance(new, tuple):
        before = old if isinstance(old, list) else []
        return tuple(_scalar(before[i] if i < len(before) else None, element) for i, element in enumerate(new))
    return _scalar(old, new)


def _scalar(old: object, new: Scalar) -> Scalar:
    if isinstance(new, float) and new.is_integer() and abs(new) <= _EXACT and not isinstance(old, FloatText):
        return int(new)
    return new


def refuse_unwritable(key: str, value: Value) -> None:
    """Raises `ConfigurationError` for what no TOML value can be."""
    for element in value if isinstance(value, tuple) else (value,):
        if isinstance(element, int) and element not in _INTEGERS:
            raise ConfigurationError(f"{key}: {element} does not fit into 64 bits; choose a smaller value")
        if isinstance(element, float) and not math.isfinite(element):
            raise ConfigurationError(f"{key}: {element} is no value for a setting; choose a finite one")
        if isinstance(element, str) and not _is_unicode(element):
            raise ConfigurationError(f"{key}: {element!r} cannot be written as UTF-8; choose another text")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def new_line(keys: str, value: Value, *, sign: str, quote: Quote) -> str:
    """`key = value`, without a line end."""
    return f"{keys}{sign}{item_of(value, None, quote).as_string()}"


def edited_source(source: str, changes: dict[Path, Value], *, quote: Quote) -> str:
    """
    `= value  # comment` with the value changed: all of it (at the empty path), or keys of an inline table.

    What is not changed stays as it was. Raises `ConfigurationError` where tomlkit does not get through.
    """
    try:
        document = tomlkit.parse(f"x{source}")
        for below, value in changes.items():
            table: Any = document
            for part in ("x", *below)[:-1]:
                if part not in table:
                    _put(table, part, tomlkit.inline_table())
                table = table[part]
            _set(table, ("x", *below)[-1], value, quote)
        return document.as_string()[1:]
    except (TOMLKitError, RecursionError) as error:
        raise ConfigurationError(f"cannot edit {source.strip()[:80]!r}: {error}; change it by hand") from None


def _set(table: Any, key: str, value: Value, quote: Quote) -> None:
    old = table.get(key)
    if isinstance(old, Array) and isinstance(value, tuple) and ("\n" in old.as_string() or len(old) == len(value)):
        _set_elements(old, value, quote)
    elif old is None:
        _put(table, key, item_of(value, None, quote))
    else:
        table[key] = item_of(value, old, quote)


def _put(table: Any, key: str, item: Item) -> None:
    """Append to an inline table; the blank before its closing brace stays there."""
    last = table.value.body[-1][1] if isinstance(table, InlineTable) and table.value.body else None
    table[key] = item
    if isinstance(last, Whitespace) and "," not in last.s and "\n" not in last.s:
        item.trivia.trail = last.s


def _set_elements(array: Array, values: tuple[Scalar, ...], quote: Quote) -> None:
    """Element by element, so that comments between them stay."""
    while len(array) > len(values):
        del array[len(array) - 1]
    plain = array.unwrap()
    for i, value in enumerate(values):
        if i >= len(plain):
            array.append(item_of(value, None, quote))
        elif not same(plain[i], value):
            element: object = array[i]
            array[i] = item_of(value, element if isinstance(element, Item) else None, quote)


def item_of(value: Value, old: Item | None, quote: Quote) -> Item:
    """A value as tomlkit writes it, in the style of the old one, else with the quotes its neighbours have."""
    if isinstance(value, str):
        return _string(value, old.as_string() if isinstance(old, String) else quote)
    if isinstance(value, tuple):
        array = tomlkit.array()
        for element in value:
            array.append(item_of(element, None, quote))
        return array
    if isinstance(value, int) and not isinstance(value, bool):
        grouped = isinstance(old, Integer) and _GROUPED.fullmatch(old.as_string())
        return Integer(value, Trivia(), f"{value:_}" if grouped else str(value))
    return tomlkit.item(value)


def _string(text: str, style: str) -> String:
    multiline = style[:3] in ('"""', "'''")
    if style.startswith("'") and _literal(text, multiline=multiline):
        return tomlkit.string(text, literal=True, multiline=multiline)
    # A line break right after the opening quotes would be taken for none.
    return tomlkit.string(text, multiline=multiline and not text.startswith(("\n", "\r")) and "\r" not in text)


def _literal(text: str, *, multiline: bool) -> bool:
    """Whether a text can stand within literal quotes as it is."""
    return not _UNQUOTABLE.search(text) and not (multiline and text.startswith("\n"))
