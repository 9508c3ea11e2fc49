"""
The room that the joint memory budget leaves to one of its parameters.
"""

from engram_diagnose.engine.advice.budget import Budget
from engram_diagnose.engine.facts.catalogue import ParameterSpec


def room_for(parameter: ParameterSpec, budget: Budget) -> float | None:
    """The bytes that the others leave; None where nothing bounds them."""
    if budget.limit is None:
        return None
    return max(0.0, budget.limit - sum(share.size for share in budget.shares if share.parameter != parameter))
