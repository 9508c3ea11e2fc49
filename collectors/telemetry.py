"""
What the metrics say of themselves: whether they are there, fresh and whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from engram_diagnose.collectors.prometheus.expression import selectors_in
from engram_diagnose.collectors.prometheus.nativised import base_name
from engram_diagnose.collectors.prometheus.promql import PromqlError, parse, with_window
from engram_diagnose.collectors.prometheus.series import UP, SeriesStore, Timed
from engram_diagnose.engine.facts.catalogue import Dialect
from engram_diagnose.engine.facts.fact import Fact, point

_PROMISED: Final = "metrics the dialect promises"


@dataclass(frozen=True, slots=True)
class Promise:
    """The metric names that a dialect's servers have to publish, and those of them that were found."""

    expected: frozenset[str] = frozenset()
    found: frozenset[str] = frozenset()

    def __or__(self, other: "Promise") -> "Promise":
        return Promise(self.expected | other.expected, self.found | other.found)

    @property
    def absent(self) -> tuple[str, ...]:
        return tuple(sorted(self.expected - self.found))


def promised_series(dialect: Dialect, store: SeriesStore) -> Promise:
    """Of the series a dialect reads: all but those its documentation does not name (`invented`)."""
    texts = {source.promql or source.counter for source in dialect.sources.values() if not source.invented}
    expected = frozenset(name for text in texts if text for name in _names_in(text)) - {UP}
    native = (name for name in expected if base_name(name) in store.native)
    return Promise(expected, expected.intersection(store.by_name).union(native))


def _names_in(text: str) -> Iterable[str]:
    try:
        return [selector.name for selector in selectors_in(parse(with_window(text, 60)))]
    except PromqlError:
        return ()


def facts_of_promise(promise: Promise, dialect: Dialect, *, host: str, time: float) -> list[Fact]:
    """How many of the promised metrics are absent, and which; none without a promise to keep."""
    if not promise.expected:
        return []
    expected, absent = len(promise.expected), promise.absent
    figures = {
        "telemetry.expected_metrics": float(expected),
        "telemetry.absent_metrics": float(len(absent)),
        "telemetry.dialect_mismatch": float(len(absent) == expected),
    }
    source = f"{_PROMISED}, {dialect.name}"
    names = Fact("telemetry.absent_names", ", ".join(absent), source=source, host=host, time=time)
    return [
        names,
        *(Fact(name, point(figure), source=source, host=host, time=time) for name, figure in figures.items()),
    ]


def facts_of_freshness(store: SeriesStore, *, at: float, window: float, host: str) -> list[Fact]:
    """
    The age of the newest sample at the instant `at`, and the share of the samples due in the `window` before it.

    Both in seconds, told by the series with most samples: `up` where it is there. Coverage is left out where one
    sample does not tell the interval.
    """
    series = max(_told_by(store), key=lambda one: len(one.times), default=None)
    if series is None or not series.times:
        return []
    last = round(at * 1000)
    facts = [_fact("telemetry.scrape_age", max(0, last - series.times[-1]) / 1000, at, host, 0.0)]
    gaps = sorted(after - before for before, after in pairwise(series.times))
    if not gaps:
        return facts
    due = max(1, int(window * 1000 / gaps[len(gaps) // 2]))
    first, beyond = series.within(last - round(window * 1000), last)
    return [*facts, _fact("telemetry.scrape_coverage", min(1.0, (beyond - first) / due), at, host, window)]


def _told_by(store: SeriesStore) -> Iterable[Timed]:
    return store.named(UP) or store.every


def _fact(name: str, figure: float, at: float, host: str, window: float) -> Fact:
    return Fact(name, point(figure), source="the times of the samples", host=host, time=at, window=window)
