"""
A concluded cause, with all that ranks it.
"""

from dataclasses import dataclass

from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.inference.firing import Firing
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.ranking.change import Moved
from engram_diagnose.engine.ranking.confidence import Confidence
from engram_diagnose.engine.ranking.impact import Breach


@dataclass(frozen=True, slots=True)
class Cause:
    """
    A concluded cause. `explained` are the symptoms it explains that are there; `severity` is the worst of
    theirs, empty when no target is missed that it would explain. `moved` tells whether it was so before all was bad,
    `weight` is what all this counts for in the order, from 0 to 1, `tie` a number that tied causes share. One that is
    `negligible` is worth a line to somebody who was woken, and no more.
    """

    rule: Rule
    scope: Scope
    confidence: Confidence
    impact: Breach
    explained: tuple[Firing, ...]
    severity: str
    moved: Moved = "untold"
    weight: float = 1.0
    tie: int | None = None
    negligible: bool = False

    @property
    def score(self) -> float:
        """What orders causes: confidence × impact × weight."""
        return self.confidence.weighed * self.impact.middle * self.weight


@dataclass(frozen=True, slots=True)
class Masked:
    """A cause that others imitate, none of them masked itself: to be tested again once they are gone."""

    cause: Cause
    by: tuple[str, ...]
