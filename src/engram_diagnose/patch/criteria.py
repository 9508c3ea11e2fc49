"""
When a change has worked, and when to take it back: each criterion in words, and in PromQL where that can say it.

A criterion's PromQL gives one series while it is met and nothing otherwise, as an alerting rule's expression does.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from engram_diagnose.engine.advice.record import Prediction
from engram_diagnose.engine.explanation.wording import fact_text, formula, value_text
from engram_diagnose.engine.facts.catalogue import FactSpec
from engram_diagnose.engine.facts.fact import Value, point
from engram_diagnose.engine.facts.scope import INSTANCE, Scope
from engram_diagnose.engine.facts.unit import NUMBER, UNITS, Unit, format_value, parse_quantity
from engram_diagnose.engine.language import expression as tree
from engram_diagnose.engine.language.rule import Verification
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX, Vocabulary
from engram_diagnose.patch.figures import Deployment, figure_query
from engram_diagnose.patch.queries import Query, condition_query
from engram_diagnose.render.neutral import visible

__all__ = ["Criterion", "Deployment", "Limits", "Query", "condition_query", "criteria", "figure_query"]

ERRORS: Final = "op.error_share"
UP: Final = "server.up"


@dataclass(frozen=True, slots=True)
class Criterion:
    """
    One sign of success, or one reason to abort.

    `promql` is None where PromQL cannot say it, and `reason` tells why. Before `after_seconds` have passed since the
    change took effect it says nothing yet.
    """

    kind: Literal["success", "abort"]
    sentence: str
    promql: str | None
    reason: str
    after_seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much worse things may get before a change is taken back.

    `rise` is the share by which a figure that should be low may rise over what was measured, `fall` the share by which
    one that should be high may fall; None where nothing says how far. `errors` is the share of all operations that may
    fail beyond those that did. `restart_seconds` is how long a restart may take.
    """

    rise: float | None
    fall: float | None
    errors: float
    restart_seconds: float


def criteria(
    predictions: Iterable[Prediction],
    verifications: Iterable[tuple[Scope, Verification]],
    deployment: Deployment,
    limits: Limits,
) -> tuple[Criterion, ...]:
    """
    The criteria of one patch, each once: signs of success first, in the order given.

    A predicted figure succeeds at its target (`target.<figure>` in the deployment's memory), or within the predicted
    interval where the target is met already, is out of reach, or is not known. Every `verifications` (with the scope
    that its rule concluded in) is a sign of success. Abort: a predicted figure that is worse than it was by more than
    the limits allow; failing operations; a server that is down.
    """
    predicted, checks = list(predictions), list(verifications)
    usual = max((check.after for _, check in checks), default=parse_quantity(deployment.window).value)
    found = [
        *(_success(prediction, deployment, usual) for prediction in predicted),
        *(_verified(scope, check, deployment) for scope, check in checks),
        *(one for prediction in predicted if (one := _worse(prediction, deployment, limits)) is not None),
        *_failing({prediction.scope for prediction in predicted}, deployment, limits),
        _down(deployment, limits),
    ]
    return tuple(dict.fromkeys(found))


def _criterion(kind: Literal["success", "abort"], sentence: str, condition: tree.Condition, scope: Scope,
               deployment: Deployment, after: float) -> Criterion:  # fmt: skip
    query = condition_query(condition, scope, deployment)
    return Criterion(kind, visible(sentence), query.promql, visible(query.reason), after)


def _limit(name: str, sign: tree.ComparisonOperator, figure: float, unit: Unit = UNITS[""]) -> tree.Leaf:
    """A fact held against a figure, which is rounded to what a person reads."""
    return tree.Leaf(tree.Comparison(sign, tree.Reference(name), tree.Number(float(f"{figure:.6g}"), unit)))


# Success


def _success(prediction: Prediction, deployment: Deployment, after: float) -> Criterion:
    target = deployment.memory.value(TARGET_PREFIX + prediction.on, prediction.scope)
    figure = _goal(prediction, target[0] if target is not None and not isinstance(target, str) else None)
    lower = prediction.better == "lower"
    sign: tree.ComparisonOperator = "<=" if lower else ">="
    unit = _unit(prediction)
    why = ", its target" if target == point(figure) else ", as predicted"
    words = (f"{prediction.on}{prediction.scope} is at {'most' if lower else 'least'} {format_value(figure, unit)}{why}"
             f" (it was {format_value(prediction.measured, unit)})")  # fmt: skip
    return _criterion("success", words, _limit(prediction.on, sign, figure, unit), prediction.scope, deployment, after)


def _goal(prediction: Prediction, target: float | None) -> float:
    """The target where it is missed now and within reach; else the end of the prediction that is easier to reach."""
    lower = prediction.better == "lower"
    promised = prediction.high if lower else prediction.low
    if target is None:
        return promised
    missed = prediction.measured > target if lower else prediction.measured < target
    reachable = prediction.low <= target if lower else prediction.high >= target
    return target if missed and reachable else promised


