"""The legacy scheme: pieces behind their lengths, as Itanium's ABI has them, and a hash as the last of them."""

import re
from typing import Final

from engram_diagnose.collectors.parse.mangling.refusal import MalformedError, character

_HASH: Final = re.compile(r"h[0-9a-f]{16}")
_PIECE: Final = re.compile(r"([0-9]{1,5})")
_SUFFIX: Final = re.compile(r"(?:\.[A-Za-z0-9_.$@]*)?")
_ESCAPES: Final = {
    "SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ",",
}  # fmt: skip
_ESCAPE: Final = re.compile(r"\$(?:(SP|BP|RF|LT|GT|LP|RP|C)|u([0-9a-f]{1,6}))\$|\.\.")


def source_name(text: str) -> str:
    """
    The source's name, without its hash, of what follows `_ZN`; raises `MalformedError`.

    `legacy := {length name} "17h" hash16 "E" [suffix]`: without the hash it is a name of C++.
    """
    pieces, at = [], 0
    while (found := _PIECE.match(text, at)) is not None:
        start = found.end()
        at = start + int(found.group(1))
        if at > len(text):
            raise MalformedError
        pieces.append(text[start:at])
    suffix = text[at + 1 :]
    if text[at : at + 1] != "E" or not _SUFFIX.fullmatch(suffix) or len(pieces) < 2 or not _HASH.fullmatch(pieces[-1]):
        raise MalformedError
    return "::".join(_unescaped(piece) for piece in pieces[:-1]) + suffix


def _unescaped(piece: str) -> str:
    """`$LT$` is `<`, `$u7b$` is `{`, `..` is `::`; a piece that begins with an escape has `_` before it."""
    return _ESCAPE.sub(_escaped, piece[1:] if piece.startswith("_$") else piece)


def _escaped(found: re.Match[str]) -> str:
    word, code = found.groups()
    if word:
        return _ESCAPES[word]
    return character(int(code, 16)) if code else "::"
