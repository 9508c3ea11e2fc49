"""
The rules' regression limits against a saved baseline: crossed, and by more than noise?
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from engram_diagnose.engine.comparison.effect import Effect
from engram_diagnose.engine.comparison.load import Load, compare_load, under
from engram_diagnose.engine.comparison.outcome import level_of_each
from engram_diagnose.engine.comparison.policy import Figure, Policy, Regression
from engram_diagnose.engine.comparison.regression import Judged, judge
from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.fact import point
from engram_diagnose.engine.facts.unit import format_value
from engram_diagnose.engine.language.expression import Number
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.verification.comparing import (
    Compared,
    Comparison,
    also_changed,
    check_sides,
    effect_of,
    without_rate,
)
from engram_diagnose.verification.document import (
    SCHEMA,
    Json,
    also_entries,
    counts,
    figure_entry,
    key_entry,
    load_entry,
    side_entry,
    unit_of,
)
from engram_diagnose.verification.figures import usual_keys, what_counts
from engram_diagnose.verification.side import Key, Side

_STATES: Final = ("regressed", "held", "inconclusive", "not comparable")


@dataclass(frozen=True, slots=True)
class Held:
    """One rule in one place: the effect, and what the rule's limit makes of it."""

    rule: Rule
    regression: Regression
    key: Key
    figure: Figure
    effect: Effect
    judged: Judged
    limit: float


def regressions_document(before: Side, after: Side, policy: Policy, loaded: Loaded, *,
                         assumed: bool = False) -> dict[str, Any]:  # fmt: skip
    """
    Hold a side against the baseline by every regression rule that is in force, as a document.

    Raises `NothingToCompareError` for sides that cannot be compared at all.
    """
    check_sides(before, after)
    load = compare_load(before.load, after.load, policy.load, assumed=assumed)
    held = list(_held(before, after, policy, loaded, load))
    state = next((one for one in _STATES if one in {item.judged.state for item in held}), "not comparable")
    figures = tuple(Compared(one.key, one.figure, one.effect, len(before.figures.get(one.key, ())),
                             len(after.figures.get(one.key, ()))) for one in held)  # fmt: skip
    found = Comparison(before, after, load, figures, tuple(also_changed(before, after, None)), "inconclusive",
                       policy.confidence, _level(policy, len(held)))  # fmt: skip
    return {
        "schema": SCHEMA,
        "kind": "baseline",
        "verdict": {"state": state, "sentence": _sentence(held, state, loaded),
                    "counts": counts(one.effect.verdict for one in held)},
        "before": side_entry(before),
        "after": side_entry(after),
        "load": load_entry(load, loaded.catalogue),
        "confidence": {"together": policy.confidence, "each": round(found.level, 9)},
        "figures": [figure_entry(one, loaded.catalogue) for one in figures],
        "regressions": [_entry(one, loaded) for one in held],
        "also_changed": also_entries(found),
        "application": None,
        "next": list(_next(held, load, state)),
    }  # fmt: skip


def _level(policy: Policy, count: int) -> float:
    return level_of_each(policy.confidence, count)


def _held(before: Side, after: Side, policy: Policy, loaded: Loaded, load: Load) -> Iterable[Held]:
    in_force = [(one, loaded.rules.rules[one.rule]) for one in policy.regressions if one.rule in loaded.rules.rules]
    pairs = [(one, rule, key) for one, rule in in_force
             for key in usual_keys(before, after, policy, [one.on], background=True)]  # fmt: skip
    level = _level(policy, sum(key in before.figures and key in after.figures for _, _, key in pairs))
    for regression, rule, key in pairs:
        figure = what_counts(key.on, policy, loaded.catalogue)
        effect = effect_of(key, figure, before, after, policy, level)
        effect = _in_its_load(effect, regression, rule, before, after, policy, load, figure)
        limit = _parameter(rule, regression.limit)
        yield Held(rule, regression, key, figure, effect, judge(effect, sense=regression.sense, limit=limit), limit)


