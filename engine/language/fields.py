"""
Reading the keys of a mapping, with a problem at its place for each that is missing, unknown or of the wrong kind.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from engram_diagnose.engine.facts.unit import Quantity, parse_quantity
from engram_diagnose.engine.language.problem import Mark, Problems, did_you_mean
from engram_diagnose.engine.language.source import Mapping, Node, Scalar, Sequence, describe

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,15}")
_DATE: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")


_SHAPES: Final = {
    "a list": "put each item on a line of its own, behind a dash; or all in brackets: [a, b]",
    "a mapping": "put `key: value` on lines of their own below it",
}


class Fields:
    """
    One mapping being read. `what` names it in messages (`rule storage.x`).

    Each getter gives a value of the asked kind; where the file has none, it records the problem and gives the default.
    """

    def __init__(self, node: Mapping, what: str, problems: Problems) -> None:
        self.node = node
        self.what = what
        self.problems = problems

    def __contains__(self, key: str) -> bool:
        return key in self.node.values

    def only(self, known: Iterable[str], *, hints: dict[str, str] | None = None) -> None:
        """Complain about every key that is not known."""
        allowed = tuple(known)
        if all(map(allowed.__contains__, self.node.keys)):
            return
        for key, mark in self.node.keys.items():
            if key not in allowed:
                hint = (hints or {}).get(key) or did_you_mean(key, allowed) or f"known: {', '.join(allowed)}"
                self.problems.error(mark.mark, f"{self.what} has no key {key!r}", hint=hint, length=len(key))

    def need(self, *keys: str) -> None:
        """Complain about every key that is missing."""
        for key in keys:
            if key not in self.node.values:
                self.problems.error(self.node.mark, f"{self.what} lacks {key!r}", hint=f"add `{key}:`")

    def scalar(self, key: str) -> Scalar | None:
        """The scalar under a key, or None (with a problem when there is something else)."""
        node = self.node.values.get(key)
        if node is None or isinstance(node, Scalar):
            return node
        self._wrong(key, node, "a single value")
        return None

    def text(self, key: str, default: str = "") -> str:
        """A text; an empty one is a problem."""
        node = self.scalar(key)
        if node is None:
            return default
        if not node.text.strip():
            self.problems.error(self.node.key_mark(key), f"{key!r} is empty", length=len(key))
            return default
        return node.text.strip()

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        """One of a few words."""
        node = self.scalar(key)
        if node is None:
            return default
        allowed = tuple(choices)
        if node.text not in allowed:
            hint = did_you_mean(node.text, allowed) or f"it is one of {', '.join(allowed)}"
            self.problems.error(node.mark, f"{key} is never {node.text!r}", hint=hint, length=len(node.text))
            return default
        return node.text

    def integer(self, key: str, default: int) -> int:
        """A whole number."""
        node = self.scalar(key)
        if node is None:
            return default
        if not _INTEGER.fullmatch(node.text) or node.quoted:
            self.problems.error(node.mark, f"{key} must be a whole number, not {node.text!r}", length=len(node.text))
            return default
        return int(node.text)

    def truth(self, key: str, default: bool) -> bool:
        """`true` or `false`, and no other spelling."""
        node = self.scalar(key)
        if node is None:
            return default
        if node.text not in ("true", "false") or node.quoted:
            self.problems.error(node.mark, f"{key} must be true or false, not {node.text!r}", length=len(node.text))
            return default
        return node.text == "true"

    def quantity(self, key: str) -> Quantity | None:
        """A figure with a unit."""
        node = self.scalar(key)
        return None if node is None else read_quantity(node, self.problems)

    def date(self, key: str) -> str:
        """An ISO day."""
        node = self.scalar(key)
        if node is None:
            return ""
        if not _DATE.fullmatch(node.text):
            self.problems.error(node.mark, f"{key} must be a day such as 2027-03-31, not {node.text!r}",
                                length=len(node.text))  # fmt: skip
            return ""
        return node.text

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(node.text.strip() for node in self.scalars(key))

    def scalars(self, key: str) -> tuple[Scalar, ...]:
        """A list of scalars, with their places."""
        found = []
        for item in self.items(key):
            if isinstance(item, Scalar):
                found.append(item)
            else:
                self.problems.error(item.mark, f"{key} is a list of texts, and this is {describe(item)}",
                                    hint="put quotes round a text that contains ': '")  # fmt: skip
        return tuple(found)

    def items(self, key: str) -> tuple[Node, ...]:
        """The items of a list."""
        node = self.node.values.get(key)
        if node is None:
            return ()
        if isinstance(node, Sequence):
            return tuple(node.items)
        self._wrong(key, node, "a list")
        return ()

    def mapping(self, key: str) -> Mapping | None:
        """The mapping under a key."""
        node = self.node.values.get(key)
        if node is None or isinstance(node, Mapping):
            return node
        self._wrong(key, node, "a mapping")
        return None

    def mark(self, key: str) -> Mark:
        """Where a key stands."""
        return self.node.key_mark(key)

    def _wrong(self, key: str, node: Node, wanted: str) -> None:
        hint = _SHAPES.get(wanted, "") if isinstance(node, Scalar) else ""
        self.problems.error(node.mark, f"{key} of {self.what} must be {wanted}, not {describe(node)}", hint=hint)


def read_quantity(node: Scalar, problems: Problems) -> Quantity | None:
    """A figure with a unit, or None and a problem."""
    try:
        return _quantity(node.text)
    except ValueError as error:
        problems.error(node.mark, str(error), length=len(node.text))
        return None


_quantity = lru_cache(maxsize=4096)(parse_quantity)
