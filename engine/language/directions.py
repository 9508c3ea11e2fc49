"""
Advice must not work against the symptom it hangs on.

The catalogue says for each parameter which figures rise and which fall when it is raised. Where a rule's advice
clearly raises or lowers the parameter, whatever its value, and the figure that the cause explains would get worse, the
advice or the catalogue is wrong. What cannot be told without a running server is let through.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Final, Literal

from engram_diagnose.engine.facts.catalogue import Catalogue, ParameterSpec
from engram_diagnose.engine.facts.fact import Value, point
from engram_diagnose.engine.language.evaluation import value_of
from engram_diagnose.engine.language.expression import (
    Comparison,
    Condition,
    Expression,
    Number,
    Reference,
    leaves,
    references,
)
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.rule import Rule, Setting
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX

Better = Literal["lower", "higher"]
Direction = Literal["raises", "lowers"]

_OPPOSITE: Final[dict[Direction, Direction]] = {"raises": "lowers", "lowers": "raises"}
_STEPS: Final = 8


def check_directions(rule: Rule, rules: Mapping[str, Rule], catalogue: Catalogue, problems: Problems) -> None:
    """Complain about every setting of a cause that makes the figure worse which the cause explains."""
    if rule.kind != "cause" or not any(item.settings for item in rule.recommend):
        return
    figures = figures_of(rule, rules, catalogue)
    for recommendation in rule.recommend:
        for setting in recommendation.settings:
            _check(setting, rule, figures, catalogue, problems)


def figures_of(rule: Rule, rules: Mapping[str, Rule], catalogue: Catalogue) -> dict[str, Better]:
    """The facts a cause is to make better, and which way that is: what its impact is on, else what its symptoms say."""
    if rule.impact is not None:
        return {rule.impact.on.name: _better(rule.impact.on.name, catalogue)}
    return _of_symptoms(rule, rules, catalogue)


def _of_symptoms(rule: Rule, rules: Mapping[str, Rule], catalogue: Catalogue) -> dict[str, Better]:
    """The figures that the explained symptoms are of, and which way each is to go."""
    gates = [rules[name].when for name in rule.explains if name in rules]
    return dict(figure for gate in gates if gate is not None for figure in _figures_of_symptom(gate, catalogue).items())


def _figures_of_symptom(gate: Condition, catalogue: Catalogue) -> dict[str, Better]:
    """
    Those that it holds to a target; of a symptom without one, those that it compares with a number.

    Beside a target, a number is about when that counts: too few operations a second are a symptom while the CPU is busy
    with them, and keeping it busier is no harm.
    """
    tests = [leaf.test for leaf in leaves(gate)]
    named = (reference.name.removeprefix(TARGET_PREFIX) for test in tests for reference in references(test)
             if reference.name.startswith(TARGET_PREFIX))  # fmt: skip
    targets = {name: _better(name, catalogue) for name in named}
    return targets or dict(figure for test in tests for figure in _compared(test))


def _compared(test: Expression) -> Iterator[tuple[str, Better]]:
    match test:
        case Comparison(operator, Reference() as fact, Number()):
            yield fact.name.partition("@")[0], "lower" if operator in (">", ">=") else "higher"


def works_against(
    rule: Rule,
    parameter: ParameterSpec,
    current: Value | None,
    wanted: Value | None,
    rules: Mapping[str, Rule],
    catalogue: Catalogue,
) -> bool:
    """
    Whether a change of one figure to another makes all the figures worse that the cause is to make better.

    What the rule alone does not tell when it is loaded, such as a constant below what is configured, shows here.
    """
    if not isinstance(current, tuple) or not isinstance(wanted, tuple) or parameter.kind != "number":
        return False
    if not (wanted[0] > current[1] or wanted[1] < current[0]):
        return False
    figures = _of_symptoms(rule, rules, catalogue) | figures_of(rule, rules, catalogue)
    affected = [name for name in figures if name in parameter.effects]
    direction: Direction = "raises" if wanted[0] > current[1] else "lowers"
    moves = {name: direction if parameter.effects[name] == "+" else _OPPOSITE[direction] for name in affected}
    return bool(affected) and all((move == "raises") is (figures[name] == "lower") for name, move in moves.items())


def _check(
    setting: Setting, rule: Rule, figures: Mapping[str, Better], catalogue: Catalogue, problems: Problems
) -> None:
    parameter = catalogue.parameters[setting.parameter]
    affected = [name for name in figures if name in parameter.effects]
    direction = direction_of(setting, rule, parameter) if affected else None
    if direction is None:
        return
    moves = {name: direction if parameter.effects[name] == "+" else _OPPOSITE[direction] for name in affected}
    worse = [name for name, move in moves.items() if (move == "raises") is (figures[name] == "lower")]
    if len(worse) < len(affected):
        return
    effect = f"this {direction} {parameter.name}, which {moves[worse[0]]} {worse[0]}"
    message = f"{effect}: the advice works against its symptom"
    hint = "turn it round; or correct the parameter's `effects:` in the catalogue"
    problems.error(setting.mark, message, hint=hint, length=len(setting.text))


def _better(name: str, catalogue: Catalogue) -> Better:
    return next((target.better for target in catalogue.targets if target.name == name), "lower")


def direction_of(setting: Setting, rule: Rule, parameter: ParameterSpec) -> Direction | None:
    """Which way a setting moves its parameter, whatever that is; None when the rule alone does not tell."""
    if isinstance(setting.value, Number) and setting.value.kind == "bool":
        return "raises" if setting.value.value else "lowers"
    if any(reference.name == parameter.name for reference in references(setting.value)):
        pairs = _sampled(setting, rule, parameter)
    else:
        pairs = _tested(setting, rule, parameter)
    moves = [wanted - current for current, wanted in pairs if wanted is not None]
    if any(move > 0 for move in moves) and all(move >= 0 for move in moves):
        return "raises"
    return "lowers" if any(move < 0 for move in moves) and all(move <= 0 for move in moves) else None


def _sampled(setting: Setting, rule: Rule, parameter: ParameterSpec) -> Iterator[tuple[float, float | None]]:
    """The setting at several values of the parameter, everything else as the rule's tests have it."""
    for facts in _firing(rule):
        for sample in _samples(parameter, facts.get(Reference(parameter.name))):
            known = _Given({**facts, Reference(parameter.name): point(sample)})
            yield sample, _bounded(value_of(setting.value, known), parameter)


