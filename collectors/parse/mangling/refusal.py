"""What is refused in a mangled name, by whichever scheme: it is hostile until shown otherwise."""

from typing import Final

MOST_CHARACTERS: Final = 4096
"""Of a mangled name, and of what is made of it."""


class MalformedError(ValueError):
    """No mangled name, or one that is refused."""


def character(number: int) -> str:
    """The character of this code point; a control character of ASCII, half a surrogate pair or none is refused."""
    if not 0x20 <= number < 0x110000 or 0xD800 <= number < 0xE000:
        raise MalformedError
    return chr(number)
