"""
A rule base made ready to run: slots, stages, and a closure for every gate, row and value.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from engram_diagnose.engine.inference.leaf import FALSE, TRUE, Frame, Slots, Test, ValueOf, compile_value
from engram_diagnose.engine.inference.reads import Read, reads_of
from engram_diagnose.engine.inference.tree import compile_condition
from engram_diagnose.engine.language.expression import Expression, Reference, leaves, references
from engram_diagnose.engine.language.rule import Outcome, Row, Rule
from engram_diagnose.engine.language.stages import advice_conditions, conditions_of, stages, values_of
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX


@dataclass(frozen=True, slots=True)
class CompiledRow:
    """One row of a table; `test` is None for the `else` row. `inputs` is what it and the rows before it rest on."""

    test: Test | None
    values: tuple[tuple[str, ValueOf], ...]
    inputs: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """
    A rule with its closures. `read` are the references that decide which scopes it ranges over; `verdict_read` tells
    that some rule, or the advice of one, reads its verdict as a fact; `inputs` is what all its outputs together rest
    on. `decide` is the outcome of `applies` and `gate`, before any row or value.
    """

    rule: Rule
    applies: Test | None
    gate: Test | None
    rows: tuple[CompiledRow, ...]
    value: ValueOf | None
    read: tuple[Reference, ...]
    verdict_read: bool
    inputs: tuple[Read, ...]
    decide: Callable[[Frame], Outcome]


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """Every rule, in stages; `by_id` finds one."""

    slots: Slots
    stages: tuple[tuple[CompiledRule, ...], ...]
    by_id: Mapping[str, CompiledRule]

    def only(self, ids: Collection[str]) -> "CompiledRules":
        """These rules alone, in the same stages; they must hold whatever they read the results of."""
        kept = (tuple(rule for rule in stage if rule.rule.id in ids) for stage in self.stages)
        return CompiledRules(self.slots, tuple(filter(None, kept)), self.by_id)


def compile_rules(rules: Mapping[str, Rule]) -> CompiledRules:
    """
    Compile a checked rule base.

    Raises `ValueError` for rules that read one another in a circle, which loading would have refused.
    """
    order, circle = stages(rules)
    if circle:
        raise ValueError(f"these rules read one another in a circle: {', '.join(circle)}")
    slots = Slots()
    read = {rule_id: references_of(rule) for rule_id, rule in rules.items()}
    named = {reference.name for found in read.values() for reference in found}
    advice = [condition for rule in rules.values() for condition in advice_conditions(rule)]
    advised = _distinct(leaf.test for condition in advice for leaf in leaves(condition))
    named |= {reference.name for reference in advised}
    compiled = {
        rule_id: _compile(rules[rule_id], slots, read[rule_id], rule_id in named)
        for stage in order
        for rule_id in stage
    }
    return CompiledRules(slots, tuple(tuple(compiled[rule_id] for rule_id in stage) for stage in order), compiled)


def _compile(rule: Rule, slots: Slots, read: tuple[Reference, ...], verdict_read: bool) -> CompiledRule:
    applies = None if rule.applies is None else compile_condition(rule.applies, slots)
    gate = None if rule.when is None else compile_condition(rule.when, slots)
    rows = tuple(_compile_row(rule, position, slots) for position in range(len(rule.rows)))
    value = None if rule.value is None else compile_value(rule.value, slots)
    inputs = reads_of([rule.value]) if rule.value is not None else rows[-1].inputs if rows else ()
    return CompiledRule(rule, applies, gate, rows, value, read, verdict_read, inputs, _decision(applies, gate))


def _compile_row(rule: Rule, position: int, slots: Slots) -> CompiledRow:
    row = rule.rows[position]
    return CompiledRow(
        None if row.condition is None else compile_condition(row.condition, slots),
        tuple((rule.outputs[local], compile_value(value, slots)) for local, value in row.values.items()),
        _row_inputs(rule.rows[: position + 1]),
    )


def _row_inputs(rows: Iterable[Row]) -> tuple[Read, ...]:
    """What the values of the last row rest on: they, its test, and the tests of the rows that were passed over."""
    taken = list(rows)
    tests = [leaf.test for row in taken if row.condition is not None for leaf in leaves(row.condition)]
    return reads_of([*tests, *taken[-1].values.values()])


def _distinct(expressions: Iterable[Expression]) -> tuple[Reference, ...]:
    """The references of expressions, each once, in reading order."""
    return tuple(dict.fromkeys(reference for expression in expressions for reference in references(expression)))


def _decision(applies: Test | None, gate: Test | None) -> Callable[[Frame], Outcome]:
    if applies is None:
        return _gate_decision(gate)
    decide_gate = _gate_decision(gate)

    def decide(frame: Frame) -> Outcome:
        truth = applies(frame)
        return decide_gate(frame) if truth is TRUE else "not-applicable" if truth is FALSE else "unknown"

    return decide


def _gate_decision(gate: Test | None) -> Callable[[Frame], Outcome]:
    if gate is None:
        return lambda frame: "fires"

    def decide(frame: Frame) -> Outcome:
        truth = gate(frame)
        return "fires" if truth is TRUE else "refuted" if truth is FALSE else "unknown"

    return decide


def references_of(rule: Rule) -> tuple[Reference, ...]:
    """
    The references of a rule's conditions and values, each once, in reading order.

    Targets are left out: a figure that is promised of a scope does not make that scope exist.
    """
    expressions = [leaf.test for condition in conditions_of(rule) for leaf in leaves(condition)]
    expressions += values_of(rule)
    found = dict.fromkeys(reference for expression in expressions for reference in references(expression))
    return tuple(reference for reference in found if not reference.name.startswith(TARGET_PREFIX))
