"""
Unified diffs of bytes, as GNU `patch` reads them, and the strict way back.

A diff is text: UTF-8, and what is not UTF-8 is kept as surrogates. Line ends within it are those of the file, so it
must not pass through anything that translates them.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engram_diagnose.engine.language.problem import printable
from engram_diagnose.patch.error import PatchError as PatchError
from engram_diagnose.patch.shortest import Range, changed_ranges

CONTEXT: Final = 3
NO_LINE_END: Final = "\\ No newline at end of file"
_HUNK: Final = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f"\\]')
_AGAIN: Final = "make the patch again"


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that replace others; `start` counts lines of the old file from 0. Lines keep their ends."""

    start: int
    new_start: int
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]


def lines_of(content: bytes) -> list[bytes]:
    """The lines with their ends; only a line feed ends one."""
    return io.BytesIO(content).readlines()


def unified(before: bytes, after: bytes, *, name: str) -> str:
    """The unified diff with three lines of context; empty where nothing changed."""
    if before == after:
        return ""
    old, new = lines_of(before), lines_of(after)
    label = _label(name)
    parts = [f"--- {label}\n+++ {label}\n"]
    for group in _groups(changed_ranges(old, new)):
        parts += _hunk_lines(group, old, new)
    return "".join(parts)


def _label(name: str) -> str:
    """A file name as GNU diff writes it: quoted where it has to be, with a tab to end one with blanks."""
    if _UNSAFE.search(name):
        return '"' + _UNSAFE.sub(lambda match: f"\\{ord(match.group()):03o}", name) + '"'
    return f"{name}\t" if " " in name else name


def _groups(ranges: list[Range]) -> list[list[Range]]:
    """Ranges whose contexts touch stand in one hunk."""
    groups: list[list[Range]] = []
    for found in ranges:
        if groups and found[0] - groups[-1][-1][1] <= 2 * CONTEXT:
            groups[-1].append(found)
        else:
            groups.append([found])
    return groups


def _hunk_lines(group: list[Range], old: list[bytes], new: list[bytes]) -> Iterator[str]:
    before = min(CONTEXT, group[0][0])
    after = min(CONTEXT, len(old) - group[-1][1])
    start, end = group[0][0] - before, group[-1][1] + after
    new_start, new_end = group[0][2] - before, group[-1][3] + after
    yield f"@@ -{_span(start, end)} +{_span(new_start, new_end)} @@\n"
    position = start
    for i, i_end, j, j_end in group:
        yield from (_line(" ", line) for line in old[position:i])
        yield from (_line("-", line) for line in old[i:i_end])
        yield from (_line("+", line) for line in new[j:j_end])
        position = i_end
    yield from (_line(" ", line) for line in old[position:end])


def _span(start: int, end: int) -> str:
    """`first,count` as diff has it: no count for one line, the line before for none."""
    count = end - start
    return f"{start + 1}" if count == 1 else f"{start + (count > 0)},{count}"


def _line(sign: str, line: bytes) -> str:
    text = sign + line.decode("utf-8", "surrogateescape")
    return text if text.endswith("\n") else f"{text}\n{NO_LINE_END}\n"


def patched(base: bytes, diff: str) -> bytes:
    """
    The text that a unified diff makes of `base`.

    Strict: every context and removed line must be where the diff says. Raises `PatchError`.
    """
    old = lines_of(base)
    new: list[bytes] = []
    position = 0
    for number, hunk in enumerate(hunks(diff), 1):
        end = hunk.start + len(hunk.old)
        if hunk.start < position or tuple(old[hunk.start : end]) != hunk.old:
            raise PatchError(f"change {number} of the patch, at line {hunk.start + 1}, does not fit the file; {_AGAIN}")
        new += [*old[position : hunk.start], *hunk.new]
        position = end
        if len(new) - len(hunk.new) != hunk.new_start:
            raise PatchError(f"change {number} of the patch has a wrong line number; {_AGAIN}")
    return b"".join([*new, *old[position:]])


def hunks(diff: str) -> list[Hunk]:
    """The hunks of a unified diff of one file; an empty text has none. Raises `PatchError`."""
    if not diff:
        return []
    lines = diff.split("\n")
    if lines.pop() or len(lines) < 3 or not lines[0].startswith("--- ") or not lines[1].startswith("+++ "):
        raise PatchError(f"no unified diff, or a truncated one; {_AGAIN}")
    found, at = [], 2
    while at < len(lines):
        hunk, at = _read_hunk(lines, at)
        found.append(hunk)
    return found


def _read_hunk(lines: list[str], at: int) -> tuple[Hunk, int]:
    head = _HUNK.fullmatch(lines[at])
    if not head:
        raise PatchError(
            f"line {at + 1} of the diff is {printable(lines[at][:60])!r} instead of a line with @@; {_AGAIN}"
        )
    start, count, new_start, new_count = (1 if figure is None else int(figure) for figure in head.groups())
    old: list[bytes] = []
    new: list[bytes] = []
    at += 1
    while len(old) < count or len(new) < new_count:
        sign, text = (lines[at][:1], lines[at][1:]) if at < len(lines) else ("", "")
        at += 1
        ends = not (at < len(lines) and lines[at] == NO_LINE_END)
        at += not ends
        if sign not in (" ", "-", "+") or not sign:
            raise PatchError(f"the diff is damaged or truncated at its line {at}; {_AGAIN}")
        line = (text + "\n" * ends).encode("utf-8", "surrogateescape")
        old += [line] if sign != "+" else []
        new += [line] if sign != "-" else []
    if len(old) != count or len(new) != new_count:
        raise PatchError(f"a change has more lines than its @@ line says, at line {at} of the diff; {_AGAIN}")
    return Hunk(start - (count > 0), new_start - (new_count > 0), tuple(old), tuple(new)), at
