"""
When a patch has worked, and when to take it back, in PromQL where the server's metrics can say so.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from engram_diagnose.engine.advice.advise import Advice
from engram_diagnose.engine.advice.policy import Abort
from engram_diagnose.engine.advice.prediction import as_measured, watched
from engram_diagnose.engine.advice.record import Prediction
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.language.expression import Number
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.patch.criteria import Criterion, Deployment, Limits, criteria

_NO_INSTANCE: Final = "which server to ask for is not known: its label `instance` was not given"


def criteria_of(
    advice: Advice, predictions: tuple[Prediction, ...], diagnosis: Diagnosis, loaded: Loaded
) -> list[dict[str, Any]]:
    """
    The criteria of an advice as parts of its document; none where nothing changes.

    A change that no cause asks for, but sizing, is judged by the figures that have a target: none may get worse.
    """
    dialect = loaded.catalogue.dialects.get(diagnosis.subject.dialect)
    advised = advice.of("advised")
    if not advised or dialect is None:
        return []
    settings = {one.name: one.wanted for one in advised if one.wanted is not None}
    deployment = Deployment(diagnosis.subject.instance, loaded.catalogue, dialect, loaded.rules.rules,
                            diagnosis.memory, settings)  # fmt: skip
    voices = [voice for one in advised for voice in (one.chosen, *one.agreeing)]
    wanted = dict.fromkeys((one.scope, one.verify) for one in voices if one.verify is not None)
    scaled = {one.rule: one for one in predictions}
    figures = [scaled.get(figure.rule, figure) for one in advice.expected for figure in watched(one, diagnosis)]
    figures = figures or list(as_measured(diagnosis))
    found = criteria(dict.fromkeys(figures), wanted, deployment, _limits(loaded.policy.abort, loaded.rules.rules))
    known = bool(diagnosis.subject.instance)
    return [_document(one if known else replace(one, promql=None, reason=_NO_INSTANCE)) for one in found]


def _limits(abort: Abort, rules: Mapping[str, Rule]) -> Limits:
    return Limits(_limit(rules, abort.rise), _limit(rules, abort.fall), abort.errors, abort.restart)


def _limit(rules: Mapping[str, Rule], name: str) -> float | None:
    """The share by which a regression's figure may get worse; None where a site has switched that rule off."""
    rule_id, _, parameter = name.rpartition(".")
    rule = rules.get(rule_id)
    limit = rule.params.get(parameter) if rule is not None else None
    return limit.value.value if limit is not None and isinstance(limit.value, Number) else None


def _document(criterion: Criterion) -> dict[str, Any]:
    return {
        "kind": criterion.kind,
        "sentence": criterion.sentence,
        "promql": criterion.promql,
        "reason": criterion.reason or None,
        "after_seconds": criterion.after_seconds,
    }
