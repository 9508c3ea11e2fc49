"""
PromQL over raw samples, with the results that Prometheus itself would give.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from engram_diagnose.collectors.prometheus.expression import (
    Aggregation,
    Binary,
    Call,
    Expression,
    Negation,
    Number,
    Selector,
    kind_of,
)
from engram_diagnose.collectors.prometheus.functions import (
    NO_NOTES,
    PROMETHEUS_3,
    RANGE_FUNCTIONS,
    Semantics,
    Span,
    highest,
    lowest,
    mean,
    total,
)
from engram_diagnose.collectors.prometheus.histogram import quantile
from engram_diagnose.collectors.prometheus.labels import (
    BUCKET,
    NAME,
    Labels,
    drop,
    keep,
    label,
    parse_float,
    without_name,
)
from engram_diagnose.collectors.prometheus.operators import (
    EvaluationError,
    Sample,
    Vector,
    distinct,
    joined,
    merged_notes,
    negated,
    of_numbers,
    with_number,
)
from engram_diagnose.collectors.prometheus.series import Series, SeriesStore

__all__ = ["EvaluationError", "Evaluator", "Sample", "Vector"]

_AGGREGATES: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "sum": total,
    "avg": mean,
    "min": lowest,
    "max": highest,
    "count": lambda values: float(len(values)),
}


class Evaluator:
    """
    Evaluates any number of expressions over one store.

    Sub-expressions are evaluated once an instant: P50 to P99.9 share one `sum by (le)`.
    """

    def __init__(self, store: SeriesStore, semantics: Semantics = PROMETHEUS_3) -> None:
        self.store = store
        self.semantics = semantics
        self._vectors: dict[tuple[Expression, int], Vector] = {}
        self._selected: dict[tuple[object, ...], list[Series]] = {}
        self._groups: dict[Aggregation, dict[Labels, Labels]] = {}

    def at(self, expression: Expression, time_ms: int) -> Vector:
        """
        The result at one instant, ordered by labels; a number is one sample without labels.

        Raises `EvaluationError` for what the server would refuse with these series, such as an
        ambiguous join.
        """
        if kind_of(expression) == "scalar":
            return [Sample((), self._number(expression, time_ms))]
        return sorted(self._vector(expression, time_ms), key=lambda sample: sample.labels)

    def selected(self, selector: Selector) -> list[Series]:
        """The series that a selector's name and matchers choose, whatever their times."""
        key = selector.name, selector.matchers
        found = self._selected.get(key)
        if found is None:
            found = [
                series
                for series in self.store.named(selector.name)
                if all(matcher.accepts(label(series.labels, matcher.label)) for matcher in selector.matchers)
            ]
            self._selected[key] = found
        return found

    # Numbers

    def _number(self, expression: Expression, time_ms: int) -> float:
        match expression:
            case Number():
                return expression.value
            case Call("time"):
                return time_ms / 1000
            case Negation():
                return -self._number(expression.operand, time_ms)
            case Binary():
                sides = (
                    self._number(expression.left, time_ms),
                    self._number(expression.right, time_ms),
                )
                return of_numbers(expression.operator, *sides)
        raise EvaluationError("a vector where a number was expected")

    # Vectors

    def _vector(self, expression: Expression, time_ms: int) -> Vector:
        key = expression, time_ms
        found = self._vectors.get(key)
        if found is None:
            found = self._vectors[key] = self._evaluated(expression, time_ms)
        return found

    def _evaluated(self, expression: Expression, time_ms: int) -> Vector:
        match expression:
            case Selector():
                return self._instant(expression, time_ms)
            case Negation():
                return distinct(negated(self._vector(expression.operand, time_ms)))
            case Aggregation():
                return self._aggregated(expression, self._vector(expression.operand, time_ms))
            case Call():
                return distinct(self._called(expression, time_ms))
            case Binary():
                return self._binary(expression, time_ms)
        raise EvaluationError("a number where a vector was expected")

    def _instant(self, selector: Selector, time_ms: int) -> Vector:
        if selector.range_ms:
            raise EvaluationError("a range of samples where a vector was expected")
        at = time_ms - selector.offset_ms
        oldest = at - self.semantics.lookback_ms + self.semantics.left_open
        vector = []
        for series in self.selected(selector):
            index = series.latest(at)
            if index is not None and series.times[index] >= oldest:
                vector.append(Sample(series.labels, series.values[index]))
        return vector

    def _binary(self, binary: Binary, time_ms: int) -> Vector:
        if kind_of(binary.right) == "scalar":
            number = self._number(binary.right, time_ms)
            return distinct(with_number(binary, self._vector(binary.left, time_ms), number, swapped=False))
        if kind_of(binary.left) == "scalar":
            number = self._number(binary.left, time_ms)
            return distinct(with_number(binary, self._vector(binary.right, time_ms), number, swapped=True))
        return joined(binary, self._vector(binary.left, time_ms), self._vector(binary.right, time_ms))

    def _aggregated(self, aggregation: Aggregation, vector: Vector) -> Vector:
        known = self._groups.setdefault(aggregation, {})
        groups: dict[Labels, list[Sample]] = {}
        for sample in vector:
            group = known.get(sample.labels)
            if group is None:
                group = known[sample.labels] = _group_of(aggregation, sample.labels)
            groups.setdefault(group, []).append(sample)
        aggregate = _AGGREGATES[aggregation.operator]
        return [
            Sample(labels, aggregate([sample.value for sample in samples]), merged_notes(samples))
            for labels, samples in groups.items()
        ]

    # Functions

    def _called(self, call: Call, time_ms: int) -> Vector:
        if call.function in RANGE_FUNCTIONS:
            return self._over_range(call, time_ms)
        if call.function == "histogram_quantile":
            q, buckets = call.arguments
            return _quantiles(self._number(q, time_ms), self._vector(buckets, time_ms))
        vector = self._vector(call.arguments[0], time_ms)
        if call.function == "abs":
            return [Sample(without_name(sample.labels), abs(sample.value), sample.notes) for sample in vector]
        limit = self._number(call.arguments[1], time_ms)
        clamp = max if call.function == "clamp_min" else min
        return [
            Sample(without_name(sample.labels), _clamped(clamp, sample.value, limit), sample.notes) for sample in vector
        ]

    def spans(self, selector: Selector, time_ms: int) -> list[Span]:
        """The samples that a range selector sees of each series; series without any are left out."""
        end = time_ms - selector.offset_ms
        start = end - selector.range_ms
        spans = []
        for series in self.selected(selector):
            first, beyond = series.within(start + self.semantics.left_open, end)
            if first < beyond:
                spans.append(Span(series, first, beyond, start, end))
        return spans

    def _over_range(self, call: Call, time_ms: int) -> Vector:
        (selector,) = call.arguments
        if not isinstance(selector, Selector):
            raise EvaluationError(f"{call.function} of something computed")
        function, vector = RANGE_FUNCTIONS[call.function], []
        for span in self.spans(selector, time_ms):
            result = function(span, self.semantics)
            if result is not None:
                labels = span.series.labels
                kept = labels if call.function == "last_over_time" else without_name(labels)
                vector.append(Sample(kept, *result))
        return vector


