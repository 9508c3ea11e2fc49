"""Reading a configuration's bytes; what is wrong with them is said with line, column and excerpt."""

import gc
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Final, NamedTuple

from engram_diagnose.collectors.parse.toml_text import position
from engram_diagnose.engine.language.problem import Mark, Problem, excerpt, printable
from engram_diagnose.patch.error import ConfigurationError
from engram_diagnose.patch.scan import Header, Path, Statement, scan

BOM: Final = "\ufeff"
_PLACE: Final = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)\Z")
_TWICE: Final = re.compile(r"Cannot overwrite|Cannot declare|Cannot mutate|Duplicate")
_LONG_KEY: Final = re.compile(r"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){100}")
_UNCLOSED: Final = re.compile(r"""Unterminated string|Expected "('+)\"""")
_MAX_PARTS: Final = 100
_LARGE: Final = 1_000_000
_REPAIR: Final = "repair the file: nothing was changed"


class FloatText(NamedTuple):
    """A float as it is written: a NaN equals itself, and 0.10 is not 0.1."""

    text: str


def decoded(content: bytes, *, name: str) -> tuple[str, str]:
    """The byte order mark, if there is one, and the text after it; raises `ConfigurationError` for no UTF-8."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        text = content.decode("utf-8", "surrogateescape")
        offset = len(content[: error.start].decode("utf-8"))
        raise fault(
            text, offset, f"not UTF-8: byte 0x{content[error.start]:02x}", name=name, hint=f"TOML is UTF-8; {_REPAIR}"
        ) from None
    return (BOM, text[1:]) if text.startswith(BOM) else ("", text)


def refuse_long_keys(text: str, *, name: str) -> None:
    """Raises `ConfigurationError` for a key of very many parts: the parser takes quadratic time on it."""
    if _LONG_KEY.search(text):
        for item in scan(text):
            if len(item.path) > _MAX_PARTS:
                raise fault(text, item.start, f"a key of more than {_MAX_PARTS} parts", name=name)


def parsed(text: str, *, name: str) -> dict[str, object]:
    """The table of a TOML text, with floats as `FloatText`; raises `ConfigurationError`."""
    try:
        with _undisturbed(len(text)):
            return tomllib.loads(text, parse_float=FloatText)
    except tomllib.TOMLDecodeError as error:
        raise _explained(text, str(error), name=name) from None
    except (RecursionError, ValueError):
        message = f"{printable(name)}: not TOML that can be read: nested too deeply, or a number without end; {_REPAIR}"
        raise ConfigurationError(message) from None


@contextmanager
def _undisturbed(size: int) -> Iterator[None]:
    """Without garbage collection for a large text: it costs a third of the time and finds nothing."""
    pause = size > _LARGE and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()


def _explained(text: str, message: str, *, name: str) -> ConfigurationError:
    place = _PLACE.search(message)
    what = message[: place.start()] if place else message
    end = offset = len(text.rstrip())
    if place and place["line"]:
        offset = _offset(text, int(place["line"]), int(place["column"]))
    if _TWICE.match(what):
        return _set_twice(text, offset, what, name=name)
    opening = text.rfind(_quotes(what)) if offset >= end and _quotes(what) else -1
    if opening >= 0:
        return fault(text, opening, "the text that begins here has no end", name=name, hint="close its quotes")
    return fault(text, offset, what, name=name)


def _quotes(message: str) -> str:
    """The quotes that were missed at the end of the file; where they stand last, they open the text."""
    match = _UNCLOSED.fullmatch(message)
    return (match[1] or '"""') if match else ""


def _offset(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.index("\n", start) + 1
    return start + column - 1


def _set_twice(text: str, offset: int, message: str, *, name: str) -> ConfigurationError:
    """The error for what is set or declared again, which says where it was first."""
    before = list(takewhile(lambda item: item.start < offset, scan(text)))
    if not before:
        return fault(text, offset, message, name=name)
    *earlier, last = before
    path = _path(last)
    same = [item for item in earlier if _path(item) == path and not (isinstance(item, Header) and item.array)]
    start = last.start + len(text[last.start :]) - len(text[last.start :].lstrip())
    words = ".".join(path)
    if not same or message.startswith("Duplicate"):
        return fault(text, start, f"{words}: {message}", name=name)
    first, _ = position(text, same[-1].start)
    return fault(text, start, f"{words} stands here again; first on line {first}", name=name, hint="keep one of them")


def _path(item: Header | Statement) -> Path:
    return item.path


def fault(text: str, offset: int, message: str, *, name: str, hint: str = _REPAIR) -> ConfigurationError:
    """An error at a place of the text, with the line and a caret below the column."""
    line, column = position(text, offset)
    start = offset - column + 1
    end = text.find("\n", offset)
    # `excerpt` counts lines from one and breaks them where TOML does not: what stands before does not matter to it.
    line_alone = "\n" * (line - 1) + " ".join(text[start : end if end >= 0 else len(text)].splitlines())
    problem = Problem(Mark(printable(name), line, column), printable(message), hint)
    return ConfigurationError(excerpt(problem, {problem.mark.file: line_alone}))
