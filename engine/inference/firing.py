"""
What inference decided about one rule in one scope.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.inference.compiled import CompiledRule
from engram_diagnose.engine.inference.leaf import FALSE, TRUE, Frame
from engram_diagnose.engine.language.rule import Outcome, Rule


@dataclass(frozen=True, slots=True)
class Firing:
    """A rule, a scope and the outcome; `row` is the row of a table that was taken."""

    rule: Rule
    scope: Scope
    outcome: Outcome
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Inference:
    """The working memory, derived facts included, and a firing for every rule and scope, in the order they were decided."""

    memory: Memory
    firings: tuple[Firing, ...]


Decide = Callable[[Sequence[tuple[CompiledRule, Scope, Frame]]], list[Outcome]]
"""An evaluator: the outcome of each gate of a batch, all of one stage."""


def decide_with_closures(batch: Sequence[tuple[CompiledRule, Scope, Frame]]) -> list[Outcome]:
    """The default evaluator."""
    return [_outcome(rule, frame) for rule, _, frame in batch]


def _outcome(rule: CompiledRule, frame: Frame) -> Outcome:
    if rule.applies is not None:
        truth = rule.applies(frame)
        if truth is not TRUE:
            return "not-applicable" if truth is FALSE else "unknown"
    if rule.gate is None:
        return "fires"
    truth = rule.gate(frame)
    return "fires" if truth is TRUE else "refuted" if truth is FALSE else "unknown"
