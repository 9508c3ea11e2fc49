"""
Expressions over all values of a label: what `sum by (le, operation, space)` says of a space, said of all of them.

Buckets and counts are merged before anything is computed from them; a quantile of quantiles would mean nothing.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from engram_diagnose.collectors.prometheus.expression import (
    Aggregation,
    Binary,
    Call,
    Expression,
    Matching,
    Negation,
    Number,
    Selector,
)
from engram_diagnose.collectors.prometheus.lexer import format_duration

_TIGHT: Final = {"*": 3, "/": 3, "+": 2, "-": 2}


def merged_over(expression: Expression, labels: Collection[str]) -> Expression | None:
    """
    The expression with these labels taken out of every aggregation and join; None where the result would still carry
    one of them, since something in it is not aggregated.
    """
    merged = _without(expression, frozenset(labels))
    return None if any(_carries(merged, name) for name in labels) else merged


def _without(expression: Expression, labels: frozenset[str]) -> Expression:
    match expression:
        case Aggregation():
            operand = _without(expression.operand, labels)
            return replace(expression, operand=operand, labels=_grouping(expression, labels))
        case Call():
            return replace(expression, arguments=tuple(_without(one, labels) for one in expression.arguments))
        case Negation():
            return Negation(_without(expression.operand, labels))
        case Binary():
            sides = _without(expression.left, labels), _without(expression.right, labels)
            return replace(expression, left=sides[0], right=sides[1], matching=_joining(expression.matching, labels))
    return expression


def _grouping(aggregation: Aggregation, labels: frozenset[str]) -> tuple[str, ...]:
    kept = tuple(name for name in aggregation.labels if name not in labels)
    return (*kept, *sorted(labels)) if aggregation.without else kept


def _joining(matching: Matching, labels: frozenset[str]) -> Matching:
    include = tuple(name for name in matching.include if name not in labels)
    on = tuple(name for name in matching.labels if name not in labels) if matching.on else matching.labels
    return replace(matching, labels=on, include=include)


def _carries(expression: Expression, name: str) -> bool:
    """Whether the label may stand in the result."""
    match expression:
        case Selector():
            return True
        case Aggregation():
            if expression.without:
                return name not in expression.labels and _carries(expression.operand, name)
            return name in expression.labels
        case Negation():
            return _carries(expression.operand, name)
        case Call():
            return any(_carries(argument, name) for argument in expression.arguments)
        case Binary():
            return _carries(expression.left, name) or _carries(expression.right, name)
    return False


# As text


def promql_of(expression: Expression) -> str:
    """The expression as PromQL, which reads as the same expression again."""
    match expression:
        case Number():
            return _figure(expression.value)
        case Selector():
            range_ = f"[{_duration(expression.range_ms)}]" if expression.range_ms else ""
            offset = f" offset {_duration(expression.offset_ms)}" if expression.offset_ms else ""
            return f"{expression}{range_}{offset}"
        case Negation():
            return f"-{_enclosed(expression.operand, 4)}"
        case Call():
            return f"{expression.function}({', '.join(map(promql_of, expression.arguments))})"
        case Aggregation():
            return f"{expression.operator}{_by(expression)}({promql_of(expression.operand)})"
    tightness = _tightness(expression)
    left, right = _enclosed(expression.left, tightness), _enclosed(expression.right, tightness + 1)
    return f"{left} {expression.operator}{_join(expression)} {right}"


def _figure(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _duration(milliseconds: int) -> str:
    sign = "-" if milliseconds < 0 else ""
    return sign + format_duration(abs(milliseconds) / 1000)


def _by(aggregation: Aggregation) -> str:
    labels = ", ".join(aggregation.labels)
    if aggregation.without:
        return f" without ({labels}) "
    return f" by ({labels}) " if labels else ""


def _join(binary: Binary) -> str:
    matching = binary.matching
    word = " bool" if binary.as_bool else ""
    if matching.on or matching.labels:
        word += f" {'on' if matching.on else 'ignoring'} ({', '.join(matching.labels)})"
    if matching.many:
        word += f" group_{matching.many} ({', '.join(matching.include)})"
    return word


def _tightness(expression: Expression) -> int:
    return _TIGHT.get(expression.operator, 1) if isinstance(expression, Binary) else 4


def _enclosed(operand: Expression, least: int) -> str:
    text = promql_of(operand)
    bare = _tightness(operand) >= least and not (isinstance(operand, Number | Negation) and text.startswith("-"))
    return text if bare else f"({text})"
