"""
Finding what a name means: a rule, a fact, a setting, a target.
"""

from engram_diagnose.engine.language.problem import did_you_mean
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX
from engram_diagnose.reference.block import Block, Heading, Paragraph
from engram_diagnose.reference.fact_entry import fact_blocks, parameter_blocks, target_blocks
from engram_diagnose.reference.index import Index, base_of
from engram_diagnose.reference.rule_entry import rule_blocks


class UnknownNameError(ValueError):
    """Nothing is called that; the text says what is called nearly so."""


def described(name: str, index: Index) -> list[Block]:
    """
    Everything about the rule, fact, setting or target of a name; of a fact's window, about the fact.

    Raises `UnknownNameError`.
    """
    catalogue, base = index.loaded.catalogue, base_of(name)
    rule = index.rule(name)
    if rule is not None:
        return rule_blocks(rule, index, level=2, place=(str(rule.mark),))
    if name in index.loaded.rules.overridden:
        return [Heading(name, 2), Paragraph((index.loaded.rules.overridden[name],))]
    if base in catalogue.parameters:
        return parameter_blocks(catalogue.parameters[base], index, level=2)
    if base in catalogue.facts:
        return fact_blocks(catalogue.facts[base], index, level=2)
    target = name.removeprefix(TARGET_PREFIX)
    if target != name and index.targets(target):
        return target_blocks(target, index, level=2)
    raise UnknownNameError(f"nothing is called {name}; {_hint(base, index)}")


def _hint(name: str, index: Index) -> str:
    known = (*index.loaded.rules.rules, *index.loaded.catalogue.facts)
    return did_you_mean(name, known) or "`engram-diagnose rules list` shows the rules, with --facts the facts"
