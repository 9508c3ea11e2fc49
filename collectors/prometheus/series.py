"""
Raw samples, kept as they were scraped.

Timestamps are whole milliseconds, as in Prometheus itself: a difference of float seconds since 1970
would already be off by more than the 1e-9 that the evaluator is held to.
"""

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, TypeVar

from engram_diagnose.collectors.prometheus.columns import MAX_MS, ascending, read_matrix
from engram_diagnose.collectors.prometheus.exposition import Exposition, parse_exposition
from engram_diagnose.collectors.prometheus.labels import (
    NAME,
    Labels,
    clean,
    label,
    labels_of,
    parse_float,
    without_name,
)
from engram_diagnose.collectors.prometheus.native import Native, parse_native

UP: Final = "up"


class SeriesError(ValueError):
    """An answer that is not the matrix it should be."""


class Timed:
    """
    The times of one series: ascending, in ms, and the instants at which it was found to be gone.

    `stale` is ascending too; an instant in it hides every sample before it from instant selectors.
    """

    __slots__ = ()

    labels: Labels
    times: list[int]
    stale: list[int]

    @property
    def name(self) -> str:
        return label(self.labels, NAME)

    def within(self, start: int, end: int) -> tuple[int, int]:
        """Indexes [first, beyond) of the samples in the closed interval from `start` to `end`."""
        return bisect_left(self.times, start), bisect_right(self.times, end)

    def latest(self, at: int) -> int | None:
        """The index of the newest sample at or before `at`; None without one, or when the series is gone since."""
        index = bisect_right(self.times, at) - 1
        if index < 0:
            return None
        gone = bisect_right(self.stale, at) - 1
        return None if gone >= 0 and self.stale[gone] > self.times[index] else index


@dataclass(slots=True, eq=False)
class Series(Timed):
    """One series of figures, a value for each time."""

    labels: Labels
    times: list[int]
    values: list[float]
    stale: list[int] = field(default_factory=list)
    _nameless: Labels | None = field(default=None, init=False, repr=False)
    _resets: list[int] | None = field(default=None, init=False, repr=False)

    @property
    def nameless(self) -> Labels:
        """All labels but the metric name; the same object each time, so that it can be known by its identity."""
        if self._nameless is None:
            self._nameless = without_name(self.labels)
        return self._nameless

    def resets(self) -> list[int]:
        """Indexes of the samples that are lower than the one before; worked out once."""
        if self._resets is None:
            self._resets = [] if _rises(self.values) else _falls(self.values)
        return self._resets


def _rises(values: list[float]) -> bool:
    """Whether none is lower than the one before, and none is NaN; sorting tells, which is fast when nothing moves."""
    return sorted(values) == values and not math.isnan(sum(values))


def _falls(values: list[float]) -> list[int]:
    return [index for index, (before, after) in enumerate(pairwise(values), 1) if after < before]


@dataclass(slots=True, eq=False)
class NativeSeries(Timed):
    """One series of native histograms, one for each time."""

    labels: Labels
    times: list[int]
    histograms: list[Native]
    stale: list[int] = field(default_factory=list)


AnySeries = TypeVar("AnySeries", bound=Timed)


@dataclass(frozen=True, slots=True)
class SeriesStore:
    """
    All series of one answer by metric name, each list ordered by labels, and what is to be said of the answer.

    Native histograms stand in `native`. One series may be in both, where a server changed from one kind to the other.
    """

    by_name: Mapping[str, tuple[Series, ...]]
    quality: tuple[str, ...] = ()
    native: Mapping[str, tuple[NativeSeries, ...]] = field(default_factory=dict)

    def named(self, name: str) -> tuple[Series, ...]:
        return self.by_name.get(name, ())

    @property
    def every(self) -> "tuple[Series | NativeSeries, ...]":
        """All series."""
        figures = (one for group in self.by_name.values() for one in group)
        return *figures, *(one for group in self.native.values() for one in group)

    def kept(self, wanted: Callable[[Labels], bool]) -> "SeriesStore":
        """The store of the series whose labels are wanted."""
        return replace(self, by_name=_kept(self.by_name, wanted), native=_kept(self.native, wanted))

    def __len__(self) -> int:
        return len(self.every)


