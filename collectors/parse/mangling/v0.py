"""
The v0 scheme of RFC 2603: the grammar of its names, and what each part of one means in the source.

What a name is spelled with is read by `mangling.cursor`.
"""

import re
from collections.abc import Callable
from typing import Final

from engram_diagnose.collectors.parse.mangling.cursor import Cursor
from engram_diagnose.collectors.parse.mangling.refusal import MOST_CHARACTERS, MalformedError, character

_MOST_STEPS: Final = 20_000
"""Back references let a short name stand for an exponentially long one; a long honest name takes some 2,000."""
_DEEPEST: Final = 120

_VENDOR: Final = re.compile(r"(?:[.$][A-Za-z0-9_.$@]*)?")
_BASIC: Final = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8", "i": "isize", "j": "usize",
    "l": "i32", "m": "u32", "n": "i128", "o": "u128", "p": "_", "s": "i16", "t": "u16", "u": "()", "v": "...",
    "x": "i64", "y": "u64", "z": "!",
}  # fmt: skip
_SIGNED: Final = "ailnsx"
_WHOLE: Final = _SIGNED + "hjmoty"


def source_name(text: str) -> str:
    """The source's name of what follows `_R`; raises `MalformedError`, and `RecursionError` on a stack nearly full."""
    return _Name(text).symbol()


