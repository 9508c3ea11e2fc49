"""
Values and tests in words, from the values that were evaluated and no others.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

from engram_diagnose.engine.facts.catalogue import FactSpec
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.facts.unit import (
    BANDWIDTH,
    BYTES,
    NUMBER,
    RATE,
    TIME,
    UNITS,
    Dimension,
    Unit,
    format_value,
)
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.evaluation import value_of
from engram_diagnose.engine.language.expression import (
    Aggregated,
    Arithmetic,
    Between,
    Call,
    Comparison,
    Contains,
    Expression,
    Leaf,
    Member,
    Named,
    Negative,
    Number,
    Reference,
    Text,
    walk,
)
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.types import Checker
from engram_diagnose.engine.language.vocabulary import Vocabulary

_BASE_UNITS: Final[Mapping[Dimension, Unit]] = {
    NUMBER: UNITS[""],
    TIME: UNITS["s"],
    BYTES: UNITS["B"],
    RATE: UNITS["/s"],
    BANDWIDTH: UNITS["B/s"],
}
_FIELD: Final = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")
_OPPOSITE: Final = {
    ">": "not above",
    ">=": "below",
    "<": "not below",
    "<=": "above",
    "==": "not",
    "!=": "",
}
_WORDS: Final = {
    ">": "above",
    ">=": "at least",
    "<": "below",
    "<=": "at most",
    "==": "as",
    "!=": "not",
}


def value_text(value: Value | None, unit: Unit, kind: str = "number") -> str:
    """A value as a person reads it; an interval by its ends, and `unknown` for none."""
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value
    low, high = value
    if kind == "bool" and low == high:
        return "yes" if low else "no"
    if low == high:
        return format_value(low, unit)
    if math.isinf(high):
        return f"at least {format_value(low, unit)}"
    if math.isinf(low):
        return f"at most {format_value(high, unit)}"
    least, most = format_value(low, unit), format_value(high, unit)
    return least if least == most else f"{least} to {most}"


def fact_text(value: Value | None, spec: FactSpec | None) -> str:
    """A fact's value in its own unit."""
    return value_text(value, spec.unit if spec else UNITS[""], spec.kind if spec else "number")


def _names_of(rule: Rule) -> dict[str, Expression]:
    """What the sentences of a rule may name: its lets, and its parameters with and without their sign."""
    found: dict[str, Expression] = {name: Named(name, body) for name, body in rule.lets.items()}
    for name, parameter in rule.params.items():
        found |= {name: parameter.value, f"${name}": parameter.value}
    return found


