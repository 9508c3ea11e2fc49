"""
Label patterns: the part of RE2's syntax that selectors use, matched in linear time.

Python's `re` is not used: it reads other syntax than RE2, and a hostile label value could keep it
busy for hours. A pattern becomes a small program (Thompson's construction) that all states run at
once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MAX_PATTERN: Final = 2_000
_MAX_PROGRAM: Final = 5_000
_MAX_DEPTH: Final = 30
_MAX_REPEAT: Final = 100

Test = Callable[[str], bool]


class PatternError(ValueError):
    """A pattern that is wrong, or outside of the subset. `position` counts characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        self.position = position
        super().__init__(message)


@dataclass(slots=True)
class _Step:
    """One step: with a test it eats a character; without, it goes on to both `next` and `other` for free."""

    test: Test | None
    next: int
    other: int = -1


@dataclass(frozen=True, slots=True)
class Pattern:
    """`literals` is set when the pattern is no more than `a|b|c`; else the program is run."""

    literals: frozenset[str] | None
    program: tuple[_Step, ...] = ()

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        if self.literals is not None:
            return text in self.literals
        states = self._closure({0})
        for character in text:
            eaten = {step.next for step in map(self.program.__getitem__, states) if step.test and step.test(character)}
            states = self._closure(eaten)
            if not states:
                return False
        return len(self.program) - 1 in states

    def _closure(self, states: set[int]) -> set[int]:
        waiting, reached = list(states), set(states)
        while waiting:
            step = self.program[waiting.pop()]
            for target in (step.next, step.other) if step.test is None else ():
                if target >= 0 and target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return reached


_PLAIN: Final = re.compile(r"(?:[^\\.+*?()\[\]{}^$]|\\[^\w\s|])*")


@lru_cache(maxsize=1024)
def pattern_of(text: str) -> Pattern:
    """
    A pattern that has to match a whole label value.

    Alternatives, groups, `.`, `* + ? {n,m}`, classes, escapes; `^` and `$` at the ends.
    Raises `PatternError` for everything else that RE2 knows, and for a pattern that is too large.
    """
    if len(text) > MAX_PATTERN:
        raise PatternError(f"a pattern of more than {MAX_PATTERN} characters", MAX_PATTERN)
    if _PLAIN.fullmatch(text):
        return Pattern(frozenset(re.sub(r"\\(.)", r"\1", part, flags=re.S) for part in text.split("|")))
    return Pattern(None, _Compiler(text).program())


