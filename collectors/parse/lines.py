"""The line formats that many kernel files share."""

import re

from engram_diagnose.collectors.parse.figures import UnparsedError, integer


def parse_tree(text: str) -> dict[str, str]:
    """
    Many small files in one answer: each line is `path:line`.

    The text of a path is its lines joined by newlines. Lines without a colon are not of a tree.
    """
    tree: dict[str, list[str]] = {}
    for line in text.splitlines():
        path, colon, content = line.partition(":")
        if not colon:
            raise UnparsedError(f"{line[:40]!r} is not `path:line`")
        tree.setdefault(path, []).append(content)
    return {path: "\n".join(lines) for path, lines in tree.items()}


def parse_sizes(text: str) -> dict[str, int]:
    """
    Bytes by name, from `/proc/meminfo`, `/proc/PID/status`, `smaps_rollup`.

    `MemTotal:       24683232 kB`; lines of other shapes are left out.
    """
    rows = re.finditer(r"^(?:Node [0-9]+ )?([^\s:]+):[ \t]{1,60}([0-9]{1,20}) kB$", text, re.M)
    return {row.group(1): int(row.group(2)) * 1024 for row in rows}


def parse_counts(text: str) -> dict[str, int]:
    """
    Whole numbers by name, from `/proc/vmstat`, `cpu.stat`, `/proc/PID/io` and the like.

    `pgfault 12345` or `syscw: 12` or `nr_migrations : 5`; lines of other shapes are left out.
    """
    # Bounded blanks: unbounded ones take quadratic time on a line of blanks.
    shape = r"^([^\s:]+)[ \t]{0,60}(?::|[ \t])[ \t]{0,60}(-?[0-9]{1,20})[ \t]{0,60}$"
    rows = re.finditer(shape, text, re.MULTILINE)
    return {row.group(1): int(row.group(2)) for row in rows}


def parse_list(text: str) -> frozenset[int]:
    """`list := range ("," range)*; range := n ["-" m]`: CPUs or nodes, at most 65,536 of them."""
    members: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        low, high = integer(first), integer(last or first)
        if not 0 <= low <= high < 65536:
            raise UnparsedError(f"{part[:40]!r} is not a range of CPUs or nodes")
        members.update(range(low, high + 1))
    return frozenset(members)


def bracketed(text: str) -> str | None:
    """The chosen one of `none [mq-deadline] kyber`; the only one where there is no choice."""
    chosen = re.search(r"\[([^\]\n]+)\]", text)
    words = text.split()
    return chosen.group(1) if chosen else (words[0] if len(words) == 1 else None)
