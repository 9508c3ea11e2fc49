"""
The reference evaluator: the obvious interpreter, which the others are held against.

It compiles nothing and shares nothing with the closures but the arithmetic of intervals: it walks the trees of a rule
and looks each fact up in working memory as it meets it.
"""

from collections.abc import Sequence

from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.inference.compiled import CompiledRule
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.inference.leaf import Frame
from engram_diagnose.engine.language.evaluation import truth_of
from engram_diagnose.engine.language.rule import Outcome, Rule


def decide_by_reference(batch: Sequence[tuple[CompiledRule, Scope, Frame]]) -> list[Outcome]:
    """An evaluator (`firing.Decide`): the outcome of each gate, read off the trees."""
    return [_outcome(compiled.rule, Seen(frame[0].frames.memory, scope)) for compiled, scope, frame in batch]


def _outcome(rule: Rule, seen: Seen) -> Outcome:
    applies = Truth.TRUE if rule.applies is None else truth_of(rule.applies, seen)
    if applies is Truth.FALSE:
        return "not-applicable"
    if applies is Truth.UNKNOWN:
        return "unknown"
    gate = Truth.TRUE if rule.when is None else truth_of(rule.when, seen)
    if gate is Truth.UNKNOWN:
        return "unknown"
    return "fires" if gate is Truth.TRUE else "refuted"
