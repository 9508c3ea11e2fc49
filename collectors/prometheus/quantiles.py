"""
Quantiles of a vector: of classic buckets, gathered by label set, and of native histograms.
"""

from functools import lru_cache
from typing import NamedTuple

from engram_diagnose.collectors.prometheus.functions import NO_NOTES, Notes
from engram_diagnose.collectors.prometheus.histogram import Cumulative, cumulated
from engram_diagnose.collectors.prometheus.labels import BUCKET, NAME, Labels, drop, label, parse_float, without_name
from engram_diagnose.collectors.prometheus.native_quantile import native_quantile
from engram_diagnose.collectors.prometheus.operators import Sample, Vector, merged_notes


class Bucketed(NamedTuple):
    """What a vector holds to take quantiles of."""

    classic: list[tuple[Labels, Cumulative, Notes]]
    """Counts by label set but `le`; a series whose `le` is missing or no figure is left out."""
    native: list[Sample]


def bucketed(vector: Vector) -> Bucketed:
    """The histograms in a vector: done once, however many quantiles are taken of them."""
    groups: dict[Labels, list[tuple[float, Sample]]] = {}
    native = []
    for sample in vector:
        if sample.histogram is not None:
            native.append(sample)
            continue
        bound, labels = _bucket_of(sample.labels)
        if bound is not None:
            groups.setdefault(labels, []).append((bound, sample))
    classic = [
        (labels, cumulated((bound, sample.value) for bound, sample in group), merged_notes(one for _, one in group))
        for labels, group in groups.items()
    ]
    return Bucketed(classic, native)


def quantiles_of(q: float, histograms: Bucketed, *, exponential: bool) -> Vector:
    """A quantile for each label set; where a classic and a native histogram have the same one, for neither."""
    clash = {without_name(sample.labels) for sample in histograms.native} & {one[0] for one in histograms.classic}
    found = []
    for labels, counts, notes in histograms.classic:
        if labels not in clash:
            result = counts.quantile(q)
            found.append(Sample(labels, result.value, result.notes | notes or NO_NOTES, result.bucket))
    for sample in histograms.native:
        labels = without_name(sample.labels)
        if sample.histogram is not None and labels not in clash:
            result = native_quantile(q, sample.histogram, exponential=exponential)
            found.append(Sample(labels, result.value, result.notes | sample.notes or NO_NOTES, result.bucket))
    return found


@lru_cache(maxsize=16384)
def _bucket_of(labels: Labels) -> tuple[float | None, Labels]:
    """The upper bound of a bucket, and what it is a bucket of."""
    return parse_float(label(labels, BUCKET)), drop(labels, (NAME, BUCKET))