def _unit(prediction: Prediction) -> Unit:
    return UNITS.get(prediction.unit) or Unit(prediction.unit, NUMBER)


def _verified(scope: Scope, check: Verification, deployment: Deployment) -> Criterion:
    sentence = _Words(scope, deployment).condition(check.expect)
    return _criterion("success", sentence, check.expect, scope, deployment, check.after)


# Abort


def _worse(prediction: Prediction, deployment: Deployment, limits: Limits) -> Criterion | None:
    lower = prediction.better == "lower"
    limit = limits.rise if lower else limits.fall
    if limit is None or not prediction.measured:
        return None
    # A quantile from buckets is an interval: the change is to blame only beyond its worse end.
    value = deployment.memory.value(prediction.on, prediction.scope)
    known = value if isinstance(value, tuple) and all(map(math.isfinite, value)) else None
    was = known if known is not None else point(prediction.measured)
    figure = was[1] * (1 + limit) if lower else was[0] * (1 - limit)
    unit = _unit(prediction)
    words = (f"{prediction.on}{prediction.scope} is {'above' if lower else 'below'} {format_value(figure, unit)}, "
             f"{format_value(limit, UNITS['share'])} worse than the {value_text(was, unit)} it was")  # fmt: skip
    condition = _limit(prediction.on, ">" if lower else "<", figure, unit)
    return _criterion("abort", words, condition, prediction.scope, deployment, parse_quantity(deployment.window).value)


def _failing(scopes: Iterable[Scope], deployment: Deployment, limits: Limits) -> Iterator[Criterion]:
    for scope in sorted(scopes or {INSTANCE}):
        before = deployment.memory.value(ERRORS, scope)
        known = before if before is not None and not isinstance(before, str) else None
        figure = (known[1] if known else 0.0) + limits.errors
        spec = deployment.catalogue.spec(ERRORS)
        was = f"it was {fact_text(known, spec)}" if known else "what it was is not known"
        place = scope.project(spec.scope if spec else ())
        words = f"{ERRORS}{place} is above {fact_text(point(figure), spec)} ({was})"
        after = parse_quantity(deployment.window).value
        yield _criterion("abort", words, _limit(ERRORS, ">", figure), scope, deployment, after)


def _down(deployment: Deployment, limits: Limits) -> Criterion:
    words = "Prometheus does not reach the server"
    found = _criterion("abort", words, _limit(UP, "==", 0.0), INSTANCE, deployment, limits.restart_seconds)
    if found.promql is None:
        return found
    # A target that is gone from service discovery has no `up` at all.
    return replace(found, promql=f"{found.promql} or absent({found.promql.removesuffix(' == 0')})")


# Words

_SIGNS: Final = {
    ">": "is above", ">=": "is at least", "<": "is below", "<=": "is at most", "==": "is", "!=": "is not",
}  # fmt: skip


class _Words:
    """Says a condition in words, for one scope."""

    def __init__(self, scope: Scope, deployment: Deployment) -> None:
        self._scope = scope
        self._at = deployment
        self._vocabulary = Vocabulary(deployment.catalogue)

    def condition(self, condition: tree.Condition) -> str:
        match condition:
            case tree.Leaf(test, text):
                return self._test(test) or text or formula(test)
            case tree.Not(item):
                return f"it is not so that {self.condition(item)}"
            case tree.All(items):
                return ", and ".join(map(self.condition, items))
            case tree.AnyOf(items):
                return ", or ".join(map(self.condition, items))
            case tree.AtLeast(count, items):
                return f"at least {count} of: {'; '.join(map(self.condition, items))}"

    def _test(self, test: tree.Expression) -> str:
        if not isinstance(test, tree.Comparison):
            return ""
        return f"{self._name(test.left)} {_SIGNS[test.operator]} {self._limit(test.right)}"

    def _name(self, node: tree.Expression) -> str:
        match node:
            case tree.Named(name, body):
                return f"{name.replace('_', ' ')} ({formula(body)})"
            case tree.Reference(name, labels):
                spec = self._spec(name)
                return f"{name}{self._scope.with_labels(dict(labels)).project(spec.scope if spec else ())}"
            case tree.Arithmetic(sign, left, right):
                return f"{self._name(left)} {sign} {self._name(right)}"
        return formula(node)

    def _limit(self, node: tree.Expression) -> str:
        """What a figure is held against; a target or a setting is given with its value."""
        if not isinstance(node, tree.Reference):
            return self._name(node)
        value = self._value(node)
        if value is None:
            return self._name(node)
        named = "the target" if node.name.startswith(TARGET_PREFIX) else node.name
        return f"{fact_text(value, self._spec(node.name))} ({named})"

    def _value(self, reference: tree.Reference) -> Value | None:
        if reference.name in self._at.settings:
            return self._at.settings[reference.name]
        if reference.name.startswith(TARGET_PREFIX) or reference.name in self._at.catalogue.parameters:
            return self._at.memory.value(reference.name, self._scope.with_labels(dict(reference.labels)))
        return None

    def _spec(self, name: str) -> FactSpec | None:
        return self._vocabulary.spec(name)
