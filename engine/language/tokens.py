"""
Text into tokens: quantities with their units, texts, `$parameters`, names with windows, and operators.
"""

import re
from typing import Final, NamedTuple

from engram_diagnose.engine.facts.unit import UNITS

MAX_TOKENS: Final = 256

COMPARISONS: Final = (">", ">=", "<", "<=", "==", "!=")
WORDS: Final = ("between", "and", "in", "contains", "for")
"""Names that are part of the grammar."""

_UNIT: Final = "|".join(re.escape(u) for u in sorted(UNITS, key=len, reverse=True) if u and u[0] != "/")
_NAME: Final = r"[A-Za-z_]\w*(?:\.\w+(?:-\w+)*)*(?:@\w+)?"
_TOKEN: Final = re.compile(
    rf"""
      (?P<number>(?:[0-9]+(?:_[0-9]+)*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?
         (?:(?:/(?:s|min|h)(?![\w.]))|(?:\s*(?:{_UNIT})(?![\w.]))|(?:\s*%))?)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<parameter>\$[A-Za-z_]\w*)
    | (?P<name>{_NAME})
    | (?P<operator>>=|<=|==|!=|[-+*/(),><\[\]{{}}=])
    | (?P<space>\s+)
    """,
    re.VERBOSE,
)
_HINTS: Final = {
    "&": "use `all:` and `any:`",
    "|": "use `any:`",
    "!": "use `not:` or `!=`",
    "≥": "write >=",
    "≤": "write <=",
    '"': "the text does not end",
    "'": "the text does not end",
    "$": "a parameter is $name",
}

is_name: Final = re.compile(_NAME).fullmatch
"""Whether a text is a name and nothing else."""


class ExpressionError(ValueError):
    """What is wrong in an expression, at `start`..`end` of its text, and a hint."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.start, self.end, self.hint = start, max(end, start + 1), hint


class Token(NamedTuple):
    """One token; `kind` is the group that matched, or `end` behind the last."""

    kind: str
    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """The tokens of an expression and an `end`; raises `ExpressionError` at a character that starts none."""
    tokens: list[Token] = []
    position = 0
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        if start != position or len(tokens) >= MAX_TOKENS:
            break
        position, kind = end, match.lastgroup or ""
        if kind != "space":
            tokens.append(Token(kind, match.group(), start, end))
    if len(tokens) >= MAX_TOKENS:
        raise ExpressionError(f"more than {MAX_TOKENS} tokens", position, position + 1, "split it with `let:`")
    if position < len(text):
        hint = _HINTS.get(text[position], "")
        raise ExpressionError(f"{text[position]!r} does not belong here", position, position + 1, hint)
    tokens.append(Token("end", "", position, position))
    return tokens
