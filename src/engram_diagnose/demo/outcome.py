"""
What came of planting a fault: whether it was named, whether the patch mended it, and what is still open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from engram_diagnose.lab.fault import Fault

Json = Mapping[str, Any]
_TOP: Final = 3
"""How far down the list a planted cause still counts as found."""


@dataclass(slots=True)
class Known:
    """
    What is known so far; filled as the demo goes on, so that Ctrl-C at any moment can tell it.

    `before` and `after` are diagnosis documents, `advice` the patch's document, `comparison` that of a verification;
    `felt` and `felt_after` are the figures that the fault is to breach, as clients measured them at both looks.
    `impossible` says what of the fault could not be planted on this machine.
    """

    fault: Fault
    impossible: tuple[str, ...] = ()
    before: Json | None = None
    advice: Json | None = None
    applied: bool = False
    after: Json | None = None
    comparison: Json | None = None
    runs: list[Json] = field(default_factory=list)
    felt: Mapping[str, float] = field(default_factory=dict)
    felt_after: Mapping[str, float] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The rule of the cause that came first before; empty without one."""
        causes = self.before["causes"] if self.before else []
        return str(causes[0]["rule"]) if causes else ""

    @property
    def named_first(self) -> bool:
        """Whether the planted cause came first (of several planted ones, any)."""
        return self.first in self.fault.right

    @property
    def named(self) -> bool:
        """Whether each of the planted causes is among the first three; nothing above even odds on a healthy server."""
        if self.before is None:
            return False
        if self.fault.healthy:
            return not confident(self.before)
        top = {cause["rule"] for cause in self.before["causes"][:_TOP]}
        return all(top & set(rules) for rules in self.fault.causes)

    @property
    def gone(self) -> bool | None:
        """
        Whether what was found of the planted causes is no longer believed in; None before that was looked at.

        Of the rules that name a cause rightly only the best that was found counts: a disk that is slow too stays so.
        """
        if self.after is None or self.before is None:
            return None
        found = {cause["rule"] for cause in self.before["causes"]}
        named = {next((rule for rule in rules if rule in found), rules[0]) for rules in self.fault.causes}
        return not any(cause["rule"] in named for cause in confident(self.after))


def confident(document: Json) -> Sequence[Json]:
    """The causes that are more likely than not."""
    return [cause for cause in document["causes"] if cause["confidence"]["probability"] > 0.5]


def position(document: Json, rules: frozenset[str]) -> int:
    """Where in the list the first cause of these rules stands, counted from 1; 0 where none does."""
    return next((place for place, cause in enumerate(document["causes"], 1) if cause["rule"] in rules), 0)


def changes_of(advice: Json) -> list[Json]:
    """The changes of a patch's document."""
    return [change for group in advice["groups"] for change in group["changes"]]