def store_of(series: Iterable[Series], quality: Sequence[str] = (), native: Iterable[NativeSeries] = ()) -> SeriesStore:
    """
    The store of these series.

    Where `up` is among them, stale markers are derived from it: the API leaves them out of ranges,
    and without them a series that ended would live on for the five minutes that instant selectors
    look back.
    """
    by_name = _by_name(series)
    histograms = _by_name(native)
    every: list[Series | NativeSeries] = [one for name, group in by_name.items() if name != UP for one in group]
    every += [one for group in histograms.values() for one in group]
    for up in by_name.get(UP, ()):
        _mark_stale(up, every)
    return SeriesStore(by_name, tuple(quality), histograms)


def _kept(
    by_name: Mapping[str, tuple[AnySeries, ...]], wanted: Callable[[Labels], bool]
) -> dict[str, tuple[AnySeries, ...]]:
    kept = {name: tuple(one for one in group if wanted(one.labels)) for name, group in by_name.items()}
    return {name: group for name, group in kept.items() if group}


def _by_name(series: Iterable[AnySeries]) -> dict[str, tuple[AnySeries, ...]]:
    found: dict[str, list[AnySeries]] = {}
    for one in series:
        found.setdefault(one.name, []).append(one)
    return {name: tuple(sorted(found[name], key=lambda one: one.labels)) for name in sorted(found)}


def _mark_stale(up: Series, every: Iterable[Series | NativeSeries]) -> None:
    target = set(without_name(up.labels))
    scrapes = set(up.times)
    for one in every:
        if one.times is not up.times and one.times != up.times and target.issubset(one.labels):
            one.stale = _gone_at(one.times, up.times, scrapes)


def _gone_at(times: list[int], scrapes: list[int], scraped: set[int]) -> list[int]:
    """
    The scrapes that came after a sample of the series and did not see it again.

    None for a series with timestamps of its own: it was not sampled at the scrapes, so nothing
    follows.
    """
    if not times or not scrapes or not scraped.issuperset(time for time in times if time >= scrapes[0]):
        return []
    present = set(times)
    later = scrapes[bisect_left(scrapes, times[0]) :]
    pairs = pairwise([times[0], *later])
    return [after for before, after in pairs if before in present and after not in present]


# From the HTTP API


def store_of_matrix(body: str | bytes) -> SeriesStore:
    """
    The store of a range vector's answer: `/api/v1/query` with resultType `matrix`.

    Warnings and infos of the answer become its quality. Raises `SeriesError` for anything else.
    """
    matrix = read_matrix(body)
    if matrix is None:
        return _store_of_any(_decoded(body))
    series = [Series(one.labels, one.times, one.values) for one in matrix.series]
    return _store_of_read(series, (), [*_texts(matrix.warnings), *_texts(matrix.infos)])


def _store_of_any(answer: dict[str, Any]) -> SeriesStore:
    """The same of any JSON, a good deal slower: it says what is wrong, and where."""
    data = answer.get("data")
    if answer.get("status") != "success" or not isinstance(data, dict):
        raise SeriesError(f"the answer is no success: {_shown(answer.get('error', answer.get('status')))}")
    if data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        raise SeriesError(f"the answer is {_shown(data.get('resultType'))}, not a matrix: ask for a range")
    notes = [*_texts(answer.get("warnings")), *_texts(answer.get("infos"))]
    series = [_series_of(item) for item in data["result"]]
    native = [
        _native_of(one.labels, item["histograms"])
        for one, item in zip(series, data["result"], strict=True)
        if "histograms" in item
    ]
    return _store_of_read(series, native, notes)


def _store_of_read(series: Iterable[Series], native: Iterable[NativeSeries], notes: list[str]) -> SeriesStore:
    found = _once([one for one in series if one.times])
    histograms = _once(native)
    read = [one for one in histograms if one.times]
    if len(read) < len(histograms):
        left = len(histograms) - len(read)
        notes = [*notes, f"{left} series of native histograms could not be read, and were left out"]
    return store_of(found, notes, read)


def _once(series: Iterable[AnySeries]) -> list[AnySeries]:
    """The series themselves; raises `SeriesError` when two have the same labels."""
    found: dict[Labels, AnySeries] = {}
    for one in series:
        if found.setdefault(one.labels, one) is not one:
            raise SeriesError(f"the answer holds {_shown(one.name)} twice with the same labels")
    return list(found.values())


