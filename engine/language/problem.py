"""
Problems in a rule base, each at its place.

Reading goes on after a problem, so that one run reports all of them.
"""

import difflib
import heapq
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

MAX_PROBLEMS: Final = 200
"""Errors after which reading ends: nobody reads more, and a hostile file could make them without end."""

_MAX_MESSAGE: Final = 400
_MAX_GUESSED: Final = 120
_MAX_COMPARED: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def after(self, columns: int) -> "Mark":
        """The place `columns` further on the same line."""
        return Mark(self.file, self.line, self.column + columns)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong at `mark`, `length` characters long, and what to do about it."""

    mark: Mark
    message: str
    hint: str = ""
    length: int = 1
    severity: Literal["error", "warning"] = "error"
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.mark}: {self.severity}: {self.message}"


class RuleBaseError(ValueError):
    """A rule base that cannot be used; `problems` says all that is wrong, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{first}{more}")


class TooManyProblems(Exception):  # noqa: N818 -- not an error of its own: what was found so far is reported
    """Reading ends here; `Problems` says so among its errors."""


class Problems:
    """Collects problems while a rule base is read."""

    def __init__(self) -> None:
        self._found: set[Problem] = set()
        self._room = MAX_PROBLEMS
        self.rule = ""

    def error(self, mark: Mark, message: str, *, hint: str = "", length: int = 1) -> None:
        """
        Record something that makes the rule base unusable.

        Raises `TooManyProblems` from the one on that there is no more room for.
        """
        if self.full:
            raise TooManyProblems
        problem = Problem(mark, printable(message), printable(hint), max(1, length), "error", self.rule)
        if problem in self._found:
            return
        self._found.add(problem)
        self._room -= 1
        if self.full:
            self._found.add(Problem(mark, f"more than {MAX_PROBLEMS} errors: the rest was not looked at"))
            raise TooManyProblems

    def warning(self, mark: Mark, message: str, *, hint: str = "", length: int = 1) -> None:
        """Record something that is probably not meant."""
        self._found.add(Problem(mark, printable(message), printable(hint), max(1, length), "warning", self.rule))

    @property
    def full(self) -> bool:
        """Whether so many errors were recorded that reading is to end."""
        return self._room <= 0

    @property
    def errors(self) -> list[Problem]:
        """The errors, in the order of the files."""
        return sorted(problem for problem in self._found if problem.severity == "error")

    @property
    def warnings(self) -> list[Problem]:
        """The warnings, in the order of the files."""
        return sorted(problem for problem in self._found if problem.severity == "warning")

    def raise_errors(self) -> None:
        """Raise `RuleBaseError` with every problem, warnings too, if there is any error."""
        if errors := self.errors:
            raise RuleBaseError([*errors, *self.warnings])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean …?` for the nearest known words, or nothing."""
    if len(word) > _MAX_GUESSED:
        return ""
    pairs = _pairs(word)
    shared = ((len(pairs & _pairs(name)) / (len(pairs) + len(_pairs(name))), name) for name in dict.fromkeys(known))
    likely = [name for _, name in heapq.nlargest(_MAX_COMPARED, shared)]
    near = difflib.get_close_matches(word, likely, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""


@lru_cache(maxsize=16384)
def _pairs(word: str) -> frozenset[str]:
    """The pairs of neighbouring letters: what near words share, told much faster than by aligning them."""
    return frozenset(map("".join, pairwise(f"^{word}$")))


def printable(text: str, *, limit: int = _MAX_MESSAGE) -> str:
    """Text as a terminal may show it: control characters escaped, and cut where it is endless."""
    if len(text) > limit:
        text = f"{text[:limit]} …"
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def excerpt(problem: Problem, texts: Mapping[str, str]) -> str:
    """
    The problem as a person reads it: place and message, the line, carets below it, the hint.

    `texts` maps file names to their text; a file that is not in it gives no line.
    """
    lines = _lines(texts.get(problem.mark.file, ""))
    parts = [str(problem)]
    if problem.mark.line <= len(lines):
        start, line = _window(lines[problem.mark.line - 1], problem.mark.column - 1)
        length = min(problem.length, max(1, len(line) - start))
        gutter = f"{problem.mark.line:>5} | "
        carets = " " * _width(line[:start].ljust(start)) + "^" * _width(line[start : start + length].ljust(length))
        parts += [gutter + line, " " * (len(gutter) - 2) + "| " + carets]
    if problem.hint:
        parts.append(f"  hint: {problem.hint}")
    return "\n".join(parts)


@lru_cache(maxsize=4)
def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.splitlines())


def _window(line: str, column: int, *, width: int = 160) -> tuple[int, str]:
    """What stands around the column, with nothing in it that would move a terminal's cursor."""
    start = max(0, column - width // 2) if len(line) > width else 0
    shown = line[start : start + width].replace("\t", " ")
    return column - start, "".join(character if character.isprintable() else "\ufffd" for character in shown)


def _width(text: str) -> int:
    """The columns a text takes up in a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
