"""
Tokens of PromQL, and the error that every stage of reading it raises.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

TokenKind = Literal["identifier", "number", "duration", "string", "operator", "end"]

MAX_CHARACTERS: Final = 10_000
MAX_TOKENS: Final = 2_000
MAX_DURATION_MS: Final = 100 * 365 * 86_400_000


class PromqlError(ValueError):
    """
    An expression that cannot be read, or lies outside of the subset that is evaluated here.

    `position` counts characters from 0; `expected` says what would have been right there, and may
    be empty.
    """

    def __init__(self, message: str, *, position: int, expected: str = "") -> None:
        self.position = position
        self.expected = expected
        hint = f"; expected {expected}" if expected else ""
        super().__init__(f"character {position + 1}: {message}{hint}")


@dataclass(frozen=True, slots=True)
class Token:
    """`value` is the text of an identifier, operator or (unquoted) string, and the figure of the others as text."""

    kind: TokenKind
    value: str
    position: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.value)


_TOKEN: Final = re.compile(
    r"""
    (?P<blank>(?:[ \t\r\n]|\#[^\n]*)++)
  | (?P<duration>(?:\d+(?:ms|[smhdwy]))++(?![A-Za-z0-9_.]))
  | (?P<number>0[xX][0-9a-fA-F]++|(?:\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?)
  | (?P<identifier>[A-Za-z_:][A-Za-z0-9_:]*+)
  | (?P<string>"(?:[^"\\\n]|\\[^\n])*+"|'(?:[^'\\\n]|\\[^\n])*+'|`[^`]*+`)
  | (?P<operator>=~|!~|==|!=|<=|>=|[-+*/%^=<>(){}\[\],:@])
    """,
    re.VERBOSE | re.ASCII,
)

_KINDS: Final[dict[str, TokenKind]] = {
    "duration": "duration",
    "number": "number",
    "identifier": "identifier",
    "string": "string",
    "operator": "operator",
}


def tokens_of(text: str) -> list[Token]:
    """
    The tokens of an expression, the last one of kind `end`.

    Raises `PromqlError`, also for a text of more than `MAX_CHARACTERS` or `MAX_TOKENS`.
    """
    if len(text) > MAX_CHARACTERS:
        raise PromqlError(f"more than {MAX_CHARACTERS} characters", position=MAX_CHARACTERS)
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _unreadable(text, position)
        if match.lastgroup in _KINDS:
            tokens.append(_token(_KINDS[match.lastgroup], match.group(), position))
        if len(tokens) > MAX_TOKENS:
            raise PromqlError(f"more than {MAX_TOKENS} tokens", position=position)
        position = match.end()
    return [*tokens, Token("end", "", len(text))]


def _token(kind: TokenKind, text: str, position: int) -> Token:
    return Token(kind, _unquoted(text, position) if kind == "string" else text, position)


def _unreadable(text: str, position: int) -> PromqlError:
    if text[position] in "\"'`":
        return PromqlError("a string that does not end", position=position, expected=f"a closing {text[position]}")
    if text[position] == "$":
        return PromqlError("a placeholder", position=position, expected="$window, inside [ ]")
    return PromqlError(f"{text[position]!r} means nothing in PromQL", position=position)


_ESCAPE: Final = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.S | re.A)
_SIMPLE: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}


def _unquoted(text: str, position: int) -> str:
    quote, body = text[0], text[1:-1]
    if quote == "`" or "\\" not in body:
        return body
    return _ESCAPE.sub(lambda match: _character(match.group(), quote, position + 1 + match.start()), body)


def _character(escape: str, quote: str, position: int) -> str:
    """One escape as Go reads it; bytes above 127 are refused, since one alone is no character."""
    letter = escape[1]
    if letter in _SIMPLE and len(escape) == 2:
        return _SIMPLE[letter]
    if escape[1:] == quote:
        return quote
    code = _code(escape)
    if code is None:
        raise PromqlError(f"{escape} is no escape", position=position, expected="such as \\n, \\\\ or \\u00e9")
    return chr(code)


def _code(escape: str) -> int | None:
    if len(escape) == 2:
        return None
    digits, base, limit = (escape[1:], 8, 0x7F) if escape[1].isdigit() else (escape[2:], 16, 0x10FFFF)
    code = int(digits, base)
    limit = 0x7F if escape[1] == "x" else limit
    return code if code <= limit and not 0xD800 <= code <= 0xDFFF else None


_DURATION: Final = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.A)
_MILLISECONDS: Final = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)


def milliseconds(token: Token) -> int:
    """
    `duration := [<n>y][<n>w][<n>d][<n>h][<n>m][<n>s][<n>ms] | seconds`, such as `5m`, `1h30m`,
    `90`.

    Raises `PromqlError` for a duration of nothing, one out of order, or one over 100 years.
    """
    total = _milliseconds(token.value) if len(token.value) < 60 else None
    if total is None or not 0 <= total <= MAX_DURATION_MS:
        raise PromqlError(f"{token} is not a duration", position=token.position, expected="such as 5m or 1h30m")
    return total


def _milliseconds(text: str) -> int | None:
    match = _DURATION.fullmatch(text)
    if match is not None:
        pairs = zip(match.groups(), _MILLISECONDS, strict=True)
        return sum(int(count) * scale for count, scale in pairs if count)
    seconds = float(text) if text[:2].lower() != "0x" and text[-1:].isdigit() else -1.0
    return round(seconds * 1000) if seconds < 1e12 else None


def format_duration(seconds: float) -> str:
    """Seconds as PromQL writes a duration: `5m`, `1h30m`, `1500ms`; at least one millisecond."""
    rest = max(1, round(seconds * 1000))
    if rest % 1000:
        return f"{rest}ms"
    parts = []
    for scale, suffix in ((3_600_000, "h"), (60_000, "m"), (1_000, "s")):
        count, rest = divmod(rest, scale)
        parts.append(f"{count}{suffix}" if count else "")
    return "".join(parts)
