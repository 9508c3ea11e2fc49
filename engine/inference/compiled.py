"""
A rule base made ready to run: slots, stages, and a closure for every gate, row and value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engram_diagnose.engine.inference.leaf import Slots, Test, ValueOf, compile_value
from engram_diagnose.engine.inference.tree import compile_condition
from engram_diagnose.engine.language.expression import Reference, leaves, references
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.stages import conditions_of, reads, stages, values_of
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX


@dataclass(frozen=True, slots=True)
class CompiledRow:
    """One row of a table; `test` is None for the `else` row."""

    test: Test | None
    values: tuple[tuple[str, ValueOf], ...]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """
    A rule with its closures. `read` are the references that decide which scopes it ranges over; `verdict_read` tells
    that some rule reads its verdict as a fact.
    """

    rule: Rule
    applies: Test | None
    gate: Test | None
    rows: tuple[CompiledRow, ...]
    value: ValueOf | None
    read: tuple[Reference, ...]
    verdict_read: bool


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """Every rule, in stages; `by_id` finds one."""

    slots: Slots
    stages: tuple[tuple[CompiledRule, ...], ...]
    by_id: Mapping[str, CompiledRule]


def compile_rules(rules: Mapping[str, Rule]) -> CompiledRules:
    """
    Compile a checked rule base.

    Raises `ValueError` for rules that read one another in a circle, which loading would have refused.
    """
    order, circle = stages(rules)
    if circle:
        raise ValueError(f"these rules read one another in a circle: {', '.join(circle)}")
    slots = Slots()
    read = frozenset(name for rule in rules.values() for name in reads(rule))
    compiled = {rule_id: _compile(rules[rule_id], slots, rule_id in read) for stage in order for rule_id in stage}
    return CompiledRules(slots, tuple(tuple(compiled[rule_id] for rule_id in stage) for stage in order), compiled)


def _compile(rule: Rule, slots: Slots, verdict_read: bool) -> CompiledRule:
    return CompiledRule(
        rule,
        None if rule.applies is None else compile_condition(rule.applies, slots),
        None if rule.when is None else compile_condition(rule.when, slots),
        tuple(
            CompiledRow(
                None if row.condition is None else compile_condition(row.condition, slots),
                tuple((rule.outputs[local], compile_value(value, slots)) for local, value in row.values.items()),
            )
            for row in rule.rows
        ),
        None if rule.value is None else compile_value(rule.value, slots),
        references_of(rule),
        verdict_read,
    )


def references_of(rule: Rule) -> tuple[Reference, ...]:
    """
    The references of a rule's conditions and values, each once, in reading order.

    Targets are left out: a figure that is promised of a scope does not make that scope exist.
    """
    expressions = [leaf.test for condition in conditions_of(rule) for leaf in leaves(condition)]
    expressions += values_of(rule)
    found = dict.fromkeys(reference for expression in expressions for reference in references(expression))
    return tuple(reference for reference in found if not reference.name.startswith(TARGET_PREFIX))
