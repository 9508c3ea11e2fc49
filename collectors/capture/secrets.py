"""Keeping secrets out of what is captured: a bundle is mailed around."""

from __future__ import annotations

import re

MASK = "***"

_KINDS = "api|private|public|auth|access|account|signing|encryption|secret|master|hmac"
_WORDS = (
    r"(?:pass(?:word|wd|phrase)|(?<![a-z])pass(?![a-z])|pwd|secret|token(?!i[sz])|credential|bearer|jwt|hmac"
    rf"|(?:{_KINDS})[_-]?key|[_-]keys?(?![\w-]))"
)
_PLACES = r"(?<![\w-])(?:auth|authentication|authorization|security|credentials?)(?![\w-])"
_ASSIGNED = re.compile(
    # Bounded repeats: unbounded ones take quadratic time on a line of one letter.
    rf"""(?:^|[{{,])[ \t#]{{0,80}}[\w.\-"']{{0,80}}(?:{_WORDS}[\w.\-"']{{0,80}}"""
    rf"""[ \t]{{0,80}}=|{_PLACES}(?:["']?\.[\w.\-"']{{0,80}}[ \t]{{0,80}}=|["']?[ \t]{{0,80}}=(?=[ \t]*\{{)))[ \t]*""",
    re.IGNORECASE | re.MULTILINE,
)
_SECTION = re.compile(
    rf"^[ \t]*\[{{1,2}}[^\]\n]{{0,80}}(?:{_WORDS}|{_PLACES})[^\]\n]{{0,80}}\]+[^\n]*\n(?:(?![ \t]*\[)[^\n]*\n)*",
    re.IGNORECASE | re.MULTILINE,
)
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""' + r"|'''.*?'''" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'",
    re.DOTALL,
)
_COMMENT_OR_STRING = re.compile(rf"#[^\n]*|{_STRING.pattern}", re.DOTALL)
_PAIR = re.compile(
    rf"""((?:{_WORDS}|(?<![a-z])(?:sig|signature|key))[\w.\-]{{0,40}}=)"""
    r"""(?:'[^'\n\0]*'|(?:\\[^\n\0]|[^\s&;,"'\\\0])+)""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\bbearer[ \t]+)[\w.~+/=-]{8,}", re.IGNORECASE)
_READABLE = re.compile(r"mode[\"']?[ \t]*=?[ \t]*\Z", re.IGNORECASE)
"""Which way of proving who one is, is no proof; diagnoses read it."""
_FIGURES_TOO = re.compile(
    rf"(?:pass(?:word|wd|phrase)|(?<![a-z])pass|pwd|secret|(?:{_KINDS})[_-]?key"
    r"|(?:api|access|auth|bearer)[_-]?token|(?<![\w-])token)[\"']?[ \t]*=?[ \t]*\Z",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"[-+]?\d[\w.:+-]*")
_HARMLESS = re.compile(r"\s*(?:(?:true|false|[-+]?\d[\d_.:TZ+-]*)[ \t,}\]]*(?:#|\n|\Z)|[\[\]{},#]|\Z)")
_ARGUMENT = re.compile(rf"(--?[\w-]{{0,80}}{_WORDS}[\w-]{{0,80}})([=\0])[^\0]*", re.IGNORECASE)
_USERINFO = re.compile(r"(://)[^/\s\0\"']+@")
_ASSIGNED_IN_TEXT = re.compile(
    # A label's value begins with a quote, which is not taken for a secret's: `token="x"` names a series.
    rf"((?<![\w{{,]){_WORDS}[\w.\-]{{0,40}}=)(?![\"'~\\])[^\s&;,\"'\\\0]+",
    re.IGNORECASE,
)


def mask_arguments(text: str) -> str:
    r"""
    A command line (arguments end with `\0`) without the values of secret options and without
    user:password@.
    """
    return _mask_inside(_ARGUMENT.sub(rf"\1\2{MASK}", text))


def mask_toml(text: str) -> str:
    """
    A configuration with the strings of secret-looking keys and sections masked, and `password=…` within any string.

    Figures are masked only where the key can hold nothing but a secret; keys that end in `mode` stay readable.

    It stays as good TOML as it was, and every line keeps its number.
    """
    ended = text if text.endswith("\n") else text + "\n"
    masked = _SECTION.sub(lambda found: _mask_section(found.group()), ended)
    text = masked[: len(masked) - len(ended) + len(text)]
    text = _COMMENT_OR_STRING.sub(_inside_token, text)
    return _USERINFO.sub(rf"\1{MASK}@", _mask_assigned(text))


def _inside_token(found: re.Match[str]) -> str:
    """A comment or a string; its quotes stay outside, so that no mask takes them away."""
    text = found.group()
    size = 0 if text[0] == "#" else 3 if len(text) > 5 and text[:3] in ('"""', "'''") else 1
    return text[:size] + _mask_inside(text[size : len(text) - size]) + text[len(text) - size :]


def _mask_inside(text: str) -> str:
    """Addresses and connection strings without what they let in with."""
    text = _PAIR.sub(rf"\1{MASK}", text)
    return _USERINFO.sub(rf"\1{MASK}@", _BEARER.sub(rf"\1{MASK}", text))


def _mask_section(section: str) -> str:
    head, newline, body = section.partition("\n")
    return head + newline + "".join(_mask_line(line) for line in body.splitlines(keepends=True))


def _mask_line(line: str) -> str:
    key, equals, value = line.partition("=")
    return key + equals + _mask_value_of(key, value) if equals else _mask_value(line)


def _mask_value_of(key: str, value: str) -> str:
    """The value as its key demands; a masked figure becomes a string, so that it stays TOML."""
    if _READABLE.search(key):
        return value
    if _FIGURES_TOO.search(key) and _FIGURE.match(value.lstrip()):
        return _FIGURE.sub(f'"{MASK}"', value, count=1)
    return _mask_value(value)


def _mask_assigned(text: str) -> str:
    pieces = []
    end = 0
    for found in _ASSIGNED.finditer(text):
        if found.start() < end:
            continue
        comment = "#" in found.group()
        stop = _line_end(text, found.end()) if comment else _value_end(text, found.end())
        pieces += [text[end : found.end()], _mask_value_of(found.group(), text[found.end() : stop])]
        end = stop
    return "".join([*pieces, text[end:]])


def _mask_value(value: str) -> str:
    """
    The value with its strings masked; a bare word, which is not TOML anyway, is masked as a
    whole.
    """
    masked = _STRING.sub(_masked, value)
    bare = masked == value and not _HARMLESS.match(value)
    return re.sub(r"[^\s#\"']+", MASK, value, count=1) if bare else masked


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


def mask_said(text: str) -> str:
    """
    What a server said, without user:password@ in its addresses, `Bearer …` and `password=…` in its texts.

    What stands between quotes keeps its quotes, so JSON stays JSON. Most answers hold none of it and are only looked
    through for the signs that every such place has.
    """
    if "://" in text and "@" in text:
        text = _USERINFO.sub(rf"\1{MASK}@", text)
    if "earer" in text or "EARER" in text:
        text = _BEARER.sub(rf"\1{MASK}", text)
    return _ASSIGNED_IN_TEXT.sub(rf"\1{MASK}", text) if "=" in text else text
