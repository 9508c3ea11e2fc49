"""
The same rules in CLIPS, through clipspy.

Two ways of writing them are measured, because CLIPS is much faster in the second:

- `facts`: one CLIPS fact for each of ours, `(fact (name …) (value …))`, a pattern for each fact a test reads. This is
  how an expert system is written in CLIPS. A fact that is unknown is not asserted.
- `record`: all facts as slots of one fact, each rule one pattern whose test reads the slots. No fact can be unknown,
  scoped or derived any more, so it is no expert system, but it is the fastest way found.

clipspy 1.0.6 never lets go of a fact: it calls CLIPS's `ReleaseFact` with an argument too many and swallows the error,
so that each reset walks all facts there ever were and diagnoses get slower and slower. That is mended here before
anything is timed.

Other ways that were tried are slower than `facts`: ordered facts (clipspy asserts them from text only), verdicts
asserted as facts and read back instead of a Python function called by the rule.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import clips
from clips._clips import lib

from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.language.expression import (
    All,
    AnyOf,
    Arithmetic,
    AtLeast,
    Comparison,
    Condition,
    Expression,
    Leaf,
    Number,
    Reference,
    leaves,
    references,
)
from engram_diagnose.engine.language.rule import Rule


def _release(fact: clips.facts.Fact) -> None:
    lib.ReleaseFact(fact._fact)


clips.facts.Fact.__del__ = _release

Run = Callable[[Iterable[Fact]], set[str]]
"""From facts to the ids of the rules that fire."""


def with_facts(rules: Mapping[str, Rule]) -> Run:
    """An environment with one CLIPS fact per fact."""
    environment, fired = _environment(["(deftemplate fact (slot name) (slot value))"])
    for rule in rules.values():
        environment.build(f"(defrule {rule.id} {_patterns(_gate(rule))} => (fired {rule.id}))")
    template, symbol = environment.find_template("fact"), clips.Symbol

    def run(facts: Iterable[Fact]) -> set[str]:
        environment.reset()
        for fact in facts:
            if fact.value is not None:
                template.assert_fact(name=symbol(fact.name), value=fact.value[0])
        return _fired(environment, fired)

    return run


def with_record(rules: Mapping[str, Rule], names: Sequence[str]) -> Run:
    """An environment with one CLIPS fact that holds all of ours, which must all be known."""
    slots = " ".join(f"(slot {name})" for name in names)
    environment, fired = _environment([f"(deftemplate record {slots})"])
    for rule in rules.values():
        gate = _gate(rule)
        read = sorted({reference.name for leaf in leaves(gate) for reference in references(leaf.test)})
        bound = " ".join(f"({name} ?{name})" for name in read[:-1])
        last = f"({read[-1]} ?{read[-1]}&:{_test(gate)})"
        environment.build(f"(defrule {rule.id} (record {bound} {last}) => (fired {rule.id}))")
    template = environment.find_template("record")

    def run(facts: Iterable[Fact]) -> set[str]:
        environment.reset()
        template.assert_fact(**{fact.name: fact.value[0] for fact in facts if fact.value is not None})
        return _fired(environment, fired)

    return run


def _environment(constructs: Iterable[str]) -> tuple[clips.Environment, list[str]]:
    environment = clips.Environment()
    fired: list[str] = []
    environment.define_function(fired.append, name="fired")
    for construct in constructs:
        environment.build(construct)
    return environment, fired


def _fired(environment: clips.Environment, fired: list[str]) -> set[str]:
    environment.run()
    found = set(fired)
    fired.clear()
    return found


def _gate(rule: Rule) -> Condition:
    if rule.when is None:
        raise ValueError(f"{rule.id} has no gate to write in CLIPS")
    return rule.when


def _patterns(condition: Condition) -> str:
    """A gate as pattern-matching conditions, over one CLIPS fact per fact."""
    match condition:
        case Leaf(test):
            return _joined(test)
        case All(items):
            return " ".join(map(_patterns, items))
        case AnyOf(items):
            return f"(or {' '.join(f'(and {_patterns(item)})' for item in items)})"
        case AtLeast(count, items):
            enough = [f"(and {' '.join(map(_patterns, some))})" for some in combinations(items, count)]
            return f"(or {' '.join(enough)})"
    raise ValueError(f"not written in CLIPS here: {condition}")


def _joined(test: Expression) -> str:
    """One pattern for each fact that a test reads; the last one tests."""
    read = list(dict.fromkeys(reference.name for reference in references(test)))
    bound = [f"(fact (name {name}) (value ?{name}))" for name in read[:-1]]
    return " ".join([*bound, f"(fact (name {read[-1]}) (value ?{read[-1]}&:{_term(test)}))"])


def _test(condition: Condition) -> str:
    """A gate as one expression over variables."""
    match condition:
        case Leaf(test):
            return _term(test)
        case All(items):
            return f"(and {' '.join(map(_test, items))})"
        case AnyOf(items):
            return f"(or {' '.join(map(_test, items))})"
        case AtLeast(count, items):
            return f"(>= (+ {' '.join(f'(if {_test(item)} then 1 else 0)' for item in items)}) {count})"
    raise ValueError(f"not written in CLIPS here: {condition}")


def _term(expression: Expression) -> str:
    match expression:
        case Number(value):
            return repr(value)
        case Reference(name):
            return f"?{name}"
        case Arithmetic(operator, left, right) | Comparison(operator, left, right):
            return f"({operator} {_term(left)} {_term(right)})"
    raise ValueError(f"not written in CLIPS here: {expression}")
