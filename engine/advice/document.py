"""
Advice as a document: plain dicts, lists, texts and figures, in the order in which they are to be read.

Figures are in base units beside their words. `rules/schema/patch-v1.json` is its schema, with what the shell adds to
it: the file, the criteria, the days.
"""

import math
from typing import Any, Final

from engram_diagnose.engine.advice.advise import Advice, Refused
from engram_diagnose.engine.advice.budget import Budget
from engram_diagnose.engine.advice.decision import GROUPS, Decision, same
from engram_diagnose.engine.advice.missing import missing_inputs
from engram_diagnose.engine.advice.prediction import Expected
from engram_diagnose.engine.advice.proposal import Proposal
from engram_diagnose.engine.advice.record import Prediction
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.explanation.instruction import literal
from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.fact import Reason, Value
from engram_diagnose.engine.facts.instant import iso
from engram_diagnose.engine.facts.scales import Scales
from engram_diagnose.engine.facts.scope import INSTANCE
from engram_diagnose.engine.facts.unit import UNITS, format_value

SCHEMA: Final = "engram-diagnose/patch/v1"
Json = dict[str, Any]
_INVENTED: Final = "the documentation states no key for this setting: see that the server reads this one"
_BYTES: Final = UNITS["B"]


def advice_document(advice: Advice, diagnosis: Diagnosis) -> Json:
    """All that was decided, and why."""
    return _Writer(advice, diagnosis).document()


