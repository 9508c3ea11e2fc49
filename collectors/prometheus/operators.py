"""
Operators between figures and between vectors.
"""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from engram_diagnose.collectors.prometheus.expression import COMPARISONS, Binary, Matching
from engram_diagnose.collectors.prometheus.functions import NO_NOTES, Notes, divide
from engram_diagnose.collectors.prometheus.histogram import Bucket
from engram_diagnose.collectors.prometheus.labels import (
    NAME,
    Labels,
    drop,
    keep,
    label,
    labels_of,
    printed,
    without_name,
)
from engram_diagnose.collectors.prometheus.native import Native


class EvaluationError(ValueError):
    """An expression that cannot be evaluated over these series, such as an ambiguous join."""


class Sample(NamedTuple):
    """
    One figure of a vector; `bucket` where it is a quantile from buckets, times a number at most.

    A sample with a `histogram` is that instead, and its figure is NaN.
    """

    labels: Labels
    value: float
    notes: Notes = NO_NOTES
    bucket: Bucket | None = None
    histogram: Native | None = None


Vector = list[Sample]

_FIGURES: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def of_numbers(sign: str, left: float, right: float) -> float:
    """One figure of two; 1 or 0 for a comparison."""
    return float(_FIGURES[sign](left, right))


def with_number(binary: Binary, vector: Vector, number: float, *, swapped: bool) -> Vector:
    """A vector and a number, or, `swapped`, a number and a vector."""
    result = []
    for sample in vector:
        pair = (number, sample.value) if swapped else (sample.value, number)
        value = of_numbers(binary.operator, *pair)
        if binary.operator not in COMPARISONS:
            bucket = _scaled(binary.operator, sample.bucket, number, swapped=swapped)
            result.append(Sample(without_name(sample.labels), value, sample.notes, bucket))
        elif binary.as_bool:
            result.append(Sample(without_name(sample.labels), value, sample.notes))
        elif value:
            result.append(sample)
    return result


def _scaled(sign: str, bucket: Bucket | None, number: float, *, swapped: bool) -> Bucket | None:
    if bucket is None or sign not in "*/" or (swapped and sign == "/"):
        return None
    factor = number if sign == "*" else divide(1.0, number)
    return bucket.scaled(factor) if factor and math.isfinite(factor) else None


def figures_of(vector: Vector) -> Vector:
    """Without native histograms, which most functions and operators leave out."""
    return [sample for sample in vector if sample.histogram is None]


def negated(vector: Vector) -> Vector:
    """Unary minus."""
    return [
        Sample(
            without_name(sample.labels),
            -sample.value,
            sample.notes,
            sample.bucket and sample.bucket.scaled(-1),
        )
        for sample in vector
    ]


def distinct(vector: Vector) -> Vector:
    """The vector itself. Raises `EvaluationError` when two of its series have the same labels."""
    seen: set[Labels] = set()
    for sample in vector:
        if sample.labels in seen:
            raise EvaluationError(f"two series have the labels {printed(sample.labels) or '{}'}: aggregate them")
        seen.add(sample.labels)
    return vector


def joined(binary: Binary, left: Vector, right: Vector) -> Vector:
    """
    Two vectors, joined where their labels match.

    Raises `EvaluationError` where several series of a side match that should be one.
    """
    if not left or not right:  # before the ambiguities of the other side are looked at, as the server does
        return []
    matching = binary.matching
    swapped = matching.many == "right"
    many, one = (right, left) if swapped else (left, right)
    ones = _by_signature(one, matching)
    result: Vector = []
    used: set[Labels] = set()
    for sample in many:
        signature = _signature(sample.labels, matching)
        other = ones.get(signature)
        if other is None:
            continue
        combined = _combined(binary, sample, other, swapped=swapped)
        if combined is None:
            continue
        if not matching.many and signature in used:
            raise _ambiguous(signature, "left")
        used.add(signature)
        result.append(combined)
    return distinct(result)


def _signature(labels: Labels, matching: Matching) -> Labels:
    return keep(labels, matching.labels) if matching.on else drop(labels, (NAME, *matching.labels))


def _by_signature(vector: Sequence[Sample], matching: Matching) -> dict[Labels, Sample]:
    found: dict[Labels, Sample] = {}
    for sample in vector:
        signature = _signature(sample.labels, matching)
        if signature in found:
            raise _ambiguous(signature, "left" if matching.many == "right" else "right")
        found[signature] = sample
    return found


def _ambiguous(signature: Labels, side: str) -> EvaluationError:
    return EvaluationError(
        f"several series on the {side} side have the labels {printed(signature) or '{}'}: aggregate them first"
    )


def _combined(binary: Binary, many: Sample, one: Sample, *, swapped: bool) -> Sample | None:
    left, right = (one, many) if swapped else (many, one)
    value = of_numbers(binary.operator, left.value, right.value)
    notes = left.notes | right.notes if left.notes or right.notes else NO_NOTES
    if binary.operator in COMPARISONS and not binary.as_bool:
        if not value:
            return None
        return Sample(_result_labels(binary, many.labels, one.labels), left.value, notes)
    return Sample(without_name(_result_labels(binary, many.labels, one.labels)), value, notes)


def _result_labels(binary: Binary, many: Labels, one: Labels) -> Labels:
    matching = binary.matching
    if not matching.many:
        return keep(many, matching.labels) if matching.on else drop(many, matching.labels)
    taken = ((name, label(one, name)) for name in matching.include)
    return labels_of((*drop(many, matching.include), *taken))


def merged_notes(samples: Iterable[Sample]) -> Notes:
    """The notes of all samples together."""
    notes = NO_NOTES
    for sample in samples:
        if sample.notes:
            notes |= sample.notes
    return notes
