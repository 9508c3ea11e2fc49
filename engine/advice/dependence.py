"""
Which settings are computed from which others, by the tables that size them: twice M, and the like.
"""

from collections.abc import Mapping

from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.stages import reads


def dependents(parameter: str, diagnosis: Diagnosis) -> tuple[str, ...]:
    """The parameters whose formula is computed from what fits for `parameter`, ordered."""
    parameters = diagnosis.catalogue.parameters
    formula = parameters[parameter].formula
    makers = {output: rule for rule in diagnosis.rules.rules.values() for output in rule.outputs.values()}
    others = (one for one in parameters.values() if one.formula and one.name != parameter)
    return tuple(sorted(one.name for one in others if formula and formula in _beneath(one.formula, makers)))


def _beneath(fact: str, makers: Mapping[str, Rule]) -> frozenset[str]:
    """Every fact that `fact` is computed from, itself left out."""
    found: set[str] = set()
    waiting = [fact]
    while waiting:
        maker = makers.get(waiting.pop())
        fresh = reads(maker) - found if maker is not None else frozenset()
        found |= fresh
        waiting += fresh
    return frozenset(found)