class _Writer:
    def __init__(self, advice: Advice, diagnosis: Diagnosis) -> None:
        self._advice = advice
        self._diagnosis = diagnosis
        self._scales: Scales = diagnosis.scales

    def document(self) -> Json:
        advised = self._advice.of("advised")
        subject = self._diagnosis.subject
        return {
            "schema": SCHEMA,
            "subject": {
                "instance": subject.instance,
                "host": subject.host,
                "time": iso(subject.time),
                "dialect": subject.dialect,
                "target_set": subject.target_set,
            },
            "sizing": self._advice.sizing,
            "groups": [
                {"when": group, "changes": [self._change(one) for one in advised if one.group == group]}
                for group in GROUPS
                if any(one.group == group for one in advised)
            ],
            "ignored": [self._change(one) for one in self._advice.of("ignored")],
            "held": [self._change(one) for one in self._advice.of("held")],
            "unknown": [self._change(one) for one in self._advice.of("unknown")],
            "refused": [self._refused(one) for one in self._advice.refused],
            "budget": self._budget(self._advice.budget),
            "effects": [self._effect(one) for one in self._advice.expected],
        }

    def _change(self, decision: Decision) -> Json:
        spec = self._diagnosis.catalogue.facts.get(decision.name)
        return {
            "parameter": decision.name,
            "title": decision.parameter.title,
            "key": decision.key.key if decision.key is not None else None,
            "from": self._current(decision),
            "to": fact_text(decision.wanted, spec) if decision.wanted is not None else decision.chosen.text,
            "value": _json_value(decision.wanted),
            "write": self._line(decision),
            "restart": decision.parameter.restart,
            "command": self._command(decision),
            "undo": self._setting(decision, decision.current),
            "by": self._voice(decision.chosen),
            "agreeing": [self._voice(one) for one in decision.agreeing],
            "conflicts": [
                self._voice(one) | {"to": fact_text(one.wanted, spec), "because": one.because or None}
                for one in decision.conflicting
            ],
            "because": decision.chosen.because or None,
            "tradeoff": decision.chosen.tradeoff or decision.parameter.tradeoff or None,
            "reason": decision.reason or None,
            "notes": [*decision.notes, *([_INVENTED] if decision.key is not None and decision.key.invented else [])],
            "missing": self._missing(decision),
        }

    def _current(self, decision: Decision) -> str:
        fact = self._diagnosis.memory.lookup(decision.name, INSTANCE)
        if fact is not None and fact.unknown is not None and fact.unknown.reason is Reason.SOURCE_ABSENT:
            return "not set"
        return fact_text(decision.current, self._diagnosis.catalogue.facts.get(decision.name))

    def _missing(self, decision: Decision) -> list[str]:
        """The unknown facts a value is computed from; of a cause's value only that it is unknown can be said."""
        if decision.standing != "unknown" or not decision.chosen.sizing:
            return []
        return list(missing_inputs(decision.parameter.formula, self._diagnosis))

    def _line(self, decision: Decision) -> str | None:
        """The line of the configuration that says so."""
        if decision.key is None or decision.wanted is None:
            return None
        value = literal(decision.wanted, decision.key.unit, decision.parameter.kind)
        if value is None:
            return None
        return f"{decision.key.key} = [{value}]" if decision.key.array else f"{decision.key.key} = {value}"

    def _command(self, decision: Decision) -> str | None:
        """What sets a setting of the machine."""
        return self._setting(decision, decision.wanted)

    def _setting(self, decision: Decision, value: Value | None) -> str | None:
        template, spec = decision.parameter.command, decision.parameter
        text = None if value is None else literal(value, spec.unit, spec.kind)
        return template.replace("{value}", text.strip('"')) if template and text is not None else None

    def _voice(self, proposal: Proposal) -> Json:
        certain = proposal.confidence
        return {
            "rule": proposal.rule,
            "title": proposal.title,
            "scope": dict(proposal.scope.labels),
            "sizing": proposal.sizing,
            "rank": None if proposal.sizing else proposal.rank,
            "confidence": None if certain is None else round(certain, 9),
            "word": None if certain is None else self._scales.word(certain),
        }

    def _refused(self, refused: Refused) -> Json:
        cause = refused.cause
        return {
            "rule": cause.rule.id,
            "title": cause.rule.title,
            "scope": dict(cause.scope.labels),
            "rank": refused.rank,
            "confidence": round(cause.confidence.probability, 9),
            "word": self._scales.word(cause.confidence.probability),
            "reason": refused.reason,
        }

    def _budget(self, budget: Budget) -> Json:
        return {
            "limit": budget.limit,
            "limit_text": None if budget.limit is None else format_value(budget.limit, _BYTES),
            "total": budget.total,
            "total_text": format_value(budget.total, _BYTES),
            "shares": [
                {"parameter": one.parameter.name, "title": one.parameter.title, "bytes": one.size,
                 "text": format_value(one.size, _BYTES), "source": one.source}
                for one in budget.shares
            ],
            "unknown": list(budget.unknown),
        }  # fmt: skip

    def _effect(self, expected: Expected) -> Json:
        probability = expected.cause.confidence.probability
        return {
            "rule": expected.cause.rule.id,
            "title": expected.cause.rule.title,
            "rank": expected.rank,
            "confidence": round(probability, 9),
            "word": self._scales.word(probability),
            "calibrated": self._scales.calibrated,
            "unmeasured": expected.reason or None,
            "prediction": None if expected.prediction is None else prediction_document(expected.prediction),
        }


def prediction_document(prediction: Prediction) -> Json:
    """A prediction in figures and words."""
    unit = UNITS.get(prediction.unit, UNITS[""])
    low, high = format_value(prediction.low, unit), format_value(prediction.high, unit)
    return {
        "on": prediction.on,
        "scope": dict(prediction.scope.labels),
        "better": prediction.better,
        "measured": prediction.measured,
        "low": prediction.low,
        "high": prediction.high,
        "measured_text": format_value(prediction.measured, unit),
        "text": low if same((prediction.low,) * 2, (prediction.high,) * 2) or low == high else f"{low} to {high}",
    }


def _json_value(value: Value | None) -> Any:
    """A point as a figure, an interval as [low, high] with null for no bound."""
    if value is None or isinstance(value, str):
        return value
    low, high = (None if math.isinf(end) else end for end in value)
    return low if value[0] == value[1] else [low, high]
