"""
PromQL over raw samples, with the results that Prometheus itself would give.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final

from engram_diagnose.collectors.prometheus.aggregation import Grouping, aggregated
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
    NATIVE_FUNCTIONS,
    PROMETHEUS_3,
    RANGE_FUNCTIONS,
    NativeSpan,
    Seen,
    Semantics,
    Span,
    seen_in,
)
from engram_diagnose.collectors.prometheus.labels import label, without_name
from engram_diagnose.collectors.prometheus.native import Native
from engram_diagnose.collectors.prometheus.operators import (
    EvaluationError,
    Sample,
    Vector,
    distinct,
    figures_of,
    joined,
    negated,
    of_numbers,
    with_number,
)
from engram_diagnose.collectors.prometheus.quantiles import Bucketed, bucketed, quantiles_of
from engram_diagnose.collectors.prometheus.series import AnySeries, NativeSeries, Series, SeriesStore, Timed

__all__ = ["EvaluationError", "Evaluator", "Sample", "Vector"]

_LABELS: Final = attrgetter("labels")


class Evaluator:
    """
    Evaluates any number of expressions over one store.

    Sub-expressions are evaluated once an instant: P50 to P99.9 share one `sum by (le)`.
    """

    def __init__(self, store: SeriesStore, semantics: Semantics = PROMETHEUS_3) -> None:
        self.store = store
        self.semantics = semantics
        self._vectors: dict[tuple[int, int], tuple[Expression, Vector]] = {}
        """By the identity of an expression, which `shared` makes that of all its equals, kept here so that it stays."""
        self._selected: dict[tuple[object, ...], list[Series]] = {}
        self._selected_native: dict[tuple[object, ...], list[NativeSeries]] = {}
        self._groupings: dict[tuple[tuple[str, ...], bool], Grouping] = {}
        self._bucketed: dict[int, tuple[Vector, Bucketed]] = {}
        """By the identity of a vector, which is kept here as well."""
        self._windows: dict[tuple[int, int, int], tuple[list[int], Seen | None]] = {}
        """By the identity of a list of times, which many series share, and the window."""

    def at(self, expression: Expression, time_ms: int) -> Vector:
        """
        The result at one instant, ordered by labels; a number is one sample without labels.

        Raises `EvaluationError` for what the server would refuse with these series, such as an
        ambiguous join.
        """
        if kind_of(expression) == "scalar":
            return [Sample((), self._number(expression, time_ms))]
        return sorted(self._vector(expression, time_ms), key=_LABELS)

    def selected(self, selector: Selector) -> list[Series]:
        """The series of figures that a selector's name and matchers choose, whatever their times."""
        key = selector.name, selector.matchers
        found = self._selected.get(key)
        if found is None:
            found = self._selected[key] = _accepted(selector, self.store.named(selector.name))
        return found

    def selected_native(self, selector: Selector) -> list[NativeSeries]:
        """The same of native histograms."""
        key = selector.name, selector.matchers
        found = self._selected_native.get(key)
        if found is None:
            series = self.store.native.get(selector.name, ())
            found = self._selected_native[key] = _accepted(selector, series)
        return found

    def every(self, selector: Selector) -> list[Series | NativeSeries]:
        """Both together."""
        return [*self.selected(selector), *self.selected_native(selector)]

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
        key = id(expression), time_ms
        found = self._vectors.get(key)
        if found is None:
            found = self._vectors[key] = expression, self._evaluated(expression, time_ms)
        return found[1]

    def _evaluated(self, expression: Expression, time_ms: int) -> Vector:
        match expression:
            case Selector():
                return self._instant(expression, time_ms)
            case Negation():
                return distinct(negated(figures_of(self._vector(expression.operand, time_ms))))
            case Aggregation():
                return self._aggregated(expression, self._vector(expression.operand, time_ms))
            case Call():
                return self._called(expression, time_ms)
            case Binary():
                return self._binary(expression, time_ms)
        raise EvaluationError("a number where a vector was expected")

    def _instant(self, selector: Selector, time_ms: int) -> Vector:
        if selector.range_ms:
            raise EvaluationError("a range of samples where a vector was expected")
        at = time_ms - selector.offset_ms
        vector = [
            Sample(series.labels, series.values[index])
            for series in self.selected(selector)
            if (index := self._newest(series, at)) is not None
        ]
        return self._with_native(vector, selector, at) if self.store.native else vector

    def _newest(self, series: Timed, at: int) -> int | None:
        """The index of the sample that an instant selector sees."""
        oldest = at - self.semantics.lookback_ms + self.semantics.left_open
        index = series.latest(at)
        return index if index is not None and series.times[index] >= oldest else None

    def _with_native(self, vector: Vector, selector: Selector, at: int) -> Vector:
        """Also the histograms; of a series that has both, the newer sample."""
        newest = {one.labels: one.times[index] for one in self.selected(selector)
                  if (index := self._newest(one, at)) is not None}  # fmt: skip
        found = {
            one.labels: Sample(one.labels, math.nan, histogram=one.histograms[index])
            for one in self.selected_native(selector)
            if (index := self._newest(one, at)) is not None and one.times[index] > newest.get(one.labels, -math.inf)
        }
        return [*(sample for sample in vector if sample.labels not in found), *found.values()]

    def _binary(self, binary: Binary, time_ms: int) -> Vector:
        if kind_of(binary.right) == "scalar":
            number = self._number(binary.right, time_ms)
            left = figures_of(self._vector(binary.left, time_ms))
            return distinct(with_number(binary, left, number, swapped=False))
        if kind_of(binary.left) == "scalar":
            number = self._number(binary.left, time_ms)
            right = figures_of(self._vector(binary.right, time_ms))
            return distinct(with_number(binary, right, number, swapped=True))
        sides = (figures_of(self._vector(side, time_ms)) for side in (binary.left, binary.right))
        return joined(binary, *sides)

    def _aggregated(self, aggregation: Aggregation, vector: Vector) -> Vector:
        key = aggregation.labels, aggregation.without
        grouping = self._groupings.get(key)
        if grouping is None:
            grouping = self._groupings[key] = Grouping(aggregation.labels, without=aggregation.without)
        return aggregated(aggregation, grouping, vector, native=bool(self.store.native))

    # Functions

    def _called(self, call: Call, time_ms: int) -> Vector:
        if call.function in RANGE_FUNCTIONS:
            return self._over_range(call, time_ms)
        if call.function == "histogram_quantile":
            q, buckets = call.arguments
            histograms = self._histograms(self._vector(buckets, time_ms))
            return quantiles_of(self._number(q, time_ms), histograms, exponential=self.semantics.exponential)
        if call.function in _OF_HISTOGRAM:
            return distinct(_said_by_histograms(call.function, self._vector(call.arguments[0], time_ms)))
        vector = figures_of(self._vector(call.arguments[0], time_ms))
        if call.function == "abs":
            return distinct([Sample(without_name(one.labels), abs(one.value), one.notes) for one in vector])
        limit = self._number(call.arguments[1], time_ms)
        clamp = max if call.function == "clamp_min" else min
        return distinct(
            [Sample(without_name(one.labels), _clamped(clamp, one.value, limit), one.notes) for one in vector]
        )

    def _histograms(self, vector: Vector) -> Bucketed:
        found = self._bucketed.get(id(vector))
        if found is None:
            found = self._bucketed[id(vector)] = vector, bucketed(vector)
        return found[1]

    def spans(self, selector: Selector, time_ms: int) -> list[Span]:
        """The samples that a range selector sees of each series of figures; series without any are left out."""
        end = time_ms - selector.offset_ms
        start = end - selector.range_ms
        return [Span(one, seen) for one in self.selected(selector) if (seen := self._seen(one.times, start, end))]

    def native_spans(self, selector: Selector, time_ms: int) -> list[NativeSpan]:
        """The same of native histograms."""
        end = time_ms - selector.offset_ms
        start = end - selector.range_ms
        series = self.selected_native(selector)
        return [NativeSpan(one, seen) for one in series if (seen := self._seen(one.times, start, end))]

    def _seen(self, times: list[int], start: int, end: int) -> Seen | None:
        key = id(times), start, end
        known = self._windows.get(key)
        if known is None:
            first = bisect_left(times, start + self.semantics.left_open)
            beyond = bisect_right(times, end)
            seen = seen_in(times, first, beyond, start=start, end=end) if first < beyond else None
            known = self._windows[key] = times, seen
        return known[1]

    def _over_range(self, call: Call, time_ms: int) -> Vector:
        (selector,) = call.arguments
        if not isinstance(selector, Selector):
            raise EvaluationError(f"{call.function} of something computed")
        spans = self.spans(selector, time_ms)
        native = self.native_spans(selector, time_ms) if self.store.native else []
        if not native:  # of one name, so that all stay distinct
            return self._figures_over(call.function, spans)
        # A series with samples of both kinds in the window gives nothing.
        mixed = {span.series.labels for span in spans} & {span.series.labels for span in native}
        figures = self._figures_over(call.function, [span for span in spans if span.series.labels not in mixed])
        others = self._native_over(call.function, [span for span in native if span.series.labels not in mixed])
        return distinct([*figures, *others])

    def _figures_over(self, name: str, spans: Iterable[Span]) -> Vector:
        function, semantics = RANGE_FUNCTIONS[name], self.semantics
        named = name == "last_over_time"
        return [
            Sample(span.series.labels if named else span.series.nameless, *result)
            for span in spans
            if (result := function(span, semantics)) is not None
        ]

    def _native_over(self, name: str, spans: Iterable[NativeSpan]) -> Iterable[Sample]:
        function = NATIVE_FUNCTIONS.get(name)
        for span in spans if function else ():
            result = function(span, self.semantics) if function else None
            if result is not None:
                labels = span.series.labels if name == "last_over_time" else without_name(span.series.labels)
                yield Sample(labels, math.nan, result[1], histogram=result[0])


def _accepted(selector: Selector, series: Iterable[AnySeries]) -> list[AnySeries]:
    found = list(series)
    for matcher in selector.matchers:
        if matcher.operator == "=" and matcher.value:
            pair = matcher.label, matcher.value
            found = [one for one in found if pair in one.labels]
        else:
            found = [one for one in found if matcher.accepts(label(one.labels, matcher.label))]
    return found


_OF_HISTOGRAM: Final[dict[str, Callable[[Native], float]]] = {
    "histogram_count": lambda histogram: histogram.count,
    "histogram_sum": lambda histogram: histogram.sum,
}


def _said_by_histograms(function: str, vector: Vector) -> Vector:
    """What each native histogram says; figures say nothing."""
    return [
        Sample(without_name(sample.labels), _OF_HISTOGRAM[function](sample.histogram), sample.notes)
        for sample in vector
        if sample.histogram is not None
    ]


def _clamped(clamp: Callable[[float, float], float], value: float, limit: float) -> float:
    """Go's Min and Max: NaN wins over any figure but the infinity that nothing exceeds."""
    extreme = clamp(math.inf, -math.inf)
    if extreme in (value, limit):
        return extreme
    return math.nan if math.isnan(value) or math.isnan(limit) else clamp(value, limit)
