"""
What a figure would need that nobody knows: the measured facts at the bottom of its tables.
"""

from collections.abc import Iterator, Mapping

from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.stages import reads


def missing_inputs(fact: str, diagnosis: Diagnosis) -> tuple[str, ...]:
    """The names of the unknown facts that `fact` is computed from, ordered; empty when nothing is missing."""
    makers = {output: rule for rule in diagnosis.rules.rules.values() for output in rule.outputs.values()}
    return tuple(sorted(set(_missing(fact, diagnosis, makers, frozenset()))))


def _missing(fact: str, diagnosis: Diagnosis, makers: Mapping[str, Rule], seen: frozenset[str]) -> Iterator[str]:
    if fact in seen or _known(fact, diagnosis):
        return
    maker = makers.get(fact)
    if maker is None:
        yield fact
        return
    for name in sorted(reads(maker)):
        yield from _missing(name, diagnosis, makers, seen | {fact})


def _known(fact: str, diagnosis: Diagnosis) -> bool:
    return any(one.known for one in diagnosis.memory.at(fact).values())