class Wording:
    """Words expressions for one scope; the sentences of `rule` may use its lets and parameters."""

    def __init__(self, seen: Seen, vocabulary: Vocabulary, rule: Rule | None = None) -> None:
        self._seen = seen
        self._vocabulary = vocabulary
        self._named = _names_of(rule) if rule is not None else {}

    def unit(self, expression: Expression) -> tuple[Unit, str]:
        """The unit to show an expression in, and its kind."""
        if isinstance(expression, Named):
            return self.unit(expression.body)
        if isinstance(expression, Reference):
            spec = self._vocabulary.spec(expression.name)
            return (spec.unit, spec.kind) if spec else (UNITS[""], "number")
        if isinstance(expression, Number):
            return expression.unit, expression.kind
        kind = Checker(self._vocabulary.spec, ()).value(expression)
        if kind is None or kind.sort != "number":
            return UNITS[""], "bool" if kind else "text"
        return _BASE_UNITS.get(kind.dimension, UNITS[""]), "number"

    def value(self, expression: Expression) -> str:
        """The value of an expression, in words."""
        unit, kind = self.unit(expression)
        return value_text(value_of(expression, self._seen), unit, kind)

    def sentence(self, leaf: Leaf, truth: Truth) -> str:
        """What a test found: the author's sentence when it is true and there is one, else one from the values."""
        if leaf.because and truth is Truth.TRUE:
            return self.filled(leaf.because, leaf.test)
        return self._found(leaf.test, truth) or f"{leaf.text}: {_truth_word(truth)}"

    def filled(self, text: str, test: Expression) -> str:
        """A sentence with its `{name}` fields filled from the parts of the test."""
        named = dict(self._named)
        for part in walk(test):
            if isinstance(part, Named):
                named.setdefault(part.name, part)
            elif isinstance(part, Reference):
                named.setdefault(str(part), part)
                named.setdefault(part.name, part)
            elif isinstance(part, Number | Text) and part.parameter:
                named.setdefault(f"${part.parameter}", part)
                named.setdefault(part.parameter, part)

        def field(match: re.Match[str]) -> str:
            name, spec = match.group(1).strip(), match.group(2) or ""
            expression = named.get(name) or Reference(name)
            value = value_of(expression, self._seen)
            if spec.endswith("%") and value is not None and not isinstance(value, str):
                return value_text(value, UNITS["share"])
            return self.value(expression)

        return _FIELD.sub(field, text)

    def _found(self, test: Expression, truth: Truth) -> str:
        match test:
            case Comparison(operator, left, right):
                return self._compared(operator, left, right, truth)
            case Between(operand, low, high):
                outside = "" if truth is Truth.TRUE else "not "
                limits = f"{self.value(low)} and {self.value(high)}"
                return f"{self.name(operand)} is {self.value(operand)}, {outside}between {limits}"
            case Member(operand, choices):
                outside = "" if truth is Truth.TRUE else "not "
                listed = ", ".join(map(self.value, choices))
                return f"{self.name(operand)} is {self.value(operand)}, {outside}one of {listed}"
            case Contains(operand, part):
                negation = "" if truth is Truth.TRUE else "does not contain"
                return (
                    f"{self.name(operand)} is {self.value(operand)}, {negation or 'which contains'} {self.value(part)}"
                )
            case Reference():
                return f"{self.name(test)} is {self.value(test)}"
        return ""

    def _compared(self, operator: str, left: Expression, right: Expression, truth: Truth) -> str:
        if isinstance(left, Number) and not isinstance(right, Number):
            flipped = {">": "<", ">=": "<=", "<": ">", "<=": ">="}.get(operator, operator)
            return self._compared(flipped, right, left, truth)
        subject, measured, limit = self.name(left), self.value(left), self._limit(right)
        if truth is Truth.UNKNOWN:
            return f"{subject} is {measured}; the test is {_SIGNS.get(operator, operator)} {limit}"
        if operator in ("==", "!="):
            same = (operator == "==") == (truth is Truth.TRUE)
            return f"{subject} is {measured}" if same else f"{subject} is {measured}, not {limit}"
        word = _WORDS[operator] if truth is Truth.TRUE else _OPPOSITE[operator]
        return f"{subject} is {measured}, {word} {limit}"

    def _limit(self, right: Expression) -> str:
        text = self.value(right)
        return text if isinstance(right, Number | Text) else f"{text} ({self.name(right)})"

    def name(self, expression: Expression) -> str:
        """What to call an expression: a fact's or a let's name, else its formula."""
        match expression:
            case Named(name, _):
                return name.replace("_", " ")
            case Reference():
                return str(expression)
        return formula(expression)


_SIGNS: Final = {
    ">": "above",
    ">=": "at least",
    "<": "below",
    "<=": "at most",
    "==": "equal to",
    "!=": "different from",
}


def _truth_word(truth: Truth) -> str:
    return {Truth.TRUE: "true", Truth.FALSE: "false", Truth.UNKNOWN: "unknown"}[truth]


def formula(expression: Expression) -> str:
    """An expression written out again."""
    match expression:
        case Number(value, unit, kind):
            return ("true" if value else "false") if kind == "bool" else format_value(value, unit)
        case Text(value):
            return f'"{value}"'
        case Reference():
            return str(expression)
        case Named(name, _):
            return name
        case Negative(operand):
            return f"-{formula(operand)}"
        case Arithmetic(operator, left, right):
            return f"{_operand(left)} {operator} {_operand(right)}"
        case Call(function, arguments):
            return f"{function}({', '.join(map(formula, arguments))})"
        case Aggregated(function, dimension, body):
            return f"{function}({dimension}, {formula(body)})"
        case Comparison(operator, left, right):
            return f"{formula(left)} {operator} {formula(right)}"
    return "…"


def _operand(expression: Expression) -> str:
    return f"({formula(expression)})" if isinstance(expression, Arithmetic) else formula(expression)
