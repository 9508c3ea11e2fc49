"""
What an operator types or looks for: commands, lines of configuration, and what should come of them.
"""

import json
import re
from typing import Final

from engram_diagnose.engine.explanation.wording import Wording
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.unit import Unit
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.expression import Comparison, Leaf, Number, Reference, Text

_FIELD: Final = re.compile(r"\{([a-z][a-z0-9_]*\.[a-z0-9_.@]+)\}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_WANTED: Final = {
    ">": "above",
    ">=": "at least",
    "<": "below",
    "<=": "at most",
    "==": "equal to",
    "!=": "other than",
}


def filled_command(command: str, seen: Seen) -> str:
    """
    A shell command with its `{fact}` fields filled in, as a shell reads them.

    Figures stand plainly (41234, not 41,234), texts are quoted, and what is unknown stays a
    placeholder in capitals: `/proc/PID/io`.
    """

    def field(match: re.Match[str]) -> str:
        name = match.group(1)
        value = seen.value(Reference(name))
        if value is None or (not isinstance(value, str) and value[0] != value[1]):
            return name.rpartition(".")[2].upper()
        return _shell_word(value) if isinstance(value, str) else _plain(value[0])

    return _FIELD.sub(field, command)


def _shell_word(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else "'" + text.replace("'", "'\"'\"'") + "'"


def _plain(figure: float) -> str:
    nearest = round(figure)
    return str(nearest) if abs(figure - nearest) < 1e-9 * max(1.0, abs(figure)) else f"{figure:.12g}"


def literal(value: Value, unit: Unit, kind: str) -> str | None:
    """
    A value as a TOML literal in the unit of its key: `1000`, `true`, `"batch"`.

    None for an interval, which no key can hold.
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    low, high = value
    if low != high:
        return None
    if kind == "bool":
        return "true" if low else "false"
    return _plain(low / unit.factor)


def wished(leaf: Leaf, wording: Wording) -> tuple[str, str | None]:
    """What a test asks for (`amplification below 3`), and what the figure is now; None when unknown."""
    if not isinstance(leaf.test, Comparison):
        return leaf.text, None
    left, right = leaf.test.left, leaf.test.right
    limit = wording.value(right)
    limit = limit if isinstance(right, Number | Text) else f"{limit} ({wording.name(right)})"
    now = wording.value(left)
    return f"{wording.name(left)} {_WANTED[leaf.test.operator]} {limit}", now if now != "unknown" else None
