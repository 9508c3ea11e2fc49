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
from engram_diagnose.collectors.prometheus.expression import selectors_in
from engram_diagnose.collectors.prometheus.functions import PROMETHEUS_3, SCRAPES, Semantics
from engram_diagnose.collectors.prometheus.labels import Labels, label
from engram_diagnose.collectors.prometheus.lexer import format_duration
from engram_diagnose.collectors.prometheus.nativised import base_name
from engram_diagnose.collectors.prometheus.plan import (
    Needed,
    NoPlan,
    Plan,
    needed_selectors,
    plans_of,
)
from engram_diagnose.collectors.prometheus.series import SeriesStore, store_of_scrapes
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
from engram_diagnose.engine.facts.scope import Scope

__all__ = ["Needed", "facts_of_scrapes", "facts_of_series", "needed_selectors"]

_MOST_TEXTS: Final = 4
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
    longest_rate: float = math.inf,
    suffix: str = "",
) -> list[Fact]:
    """
    The facts of these names at the instant `at` (seconds since the epoch), in the order of
    `wanted`, then of scope.

    A name the dialect publishes in no other way gives a fact for each label set, or one unknown
    fact with its reason; names that other collectors answer give none. `$window` is
    `default_window` seconds. `collected` is how many seconds of samples before `at` were asked for:
    a fact that needs more is unknown rather than half measured. `longest_rate` cuts the windows of
    `@rate_…` to so many seconds, which the quality then says. `suffix` is put behind every name:
    `@before` for an `at` before the onset.
    """
    reading = _Reading(Evaluator(series, semantics), round(at * 1000), host, collected, suffix, {})
    facts: list[Fact] = []
    for name in dict.fromkeys(wanted):
        plans = plans_of(name, dialect=dialect, catalogue=catalogue, default_window=default_window,
                         longest_rate=longest_rate)  # fmt: skip
        facts += reading.of(plans)
    return facts


def facts_of_scrapes(
    scrapes: Sequence[tuple[float, str | bytes]],
    *,
    dialect: Dialect,
    catalogue: Catalogue,
    wanted: Iterable[str],
    host: str,
) -> list[Fact]:
    """
    The facts of scrapes of one text exposition (time in seconds, text) at the last one of at least one.

    Rates are the plain difference between the first and the last scrape over the time between them,
    also where a longer window is asked for: a rate over five minutes cannot be had from ten seconds,
    and the quality says so. Other windows are unknown. Raises `SeriesError` when the times do not ascend.
    """
    store = store_of_scrapes(scrapes)
    # Of the rounded times: a range that is a fraction of a millisecond short would lose the first scrape.
    between = max(round(scrapes[-1][0] * 1000) - round(scrapes[0][0] * 1000), 1) / 1000
    return facts_of_series(store, dialect=dialect, catalogue=catalogue, wanted=wanted, at=scrapes[-1][0],
                           host=host, default_window=between, semantics=SCRAPES, collected=between,
                           longest_rate=between)  # fmt: skip


_Terms = tuple[Scope, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]


def _terms(source: Source) -> _Terms:
    return source.scope, tuple(source.labels.items()), tuple(source.values.items())


