"""
Raw samples, kept as they were scraped.

Timestamps are whole milliseconds, as in Prometheus itself: a difference of float seconds since 1970
would already be off by more than the 1e-9 that the evaluator is held to.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

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

UP: Final = "up"
MAX_MS: Final = 2**53


class SeriesError(ValueError):
    """An answer that is not the matrix it should be."""


@dataclass(slots=True, eq=False)
class Series:
    """
    One series: ascending times in ms, a value for each, and the instants at which it was found to
    be gone.

    `stale` is ascending too; an instant in it hides every sample before it from instant selectors.
    """

    labels: Labels
    times: list[int]
    values: list[float]
    stale: list[int] = field(default_factory=list)
    _resets: list[int] | None = field(default=None, init=False, repr=False)

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

    def resets(self) -> list[int]:
        """Indexes of the samples that are lower than the one before; worked out once."""
        if self._resets is None:
            pairs = pairwise(self.values)
            self._resets = [index for index, (before, after) in enumerate(pairs, 1) if after < before]
        return self._resets


@dataclass(frozen=True, slots=True)
class SeriesStore:
    """All series of one answer by metric name, each list ordered by labels, and what is to be said of the answer."""

    by_name: Mapping[str, tuple[Series, ...]]
    quality: tuple[str, ...] = ()

    def named(self, name: str) -> tuple[Series, ...]:
        return self.by_name.get(name, ())

    def __len__(self) -> int:
        return sum(map(len, self.by_name.values()))


def store_of(series: Iterable[Series], quality: Sequence[str] = ()) -> SeriesStore:
    """
    The store of these series.

    Where `up` is among them, stale markers are derived from it: the API leaves them out of ranges,
    and without them a series that ended would live on for the five minutes that instant selectors
    look back.
    """
    by_name: dict[str, list[Series]] = {}
    for one in series:
        by_name.setdefault(one.name, []).append(one)
    for group in by_name.values():
        group.sort(key=lambda one: one.labels)
    for up in by_name.get(UP, ()):
        _mark_stale(up, by_name)
    return SeriesStore({name: tuple(by_name[name]) for name in sorted(by_name)}, tuple(quality))


def _mark_stale(up: Series, by_name: Mapping[str, list[Series]]) -> None:
    target = set(without_name(up.labels))
    scrapes = set(up.times)
    for name, group in by_name.items():
        for one in group if name != UP else ():
            if target.issubset(one.labels) and one.times != up.times:
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
    answer = _decoded(body)
    data = answer.get("data")
    if answer.get("status") != "success" or not isinstance(data, dict):
        raise SeriesError(f"the answer is no success: {_shown(answer.get('error', answer.get('status')))}")
    if data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        raise SeriesError(f"the answer is {_shown(data.get('resultType'))}, not a matrix: ask for a range")
    notes = [*_texts(answer.get("warnings")), *_texts(answer.get("infos"))]
    found: dict[Labels, Series] = {}
    native = 0
    for item in data["result"]:
        one = _series_of(item)
        native += not one.times and "histograms" in item
        if one.times and found.setdefault(one.labels, one) is not one:
            raise SeriesError(f"the answer holds {_shown(one.name)} twice with the same labels")
    if native:
        notes.append(f"{native} native histograms were left out: only classic buckets are read")
    return store_of(found.values(), notes)


def _decoded(body: str | bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SeriesError(f"the answer is not JSON: {_shown(error)}") from None
    if not isinstance(answer, dict):
        raise SeriesError("the answer is JSON, but no object: is this Prometheus' API?")
    return answer


def _series_of(item: object) -> Series:
    if not isinstance(item, dict) or not isinstance(item.get("metric"), dict):
        raise SeriesError("a series of the answer has no metric")
    metric = item["metric"]
    if not all(isinstance(value, str) for value in metric.values()):
        raise SeriesError("a label of the answer is not text")
    values = item.get("values", [])
    if not isinstance(values, list):
        raise SeriesError("a series of the answer has no list of values")
    samples = _samples_at_once(values) or [_sample_of(pair) for pair in values]
    if any(after[0] <= before[0] for before, after in pairwise(samples)):
        raise SeriesError("the samples of a series are not in the order of time")
    labels = labels_of((clean(name), clean(value)) for name, value in metric.items())
    return Series(labels, [time for time, _ in samples], [value for _, value in samples])


def _samples_at_once(values: list[Any]) -> list[tuple[int, float]] | None:
    """
    What `_sample_of` gives for each, three times as fast; None where one of them may be no sample.

    An hour of a server's series is tens of thousands of samples, and reading them a good part of a diagnosis.
    """
    if set(map(type, values)) != {list} or set(map(len, values)) != {2}:
        return None
    times, texts = zip(*values, strict=True)
    if not set(map(type, times)) <= {int, float} or set(map(type, texts)) != {str}:
        return None
    figures = [figure for text in texts if (figure := parse_float(text)) is not None]
    if len(figures) < len(texts) or not all(-MAX_MS / 1000 < time < MAX_MS / 1000 for time in times):  # nor is NaN
        return None
    return [(round(time * 1000), value) for time, value in zip(times, figures, strict=True)]


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
