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
from engram_diagnose.collectors.parse.labels import scope_for
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
EXPORT: Final = "export"
SNAPSHOT: Final = "snapshot"

_TELEMETRY: Final = (
    Source("telemetry.dropped_updates", json="export:dropped"),
    Source("telemetry.queue_depth", json="export:queue_depth"),
)
_NO_WINDOW: Final = Missing(Reason.WINDOW_NOT_COLLECTED, "this server's metrics have no window")

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
    """
    Series by window ("" where the server has none), what its exporter says of itself, and the
    texts of the snapshot, of which the schema's version is one.
    """

    windows: Mapping[str, tuple[Series, ...]]
    export: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


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
    texts = {name: text for name, text in snapshot.items() if isinstance(text, str)}
    return EngramMetrics(named, figures, texts)


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
    """
    `[window ":"] name "." field`, as in `one_minute:store_duration_seconds.p99`; or `export:` or
    `snapshot:` and a field, without a name.
    """

    window: str
    name: str
    field: str


def parse_selector(text: str) -> Selector:
    """The selector of a dialect's source; the field is `count` … `p99`, `rate` or `sum_rate`."""
    window, colon, rest = text.partition(":")
    if not colon:
        window, rest = DEFAULT_WINDOW, text
    if window in (EXPORT, SNAPSHOT):
        return Selector(window, "", rest)
    name, _, field_ = rest.rpartition(".")
    return Selector(window, name, field_)


def facts_of_engram_json(answer: Answer, dialect: Dialect) -> list[Fact]:
    """
    The facts of the dialect's `json` sources, and what the exporter lost, whether the dialect has
    sources for that or not.

    A metric without a sample in its window is left out by the server: that is unknown, not zero.
    Series that fall into one scope are merged: counts added, means weighted, and a quantile is
    the interval between the lowest and the highest, for the merged one lies in it.
    """
    sources = _sources(dialect)
    try:
        if not answer.answered:
            return _all_unknown(sources, answer, absence(answer))
        metrics = parse_engram_metrics(answer.body or "")
    except UnparsedError as error:
        detail = f"{answer.name}: {error}"
        return _all_unknown(sources, answer, Missing(Reason.UNPARSED, detail))
    return [fact for source in sources for fact in _facts(source, metrics, answer)]


def _sources(dialect: Dialect) -> list[Source]:
    own = [dialect.sources[key] for key in sorted(dialect.sources) if dialect.sources[key].json]
    named = {source.fact for source in own}
    return own + [source for source in _TELEMETRY if source.fact not in named]


def _all_unknown(sources: Iterable[Source], answer: Answer, why: Missing) -> list[Fact]:
    return [_unknown(source, source.scope, why, answer) for source in sources]


def _unknown(source: Source, scope: Scope, why: Missing, answer: Answer) -> Fact:
    return unknown(source.fact, why, answer, source=source.json, scope=scope)


def _facts(source: Source, metrics: EngramMetrics, answer: Answer) -> list[Fact]:
    selector = parse_selector(source.json)
    if not selector.name:
        return [_stated(source, selector, metrics, answer)]
    window = selector.window if selector.window in metrics.windows else ""
    if window not in metrics.windows:
        why = Missing(Reason.WINDOW_NOT_COLLECTED, f"no window {selector.window}")
        return [_unknown(source, source.scope, why, answer)]
    grouped: dict[Scope, list[Statistics]] = {}
    for series in metrics.windows[window]:
        scope = scope_for(source, series.labels) if series.name == selector.name else None
        if scope is not None:
            grouped.setdefault(scope, []).append(series.statistics)
    if not grouped:
        why = Missing(Reason.SOURCE_ABSENT, f"{selector.name} has no sample in {window or 'it'}")
        return [_unknown(source, source.scope, why, answer)]
    seconds = WINDOWS.get(window, 0.0)
    return [
        _fact(source, scope, merged(grouped[scope], selector.field, seconds), answer, seconds)
        for scope in sorted(grouped)
    ]


def _stated(source: Source, selector: Selector, metrics: EngramMetrics, answer: Answer) -> Fact:
    """A figure of the exporter, or a text of the snapshot."""
    figures = metrics.export if selector.window == EXPORT else {}
    texts = metrics.texts if selector.window == SNAPSHOT else {}
    if selector.field in figures:
        value = point(figures[selector.field] * source.factor)
        return known(source.fact, value, answer, source=source.json, scope=source.scope)
    if selector.field in texts:
        text = texts[selector.field]
        return known(source.fact, text, answer, source=source.json, scope=source.scope)
    why = Missing(Reason.SOURCE_ABSENT, f"no {selector.field} in {selector.window}")
    return _unknown(source, source.scope, why, answer)


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
    if field_ in ("count", "sum") and not seconds:
        return _NO_WINDOW
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
        return _NO_WINDOW
    if not values:
        return Missing(Reason.SOURCE_ABSENT, f"the metric has no {field_}")
    return point(sum(values) / seconds)


def expected_metrics(dialect: Dialect) -> tuple[str, ...]:
    """The metric names that the dialect's `json` sources read, sorted."""
    selectors = (parse_selector(one.json) for one in dialect.sources.values() if one.json)
    return tuple(sorted({selector.name for selector in selectors if selector.name}))


def absent_metrics(answer: Answer, dialect: Dialect) -> tuple[str, ...]:
    """Those of `expected_metrics` that the answer has no series of."""
    wanted = expected_metrics(dialect)
    try:
        metrics = parse_engram_metrics(answer.body or "")
    except UnparsedError:
        return wanted
    present = {series.name for window in metrics.windows.values() for series in window}
    return tuple(name for name in wanted if name not in present)