def _clamped(clamp: Callable[[float, float], float], value: float, limit: float) -> float:
    """Go's Min and Max: NaN wins over any figure but the infinity that nothing exceeds."""
    extreme = clamp(math.inf, -math.inf)
    if extreme in (value, limit):
        return extreme
    return math.nan if math.isnan(value) or math.isnan(limit) else clamp(value, limit)


def _group_of(aggregation: Aggregation, labels: Labels) -> Labels:
    if aggregation.without:
        return drop(labels, (NAME, *aggregation.labels))
    return keep(labels, aggregation.labels)


@lru_cache(maxsize=16384)
def _bucket_of(labels: Labels) -> tuple[float | None, Labels]:
    """The upper bound of a bucket, and what it is a bucket of."""
    return parse_float(label(labels, BUCKET)), drop(labels, (NAME, BUCKET))


def _quantiles(q: float, buckets: Vector) -> Vector:
    """A quantile for each label set but `le`; a series whose `le` is missing or no figure is left out."""
    groups: dict[Labels, list[tuple[float, Sample]]] = {}
    for sample in buckets:
        bound, labels = _bucket_of(sample.labels)
        if bound is not None:
            groups.setdefault(labels, []).append((bound, sample))
    vector = []
    for labels, group in groups.items():
        result = quantile(q, ((bound, sample.value) for bound, sample in group))
        notes = result.notes | merged_notes(sample for _, sample in group)
        vector.append(Sample(labels, result.value, notes or NO_NOTES, result.bucket))
    return vector
