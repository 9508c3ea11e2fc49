"""
What inference decided about one rule in one scope.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.inference.compiled import CompiledRule
from engram_diagnose.engine.inference.leaf import Frame
from engram_diagnose.engine.language.rule import Outcome, Rule


class Firing(NamedTuple):
    """
    A rule, a scope and the outcome; `row` is the row of a table that was taken.

    A tuple, because there is one for every rule and scope, and making it would be the larger part of deciding it.
    """

    rule: Rule
    scope: Scope
    outcome: Outcome
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Inference:
    """The working memory, derived facts included, and a firing for every rule and scope, in the order of deciding."""

    memory: Memory
    firings: tuple[Firing, ...]


Decide = Callable[[Sequence[tuple[CompiledRule, Scope, Frame]]], list[Outcome]]
"""An evaluator: the outcome of each gate of a batch, all of one stage."""


def decide_with_closures(batch: Sequence[tuple[CompiledRule, Scope, Frame]]) -> list[Outcome]:
    """The default evaluator."""
    return [rule.decide(frame) for rule, _, frame in batch]