def _tested(setting: Setting, rule: Rule, parameter: ParameterSpec) -> Iterator[tuple[float, float | None]]:
    """The setting against the parameter's value in the tests that fire."""
    for facts in _firing(rule):
        current = facts.get(Reference(parameter.name))
        if isinstance(current, tuple) and current[0] == current[1]:
            yield current[0], _bounded(value_of(setting.value, _Given(facts)), parameter)


def _firing(rule: Rule) -> Iterator[dict[Reference, Value]]:
    """The facts of each test that fires; those given alone when there is no such test."""
    given = {item.reference: item.value for item in rule.given}
    firing = [case for case in rule.cases if case.expect == "fires"]
    for case in firing:
        facts = {**given, **{item.reference: item.value for item in case.change}}
        yield {reference: value for reference, value in facts.items() if reference not in case.drop}
    if not firing:
        yield given


def _samples(parameter: ParameterSpec, current: Value | None) -> list[float]:
    """Values across the range of a parameter; where it has no end, some orders of magnitude."""
    low = parameter.low if isfinite(parameter.low) else 0.0
    known = current[1] if isinstance(current, tuple) and isfinite(current[1]) else 0.0
    high = parameter.high if isfinite(parameter.high) else max(1.0, low, known) * 1000
    if low > 0:
        return [low * (high / low) ** (step / _STEPS) for step in range(_STEPS + 1)]
    return [low + (high - low) * step / _STEPS for step in range(_STEPS + 1)]


def _bounded(value: Value | None, parameter: ParameterSpec) -> float | None:
    if value is None or isinstance(value, str) or value[0] != value[1]:
        return None
    return min(max(value[0], parameter.low), parameter.high)


class _Given:
    """What a test gives (`evaluation.Known`)."""

    def __init__(self, facts: Mapping[Reference, Value]) -> None:
        self._facts = facts

    def value(self, reference: Reference) -> Value | None:
        return self._facts.get(reference)

    def narrower(self, dimension: str, names: frozenset[str]) -> "Iterable[_Given]":
        return ()
