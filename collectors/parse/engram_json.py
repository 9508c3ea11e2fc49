"""
The released server's own metrics, JSON at `/metrics`.

    {"snapshot": {"schema_version": "1.1.0", "five_minutes": {"store_duration_seconds":
      {"count": 1, "sum": 0.000591, "mean": …, "min": …, "max": …, "p50": …, "p90": …, "p99": …}}},
     "export": {"exported": 3, "dropped": 0, "queue_depth": 0}}

Older servers lack the `snapshot` around it, or the windows within it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.attribution import known, unknown
from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import figure, parse_json
from engram_diagnose.collectors.parse.labels import constant_scope, scope_for
from engram_diagnose.collectors.parse.recipe import absence
from engram_diagnose.engine.facts.catalogue import Dialect, Source
from engram_diagnose.engine.facts.fact import Fact, Interval, Reason, point
from engram_diagnose.engine.facts.scope import Scope

WINDOWS: Final[Mapping[str, float]] = {
    "one_second": 1.0,
    "ten_seconds": 10.0,
    "one_minute": 60.0,
    "five_minutes": 300.0,
}
DEFAULT_WINDOW: Final = "five_minutes"

_TELEMETRY: Final = {
    "telemetry.dropped_updates": "dropped",
    "telemetry.queue_depth": "queue_depth",
}

Statistics = Mapping[str, float]
"""Figures by field: count, sum, mean, min, max, p50, p90, p99."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric with its labels in one window."""

    name: str
    labels: Mapping[str, str]
    statistics: Statistics


@dataclass(frozen=True, slots=True)
class EngramMetrics:
    """Series by window ("" where the server has none), and what its exporter says of itself."""

    schema: str
    windows: Mapping[str, tuple[Series, ...]]
    export: Mapping[str, float] = field(default_factory=dict)


def parse_engram_metrics(text: str) -> EngramMetrics:
    """The metrics of one answer; raises `UnparsedError`."""
    document = parse_json(text)
    if not isinstance(document, dict):
        raise UnparsedError("not a JSON object")
    snapshot = document.get("snapshot", document)
    if not isinstance(snapshot, dict):
        raise UnparsedError("`snapshot` is not an object")
    windows = {name: snapshot[name] for name in snapshot if isinstance(snapshot[name], dict)}
    named = {name: _series(of) for name, of in windows.items() if name in (*WINDOWS, "spreading")}
    if not named.keys() & WINDOWS.keys():
        named = {"": _series(snapshot)}
    export = document.get("export")
    figures = _figures(export) if isinstance(export, dict) else {}
    return EngramMetrics(str(snapshot.get("schema_version", "")), named, figures)


def _series(window: Mapping[str, object]) -> tuple[Series, ...]:
    found = []
    for key in sorted(window):
        name, labels = split_labels(key)
        statistics = _statistics(window[key])
        if statistics:
            found.append(Series(name, labels, statistics))
    return tuple(found)


def _statistics(value: object) -> Statistics:
    """The fields of one metric; a bare number is what every one of them would say, but a count."""
    if isinstance(value, dict):
        return _figures(value)
    number = figure(value)
    fields = ("value", "sum", "mean", "min", "max", "p50", "p90", "p99")
    return {} if number is None else dict.fromkeys(fields, number)


