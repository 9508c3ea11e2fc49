"""
What sizing says of a setting: the rows of the table, or the formula, that its value comes from.
"""

from collections.abc import Iterator

from engram_diagnose.engine.explanation.wording import formula
from engram_diagnose.engine.facts.catalogue import ParameterSpec
from engram_diagnose.engine.language.rule import Row, Rule
from engram_diagnose.reference.block import Block, Code, Line, Paragraph, Table, line
from engram_diagnose.reference.index import Index
from engram_diagnose.reference.rule_entry import rule_link
from engram_diagnose.reference.words import one_line


def sized_by(spec: ParameterSpec, index: Index) -> Rule | None:
    """The rule that says what fits; None where sizing leaves the setting alone."""
    return index.rule(index.writers.get(spec.formula, ""))


def formula_words(spec: ParameterSpec, index: Index) -> Line:
    """The rule that sizes a setting, or that none does."""
    rule = sized_by(spec, index)
    return line("left alone") if rule is None else (rule_link(rule.id),)


def formula_lines(spec: ParameterSpec, index: Index) -> Iterator[Line]:
    """What fits, where that takes no choice."""
    rule = sized_by(spec, index)
    if rule is None or len(rule.rows) > 1:
        return
    value = formula(rule.value) if rule.value is not None else _value(rule.rows[0], rule, spec.formula)
    why = "" if rule.value is not None else f", {rule.rows[0].why}"
    yield ("what fits: ", Code(value), f"{_where(rule)}{why}, by ", rule_link(rule.id))


def formula_blocks(spec: ParameterSpec, index: Index) -> Iterator[Block]:
    """The rows that choose what fits."""
    rule = sized_by(spec, index)
    if rule is None or len(rule.rows) < 2:
        return
    yield Paragraph(("What fits is the first row that holds of ", rule_link(rule.id), f"{_where(rule)}."))
    yield Table(("When", "value", "because"), tuple(_row(row, rule, spec.formula) for row in rule.rows))


def _where(rule: Rule) -> str:
    return "" if rule.applies is None else f", where {one_line(rule.applies)}"


def _row(row: Row, rule: Rule, fact: str) -> tuple[Line, ...]:
    when = "else" if row.condition is None else one_line(row.condition)
    return line(when), line(_value(row, rule, fact)), line(row.why)


def _value(row: Row, rule: Rule, fact: str) -> str:
    """What a row gives for one of the table's outputs."""
    local = next(name for name, output in rule.outputs.items() if output == fact)
    return formula(row.values[local]) if local in row.values else ""
