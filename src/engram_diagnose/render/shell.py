"""
Shell commands in narrow columns, so that what is copied from the screen still runs.
"""

import re
from collections.abc import Iterable
from typing import Final

from engram_diagnose.render.layout import cells

_TOKEN: Final = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*"|['"\\])+""")


def command_lines(command: str, width: int) -> list[str]:
    r"""
    The command over several lines, each but the last ending in ` \`; its comment stands before it.

    A word is never broken, so a line with a long one is wider than `width`.
    """
    words, comment = _split(command)
    comments = [f"# {line}" for line in _filled(comment.split(), width - 2)]
    lines = _filled(words, width - 2)
    return comments + [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _filled(words: Iterable[str], width: int) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and cells(lines[-1]) + 1 + cells(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _split(command: str) -> tuple[list[str], str]:
    """The words of a command, quoted ones whole, and the comment behind it."""
    words: list[str] = []
    for match in _TOKEN.finditer(command):
        if match.group().startswith("#"):
            return words, command[match.start() :].lstrip("# ")
        words.append(match.group())
    return words, ""