def _decoded(body: str | bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SeriesError(f"the answer is not JSON: {_shown(error)}") from None
    if not isinstance(answer, dict):
        raise SeriesError("the answer is JSON, but no object: is this Prometheus' API?")
    return answer


def _check_order(times: list[int]) -> None:
    if not ascending(times):
        raise SeriesError("the samples of a series are not in the order of time")


def _series_of(item: object) -> Series:
    if not isinstance(item, dict) or not isinstance(item.get("metric"), dict):
        raise SeriesError("a series of the answer has no metric")
    metric = item["metric"]
    if not all(isinstance(value, str) for value in metric.values()):
        raise SeriesError("a label of the answer is not text")
    values = item.get("values", [])
    if not isinstance(values, list):
        raise SeriesError("a series of the answer has no list of values")
    samples = [_sample_of(pair) for pair in values]
    times = [time for time, _ in samples]
    _check_order(times)
    labels = labels_of((clean(name), clean(value)) for name, value in metric.items())
    return Series(labels, times, [value for _, value in samples])


def _native_of(labels: Labels, pairs: object) -> NativeSeries:
    """
    `[[time, histogram], …]`, as `parse_native` describes one; no samples where one of them cannot be read.

    A series with a hole would have rates that never were.
    """
    if not isinstance(pairs, list):
        raise SeriesError("a series of the answer has no list of histograms")
    samples = [_histogram_of(pair) for pair in pairs]
    times = [time for time, _ in samples]
    _check_order(times)
    histograms = [histogram for _, histogram in samples if histogram is not None]
    whole = len(histograms) == len(samples)
    return NativeSeries(labels, times, histograms) if whole else NativeSeries(labels, [], [])


def _histogram_of(pair: object) -> tuple[int, Native | None]:
    if isinstance(pair, list) and len(pair) == 2 and type(pair[0]) in (int, float) and abs(pair[0]) < MAX_MS / 1000:
        return round(pair[0] * 1000), parse_native(pair[1])
    raise SeriesError(f"{_shown(pair)} is not a sample, which is a time and a native histogram")


def _sample_of(pair: object) -> tuple[int, float]:
    if isinstance(pair, list) and len(pair) == 2:
        time, text = pair
        value = parse_float(text) if isinstance(text, str) else None
        if value is not None and type(time) in (int, float) and abs(time) < MAX_MS / 1000:
            return round(time * 1000), value
    raise SeriesError(f"{_shown(pair)} is not a sample, which is a time and a figure in quotes")


def _texts(notes: object) -> list[str]:
    return [_shown(note) for note in notes if isinstance(note, str)] if isinstance(notes, list) else []


def _shown(value: object) -> str:
    """A piece of the answer for a message: one line, not too long, printable on any terminal."""
    try:
        text = clean(str(value)[:300])
    except RecursionError:
        return "something nested too deeply"
    return "".join(character if character.isprintable() else " " for character in text)


# From plain text


def store_of_scrapes(scrapes: Sequence[tuple[float, str | bytes]]) -> SeriesStore:
    """
    The store of scrapes of one text exposition, each with the time it was taken in seconds since
    the epoch.

    A series that a later scrape lacks is stale from then on. Lines that cannot be read become
    quality. Raises `SeriesError` when the times do not ascend.
    """
    times = [round(time * 1000) for time, _ in scrapes]
    if any(after <= before for before, after in pairwise(times)):
        raise SeriesError("the scrapes are not in the order of time")
    found: dict[Labels, Series] = {}
    notes: list[str] = []
    for time, (_, text) in zip(times, scrapes, strict=True):
        exposition = parse_exposition(text)
        notes += (note for note in exposition.quality if note not in notes)
        _add_scrape(found, exposition, time)
    for one in found.values():
        one.stale = _gone_at(one.times, times, set(times))
    return store_of(found.values(), notes)


def _add_scrape(found: dict[Labels, Series], exposition: Exposition, scraped: int) -> None:
    for labels, value, own_time in exposition.samples:
        one = found.get(labels)
        if one is None:
            one = found[labels] = Series(labels, [], [])
        time = scraped if own_time is None else own_time
        if not one.times or one.times[-1] < time:
            one.times.append(time)
            one.values.append(value)
