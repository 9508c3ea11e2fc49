"""
Problems in a rule base, each at its place.

Reading goes on after a problem, so that one run reports all of them.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


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


class Problems:
    """Collects problems while a rule base is read."""

    def __init__(self) -> None:
        self._found: set[Problem] = set()
        self.rule = ""

    def error(self, mark: Mark, message: str, *, hint: str = "", length: int = 1) -> None:
        """Record something that makes the rule base unusable."""
        self._found.add(Problem(mark, message, hint, max(1, length), "error", self.rule))

    def warning(self, mark: Mark, message: str, *, hint: str = "", length: int = 1) -> None:
        """Record something that is probably not meant."""
        self._found.add(Problem(mark, message, hint, max(1, length), "warning", self.rule))

    @property
    def errors(self) -> list[Problem]:
        """The errors, in the order of the files."""
        return sorted(problem for problem in self._found if problem.severity == "error")

    @property
    def warnings(self) -> list[Problem]:
        """The warnings, in the order of the files."""
        return sorted(problem for problem in self._found if problem.severity == "warning")

    def raise_errors(self) -> None:
        """Raise `RuleBaseError` with every error, if there is any."""
        if errors := self.errors:
            raise RuleBaseError(errors)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean …?` for the nearest known words, or nothing."""
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""


def excerpt(problem: Problem, texts: Mapping[str, str]) -> str:
    """
    The problem as a person reads it: place and message, the line, carets below it, the hint.

    `texts` maps file names to their text; a file that is not in it gives no line.
    """
    lines = texts.get(problem.mark.file, "").splitlines()
    parts = [str(problem)]
    if problem.mark.line <= len(lines):
        line = lines[problem.mark.line - 1].replace("\t", " ")
        start, line = _window(line, problem.mark.column - 1)
        length = min(problem.length, max(1, len(line) - start))
        gutter = f"{problem.mark.line:>5} | "
        parts += [gutter + line, " " * (len(gutter) - 2) + "| " + " " * start + "^" * length]
    if problem.hint:
        parts.append(f"  hint: {problem.hint}")
    return "\n".join(parts)


def _window(line: str, column: int, *, width: int = 160) -> tuple[int, str]:
    """A long line cut to what stands around the column."""
    if len(line) <= width:
        return column, line
    start = max(0, column - width // 2)
    return column - start, line[start : start + width]