class _Name:
    """
    One name, read from left to right.

    Its methods carry the grammar. Each reads its part and writes what it means; `_silent` says that nothing is to be
    written, as for the place where an `impl` stands.
    """

    def __init__(self, text: str) -> None:
        self._mangled = Cursor(text)
        self._out: list[str] = []
        self._length = 0
        self._steps = 0
        self._depth = 0
        self._silent = 0
        self._lifetimes = 0

    def symbol(self) -> str:
        """`symbol := [decimal] path [instantiating-path] [suffix]`"""
        if self._mangled.peek().isdigit():  # a version of the encoding that is not known
            raise MalformedError
        self._path(in_value=True)
        if self._mangled.peek().isupper():
            self._silently(lambda: self._path(in_value=False))
        suffix = self._mangled.rest()
        if not _VENDOR.fullmatch(suffix):
            raise MalformedError
        return "".join(self._out) + suffix

    # Writing

    def _put(self, text: str) -> None:
        if self._silent:
            return
        self._length += len(text)
        if self._length > MOST_CHARACTERS:
            raise MalformedError
        self._out.append(text)

    def _silently(self, part: Callable[[], None]) -> None:
        self._silent += 1
        part()
        self._silent -= 1

    def _deeper(self, part: Callable[[], None]) -> None:
        self._steps += 1
        self._depth += 1
        if self._depth > _DEEPEST or self._steps > _MOST_STEPS:
            raise MalformedError
        part()
        self._depth -= 1

    def _separated(self, part: Callable[[], None], separator: str = ", ") -> int:
        """`{part} "E"`; how many there were."""
        count = 0
        while not self._mangled.eat("E"):
            self._put(separator if count else "")
            part()
            count += 1
        return count

    def _back(self, part: Callable[[], None]) -> None:
        """`B base62`: what stands at an earlier place. Where nothing is written, it need not be read again."""
        target = self._mangled.earlier()
        if self._silent:
            return
        after, self._mangled.at = self._mangled.at, target
        self._deeper(part)
        self._mangled.at = after

    # Paths

    def _path(self, *, in_value: bool) -> None:
        """`path := C crate | M impl type | X impl type path | Y type path | N nested | I path {argument} E | back`"""
        self._deeper(lambda: self._path_of(self._mangled.take(), in_value))

    def _path_of(self, tag: str, in_value: bool) -> None:
        if tag == "C":
            self._put(self._mangled.identifier()[0])
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
            raise MalformedError

    def _nested(self, in_value: bool) -> None:
        """`nested := namespace path identifier`: a capital namespace is what the compiler made, as a closure."""
        namespace = self._mangled.take()
        if not namespace.isalpha():
            raise MalformedError
        self._path(in_value=in_value)
        name, number = self._mangled.identifier()
        if namespace.islower():
            self._put(f"::{name}" if name else "")
            return
        kind = {"C": "closure", "S": "shim"}.get(namespace, namespace)
        self._put(f"::{{{kind}{':' if name else ''}{name}#{number}}}")

    def _qualified(self, tag: str) -> None:
        """`M impl type` is `<type>`, `X impl type path` and `Y type path` are `<type as path>`."""
        if tag != "Y":
            self._mangled.optional("s")
            self._silently(lambda: self._path(in_value=False))
        self._put("<")
        self._type()
        if tag != "M":
            self._put(" as ")
            self._path(in_value=False)
        self._put(">")

    def _argument(self) -> None:
        """`argument := L lifetime | K const | type`"""
        if self._mangled.eat("L"):
            self._lifetime(self._mangled.base62())
        elif self._mangled.eat("K"):
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
            raise MalformedError
        self._put(f"'{chr(ord('a') + depth)}" if depth < 26 else f"'_{depth}")

    def _bound(self, part: Callable[[], None]) -> None:
        """`[G base62] part`: with `for<'a, …>` before it."""
        count = self._mangled.optional("G")
        if count > _DEEPEST:
            raise MalformedError
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
        self._deeper(lambda: self._type_of(self._mangled.take()))

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
            self._mangled.at -= 1
            self._path(in_value=False)

    def _reference(self, mutable: str) -> None:
        self._put("&")
        if self._mangled.eat("L"):
            index = self._mangled.base62()
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
        self._put("unsafe " if self._mangled.eat("U") else "")
        if self._mangled.eat("K"):
            abi = "C" if self._mangled.eat("C") else self._mangled.plain().replace("_", "-")
            self._put(f'extern "{abi}" ')
        self._put("fn(")
        self._separated(self._type)
        self._put(")")
        if not self._mangled.eat("u"):
            self._put(" -> ")
            self._type()

    def _dynamic(self) -> None:
        """`bounds := [binder] {trait} "E" "L" lifetime`"""
        self._put("dyn ")
        self._bound(self._traits)
        if not self._mangled.eat("L"):
            raise MalformedError
        index = self._mangled.base62()
        if index:
            self._put(" + ")
            self._lifetime(index)

    def _traits(self) -> None:
        self._separated(self._trait, " + ")

    def _trait(self) -> None:
        """`trait := path {"p" plain type}`: what it is bound to stands among its arguments."""
        is_open = self._open_path()
        while self._mangled.eat("p"):
            self._put(", " if is_open else "<")
            is_open = True
            self._put(f"{self._mangled.plain()} = ")
            self._type()
        self._put(">" if is_open else "")

    def _open_path(self) -> bool:
        """A path whose arguments are not closed yet; whether there are any."""
        result = False

        def part() -> None:
            nonlocal result
            if self._mangled.eat("B"):

                def earlier() -> None:
                    nonlocal result
                    result = self._open_path()

                self._back(earlier)
            elif self._mangled.eat("I"):
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
        self._deeper(lambda: self._const_of(self._mangled.take(), in_value))

    def _const_of(self, tag: str, in_value: bool) -> None:
        if tag == "p":
            self._put("_")
        elif tag == "B":
            self._back(lambda: self._const(in_value=in_value))
        elif tag in _WHOLE:
            self._put("-" if tag in _SIGNED and self._mangled.eat("n") else "")
            self._put(_figure(self._mangled.hex()))
        elif tag == "b":
            self._put({"": "false", "1": "true"}[self._mangled.bit()])
        elif tag == "c":
            self._put(_character(self._mangled.hex()))
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
            raise MalformedError
        if not in_value and tag != "R":
            self._put("}")

    def _referred(self, tag: str) -> None:
        if tag == "R" and self._mangled.eat("e"):
            self._put(_text_of(self._mangled.hex()))
            return
        self._put("&" if tag == "R" else "&mut ")
        self._const(in_value=True)


def _figure(digits: str) -> str:
    return str(int(digits or "0", 16)) if len(digits) <= 16 else f"0x{digits}"


def _character(digits: str) -> str:
    if len(digits) > 6:
        raise MalformedError
    return f"'{character(int(digits or '0', 16))}'"


def _text_of(digits: str) -> str:
    try:
        return '"' + bytes.fromhex(digits).decode("utf-8") + '"'
    except ValueError:
        raise MalformedError from None
