"""
Facts from raw series: each dialect expression evaluated, scoped, and, where it gave nothing,
explained.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.prometheus.absence import why_empty
from engram_diagnose.collectors.prometheus.evaluate import EvaluationError, Evaluator, Sample
from engram_diagnose.collectors.prometheus.functions import PROMETHEUS_3, Semantics
from engram_diagnose.collectors.prometheus.labels import Labels, label
from engram_diagnose.collectors.prometheus.lexer import format_duration
from engram_diagnose.collectors.prometheus.plan import (
    Needed,
    NoPlan,
    Plan,
    needed_selectors,
    plan_of,
)
from engram_diagnose.collectors.prometheus.series import SeriesStore
from engram_diagnose.collectors.prometheus.windows import (
    ENOUGH,
    Figure,
    Scrapes,
    Timed,
    aggregate,
    scrapes_of,
)
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect, Source, Window
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Value, unknown_fact
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of

__all__ = ["Needed", "facts_of_series", "needed_selectors"]

SEVERAL: Final = "several series share this scope, and the interval spans them"


def facts_of_series(
    series: SeriesStore,
    *,
    dialect: Dialect,
    catalogue: Catalogue,
    wanted: Iterable[str],
    at: float,
    host: str,
    default_window: float,
    semantics: Semantics = PROMETHEUS_3,
    collected: float = math.inf,
    suffix: str = "",
) -> list[Fact]:
    """
    The facts of these names at the instant `at` (seconds since the epoch), in the order of
    `wanted`, then of scope.

    A name the dialect publishes in no other way gives a fact for each label set, or one unknown
    fact with its reason; names that other collectors answer give none. `$window` is
    `default_window` seconds. `collected` is how many seconds of samples before `at` were asked for:
    a fact that needs more is unknown rather than half measured. `suffix` is put behind every name:
    `@before` for an `at` before the onset.
    """
    reading = _Reading(Evaluator(series, semantics), round(at * 1000), host, collected, suffix)
    facts: list[Fact] = []
    for name in dict.fromkeys(wanted):
        plan = plan_of(name, dialect=dialect, catalogue=catalogue, default_window=default_window)
        if isinstance(plan, Plan):
            facts += reading.facts(plan)
        elif plan is not None:
            facts.append(reading.unknown(plan, plan.reason, plan.detail))
    return facts


@dataclass(frozen=True, slots=True)
class _Reading:
    """One store at one instant."""

    evaluator: Evaluator
    time_ms: int
    host: str
    collected: float
    suffix: str

    def unknown(self, plan: Plan | NoPlan, reason: Reason, detail: str, scope: Scope = INSTANCE) -> Fact:
        get_by = plan.spec.get_by if plan.spec else ""
        return unknown_fact(plan.name + self.suffix, reason, detail, scope=scope, source=plan.text,
                            get_by=get_by, host=self.host, time=self.time_ms / 1000)  # fmt: skip

    def facts(self, plan: Plan) -> list[Fact]:
        if plan.spec is not None and plan.spec.kind == "text":
            return [self.unknown(plan, Reason.UNPARSED, "an expression gives no text")]
        if plan.history_seconds > self.collected + 0.001:
            needed, had = format_duration(plan.history_seconds), format_duration(self.collected)
            detail = f"{needed} of samples are needed, {had} were collected"
            return [self.unknown(plan, Reason.WINDOW_NOT_COLLECTED, detail)]
        try:
            return self._over(plan, plan.over) if plan.over else self._at_once(plan)
        except EvaluationError as error:
            return [self.unknown(plan, Reason.UNPARSED, str(error))]

    def _nothing(self, plan: Plan) -> list[Fact]:
        reason, detail = why_empty(self.evaluator, plan.expression, self.time_ms)
        return [self.unknown(plan, reason, detail)]

    def _at_once(self, plan: Plan) -> list[Fact]:
        figures = self._figures(plan, self.time_ms)
        return [self._fact(plan, scope, figures[scope]) for scope in sorted(figures)] or self._nothing(plan)

    def _fact(self, plan: Plan, scope: Scope, figure: Figure) -> Fact:
        if not figure.defined:
            detail = "; ".join(sorted(figure.notes)) or _spelled(figure.value)
            return self.unknown(plan, Reason.NAN, detail, scope)
        quality = "; ".join([*sorted(figure.notes), *self.evaluator.store.quality])
        status = Status.PROXY if plan.source.proxy_of else Status.MEASURED
        return Fact(plan.name + self.suffix, _value(plan, figure), status, scope, plan.text,
                    self.host, self.time_ms / 1000, plan.window_seconds,
                    proxy_of=plan.source.proxy_of, quality=quality)  # fmt: skip

    # Windows

    def _over(self, plan: Plan, window: Window) -> list[Fact]:
        scrapes = scrapes_of(self.evaluator, plan.expression, at=self.time_ms, window_ms=round(window.seconds * 1000))
        timed: dict[Scope, list[Timed]] = {}
        for time in scrapes.times:
            for scope, figure in self._figures(plan, time).items():
                timed.setdefault(scope, []).append((time, figure))
        return [self._windowed(plan, window, scope, timed[scope], scrapes) for scope in sorted(timed)] or self._nothing(
            plan
        )

    def _windowed(self, plan: Plan, window: Window, scope: Scope, timed: Sequence[Timed], scrapes: Scrapes) -> Fact:
        defined = [pair for pair in timed if pair[1].defined]
        if not defined:
            return self._fact(plan, scope, timed[-1][1])
        least = max(ENOUGH * scrapes.expected, 2 if window.kind == "slope" else 1)
        if not scrapes.expected or len(defined) < least:
            return self.unknown(plan, Reason.TOO_FEW_SAMPLES, _counted(len(defined), window, scrapes), scope)
        return self._fact(plan, scope, aggregate(window.kind, defined))

    # Figures

    def _figures(self, plan: Plan, time_ms: int) -> dict[Scope, Figure]:
        figures: dict[Scope, Figure] = {}
        for sample in self.evaluator.at(plan.expression, time_ms):
            scope, figure = _scope(plan.source, sample.labels), _figure(sample, plan.source.factor)
            other = figures.get(scope)
            figures[scope] = figure if other is None else _merged(plan.source, other, figure)
        return figures


def _scope(source: Source, labels: Labels) -> Scope:
    """
    The scope of a label set: labels that the dialect maps, renamed; one that is not there is left
    out.
    """
    found = {ours: label(labels, theirs) for ours, theirs in source.labels.items()}
    return scope_of({ours: source.values.get(value, value) for ours, value in found.items() if value})


def _figure(sample: Sample, factor: float) -> Figure:
    value = sample.value * factor
    if sample.bucket is None or not math.isfinite(value) or not factor:
        return Figure(value, value, value, sample.notes)
    return Figure(*sample.bucket.scaled(factor).interval(), value, sample.notes)


def _merged(source: Source, one: Figure, other: Figure) -> Figure:
    """
    Two label sets that are one scope to us: rates of a counter add up, other figures span an
    interval.
    """
    notes = one.notes | other.notes
    if source.counter:
        return Figure(one.low + other.low, one.high + other.high, one.value + other.value, notes)
    if not one.defined or not other.defined:
        return (one if one.defined else other)._replace(notes=notes | {SEVERAL})
    value = (one.value + other.value) / 2
    return Figure(min(one.low, other.low), max(one.high, other.high), value, notes | {SEVERAL})


def _value(plan: Plan, figure: Figure) -> Value:
    if plan.spec is not None and plan.spec.kind == "bool":
        return float(figure.low != 0), float(figure.high != 0)
    return figure.low, figure.high


def _spelled(value: float) -> str:
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _counted(found: int, window: Window, scrapes: Scrapes) -> str:
    asked = format_duration(window.seconds)
    if not scrapes.expected:
        every = format_duration(scrapes.interval_seconds)
        known = scrapes.interval_seconds > 0
        return f"scraped every {every}, which is too seldom for {asked}" if known else f"1 sample in {asked}"
    return f"{found} of {scrapes.expected} samples in {asked}"