@dataclass(frozen=True, slots=True)
class _Reading:
    """One store at one instant."""

    evaluator: Evaluator
    time_ms: int
    host: str
    collected: float
    suffix: str
    scopes: dict[_Terms, dict[Labels, Scope]]
    """The scopes of label sets, by what a source says of them: most sources say the same."""

    def of(self, plans: Sequence[Plan | NoPlan]) -> list[Fact]:
        """
        The facts of one name's plans, ordered by scope.

        That a figure is absent which no server has to publish is not said where another source of it speaks.
        """
        found = [(plan, self._facts(plan)) for plan in plans]
        told = [facts for plan, facts in found if not _is_optional(plan) or any(fact.known for fact in facts)]
        facts = [fact for of_plan in told or [of_plan for _, of_plan in found[:1]] for fact in of_plan]
        return sorted(facts, key=lambda fact: fact.scope)

    def unknown(self, plan: Plan | NoPlan, reason: Reason, detail: str, scope: Scope | None = None) -> Fact:
        get_by = plan.spec.get_by if plan.spec else ""
        own = plan.source.scope if isinstance(plan, Plan) else plan.scope
        return unknown_fact(plan.name + self.suffix, reason, detail, scope=own if scope is None else scope,
                            source=plan.text, get_by=get_by, host=self.host, time=self.time_ms / 1000)  # fmt: skip

    def _facts(self, plan: Plan | NoPlan) -> list[Fact]:
        """What one plan gives, and what it gives over all spaces where it tells them apart."""
        if isinstance(plan, NoPlan):
            return [self.unknown(plan, plan.reason, plan.detail)]
        facts = {fact.scope: fact for fact in self._scoped(plan)}
        over_all = plan.merged
        if over_all is None or facts.keys() == {plan.source.scope}:
            return list(facts.values())
        merged = {fact.scope: fact for fact in self._scoped(over_all) if fact.known or fact.scope not in facts}
        return list({**facts, **merged}.values())

    def _spoken(self, plan: Plan) -> Plan:
        """The plan of native histograms where the server publishes these and not the classic series."""
        store = self.evaluator.store
        native = plan.native if store.native else None
        if native is None:
            return plan
        classic = {one.name for one in selectors_in(plan.expression) if base_name(one.name)}
        there = {one.name for one in selectors_in(native.expression)} & store.native.keys()
        return native if there and not any(map(store.named, classic)) else plan

    def _scoped(self, plan: Plan) -> list[Fact]:
        plan = self._spoken(plan)
        if plan.history_seconds > self.collected + 0.001:
            needed, had = format_duration(plan.history_seconds), format_duration(self.collected)
            detail = f"{needed} of samples are needed, {had} were collected"
            return [self.unknown(plan, Reason.WINDOW_NOT_COLLECTED, detail)]
        try:
            if plan.source.text_label or (plan.spec is not None and plan.spec.kind == "text"):
                return self._texts(plan)
            return self._over(plan, plan.over) if plan.over else self._at_once(plan)
        except EvaluationError as error:
            return [self.unknown(plan, Reason.UNPARSED, str(error))]

    # Texts

    def _texts(self, plan: Plan) -> list[Fact]:
        """The value of a label at the instant, by scope."""
        name = plan.source.text_label
        if not name or plan.over:
            return [self.unknown(plan, Reason.UNPARSED, "an expression gives no text")]
        found: dict[Scope, set[str]] = {}
        for sample in self.evaluator.at(plan.expression, self.time_ms):
            found.setdefault(_scope(plan.source, sample.labels), set()).add(label(sample.labels, name))
        return [self._text(plan, scope, sorted(found[scope])) for scope in sorted(found)] or self._nothing(plan)

    def _text(self, plan: Plan, scope: Scope, texts: list[str]) -> Fact:
        if len(texts) > 1:
            detail = f"label {plan.source.text_label} has {len(texts)} values: {', '.join(texts[:_MOST_TEXTS])}"
            return self.unknown(plan, Reason.UNPARSED, detail, scope)
        if not texts[0]:
            return self.unknown(plan, Reason.SOURCE_ABSENT, f"no label {plan.source.text_label}", scope)
        value = plan.source.values.get(texts[0], texts[0])
        return Fact(plan.name + self.suffix, value, Status.MEASURED, scope, plan.text, self.host, self.time_ms / 1000)

    # Figures of an instant

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
        said = figure.notes or plan.asked_seconds or self.evaluator.store.quality
        quality = "; ".join([*_shortened(plan), *sorted(figure.notes), *self.evaluator.store.quality]) if said else ""
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
        source = plan.source
        known = self.scopes.setdefault(_terms(source), {})
        figures: dict[Scope, Figure] = {}
        for sample in self.evaluator.at(plan.expression, time_ms):
            scope = known.get(sample.labels)
            if scope is None:
                scope = known[sample.labels] = _scope(source, sample.labels)
            figure, other = _figure(sample, source.factor), figures.get(scope)
            figures[scope] = figure if other is None else _merged(source, other, figure)
        return figures


def _is_optional(plan: Plan | NoPlan) -> bool:
    return isinstance(plan, Plan) and plan.source.invented and bool(plan.source.scope.labels)


def _scope(source: Source, labels: Labels) -> Scope:
    """The scope of a label set: labels that the dialect maps, renamed; one that is not there is left out."""
    found = {ours: label(labels, theirs) for ours, theirs in source.labels.items()}
    return source.scope.with_labels({ours: source.values.get(value, value) for ours, value in found.items() if value})


def _figure(sample: Sample, factor: float) -> Figure:
    value = sample.value * factor
    if sample.bucket is None or not math.isfinite(value) or not factor:
        return Figure(value, value, value, sample.notes)
    bucket = sample.bucket if factor == 1 else sample.bucket.scaled(factor)
    return Figure(*bucket.interval(), value, sample.notes)


def _merged(source: Source, one: Figure, other: Figure) -> Figure:
    """Two label sets that are one scope to us: rates of a counter add up, other figures span an interval."""
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


def _shortened(plan: Plan) -> list[str]:
    if not plan.shortened:
        return []
    return [f"over {format_duration(plan.window_seconds)}, not {format_duration(plan.asked_seconds)}"]


def _spelled(value: float) -> str:
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _counted(found: int, window: Window, scrapes: Scrapes) -> str:
    asked = format_duration(window.seconds)
    if not scrapes.expected:
        every = format_duration(scrapes.interval_seconds)
        known = scrapes.interval_seconds > 0
        return f"scraped every {every}, which is too seldom for {asked}" if known else f"1 sample in {asked}"
    return f"{found} of {scrapes.expected} samples in {asked}"
