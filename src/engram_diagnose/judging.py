"""
When a patch has worked, and when to take it back, in PromQL where the server's metrics can say so.
"""

from collections.abc import Mapping
from typing import Any

from engram_diagnose.engine.advice.advise import Advice
from engram_diagnose.engine.advice.policy import Abort
from engram_diagnose.engine.advice.prediction import watched
from engram_diagnose.engine.advice.record import Prediction
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.language.expression import Number
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.patch.criteria import Criterion, Deployment, Limits, criteria


def criteria_of(
    advice: Advice, predictions: tuple[Prediction, ...], diagnosis: Diagnosis, loaded: Loaded
) -> list[dict[str, Any]]:
    """The criteria of an advice as parts of its document; none where nothing changes."""
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
    found = criteria(dict.fromkeys(figures), wanted, deployment, _limits(loaded.policy.abort, loaded.rules.rules))
    return [_document(one) for one in found]


def _limits(abort: Abort, rules: Mapping[str, Rule]) -> Limits:
    return Limits(_limit(rules, abort.rise), _limit(rules, abort.fall), abort.errors, abort.restart)


def _limit(rules: Mapping[str, Rule], name: str) -> float:
    """The share by which a regression's figure may get worse: the first figure among its parameters."""
    rule = rules.get(name)
    values = [one.value for one in rule.params.values()] if rule is not None else []
    return next((value.value for value in values if isinstance(value, Number)), 0.0)


def _document(criterion: Criterion) -> dict[str, Any]:
    return {
        "kind": criterion.kind,
        "sentence": criterion.sentence,
        "promql": criterion.promql,
        "reason": criterion.reason or None,
        "after_seconds": criterion.after_seconds,
    }
