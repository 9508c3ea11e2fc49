"""
The rule base that comes with the tool, and facts on which some of it fires.
"""

from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.rulebase import load_rules


def builtin_expert() -> Expert:
    """The built-in rules, ready to diagnose."""
    return expert(load_rules())


def builtin_facts(ready: Expert) -> list[Fact]:
    """What the rules' own tests give, the first rule's word where several speak of one fact."""
    facts: dict[object, Fact] = {}
    for rule in ready.loaded.rules.rules.values():
        for given in rule.given:
            scope = scope_of(dict(given.reference.labels))
            fact = Fact(given.reference.name, given.value, scope=scope, source="a rule's test")
            facts.setdefault(fact.key, fact)
    return list(facts.values())
