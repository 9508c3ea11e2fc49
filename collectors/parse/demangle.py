"""
Mangled names of Rust into the names of the source: the legacy scheme and v0 (RFC 2603).

Names come from whatever was running, so they are hostile until shown otherwise: what is no whole mangled name, nests
too deep or would grow too long is given back as it is. Hashes are left out. C++ names stay as they are.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

_MOST_CHARACTERS: Final = 4096
_MOST_STEPS: Final = 20_000
"""Back references let a short name stand for an exponentially long one; a long honest name takes some 2,000."""
_DEEPEST: Final = 120

_PREFIX: Final = re.compile(r"(?:__?)?(?:R(?=[A-Z0-9])|ZN(?=[0-9]))")
_LLVM: Final = re.compile(r"\.llvm\.[0-9A-F@]*$")
_HASH: Final = re.compile(r"h[0-9a-f]{16}")
_PIECE: Final = re.compile(r"([0-9]{1,5})")
_SUFFIX: Final = re.compile(r"(?:\.[A-Za-z0-9_.$@]*)?")
_VENDOR: Final = re.compile(r"(?:[.$][A-Za-z0-9_.$@]*)?")
_ESCAPES: Final = {
    "SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ",",
}  # fmt: skip
_ESCAPE: Final = re.compile(r"\$(?:(SP|BP|RF|LT|GT|LP|RP|C)|u([0-9a-f]{1,6}))\$|\.\.")


class _MalformedError(ValueError):
    """No mangled name, or one that is refused."""


@lru_cache(maxsize=16_384)
def demangle(name: str) -> str:
    """
    The source's name of a symbol; any string that is no mangled name of Rust is given back.

    `_RNvNtCs81nRMqtTsfS_3hot10activation13cosine` is `hot::activation::cosine`, and so is
    `_ZN3hot10activation6cosine17h0123456789abcdefE`.
    """
    prefix = _PREFIX.match(name)
    if prefix is None or len(name) > _MOST_CHARACTERS or not name.isascii():
        return name
    body = _LLVM.sub("", name[prefix.end() :])
    try:
        found = _legacy(body) if prefix.group().endswith("ZN") else _V0(body).symbol()
    except (_MalformedError, RecursionError):
        return name
    return found if found.isprintable() else name


def _legacy(text: str) -> str:
    """`legacy := {length name} "17h" hash16 "E" [suffix]`: without the hash it is a name of C++."""
    pieces, at = [], 0
    while (found := _PIECE.match(text, at)) is not None:
        start = found.end()
        at = start + int(found.group(1))
        if at > len(text):
            raise _MalformedError
        pieces.append(text[start:at])
    suffix = text[at + 1 :]
    if text[at : at + 1] != "E" or not _SUFFIX.fullmatch(suffix) or len(pieces) < 2 or not _HASH.fullmatch(pieces[-1]):
        raise _MalformedError
    return "::".join(_unescaped(piece) for piece in pieces[:-1]) + suffix


def _unescaped(piece: str) -> str:
    """`$LT$` is `<`, `$u7b$` is `{`, `..` is `::`; a piece that begins with an escape has `_` before it."""
    return _ESCAPE.sub(_escaped, piece[1:] if piece.startswith("_$") else piece)


def _escaped(found: re.Match[str]) -> str:
    word, code = found.groups()
    if word:
        return _ESCAPES[word]
    if not code:
        return "::"
    number = int(code, 16)
    if not 0x20 <= number < 0x110000 or 0xD800 <= number < 0xE000:
        raise _MalformedError
    return chr(number)


_BASIC: Final = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8", "i": "isize", "j": "usize",
    "l": "i32", "m": "u32", "n": "i128", "o": "u128", "p": "_", "s": "i16", "t": "u16", "u": "()", "v": "...",
    "x": "i64", "y": "u64", "z": "!",
}  # fmt: skip
_SIGNED: Final = "ailnsx"
_WHOLE: Final = _SIGNED + "hjmoty"
_DIGITS: Final = {digit: value for value, digit in enumerate(
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")}  # fmt: skip


class _V0:
    """
    One v0 name, read from left to right.

    Its methods carry the grammar. Each reads its part and writes what it means; `_silent` says that nothing is to be
    written, as for the place where an `impl` stands.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._out: list[str] = []
        self._length = 0
        self._steps = 0
        self._depth = 0
        self._silent = 0
        self._lifetimes = 0

    def symbol(self) -> str:
        """`symbol := [decimal] path [instantiating-path] [suffix]`"""
        if self._peek().isdigit():  # a version of the encoding that is not known
            raise _MalformedError
        self._path(in_value=True)
        if self._peek().isupper():
            self._silently(lambda: self._path(in_value=False))
        suffix = self._text[self._at :]
        if not _VENDOR.fullmatch(suffix):
            raise _MalformedError
        return "".join(self._out) + suffix

    # Reading

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise _MalformedError
        self._at += 1
        return character

    def _eat(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._at += 1
        return True

    def _base62(self) -> int:
        """`base62 := {digit} "_"`: nothing is 0, `0` is 1."""
        if self._eat("_"):
            return 0
        value = 0
        while not self._eat("_"):
            digit = _DIGITS.get(self._next())
            if digit is None or value > 1 << 64:
                raise _MalformedError
            value = value * 62 + digit
        return value + 1

    def _optional(self, tag: str) -> int:
        """A number behind `tag`, plus 1; 0 without it."""
        return self._base62() + 1 if self._eat(tag) else 0

    def _identifier(self) -> tuple[str, int]:
        """`identifier := ["s" base62] plain`: the name, and the number that tells equal ones apart."""
        return self._disambiguated()

    def _disambiguated(self) -> tuple[str, int]:
        number = self._optional("s")
        return self._plain(), number

    def _plain(self) -> str:
        """`plain := ["u"] length ["_"] bytes`, with `u` in Punycode, `_` for its `-`."""
        puny = self._eat("u")
        digits = ""
        while self._peek().isdigit() and digits != "0":
            digits += self._next()
        if not digits or len(digits) > 5:
            raise _MalformedError
        self._eat("_")
        name = self._text[self._at : self._at + int(digits)]
        if len(name) < int(digits):
            raise _MalformedError
        self._at += len(name)
        return _from_punycode(name) if puny else name

    # Writing

    def _put(self, text: str) -> None:
        if self._silent:
            return
        self._length += len(text)
        if self._length > _MOST_CHARACTERS:
            raise _MalformedError
        self._out.append(text)

    def _silently(self, part: Callable[[], None]) -> None:
        self._silent += 1
        part()
        self._silent -= 1

    def _deeper(self, part: Callable[[], None]) -> None:
        self._steps += 1
        self._depth += 1
        if self._depth > _DEEPEST or self._steps > _MOST_STEPS:
            raise _MalformedError
        part()
        self._depth -= 1

    def _separated(self, part: Callable[[], None], separator: str = ", ") -> int:
        """`{part} "E"`; how many there were."""
        count = 0
        while not self._eat("E"):
            self._put(separator if count else "")
            part()
            count += 1
        return count

    def _back(self, part: Callable[[], None]) -> None:
        """`B base62`: what stands at an earlier place. Where nothing is written, it need not be read again."""
        start = self._at - 1
        target = self._base62()
        if target >= start:
            raise _MalformedError
        if self._silent:
            return
        self._at, after = target, self._at
        self._deeper(part)
        self._at = after

    # Paths

    def _path(self, *, in_value: bool) -> None:
        """`path := C crate | M impl type | X impl type path | Y type path | N nested | I path {argument} E | back`"""
        self._deeper(lambda: self._path_of(self._next(), in_value))

    def _path_of(self, tag: str, in_value: bool) -> None:
        if tag == "C":
            self._put(self._identifier()[0])
        elif tag == "N":
            self._nested(in_value)
        elif tag in ("M", "X", "Y"):
            self._qualified(tag)
        elif tag == "I":
            self._path(in_value=in_value)
            self._put("::<" if in_value else "<")
            self._separated(self._argument)
            self._put(">")
        elif tag == "B":
            self._back(lambda: self._path(in_value=in_value))
        else:
            raise _MalformedError

    def _nested(self, in_value: bool) -> None:
        """`nested := namespace path identifier`: a capital namespace is what the compiler made, as a closure."""
        namespace = self._next()
        if not namespace.isalpha():
            raise _MalformedError
        self._path(in_value=in_value)
        name, number = self._identifier()
        if namespace.islower():
            self._put(f"::{name}" if name else "")
            return
        kind = {"C": "closure", "S": "shim"}.get(namespace, namespace)
        self._put(f"::{{{kind}{':' if name else ''}{name}#{number}}}")

    def _qualified(self, tag: str) -> None:
        """`M impl type` is `<type>`, `X impl type path` and `Y type path` are `<type as path>`."""
        if tag != "Y":
            self._optional("s")
            self._silently(lambda: self._path(in_value=False))
        self._put("<")
        self._type()
        if tag != "M":
            self._put(" as ")
            self._path(in_value=False)
        self._put(">")

    def _argument(self) -> None:
        """`argument := L lifetime | K const | type`"""
        if self._eat("L"):
            self._lifetime(self._base62())
        elif self._eat("K"):
            self._const(in_value=False)
        else:
            self._type()

    def _lifetime(self, index: int) -> None:
        """Of the binders around it, counted from the innermost; 0 is erased."""
        if index == 0:
            self._put("'_")
            return
        depth = self._lifetimes - index
        if depth < 0:
            raise _MalformedError
        self._put(f"'{chr(ord('a') + depth)}" if depth < 26 else f"'_{depth}")

    def _bound(self, part: Callable[[], None]) -> None:
        """`[G base62] part`: with `for<'a, …>` before it."""
        count = self._optional("G")
        if count > _DEEPEST:
            raise _MalformedError
        outer = self._lifetimes
        if count:
            self._put("for<")
            for index in range(count):
                self._put(", " if index else "")
                self._lifetimes += 1
                self._lifetime(1)
            self._put("> ")
        part()
        self._lifetimes = outer

    # Types

    def _type(self) -> None:
        """`type := basic | path | A type const | S type | T {type} E | R Q P O type | F signature | D bounds | back`"""
        self._deeper(lambda: self._type_of(self._next()))

    def _type_of(self, tag: str) -> None:
        if tag in _BASIC:
            self._put(_BASIC[tag])
        elif tag in "RQ":
            self._reference("mut " if tag == "Q" else "")
        elif tag in "PO":
            self._put("*const " if tag == "P" else "*mut ")
            self._type()
        elif tag in "AS":
            self._list(tag)
        elif tag == "T":
            self._put("(")
            self._put(",)" if self._separated(self._type) == 1 else ")")
        elif tag == "F":
            self._bound(self._signature)
        elif tag == "D":
            self._dynamic()
        elif tag == "B":
            self._back(self._type)
        else:
            self._at -= 1
            self._path(in_value=False)

    def _reference(self, mutable: str) -> None:
        self._put("&")
        if self._eat("L"):
            index = self._base62()
            if index:
                self._lifetime(index)
                self._put(" ")
        self._put(mutable)
        self._type()

    def _list(self, tag: str) -> None:
        self._put("[")
        self._type()
        if tag == "A":
            self._put("; ")
            self._const(in_value=True)
        self._put("]")

    def _signature(self) -> None:
        """`signature := ["U"] ["K" abi] {type} "E" type`: unsafe, of another language's calls, arguments, result."""
        self._put("unsafe " if self._eat("U") else "")
        if self._eat("K"):
            abi = "C" if self._eat("C") else self._plain().replace("_", "-")
            self._put(f'extern "{abi}" ')
        self._put("fn(")
        self._separated(self._type)
        self._put(")")
        if not self._eat("u"):
            self._put(" -> ")
            self._type()

    def _dynamic(self) -> None:
        """`bounds := [binder] {trait} "E" "L" lifetime`"""
        self._put("dyn ")
        self._bound(lambda: self._count(self._separated(self._trait, " + ")))
        if not self._eat("L"):
            raise _MalformedError
        index = self._base62()
        if index:
            self._put(" + ")
            self._lifetime(index)

    @staticmethod
    def _count(_: int) -> None:
        """For a part of which the number does not matter."""

    def _trait(self) -> None:
        """`trait := path {"p" plain type}`: what it is bound to stands among its arguments."""
        is_open = self._open_path()
        while self._eat("p"):
            self._put(", " if is_open else "<")
            is_open = True
            self._put(f"{self._plain()} = ")
            self._type()
        self._put(">" if is_open else "")

    def _open_path(self) -> bool:
        """A path whose arguments are not closed yet; whether there are any."""
        result = False

        def part() -> None:
            nonlocal result
            if self._eat("B"):

                def earlier() -> None:
                    nonlocal result
                    result = self._open_path()

                self._back(earlier)
            elif self._eat("I"):
                self._path(in_value=False)
                self._put("<")
                self._separated(self._argument)
                result = True
            else:
                self._path(in_value=False)

        self._deeper(part)
        return result

    # Constants

    def _const(self, *, in_value: bool) -> None:
        """`const := type-tag ["n"] {hex} "_" | "p" | R e {hex} "_" | A T {const} E | back`"""
        self._deeper(lambda: self._const_of(self._next(), in_value))

    def _const_of(self, tag: str, in_value: bool) -> None:
        if tag == "p":
            self._put("_")
        elif tag == "B":
            self._back(lambda: self._const(in_value=in_value))
        elif tag in _WHOLE:
            self._put("-" if tag in _SIGNED and self._eat("n") else "")
            self._put(_figure(self._hex()))
        elif tag == "b":
            self._put({"": "false", "1": "true"}[self._bit()])
        elif tag == "c":
            self._put(_character(self._hex()))
        else:
            self._compound(tag, in_value)

    def _compound(self, tag: str, in_value: bool) -> None:
        if not in_value and tag != "R":
            self._put("{")
        if tag in "RQ":
            self._referred(tag)
        elif tag in "AT":
            self._put("[("["AT".index(tag)])
            count = self._separated(lambda: self._const(in_value=True))
            self._put("]" if tag == "A" else ",)" if count == 1 else ")")
        else:
            raise _MalformedError
        if not in_value and tag != "R":
            self._put("}")

    def _referred(self, tag: str) -> None:
        if tag == "R" and self._eat("e"):
            self._put(_text_of(self._hex()))
            return
        self._put("&" if tag == "R" else "&mut ")
        self._const(in_value=True)

    def _hex(self) -> str:
        digits = ""
        while not self._eat("_"):
            digit = self._next()
            if digit not in "0123456789abcdef":
                raise _MalformedError
            digits += digit
        return digits

    def _bit(self) -> str:
        digits = self._hex().lstrip("0")
        if digits not in ("", "1"):
            raise _MalformedError
        return digits


def _figure(digits: str) -> str:
    return str(int(digits or "0", 16)) if len(digits) <= 16 else f"0x{digits}"


def _character(digits: str) -> str:
    number = int(digits or "0", 16) if len(digits) <= 6 else -1
    if not 0x20 <= number < 0x110000 or 0xD800 <= number < 0xE000:
        raise _MalformedError
    return f"'{chr(number)}'"


def _text_of(digits: str) -> str:
    try:
        return '"' + bytes.fromhex(digits).decode("utf-8") + '"'
    except ValueError:
        raise _MalformedError from None


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