def quoted(text: str) -> str:
    """`text` as a pattern that matches exactly it."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def _any(_: str) -> bool:
    return True


def _is(wanted: str) -> Test:
    return lambda character: character == wanted


_QUANTIFIER: Final = re.compile(r"([*+?])|\{(\d{1,3})(,?)(\d{0,3})\}", re.A)
_CLASSES: Final[dict[str, str]] = {"d": "0-9", "w": "0-9A-Za-z_", "s": "\t\n\f\r "}
_CONTROL: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}


class _Compiler:
    """Recursive descent; each method emits steps that fall through to the next one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.steps: list[_Step] = []

    def program(self) -> tuple[_Step, ...]:
        self._alternatives()
        if self.at < len(self.text):
            raise self._error("a closing ) that nothing opened")
        self.steps.append(_Step(None, -1))
        return tuple(self.steps)

    def _error(self, message: str) -> PatternError:
        return PatternError(f"{message} in the pattern", self.at)

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self) -> str:
        self.at += 1
        return self.text[self.at - 1 : self.at]

    def _emit(self, test: Test | None, next_: int | None = None, other: int = -1) -> int:
        if len(self.steps) >= _MAX_PROGRAM:
            raise self._error("too many repetitions")
        self.steps.append(_Step(test, len(self.steps) + 1 if next_ is None else next_, other))
        return len(self.steps) - 1

    def _alternatives(self) -> None:
        ends = []
        fork = self._emit(None)
        self._sequence()
        while self._peek() == "|":
            self._take()
            ends.append(self._emit(None))
            self.steps[fork].other = len(self.steps)
            fork = self._emit(None)
            self._sequence()
        for end in ends:
            self.steps[end].next = len(self.steps)

    def _sequence(self) -> None:
        if self._peek() == "^" and self.depth == 0:
            self._take()
        while self._peek() and self._peek() not in "|)":
            if self._ends_with_dollar():
                self._take()
                return
            self._repeated()

    def _ends_with_dollar(self) -> bool:
        return self.depth == 0 and self._peek() == "$" and self.text[self.at + 1 : self.at + 2] in ("", "|")

    def _repeated(self) -> None:
        start = len(self.steps)
        self._atom()
        low, high = self._quantifier()
        if (low, high) == (1, 1):
            return
        atom = self.steps[start:]
        del self.steps[start:]
        for _ in range(low):
            self._again(atom, start)
        if high is None:
            fork = self._emit(None)
            self._again(atom, start)
            self._emit(None, fork)
            self.steps[fork].other = len(self.steps)
        for _ in range(low, high or 0):
            fork = self._emit(None)
            self._again(atom, start)
            self.steps[fork].other = len(self.steps)

    def _again(self, atom: list[_Step], start: int) -> None:
        """Emits steps that were compiled at `start` once more, at the end of the program."""
        moved = len(self.steps) - start
        for step in atom:
            self._emit(step.test, step.next + moved, step.other + moved if step.other >= 0 else -1)

    def _quantifier(self) -> tuple[int, int | None]:
        match = _QUANTIFIER.match(self.text, self.at)
        if match is None:
            if self._peek() == "{":
                raise self._error("a { that is no repetition")
            return 1, 1
        self.at = match.end()
        if self._peek() == "?":
            self._take()  # a lazy repetition matches the same whole texts
        if self._peek() and self._peek() in "*+?{":
            raise self._error("a repetition of a repetition")
        if match[1]:
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[match[1]]
        low = int(match[2])
        high = int(match[4]) if match[4] else (None if match[3] else low)
        if max(low, high or 0) > _MAX_REPEAT or (high is not None and high < low):
            raise self._error(f"a repetition that is not 0 to {_MAX_REPEAT}")
        return low, high

    def _atom(self) -> None:
        character = self._take()
        if character == "(":
            self._group()
        elif character == "[":
            self._emit(self._class())
        elif character == ".":
            self._emit(_any)
        elif character == "\\":
            self._emit(self._escape())
        elif character in "*+?{^$":
            self.at -= 1
            raise self._error(f"{character} where it is not supported")
        else:
            self._emit(_is(character))

    def _group(self) -> None:
        if self.text.startswith("?", self.at) and not self.text.startswith("?:", self.at):
            raise self._error("a (?…) group other than (?:…)")
        self.at += 2 * self.text.startswith("?:", self.at)
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error("groups nested too deeply")
        self._alternatives()
        if self._take() != ")":
            raise self._error("a group that does not end")
        self.depth -= 1

    def _escape(self) -> Test:
        letter = self._take()
        if letter.lower() in _CLASSES:
            return _in_ranges(_ranges(_CLASSES[letter.lower()]), negated=letter.isupper())
        return _is(self._literal(letter))

    def _literal(self, letter: str) -> str:
        """The character that a backslash and this letter stand for."""
        if letter in _CONTROL:
            return _CONTROL[letter]
        if not letter or (letter.isalnum() and letter.isascii()):
            raise self._error(f"\\{letter} is not supported")
        return letter

    def _class(self) -> Test:
        negated = self._peek() == "^"
        self.at += negated
        ranges: list[tuple[str, str]] = []
        while self._peek() != "]" or not ranges:
            ranges += self._member()
        self._take()
        return _in_ranges(ranges, negated=negated)

    def _member(self) -> list[tuple[str, str]]:
        if self.text.startswith("[:", self.at):
            raise self._error("a [:class:]")
        first = self._take()
        if not first:
            raise self._error("a [ that does not end")
        if first == "\\":
            letter = self._take()
            if letter in _CLASSES:
                return _ranges(_CLASSES[letter])
            first = self._literal(letter)
        if self._peek() != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return [(first, first)]
        self._take()
        last = self._take()
        last = self._literal(self._take()) if last == "\\" else last
        if last < first:
            raise self._error("a range that runs backwards")
        return [(first, last)]


def _ranges(text: str) -> list[tuple[str, str]]:
    """`0-9_` as pairs of first and last."""
    return [(part[0], part[-1]) for part in re.findall(r".-.|.", text, re.S)]


def _in_ranges(ranges: list[tuple[str, str]], *, negated: bool) -> Test:
    return lambda character: any(low <= character <= high for low, high in ranges) != negated
