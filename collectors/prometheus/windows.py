"""
An expression over a window: evaluated at each scrape in it, then aggregated.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from engram_diagnose.collectors.prometheus.evaluate import Evaluator
from engram_diagnose.collectors.prometheus.expression import Expression, selectors_in
from engram_diagnose.collectors.prometheus.functions import (
    NO_NOTES,
    Notes,
    highest,
    lowest,
    mean,
    slope,
)

ENOUGH: Final = 0.8
"""Share of the expected samples that a window must hold to speak for the whole of it."""


class Figure(NamedTuple):
    """What is known of a quantity at one instant: its bounds, and the single figure Prometheus gives."""

    low: float
    high: float
    value: float
    notes: Notes = NO_NOTES

    @property
    def defined(self) -> bool:
        """Whether it is a figure at all: a quantile beyond the last bucket is one, x/0 is not."""
        return not math.isnan(self.low) and not math.isnan(self.high) and math.isfinite(self.value)


Timed = tuple[int, Figure]


class Scrapes(NamedTuple):
    """The instants of a window in ms, and how many were to be expected; 0 when that cannot be told."""

    times: Sequence[int]
    expected: int
    interval_seconds: float


def scrapes_of(evaluator: Evaluator, expression: Expression, *, at: int, window_ms: int) -> Scrapes:
    """
    The scrapes in the window before `at` of the series that the expression reads.

    Those of the richest series stand for all, and the median distance of its samples is the
    interval from which the expected number follows.
    """
    start = at - window_ms + evaluator.semantics.left_open
    richest: Sequence[int] = []
    known: Sequence[int] = []
    for selector in selectors_in(expression):
        for series in evaluator.every(selector):
            first, beyond = series.within(start, at)
            if beyond - first > len(richest):
                richest, known = series.times[first:beyond], series.times
    gaps = [after - before for before, after in pairwise(known)]
    if not gaps:
        return Scrapes(richest, 0, 0.0)
    interval = sorted(gaps)[len(gaps) // 2]
    return Scrapes(richest, int(window_ms / interval + 0.01), interval / 1000)


def aggregate(kind: str, figures: Sequence[Timed]) -> Figure:
    """
    `avg`, `min`, `max` or `slope` (per second) of at least one defined figure.

    Bounds are aggregated on their own, so that an average of quantiles is as vague as those were;
    the slope is that of the single figures.
    """
    notes = frozenset[str]().union(*(figure.notes for _, figure in figures))
    if kind == "slope":
        start = figures[0][0]
        rise = slope([(time - start) / 1000 for time, _ in figures], [figure.value for _, figure in figures])
        return Figure(rise, rise, rise, notes)
    of = _OVER_WINDOW[kind]
    return Figure(
        of([figure.low for _, figure in figures]),
        of([figure.high for _, figure in figures]),
        of([figure.value for _, figure in figures]),
        notes,
    )


_OVER_WINDOW: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "avg": mean,
    "min": lowest,
    "max": highest,
}