def _in_its_load(effect: Effect, regression: Regression, rule: Rule, before: Side, after: Side, policy: Policy,
                 load: Load, figure: Figure) -> Effect:  # fmt: skip
    """The effect as the load lets it stand; of throughput, as many clients as then stand for the rate."""
    if not regression.clients or load.assumed:
        return under(load, effect, worsens=figure.worsens)
    others = compare_load(before.load, after.load, without_rate(policy.load, regression.on))
    effect = under(others, effect, worsens=figure.worsens)
    then, now = (side.load.get(regression.clients) for side in (before, after))
    if effect.verdict in ("not comparable", "inconclusive"):
        return effect
    if then is None or now is None:
        return replace(effect, verdict="not comparable", note=f"{regression.clients} is not known on both sides")
    if now < _parameter(rule, regression.share_of) * then:
        return replace(effect, verdict="not comparable", note="fewer clients than then were connected")
    return effect


def _parameter(rule: Rule, name: str) -> float:
    value = rule.params[name].value
    assert isinstance(value, Number)  # noqa: S101 -- the loader has checked what the rule computes with
    return value.value


def _sentence(held: Sequence[Held], state: str, loaded: Loaded) -> str:
    said = [one for one in held if one.judged.state == state]
    if state == "regressed":
        first = max(said, key=lambda one: abs(one.effect.change or 0.0) / (one.effect.least or 1.0))
        values = _values(first, loaded)
        return f"{first.rule.title}: {first.key} {values['before_text']} then, {values['after_text']} now"
    open_ones = sum(one.judged.state not in ("regressed", "held") for one in held)
    if state == "held":
        rest = f"; {open_ones} could not be told" if open_ones else ""
        return f"{len(said)} of {len(held)} figures hold against the baseline{rest}"
    if not held:
        return "no figure that a regression rule speaks of is known on either side"
    return f"none of {len(held)} figures could be held against the baseline"


def _values(one: Held, loaded: Loaded) -> Mapping[str, Any]:
    return figure_entry(Compared(one.key, one.figure, one.effect, 0, 0), loaded.catalogue)


def _entry(one: Held, loaded: Loaded) -> Json:
    unit = unit_of(one.key.on, loaded.catalogue)
    parameter = one.rule.params[one.regression.limit]
    unit_of_limit = unit if one.regression.sense in ("below", "above") else None
    return {
        "rule": one.rule.id,
        "title": one.rule.title,
        "severity": one.rule.severity,
        **key_entry(one.key, unit),
        "state": one.judged.state,
        "sense": one.regression.sense,
        "limit": one.limit,
        "limit_text": format_value(one.limit, unit_of_limit) if unit_of_limit else f"{one.limit * 100:g} %",
        "parameter": parameter.name,
        "bound": one.judged.bound,
        "bound_text": fact_text(point(one.judged.bound), loaded.catalogue.spec(one.key.on)),
        "note": one.judged.note,
    }


def _next(held: Sequence[Held], load: Load, state: str) -> Iterable[str]:
    if state == "regressed":
        yield "Find out why, with the baseline beside it: engram-diagnose run --baseline NAME"
        yield "If it is meant to be so, save it as the new baseline: engram-diagnose baseline save NAME --replace"
    if state == "held":
        yield "Nothing to do."
    if load.state != "comparable":
        unlike = [one.measure.name for one in load.measures if one.state != "comparable"]
        yield f"The load is not known to be the baseline's ({', '.join(unlike)}): compare at a time of the same load."
        yield "If you know that the load was the same, say so with --assume-comparable; the report repeats it."
    needed = [one.effect.needed for one in held if one.judged.state == "inconclusive" and one.effect.needed]
    if needed:
        yield f"What could not be told needs {max(needed)} more windows on each side: collect over a longer time."
