"""
Facts as PromQL: what an operator may ask Prometheus instead of this tool.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engram_diagnose.collectors.prometheus.expression import Aggregation, Binary, Expression, Matcher, Number, kind_of
from engram_diagnose.collectors.prometheus.labels import clean
from engram_diagnose.collectors.prometheus.lexer import format_duration
from engram_diagnose.collectors.prometheus.merging import merged_over, promql_of
from engram_diagnose.collectors.prometheus.pattern import quoted
from engram_diagnose.collectors.prometheus.plan import NoPlan, Plan, plans_of
from engram_diagnose.collectors.prometheus.selectors import is_single, narrowed, pinned
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect, Source, split_window
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.facts.unit import parse_quantity
from engram_diagnose.engine.language.rule import Rule

_STEPS: Final = 10
"""How often an expression is evaluated within a window that it is aggregated over."""


class UnsayableError(ValueError):
    """A fact or test that cannot be said in PromQL; the message is the reason, as a clause."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """
    One server as its Prometheus knows it, and what is known of it otherwise.

    `instance` is its label in Prometheus; empty, every server is asked. `rules` are those by which facts are derived,
    `memory` the facts of the diagnosis, targets included, `settings` what the patch sets, by parameter and in base
    units. `window` is the range of rates.
    """

    instance: str
    catalogue: Catalogue
    dialect: Dialect
    rules: Mapping[str, Rule] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    settings: Mapping[str, Value] = field(default_factory=dict)
    window: str = "5m"


def figure_query(
    name: str, scope: Scope, *, instance: str, catalogue: Catalogue, dialect: Dialect, window: str = "5m"
) -> str | None:
    """
    One fact in one scope as PromQL; it gives one series without labels at most, in base units.

    `name` may carry a window (`@rate_5m`, `@avg_5m`, …). Labels of the scope that the fact is not told apart by are
    left out, as the nearest enclosing scope answers for it; labels it is told apart by and the scope does not name are
    merged. None where the dialect has no PromQL for it.
    """
    try:
        return figure(name, scope, Deployment(instance, catalogue, dialect, window=window))
    except UnsayableError:
        return None


def figure(name: str, scope: Scope, deployment: Deployment) -> str:
    """As `figure_query`; raises `UnsayableError` with the reason."""
    plan = _plan(name, scope, deployment)
    source = plan.source
    if source.text_label or (plan.spec is not None and plan.spec.kind == "text"):
        raise UnsayableError(f"{name} is a text and no figure")
    expression = pinned(plan.expression, _matchers(source, scope))
    expression = _without_labels(expression, source, name, deployment.catalogue)
    if source.factor != 1.0:
        expression = Binary("*", expression, Number(source.factor))
    text = promql_of(expression).replace("\ufffd", r"\ufffd")
    text = narrowed(text, {"instance": deployment.instance} if deployment.instance else {})
    return _over(plan, f"vector({text})" if kind_of(expression) == "scalar" else text)


def _plan(name: str, scope: Scope, deployment: Deployment) -> Plan:
    fitting = [
        plan for plan in _plans(name, deployment) if isinstance(plan, Plan) and plan.source.scope.encloses(scope)
    ]
    if fitting:
        return max(fitting, key=lambda plan: len(plan.source.scope.labels))
    raise UnsayableError(why_none(name, scope, deployment))


def _plans(name: str, deployment: Deployment) -> list[Plan | NoPlan]:
    seconds = parse_quantity(deployment.window).value
    catalogue, dialect = deployment.catalogue, deployment.dialect
    plans = plans_of(name, dialect=dialect, catalogue=catalogue, default_window=seconds)
    counter = any(isinstance(plan, NoPlan) and plan.spec is not None and plan.spec.counter for plan in plans)
    if not counter or "@" in name:
        return plans
    rate = f"{name}@rate_{round(seconds)}s"
    return plans_of(rate, dialect=dialect, catalogue=catalogue, default_window=seconds)


def why_none(name: str, scope: Scope, deployment: Deployment) -> str:
    """Why a fact that has no figure has none."""
    base, window = split_window(name)
    if window is not None and window.kind in ("before", "baseline"):
        return f"{name} is of the past, and it is not known"
    published = [source for source in deployment.dialect.sources.values() if source.fact == base]
    if not published:
        return f"{base} is not published by dialect {deployment.dialect.name}"
    if not any(source.promql or source.counter for source in published):
        return f"{base} is published in no form that Prometheus scrapes"
    details = [plan.detail for plan in _plans(name, deployment) if isinstance(plan, NoPlan)]
    return details[0] if details else f"{base} is not published for {str(scope) or 'the whole server'}"


def _matchers(source: Source, scope: Scope) -> list[Matcher]:
    """What picks the scope out of the source's series."""
    wanted = {theirs: scope.get(ours) for ours, theirs in source.labels.items() if source.scope.get(ours) is None}
    return [_matcher(source, label, value) for label, value in wanted.items() if value is not None]


def _matcher(source: Source, label: str, value: str) -> Matcher:
    """The inverse of the renaming that a source's values go through."""
    theirs = [before for before, after in source.values.items() if after == value]
    theirs += [value] if value not in source.values else []
    if not theirs:
        raise UnsayableError(f"no series is told apart as {value!r}")
    if len(theirs) == 1:
        return Matcher(label, "=", clean(theirs[0]))
    return Matcher(label, "=~", "|".join(quoted(clean(one)) for one in sorted(theirs)))


def _without_labels(expression: Expression, source: Source, name: str, catalogue: Catalogue) -> Expression:
    """One series: buckets and counts merged before anything is computed; the worst of several where that cannot be."""
    merged = merged_over(expression, set(source.labels.values())) or expression
    if is_single(merged):
        return merged
    base, _ = split_window(name)
    better = next((target.better for target in catalogue.targets if target.name == base), "lower")
    return Aggregation("min" if better == "higher" else "max", merged)


def _over(plan: Plan, text: str) -> str:
    if plan.over is None:
        return text
    function = "deriv" if plan.over.kind == "slope" else f"{plan.over.kind}_over_time"
    step = format_duration(max(1.0, math.floor(plan.over.seconds / _STEPS)))
    return f"{function}(({text})[{format_duration(plan.over.seconds)}:{step}])"
