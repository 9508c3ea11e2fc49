"""
Plans: which expression gives a wanted fact, and which raw samples it needs.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

from engram_diagnose.collectors.prometheus.expression import (
    Expression,
    Selector,
    kind_of,
    longest_range_ms,
    selectors_in,
    shared,
)
from engram_diagnose.collectors.prometheus.lexer import PromqlError, format_duration
from engram_diagnose.collectors.prometheus.merging import merged_over, promql_of
from engram_diagnose.collectors.prometheus.nativised import of_native
from engram_diagnose.collectors.prometheus.promql import parse, parse_counter, with_window
from engram_diagnose.collectors.prometheus.series import UP
from engram_diagnose.engine.facts.catalogue import (
    Catalogue,
    Dialect,
    FactSpec,
    Source,
    Window,
    split_window,
)
from engram_diagnose.engine.facts.fact import Reason
from engram_diagnose.engine.facts.scope import INSTANCE, Scope

LOOKBACK_SECONDS: Final = 300.0
"""How far back an instant selector looks for a sample: Prometheus's default."""

_ORIGINS: Final = frozenset({"", "prometheus"})
_OVER: Final = frozenset({"avg", "min", "max", "slope"})

MERGED: Final = frozenset({"space", "hops"})
"""Scope labels over which a fact is known as well: a rule on the whole server reads it without them."""


Thing = TypeVar("Thing")


class Same(Generic[Thing]):
    """A thing to find in a cache by its identity: what it holds may not be hashable, and takes long to compare."""

    __slots__ = ("thing",)

    def __init__(self, thing: Thing) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


@dataclass(frozen=True, slots=True)
class Plan:
    """
    How one wanted fact is had from raw samples.

    `text` is the PromQL with its window filled in, and `expression` its tree. `over` is set when
    the expression is evaluated at each scrape of a window and then aggregated; else it is evaluated
    once. `asked_seconds` is the window in the fact's name, 0 without one.
    """

    name: str
    spec: FactSpec | None
    source: Source
    text: str
    expression: Expression
    over: Window | None = None
    asked_seconds: float = 0.0

    @property
    def merged(self) -> "Plan | None":
        """The plan over all spaces and hops; None where its source does not tell them apart."""
        return _merged(Same(self))

    @property
    def native(self) -> "Plan | None":
        """The plan that reads a native histogram instead of its classic parts; None where it reads none of these."""
        found = _native_text(self.text)
        return None if found is None else replace(self, text=found[1], expression=found[0])

    @property
    def shortened(self) -> bool:
        """Whether its rate is taken over less than the window it is named after."""
        return self.window_seconds < self.asked_seconds

    @property
    def window_seconds(self) -> float:
        """What the fact speaks of: the window it is named after, else the longest range in it."""
        return self.over.seconds if self.over else _reach_of(self.text).range_seconds

    @property
    def history_seconds(self) -> float:
        """How far before the instant samples are needed, look-back not counted."""
        return _reach_of(self.text).history_seconds + (self.over.seconds if self.over else 0.0)

    @property
    def fetched_seconds(self) -> float:
        """How far before the instant samples are needed, the look-back of instant selectors counted."""
        return _reach_of(self.text).fetched_seconds + (self.over.seconds if self.over else 0.0)


@lru_cache(maxsize=2048)
def _merged(of: Same[Plan]) -> Plan | None:
    plan = of.thing
    labels = {ours: theirs for ours, theirs in plan.source.labels.items() if ours in MERGED}
    found = _merged_text(plan.text, frozenset(labels.values())) if labels else None
    if found is None:
        return None
    kept = {ours: theirs for ours, theirs in plan.source.labels.items() if ours not in labels}
    return replace(plan, source=replace(plan.source, labels=kept), text=found[1], expression=found[0])


@dataclass(frozen=True, slots=True)
class NoPlan:
    """Why a fact cannot be had from this dialect's series."""

    name: str
    spec: FactSpec | None
    reason: Reason
    detail: str
    text: str = ""
    scope: Scope = INSTANCE


def plans_of(
    name: str,
    *,
    dialect: Dialect,
    catalogue: Catalogue,
    default_window: float,
    longest_rate: float = math.inf,
) -> list[Plan | NoPlan]:
    """
    The plans for one name as rules write it, one for each of its sources, `default_window`
    (seconds) being what `$window` stands for.

    Empty when it is another collector's to answer: a fact read from JSON, HTTP, /proc and so on, or
    a comparison in time (`@before`, `@baseline`). A window of `@rate_…` is cut to `longest_rate` seconds.
    """
    return list(_plans(name, Same(dialect), Same(catalogue), default_window, longest_rate))


@lru_cache(maxsize=2048)
def _plans(
    name: str, within: Same[Dialect], known_to: Same[Catalogue], default_window: float, longest_rate: float
) -> Sequence[Plan | NoPlan]:
    dialect, catalogue = within.thing, known_to.thing
    base, window = split_window(name)
    if window is not None and window.kind in ("before", "baseline"):
        return []
    known = catalogue.facts.get(base)
    sources = [source for source in dialect.sources.values() if source.fact == base]
    if not sources and (known is None or known.origin in _ORIGINS):
        return [NoPlan(name, known, Reason.NOT_IN_DIALECT, f"dialect {dialect.name}")]
    series = [source for source in sources if source.promql or source.counter]
    return [_plan(name, window, source, known, default_window, longest_rate) for source in series]


