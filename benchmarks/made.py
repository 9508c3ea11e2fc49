"""
Made-up rule bases of the shape the built-in one has, and facts for them, the same ones for the same seed.

The shares of rule shapes and of leaves were counted in `rules/`: half of the gates are one test, most others two or
three under `all`; two tests of three compare a fact with a constant, the others two facts, or a fact with a product.
"""

import random
from collections.abc import Sequence

from engram_diagnose.engine.advice.policy import Policy
from engram_diagnose.engine.diagnosis import Expert
from engram_diagnose.engine.facts.catalogue import Catalogue, FactSpec
from engram_diagnose.engine.facts.fact import Fact, Reason, point, unknown_fact
from engram_diagnose.engine.facts.scales import Scales
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.inference.compiled import compile_rules
from engram_diagnose.engine.language.expression import (
    All,
    AnyOf,
    Arithmetic,
    AtLeast,
    Comparison,
    ComparisonOperator,
    Condition,
    Expression,
    Leaf,
    Number,
    Reference,
)
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Evidence, Rule, RuleBase, Strength

OPERATORS: Sequence[ComparisonOperator] = (">", ">", ">", "<", ">=", "<=")
STRENGTHS: Sequence[Strength] = ("weak", "moderate", "strong")
SCALES = Scales(
    {"possible": 0.3, "likely": 0.6, "near-certain": 0.9},
    {"weak": 2.0, "moderate": 5.0, "strong": 20.0, "decisive": 100.0},
    0.01,
)
EVIDENCE_PER_CAUSE = 3
SYMPTOM_SHARE = 0.28


def names_of(count: int) -> list[str]:
    """Fact names."""
    return [f"group_{number // 10}.fact_{number % 10}" for number in range(count)]


def make_facts(names: Sequence[str], *, seed: int, unknown: float) -> list[Fact]:
    """A figure of 0 to 100 for each name; a share of them is unknown."""
    dice = random.Random(seed)
    return [
        unknown_fact(name, Reason.NOT_IN_DIALECT, source="made up")
        if dice.random() < unknown
        else Fact(name, point(dice.uniform(0, 100)), source="made up")
        for name in names
    ]


def make_rules(count: int, names: Sequence[str], *, seed: int) -> dict[str, Rule]:
    """Symptoms and causes over these facts; causes carry evidence and explain symptoms."""
    dice = random.Random(seed)
    symptoms = [f"symptom-{number:05}" for number in range(round(count * SYMPTOM_SHARE))]
    rules = [_symptom(name, dice, names) for name in symptoms]
    rules += [_cause(f"cause-{number:05}", dice, names, symptoms) for number in range(count - len(symptoms))]
    return {rule.id: rule for rule in sorted(rules, key=lambda rule: rule.id)}


def make_expert(rules: dict[str, Rule], names: Sequence[str]) -> Expert:
    """These rules ready to diagnose, with a catalogue that knows the facts."""
    facts = {name: FactSpec(name, "number", UNITS["ms"], "made up", origin="prometheus") for name in names}
    loaded = Loaded(RuleBase(rules), Catalogue(facts, {}, ()), SCALES, Policy(), (), {})
    return Expert(loaded, compile_rules(rules))


def _symptom(name: str, dice: random.Random, names: Sequence[str]) -> Rule:
    return Rule(name, 1, "symptom", name, "made", Mark("made", 1, 1), when=_gate(dice, names))


def _cause(name: str, dice: random.Random, names: Sequence[str], symptoms: Sequence[str]) -> Rule:
    evidence = tuple(
        Evidence(_leaf(dice, names), dice.choice(STRENGTHS), dice.choice(STRENGTHS)) for _ in range(EVIDENCE_PER_CAUSE)
    )
    return Rule(
        name, 1, "cause", name, "made", Mark("made", 1, 1), when=_gate(dice, names), when_true="likely",
        evidence=evidence, explains=tuple(dice.sample(symptoms, min(2, len(symptoms)))),
    )  # fmt: skip


def _gate(dice: random.Random, names: Sequence[str]) -> Condition:
    size = dice.choices((1, 2, 3, 4), (59, 31, 15, 4))[0]
    items = tuple(_leaf(dice, names) for _ in range(size))
    if size == 1:
        return items[0]
    shapes: list[Condition] = [All(items), AnyOf(items), AtLeast(2, items)]
    return dice.choices(shapes, (40, 10, 4 if size > 2 else 0))[0]


def _leaf(dice: random.Random, names: Sequence[str]) -> Leaf:
    left, right = (Reference(name) for name in dice.sample(names, 2))
    constant = Number(round(dice.uniform(0, 100), 2), UNITS["ms"])
    factor = Arithmetic("*", Number(round(dice.uniform(0.5, 2), 2), UNITS[""]), right)
    limits: list[Expression] = [constant, right, factor]
    return Leaf(Comparison(dice.choice(OPERATORS), left, dice.choices(limits, (65, 20, 15))[0]))
