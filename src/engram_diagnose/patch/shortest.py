"""The shortest edit between two sequences of lines (Myers 1986), for large texts with few changes."""

from collections.abc import Sequence
from typing import Final

Range = tuple[int, int, int, int]

_LONGEST_RUN: Final = 1 << 16
_MOST_EDITS: Final = 1000
"""Beyond so many changed lines all that lies between the first and the last is taken as changed."""


def changed_ranges(old: Sequence[bytes], new: Sequence[bytes]) -> list[Range]:
    """What changed, as (old start, old end, new start, new end), in order; equal lines lie between the ranges."""
    shorter = min(len(old), len(new))
    head = _equal_lines(old, new, 0, 0)
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    if not a and not b:
        return []
    trace = _furthest(a, b) if a and b else None
    found = _backtracked(a, b, trace) if trace else [(0, len(a), 0, len(b))]
    return [(head + i, head + i_end, head + j, head + j_end) for i, i_end, j, j_end in found]


def _equal_lines(old: Sequence[bytes], new: Sequence[bytes], i: int, j: int) -> int:
    """How many lines are equal from here on; long runs are compared at once."""
    start, step = i, 1
    while run := min(step, len(old) - i, len(new) - j):
        if old[i : i + run] == new[j : j + run]:
            i, j, step = i + run, j + run, min(2 * step, _LONGEST_RUN)
        else:
            step = run // 2
    return i - start


def _furthest(old: Sequence[bytes], new: Sequence[bytes]) -> list[dict[int, int]] | None:
    """For each number of edits the furthest old line reached on each diagonal; None beyond `_MOST_EDITS`."""
    reached = {1: 0}
    trace = []
    for edits in range(min(_MOST_EDITS, len(old) + len(new)) + 1):
        trace.append(dict(reached))
        for diagonal in range(-edits, edits + 1, 2):
            down = _goes_down(reached, edits, diagonal) if edits else True
            i = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            if i < len(old) and i - diagonal < len(new):
                i += _equal_lines(old, new, i, i - diagonal)
            reached[diagonal] = i
            if (i, i - diagonal) == (len(old), len(new)):
                return trace
    return None


def _goes_down(reached: dict[int, int], edits: int, diagonal: int) -> bool:
    """Whether a diagonal is reached by a new line, rather than by an old one that is gone."""
    if diagonal in (-edits, edits):
        return diagonal == -edits
    return reached[diagonal - 1] < reached[diagonal + 1]


def _backtracked(old: Sequence[bytes], new: Sequence[bytes], trace: list[dict[int, int]]) -> list[Range]:
    """The changed ranges along the shortest way."""
    ranges: list[Range] = []
    i, j = len(old), len(new)
    for edits in range(len(trace) - 1, 0, -1):
        reached, diagonal = trace[edits], i - j
        down = _goes_down(reached, edits, diagonal)
        before = diagonal + 1 if down else diagonal - 1
        i, j = reached[before], reached[before] - before
        end = (i, j + 1) if down else (i + 1, j)
        if ranges and (ranges[-1][0], ranges[-1][2]) == end:
            _, i_end, _, j_end = ranges.pop()
            ranges.append((i, i_end, j, j_end))
        else:
            ranges.append((i, end[0], j, end[1]))
    return ranges[::-1]
