"""
Expressions over classic histograms, said of the native histogram of the same name.

`x_bucket`, `x_sum` and `x_count` become `x`: a server that publishes native histograms has no other series of them.
"""

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
    selectors_in,
)
from engram_diagnose.collectors.prometheus.labels import BUCKET

_BUCKETS: Final = "_bucket"
_PARTS: Final = {"_sum": "histogram_sum", "_count": "histogram_count"}
_RATES: Final = frozenset({"rate", "increase", "last_over_time"})


def base_name(name: str) -> str:
    """The histogram that a series is a part of by its name; empty where it is none."""
    return next((name.removesuffix(part) for part in (_BUCKETS, *_PARTS) if name.endswith(part)), "")


def of_native(expression: Expression) -> Expression | None:
    """
    The same expression over native histograms.

    None where it reads no histogram, or one in a way that a native histogram cannot be read: by the bound of a
    bucket, or within a function that takes none.
    """
    changed = _changed(expression)
    before = {selector.name for selector in selectors_in(expression)}
    after = {selector.name for selector in selectors_in(changed)}
    left = {name for name in after & before if base_name(name)}
    return None if changed == expression or left or _reads_bounds(changed) else changed


def _changed(expression: Expression) -> Expression:
    match expression:
        case Call("histogram_quantile", (share, buckets)):
            return replace(expression, arguments=(share, _unbucketed(buckets)))
        case Call(function, (Selector() as selector,)) if function in _RATES:
            return _part(expression, selector)
        case Selector():
            return _part(expression, expression)
        case Call():
            return replace(expression, arguments=tuple(map(_changed, expression.arguments)))
        case Aggregation() | Negation():
            return replace(expression, operand=_changed(expression.operand))
        case Binary():
            return replace(expression, left=_changed(expression.left), right=_changed(expression.right))
    return expression


def _part(reading: Call | Selector, selector: Selector) -> Expression:
    """`rate(x_sum[5m])` as `histogram_sum(rate(x[5m]))`."""
    part = next((part for part in _PARTS if selector.name.endswith(part)), "")
    if not part or (selector.range_ms and isinstance(reading, Selector)):
        return reading
    whole = replace(selector, name=selector.name.removesuffix(part))
    inner = replace(reading, arguments=(whole,)) if isinstance(reading, Call) else whole
    return Call(_PARTS[part], (inner,))


def _unbucketed(expression: Expression) -> Expression:
    """What a quantile is taken of, without the label `le` and with `x` for `x_bucket`."""
    match expression:
        case Selector():
            return replace(expression, name=expression.name.removesuffix(_BUCKETS))
        case Aggregation():
            labels = tuple(name for name in expression.labels if name != BUCKET)
            return replace(expression, labels=labels, operand=_unbucketed(expression.operand))
        case Call():
            return replace(expression, arguments=tuple(map(_unbucketed, expression.arguments)))
    return expression


def _reads_bounds(expression: Expression) -> bool:
    return any(one.label == BUCKET for selector in selectors_in(expression) for one in selector.matchers) or _joins(
        expression
    )


def _joins(expression: Expression) -> bool:
    """Whether a join or an aggregation still names the label `le`."""
    match expression:
        case Binary(matching=Matching(labels=labels)):
            return BUCKET in labels or _joins(expression.left) or _joins(expression.right)
        case Aggregation():
            return BUCKET in expression.labels or _joins(expression.operand)
        case Call():
            return any(map(_joins, expression.arguments))
        case Negation():
            return _joins(expression.operand)
        case Number() | Selector():
            return False
