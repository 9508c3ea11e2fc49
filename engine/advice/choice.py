"""
What the operator chooses among the decisions: which to see, which to leave out, and other values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engram_diagnose.engine.advice.decision import Decision
from engram_diagnose.engine.facts.fact import Value


@dataclass(frozen=True, slots=True)
class Choice:
    """`only` and `without` name parameters or their keys; `values` are chosen instead of the advised ones."""

    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    values: Mapping[str, Value] = field(default_factory=dict)

    def admits(self, decision: Decision) -> bool:
        """Whether the operator wants to hear of it."""
        names = {decision.name, decision.key.key if decision.key is not None else decision.name}
        return not names & self.without and (not self.only or bool(names & self.only))

    def applied(self, decision: Decision) -> Decision:
        """The decision with the operator's own value, where there is one."""
        value = self.values.get(decision.name)
        if value is None or decision.standing != "advised":
            return decision
        return replace(decision, wanted=value, own=True, notes=(*decision.notes, "the value is the operator's"))
