"""
Aggregations: the samples of a vector by group, and one sample for each group.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Final

from engram_diagnose.collectors.prometheus.expression import Aggregation
from engram_diagnose.collectors.prometheus.functions import highest, lowest, mean, total
from engram_diagnose.collectors.prometheus.labels import NAME, Labels
from engram_diagnose.collectors.prometheus.native import NotAlikeError, plus
from engram_diagnose.collectors.prometheus.operators import Sample, Vector, figures_of, merged_notes

_AGGREGATES: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "sum": total,
    "avg": mean,
    "min": lowest,
    "max": highest,
    "count": lambda values: float(len(values)),
}


class Grouping:
    """
    The groups that `by (labels)` or `without (labels)` makes.

    A label set is looked at once and then known by its identity: series keep theirs, and comparing or hashing one
    takes longer than all else that is done with a sample.
    """

    def __init__(self, labels: tuple[str, ...], *, without: bool) -> None:
        self._labels = (NAME, *labels) if without else labels
        self._without = without
        self._groups: dict[Labels, Labels] = {}
        self._known: dict[int, tuple[Labels, Labels]] = {}
        """The group by the identity of a label set, which is kept here so that no other one takes its place."""

    def split(self, vector: Iterable[Sample]) -> list[tuple[Labels, list[Sample]]]:
        """The samples of each group, in the order in which the groups appear."""
        known = self._known
        found: dict[int, tuple[Labels, list[Sample]]] = {}
        for sample in vector:
            entry = known.get(id(sample.labels)) or self._learnt(sample.labels)
            group = entry[1]
            members = found.get(id(group))
            if members is None:
                found[id(group)] = group, [sample]
            else:
                members[1].append(sample)
        return list(found.values())

    def _learnt(self, labels: Labels) -> tuple[Labels, Labels]:
        named, without = self._labels, self._without
        group = tuple([pair for pair in labels if (pair[0] in named) is not without])
        entry = self._known[id(labels)] = labels, self._groups.setdefault(group, group)
        return entry


def aggregated(aggregation: Aggregation, grouping: Grouping, vector: Vector, *, native: bool) -> Vector:
    """One sample for each group; `native` tells that histograms may be among the samples."""
    groups = grouping.split(vector)
    if native:
        found = (_of_any(aggregation.operator, labels, samples) for labels, samples in groups)
        return [sample for sample in found if sample is not None]
    operator = aggregation.operator
    return [_of_figures(operator, labels, samples) for labels, samples in groups]


def _of_any(operator: str, labels: Labels, samples: list[Sample]) -> Sample | None:
    """A group in which native histograms may be: added up, or left out as Prometheus does."""
    histograms = [sample.histogram for sample in samples if sample.histogram is not None]
    if not histograms:
        return _of_figures(operator, labels, samples)
    if operator == "count":
        return Sample(labels, float(len(samples)), merged_notes(samples))
    if operator in ("min", "max"):
        figures = figures_of(samples)
        return _of_figures(operator, labels, figures) if figures else None
    if len(histograms) < len(samples):
        return None
    try:
        summed = reduce(plus, histograms)
    except NotAlikeError:
        return None
    whole = summed.scaled(1 / len(samples)) if operator == "avg" else summed
    return Sample(labels, math.nan, merged_notes(samples), histogram=whole)


def _of_figures(operator: str, labels: Labels, samples: Sequence[Sample]) -> Sample:
    if len(samples) == 1 and operator != "count":
        return Sample(labels, samples[0].value, samples[0].notes)
    return Sample(labels, _AGGREGATES[operator]([sample.value for sample in samples]), merged_notes(samples))
