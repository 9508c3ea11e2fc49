"""What a v0 name is spelled with (RFC 2603): tags, numbers, identifiers and figures, read from left to right."""

from typing import Final

from engram_diagnose.collectors.parse.mangling.refusal import MalformedError

_DIGITS: Final = {digit: value for value, digit in enumerate(
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")}  # fmt: skip


class Cursor:
    """
    A place `at` in a mangled name.

    What reads a part moves on behind it, and raises `MalformedError` where the name has no such part there.
    """

    def __init__(self, text: str) -> None:
        self.at = 0
        self._text = text

    def peek(self) -> str:
        """The character here, without moving on; empty at the end."""
        return self._text[self.at : self.at + 1]

    def take(self) -> str:
        """The character here."""
        character = self.peek()
        if not character:
            raise MalformedError
        self.at += 1
        return character

    def eat(self, character: str) -> bool:
        """Whether this character is here; otherwise the place stays."""
        if self.peek() != character:
            return False
        self.at += 1
        return True

    def rest(self) -> str:
        """All that is left, without moving on."""
        return self._text[self.at :]

    # Numbers

    def base62(self) -> int:
        """`base62 := {digit} "_"`: nothing is 0, `0` is 1."""
        if self.eat("_"):
            return 0
        value = 0
        while not self.eat("_"):
            digit = _DIGITS.get(self.take())
            if digit is None or value > 1 << 64:
                raise MalformedError
            value = value * 62 + digit
        return value + 1

    def optional(self, tag: str) -> int:
        """A number behind `tag`, plus 1; 0 without it."""
        return self.base62() + 1 if self.eat(tag) else 0

    def earlier(self) -> int:
        """The place that a back reference names, whose tag was just taken; it is before the reference's own."""
        start = self.at - 1
        target = self.base62()
        if target >= start:
            raise MalformedError
        return target

    # Identifiers

    def identifier(self) -> tuple[str, int]:
        """`identifier := ["s" base62] plain`: the name, and the number that tells equal ones apart."""
        number = self.optional("s")
        return self.plain(), number

    def plain(self) -> str:
        """`plain := ["u"] length ["_"] bytes`, with `u` in Punycode, `_` for its `-`."""
        puny = self.eat("u")
        digits = ""
        while self.peek().isdigit() and digits != "0":
            digits += self.take()
        if not digits or len(digits) > 5:
            raise MalformedError
        self.eat("_")
        name = self._text[self.at : self.at + int(digits)]
        if len(name) < int(digits):
            raise MalformedError
        self.at += len(name)
        return _from_punycode(name) if puny else name

    # Figures of constants

    def hex(self) -> str:
        """`hex := {hexdigit} "_"`: its digits, of which there may be none."""
        digits = ""
        while not self.eat("_"):
            digit = self.take()
            if digit not in "0123456789abcdef":
                raise MalformedError
            digits += digit
        return digits

    def bit(self) -> str:
        """A figure that is 0 or 1: empty for 0, else `1`."""
        digits = self.hex().lstrip("0")
        if digits not in ("", "1"):
            raise MalformedError
        return digits


def _from_punycode(name: str) -> str:
    """RFC 3492, with `_` for its last `-`; a name that is none is shown as it is."""
    basic, bar, rest = name.rpartition("_")
    try:
        decoded = (
            f"{basic}-{rest}".encode("ascii").decode("punycode") if bar else name.encode("ascii").decode("punycode")
        )
    except (UnicodeError, ValueError, OverflowError):
        return f"punycode{{{name}}}"
    return decoded if decoded.isprintable() else f"punycode{{{name}}}"