def _plan(
    name: str,
    window: Window | None,
    source: Source,
    known: FactSpec | None,
    default_window: float,
    longest_rate: float,
) -> Plan | NoPlan:
    try:
        return _planned(name, window, source, known, default_window, longest_rate)
    except PromqlError as error:
        text = source.promql or source.counter
        return NoPlan(name, known, Reason.UNPARSED, f"{text}: {error}", text, source.scope)


class _Reach(NamedTuple):
    """The longest range in an expression, and how far back it needs samples, without look-back and with."""

    range_seconds: float
    history_seconds: float
    fetched_seconds: float


@lru_cache(maxsize=4096)
def _reach_of(text: str) -> _Reach:
    expression = parse(text)
    selectors = list(selectors_in(expression))
    history = max((one.range_ms + one.offset_ms for one in selectors), default=0)
    fetched = max(((one.range_ms or LOOKBACK_SECONDS * 1000) + one.offset_ms for one in selectors), default=0)
    return _Reach(longest_range_ms(expression) / 1000, max(0, history) / 1000, max(0, fetched) / 1000)


@lru_cache(maxsize=4096)
def _native_text(text: str) -> tuple[Expression, str] | None:
    expression = of_native(parse(text))
    return None if expression is None else (shared(expression), promql_of(expression))


@lru_cache(maxsize=4096)
def _merged_text(text: str, labels: frozenset[str]) -> tuple[Expression, str] | None:
    expression = merged_over(parse(text), labels)
    return None if expression is None else (shared(expression), promql_of(expression))


@lru_cache(maxsize=4096)
def _names_in(text: str) -> frozenset[str]:
    """The metrics that an expression reads, native histograms included."""
    native = _native_text(text)
    expressions = [parse(text), *([native[0]] if native else [])]
    return frozenset(selector.name for one in expressions for selector in selectors_in(one))


def _planned(
    name: str,
    window: Window | None,
    source: Source,
    known: FactSpec | None,
    default_window: float,
    longest_rate: float,
) -> Plan | NoPlan:
    asked = window.seconds if window is not None else 0.0
    over = window if window is not None and window.kind in _OVER else None
    counter = _counter_of(source)
    if window is not None and window.kind == "rate":
        if not counter:
            detail = f"{source.promql} is no counter's name, so that no rate of it can be taken"
            return NoPlan(name, known, Reason.WINDOW_NOT_COLLECTED, detail, source.promql, source.scope)
        text = _rate_of(counter, source, min(asked, longest_rate))
    elif not source.counter:
        text = with_window(source.promql, default_window)
    elif known is not None and known.counter:
        detail = f"a counter means nothing but by its rate: ask for {name.partition('@')[0]}@rate_5m"
        return NoPlan(name, known, Reason.WINDOW_NOT_COLLECTED, detail, source.counter, source.scope)
    else:
        text = _rate_of(source.counter, source, default_window)
    expression = parse(text)
    if kind_of(expression) == "matrix":
        raise PromqlError("a range of samples is no figure", position=0, expected="a function")
    return Plan(name, known, source, text, expression, over, asked)


def _counter_of(source: Source) -> str:
    """The selector of the counter behind a source; empty when it is something computed."""
    if source.counter:
        parse_counter(source.counter)
        return source.counter
    expression = parse(with_window(source.promql, LOOKBACK_SECONDS))
    plain = isinstance(expression, Selector) and not (expression.range_ms or expression.offset_ms)
    return source.promql if plain else ""


def _rate_of(selector: str, source: Source, seconds: float) -> str:
    labels = ", ".join(sorted(set(source.labels.values())))
    rate = f"rate({selector}[{format_duration(seconds)}])"
    return f"sum by ({labels}) ({rate})" if labels else f"sum({rate})"


@dataclass(frozen=True, slots=True)
class Needed:
    """The raw samples that a set of facts takes: metric names in order, and seconds before the instant."""

    metrics: tuple[str, ...]
    seconds: float


def needed_selectors(wanted: Iterable[str], *, dialect: Dialect, catalogue: Catalogue, default_window: float) -> Needed:
    """
    What one raw query has to fetch so that `facts_of_series` can answer for `wanted`.

    Look-back is counted in, and `up` stands among the names, since it tells which series have
    ended. No names at all when nothing is to be asked of Prometheus.
    """
    names: set[str] = set()
    seconds = 0.0
    for name in wanted:
        plans = plans_of(name, dialect=dialect, catalogue=catalogue, default_window=default_window)
        for plan in (one for one in plans if isinstance(one, Plan)):
            found = _names_in(plan.text)
            names |= found | ({UP} if found else set())
            seconds = max(seconds, plan.fetched_seconds)
    return Needed(tuple(sorted(names)), seconds)