def _figures(fields: Mapping[str, object]) -> dict[str, float]:
    numbers = {name: figure(value) for name, value in fields.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def split_labels(key: str) -> tuple[str, dict[str, str]]:
    """`name ["{" label "=" value ("," label "=" value)* "}"]`, values with or without quotes."""
    name, brace, rest = key.partition("{")
    if not brace or not rest.endswith("}"):
        return key, {}
    pairs = (pair.partition("=") for pair in rest[:-1].split(","))
    return name, {label.strip(): value.strip().strip('"') for label, _, value in pairs if label}


@dataclass(frozen=True, slots=True)
class Selector:
    """`[window ":"] name "." field`, as in `one_minute:store_duration_seconds.p99`."""

    window: str
    name: str
    field: str


def parse_selector(text: str) -> Selector:
    """The selector of a dialect's source; the field is `count` … `p99`, `rate` or `sum_rate`."""
    window, colon, rest = text.partition(":")
    if not colon:
        window, rest = DEFAULT_WINDOW, text
    name, _, field_ = rest.rpartition(".")
    return Selector(window, name, field_)


def facts_of_engram_json(answer: Answer, dialect: Dialect) -> list[Fact]:
    """
    The facts of the dialect's `json` sources and `telemetry.*` of the exporter.

    A metric without a sample in its window is left out by the server: that is unknown, not zero.
    Series that fall into one scope are merged: counts added, means weighted, and a quantile is
    the interval between the lowest and the highest, for the merged one lies in it.
    """
    sources = [source for source in _in_order(dialect) if source.json]
    try:
        if not answer.answered:
            return _all_unknown(sources, answer, absence(answer))
        metrics = parse_engram_metrics(answer.body or "")
    except UnparsedError as error:
        detail = f"{answer.name}: {error}"
        return _all_unknown(sources, answer, Missing(Reason.UNPARSED, detail))
    facts = [fact for source in sources for fact in _facts(source, metrics, answer)]
    return facts + _telemetry(metrics, answer)


def _in_order(dialect: Dialect) -> Iterable[Source]:
    return (dialect.sources[key] for key in sorted(dialect.sources))


def _all_unknown(sources: Iterable[Source], answer: Answer, why: Missing) -> list[Fact]:
    facts = [_unknown(source, constant_scope(source), why, answer) for source in sources]
    return facts + [unknown(name, why, answer) for name in _TELEMETRY]


def _unknown(source: Source, scope: Scope, why: Missing, answer: Answer) -> Fact:
    return unknown(source.fact, why, answer, source=source.json, scope=scope)


def _facts(source: Source, metrics: EngramMetrics, answer: Answer) -> list[Fact]:
    selector = parse_selector(source.json)
    window = selector.window if selector.window in metrics.windows else ""
    if window not in metrics.windows:
        why = Missing(Reason.WINDOW_NOT_COLLECTED, f"no window {selector.window}")
        return [_unknown(source, constant_scope(source), why, answer)]
    grouped: dict[Scope, list[Statistics]] = {}
    for series in metrics.windows[window]:
        scope = scope_for(source, series.labels) if series.name == selector.name else None
        if scope is not None:
            grouped.setdefault(scope, []).append(series.statistics)
    if not grouped:
        why = Missing(Reason.SOURCE_ABSENT, f"{selector.name} has no sample in {window or 'it'}")
        return [_unknown(source, constant_scope(source), why, answer)]
    seconds = WINDOWS.get(window, 0.0)
    return [
        _fact(source, scope, merged(grouped[scope], selector.field, seconds), answer, seconds)
        for scope in sorted(grouped)
    ]


def _fact(source: Source, scope: Scope, found: Interval | Missing, answer: Answer, seconds: float) -> Fact:
    if isinstance(found, Missing):
        return _unknown(source, scope, found, answer)
    low, high = sorted((found[0] * source.factor, found[1] * source.factor))
    return known(
        source.fact,
        (low, high),
        answer,
        source=source.json,
        scope=scope,
        window=seconds,
        proxy_of=source.proxy_of,
    )


def merged(series: list[Statistics], field_: str, seconds: float) -> Interval | Missing:
    """One field over several series of one window of `seconds` (0 where it is not known)."""
    if field_ in ("rate", "sum_rate"):
        return _rate(series, "sum" if field_ == "sum_rate" else "count", seconds)
    if all(one.get("count") == 0 for one in series):
        return Missing(Reason.TOO_FEW_SAMPLES, "no sample in the window")
    if field_ == "mean" and all("sum" in one and one.get("count") for one in series):
        return point(sum(one["sum"] for one in series) / sum(one["count"] for one in series))
    values = [one[field_] for one in series if field_ in one]
    if not values:
        return Missing(Reason.SOURCE_ABSENT, f"the metric has no usable {field_}")
    if field_ in ("count", "sum"):
        return point(sum(values))
    return {"min": point(min(values)), "max": point(max(values))}.get(field_, (min(values), max(values)))


def _rate(series: list[Statistics], field_: str, seconds: float) -> Interval | Missing:
    values = [one[field_] for one in series if field_ in one]
    if not seconds:
        return Missing(Reason.WINDOW_NOT_COLLECTED, "this server's metrics have no window")
    if not values:
        return Missing(Reason.SOURCE_ABSENT, f"the metric has no {field_}")
    return point(sum(values) / seconds)


def _telemetry(metrics: EngramMetrics, answer: Answer) -> list[Fact]:
    return [_exported(name, key, metrics, answer) for name, key in _TELEMETRY.items()]


def _exported(name: str, key: str, metrics: EngramMetrics, answer: Answer) -> Fact:
    source = f"export.{key}"
    if key not in metrics.export:
        why = Missing(Reason.SOURCE_ABSENT, f"no {source}")
        return unknown(name, why, answer, source=source)
    return known(name, point(metrics.export[key]), answer, source=source)


def absent_metrics(answer: Answer, dialect: Dialect) -> tuple[str, ...]:
    """The metric names of the dialect's `json` sources that the answer has no series of, sorted."""
    wanted = {parse_selector(one.json).name for one in dialect.sources.values() if one.json}
    try:
        metrics = parse_engram_metrics(answer.body or "")
    except UnparsedError:
        return tuple(sorted(wanted))
    present = {series.name for window in metrics.windows.values() for series in window}
    return tuple(sorted(wanted - present))
