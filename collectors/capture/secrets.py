"""Keeping secrets out of what is captured: a bundle is mailed around."""

from __future__ import annotations

import re

MASK = "***"

_WORDS = r"(?:password|passwd|secret|token|api_?-?key|private_?-?key|credential|auth_?-?key)"
_ASSIGNED = re.compile(
    # Bounded repeats: unbounded ones take quadratic time on a line of one letter.
    rf"""(?:^|[{{,])[ \t#]{{0,80}}[\w.\-"']{{0,80}}{_WORDS}[\w.\-"']{{0,80}}[ \t]{{0,80}}=[ \t]*""",
    re.IGNORECASE | re.MULTILINE,
)
_SECTION = re.compile(
    rf"^[ \t]*\[+[^\]\n]{{0,80}}{_WORDS}[^\]\n]{{0,80}}\]+[^\n]*\n(?:(?![ \t]*\[)[^\n]*\n)*",
    re.IGNORECASE | re.MULTILINE,
)
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""' + r"|'''.*?'''" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'",
    re.DOTALL,
)
_HARMLESS = re.compile(r"\s*(?:(?:true|false|[-+]?\d[\d_.]*)[ \t,}\]]*(?:#|\n|\Z)|[\[\]{},#]|\Z)")
_ARGUMENT = re.compile(rf"(--?[\w-]{{0,80}}{_WORDS}[\w-]{{0,80}})([=\0])[^\0]*", re.IGNORECASE)
_USERINFO = re.compile(r"(://)[^/@\s\0\"']+@")


def mask_arguments(text: str) -> str:
    r"""
    A command line (arguments end with `\0`) without the values of secret options and without
    user:password@.
    """
    return _USERINFO.sub(rf"\1{MASK}@", _ARGUMENT.sub(rf"\1\2{MASK}", text))


def mask_toml(text: str) -> str:
    """
    A configuration with the strings of secret-looking keys and sections masked.

    It stays as good TOML as it was, and every line keeps its number.
    """
    ended = text if text.endswith("\n") else text + "\n"
    masked = _SECTION.sub(lambda found: _mask_section(found.group()), ended)
    text = masked[: len(masked) - len(ended) + len(text)]
    return _USERINFO.sub(rf"\1{MASK}@", _mask_assigned(text))


def _mask_section(section: str) -> str:
    head, newline, body = section.partition("\n")
    return head + newline + "".join(_mask_line(line) for line in body.splitlines(keepends=True))


def _mask_line(line: str) -> str:
    key, equals, value = line.partition("=")
    return key + equals + _mask_value(value) if equals else _mask_value(line)


def _mask_assigned(text: str) -> str:
    pieces = []
    end = 0
    for found in _ASSIGNED.finditer(text):
        if found.start() < end:
            continue
        comment = "#" in found.group()
        stop = _line_end(text, found.end()) if comment else _value_end(text, found.end())
        pieces += [text[end : found.end()], _mask_value(text[found.end() : stop])]
        end = stop
    return "".join([*pieces, text[end:]])


def _mask_value(value: str) -> str:
    """
    The value with its strings masked; a bare word, which is not TOML anyway, is masked as a
    whole.
    """
    masked = _STRING.sub(_masked, value)
    bare = masked == value and not _HARMLESS.match(value)
    return re.sub(r"[^\s#]+", MASK, value, count=1) if bare else masked


def _line_end(text: str, start: int) -> int:
    stop = text.find("\n", start)
    return len(text) if stop < 0 else stop


def _value_end(text: str, start: int) -> int:
    """
    Where the value that begins at `start` ends: at the end of its line or of the brackets around
    it, strings and brackets of its own aside.
    """
    depth = 0
    at = start
    while at < len(text):
        string = _STRING.match(text, at)
        if string:
            at = string.end()
            continue
        depth += (text[at] in "[{") - (text[at] in "]}")
        if depth < 0 or (text[at] == "\n" and depth == 0):
            return at
        at += 1
    return at


def _masked(found: re.Match[str]) -> str:
    """The same kind of quotes and as many lines, without the content."""
    text = found.group()
    quotes = text[:3] if text[:3] in ('"""', "'''") else text[0]
    return quotes + MASK + "\n" * text.count("\n") + quotes
