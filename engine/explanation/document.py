"""
A diagnosis as a document: plain dicts, lists, texts and figures, ordered by stated keys.

It is what `--format json` prints and what every other format is rendered from; `rules/schema/diagnosis-v1.json` is its
schema. Figures are in base units beside their words. Unknown is null with a reason, never zero.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from engram_diagnose.engine.advice.advise import advise
from engram_diagnose.engine.advice.decision import Decision
from engram_diagnose.engine.diagnosis import TARGET_TAG, Diagnosis
from engram_diagnose.engine.explanation.changes import changes
from engram_diagnose.engine.explanation.entries import (
    Json,
    entry_of_fact,
    entry_of_missing,
    entry_of_reading,
    entry_of_test,
    json_value,
    rounded,
)
from engram_diagnose.engine.explanation.instruction import filled_command, literal, wished
from engram_diagnose.engine.explanation.remedy import Change, Remedy, remedies
from engram_diagnose.engine.explanation.trace import deciding, read_by, trace
from engram_diagnose.engine.explanation.verdict import verdict
from engram_diagnose.engine.explanation.wording import Wording, fact_text
from engram_diagnose.engine.facts.instant import iso
from engram_diagnose.engine.facts.scales import Calibration
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.engine.inference.firing import Firing
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.expression import Leaf, Text, leaves
from engram_diagnose.engine.language.rule import Graded, Rule
from engram_diagnose.engine.language.vocabulary import Vocabulary
from engram_diagnose.engine.ranking.cause import Cause
from engram_diagnose.engine.ranking.confidence import Piece
from engram_diagnose.engine.ranking.coverage import Missing, Untestable, missing_facts, missing_of
from engram_diagnose.engine.ranking.impact import unknown_for_relief

SCHEMA: Final = "engram-diagnose/diagnosis/v1"
_NO_TEST: Final = Text("")
_SECONDS: Final = UNITS["s"]


def document(diagnosis: Diagnosis) -> Json:
    """The whole diagnosis as one JSON document."""
    return _Writer(diagnosis).document()


def _calibration(found: Calibration | None) -> Json | None:
    """What the confidences were fitted on; null while they are the designers' figures."""
    if found is None:
        return None
    return {"cases": found.cases, "source": found.source, "date": found.date, "intercept": rounded(found.intercept),
            "slope": rounded(found.slope), "sentence": found.told}  # fmt: skip


class _Writer:
    def __init__(self, diagnosis: Diagnosis) -> None:
        self._diagnosis = diagnosis
        self._vocabulary = Vocabulary(diagnosis.catalogue, diagnosis.rules.rules)

    def document(self) -> Json:
        diagnosis = self._diagnosis
        missed = diagnosis.missed()
        return {
            "schema": SCHEMA,
            "subject": self._subject(),
            "verdict": verdict(diagnosis),
            "symptoms": [self._symptom(firing) for firing in missed],
            "causes": [self._cause(cause, rank) for rank, cause in enumerate(diagnosis.causes, 1)],
            "experimental": [self._cause(cause, None) for cause in diagnosis.experimental],
            "masked": [self._cause(item.cause, None) | {"masked_by": list(item.by)} for item in diagnosis.masked],
            "suppressed": [
                self._head(item.firing.rule, item.firing.scope)
                | {
                    "kind": item.firing.rule.kind,
                    "because": self._because(item.firing, Truth.TRUE),
                    "reason": item.suppression.reason,
                    "owner": item.suppression.owner,
                    "expires": item.suppression.expires,
                }
                for item in diagnosis.suppressed
            ],
            "unexplained": [self._head(firing.rule, firing.scope) for firing in self._unexplained(missed)],
            "not_testable": [self._untestable(item) for item in self._undecided("cause")],
            "symptoms_not_tested": [
                self._untestable(item) | {"target": TARGET_TAG in item.firing.rule.tags}
                for item in self._undecided("symptom")
            ],
            "symptoms_met": [self._ruled_out(firing) for firing in diagnosis.symptoms if firing.outcome == "refuted"],
            "ruled_out": [
                self._ruled_out(firing)
                for firing in diagnosis.firings
                if firing.rule.kind == "cause" and firing.outcome == "refuted"
            ],
            "not_applicable": [
                self._ruled_out(firing, applies=True)
                for firing in diagnosis.firings
                if firing.rule.kind == "cause" and firing.outcome == "not-applicable"
            ],
            "advice": [self._decision(one) for one in advise(diagnosis).decisions],
            "changed": self._changed(),
            "coverage": self._coverage(),
            "derived": [
                self._derived(firing)
                for firing in diagnosis.firings
                if firing.rule.kind in ("table", "derive") and firing.outcome == "fires"
            ],
            "facts": [
                entry_of_fact(fact, self._vocabulary.spec(fact.name))
                for fact in diagnosis.memory
                if (fact.source or fact.unknown) and fact.name not in diagnosis.rules.rules
            ],
            "rule_base": {
                "rules": len(diagnosis.rules.rules),
                "packs": dict(diagnosis.rules.packs),
                "overrides": dict(diagnosis.rules.overridden),
                "suppressions": len(diagnosis.rules.suppressions),
                "calibrated": diagnosis.scales.calibrated,
                "calibration": _calibration(diagnosis.scales.calibration),
            },
        }

    def _subject(self) -> Json:
        subject = self._diagnosis.subject
        return {
            "instance": subject.instance,
            "host": subject.host,
            "time": iso(subject.time),
            "dialect": subject.dialect,
            "target_set": subject.target_set,
        }

    def _changed(self) -> Json | None:
        """What is different from the quiet time before; null where nothing was collected of it."""
        diagnosis = self._diagnosis
        before, at = diagnosis.before, diagnosis.subject.time
        if not before:
            return None
        entries = changes(diagnosis.memory, before, at, diagnosis.catalogue)
        return {"since": iso(before.time), "seconds": rounded(at - before.time), "entries": entries}

    def _head(self, rule: Rule, scope: Scope) -> Json:
        return {
            "rule": rule.id,
            "rev": rule.rev,
            "pack": rule.pack,
            "title": rule.title,
            "scope": dict(scope.labels),
        }

    def _seen(self, firing: Firing) -> Seen:
        return Seen(self._diagnosis.memory, firing.scope)

    # Symptoms

    def _symptom(self, firing: Firing) -> Json:
        tests = trace(firing.rule.when, self._seen(firing), self._vocabulary, firing.rule)
        return self._head(firing.rule, firing.scope) | {
            "severity": firing.rule.severity,
            "target": TARGET_TAG in firing.rule.tags,
            "reason": firing.rule.reason,
            "tests": [entry_of_test(test) for test in deciding(tests, Truth.TRUE)],
            "explained_by": [cause.rule.id for cause in self._diagnosis.causes if firing in cause.explained],
        }

    def _unexplained(self, missed: Sequence[Firing]) -> list[Firing]:
        """Those that no cause explains, or none that is worth more than a line."""
        worth = [cause for cause in self._diagnosis.causes if not cause.negligible]
        explained = [firing for cause in worth for firing in cause.explained]
        return [firing for firing in missed if firing not in explained]

    # Causes

    def _cause(self, cause: Cause, rank: int | None) -> Json:
        seen = Seen(self._diagnosis.memory, cause.scope)
        gate = trace(cause.rule.when, seen, self._vocabulary, cause.rule)
        scales = self._diagnosis.scales
        weighed = cause.confidence
        return self._head(cause.rule, cause.scope) | {
            "rank": rank,
            "tie": cause.tie,
            "negligible": cause.negligible,
            "moved": cause.moved if self._diagnosis.before else None,
            "status": cause.rule.status,
            "severity": cause.severity or None,
            "rule_severity": cause.rule.severity,
            "owner": cause.rule.owner,
            "tags": list(cause.rule.tags),
            "score": rounded(cause.score),
            "weight": rounded(cause.weight),
            "confidence": {
                "probability": rounded(weighed.probability),
                "before_calibration": None
                if weighed.before_calibration is None
                else rounded(weighed.before_calibration),
                "low": rounded(weighed.low),
                "high": rounded(weighed.high),
                "word": scales.word(weighed.probability),
                "prior": rounded(weighed.prior),
                "prior_weakened_by_proxy": weighed.prior_weakened,
                "calibrated": scales.calibrated,
            },
            "impact": self._impact(cause),
            "explains": [self._head(firing.rule, firing.scope) for firing in cause.explained],
            "gate": [entry_of_test(test) for test in deciding(gate, Truth.TRUE) or gate],
            "evidence": {
                "for": [self._piece(piece, seen, cause.rule) for piece in weighed.pieces if piece.truth is Truth.TRUE],
                "against": [
                    self._piece(piece, seen, cause.rule) for piece in weighed.pieces if piece.truth is Truth.FALSE
                ],
                "unknown": [
                    self._piece(piece, seen, cause.rule) for piece in weighed.pieces if piece.truth is Truth.UNKNOWN
                ],
            },
            "would_narrow": self._narrowing(weighed.pieces, seen),
            "recommend": [self._remedy(remedy, seen, cause.rule) for remedy in self._remedies(cause, seen)],
            "false_positives": list(cause.rule.falsepositives),
            "reason": cause.rule.reason,
            "refs": list(cause.rule.refs),
        }

    def _impact(self, cause: Cause) -> Json:
        share = cause.impact
        spec = self._vocabulary.spec(share.on.partition("{")[0]) if share.on else None
        words = {
            key: fact_text(value, spec) if value is not None else None
            for key, value in (("measured", share.measured), ("target", share.target), ("relief", share.relief))
        }
        return {
            "known": share.known,
            "low": rounded(share.low),
            "high": rounded(share.high),
            "on": share.on or None,
            "scope": dict(share.scope.labels) if share.scope else {},
            **words,
            "reason": share.reason or None,
            "missing": self._missing_for_relief(cause) if share.on and not share.known else [],
        }

    def _missing_for_relief(self, cause: Cause) -> list[Json]:
        """The facts without which the relief is no figure."""
        seen = Seen(self._diagnosis.memory, cause.impact.scope or cause.scope)
        lacking = unknown_for_relief(cause.rule, seen)
        return [entry_of_missing(missing_of(reference, seen, self._get_by)) for reference in lacking]

    def _piece(self, piece: Piece, seen: Seen, rule: Rule) -> Json:
        tests = trace(piece.condition, seen, self._vocabulary, rule)
        shown = deciding(tests, piece.truth) or tests
        if isinstance(piece.evidence, Graded) and piece.truth is Truth.TRUE and piece.evidence.because:
            wording = Wording(seen, self._vocabulary, rule)
            sentence = wording.filled(piece.evidence.because, piece.evidence.quantity)
        else:
            sentence = "; ".join(test.sentence for test in shown)
        return {
            "sentence": sentence,
            "strength": piece.strength,
            "log_ratio": rounded(piece.log_ratio),
            "log_ratio_low": rounded(piece.low),
            "log_ratio_high": rounded(piece.high),
            "counted": piece.counted,
            "group": piece.evidence.group or None,
            "proxy": piece.proxy,
            "before": self._diagnosis.before.truth(piece.condition, seen.scope).name.lower()
            if self._diagnosis.before
            else None,
            "tests": [entry_of_test(test) for test in shown],
            "missing": [entry_of_missing(item) for item in self._missing_in(piece, seen)]
            if piece.truth is Truth.UNKNOWN
            else [],
        }

    def _missing_in(self, piece: Piece, seen: Seen) -> list[Missing]:
        return [missing_of(reference, seen, self._get_by) for reference in missing_facts(piece.condition, seen)]

    def _get_by(self, name: str) -> str:
        spec = self._vocabulary.spec(name)
        return spec.get_by if spec else ""

    def _narrowing(self, pieces: Iterable[Piece], seen: Seen) -> Json | None:
        """The unknown piece that leaves most open, and the first fact it lacks."""
        unknown = [piece for piece in pieces if piece.truth is Truth.UNKNOWN]
        widest = max(unknown, key=lambda piece: piece.high - piece.low, default=None)
        missing = self._missing_in(widest, seen) if widest is not None else []
        return entry_of_missing(missing[0]) if missing else None

    def _remedies(self, cause: Cause, seen: Seen) -> tuple[Remedy, ...]:
        diagnosis = self._diagnosis
        return remedies(cause.rule, seen, diagnosis.catalogue, diagnosis.subject.dialect, diagnosis.rules.rules)

    def _remedy(self, remedy: Remedy, seen: Seen, rule: Rule) -> Json:
        recommendation = remedy.recommendation
        wording = Wording(seen, self._vocabulary, rule)
        verify = recommendation.verify
        return {
            "when": recommendation.when,
            "investigate": wording.filled(recommendation.investigate, _NO_TEST) or None,
            "commands": [filled_command(command, seen) for command in recommendation.commands],
            "changes": [self._change(change) for change in remedy.changes],
            "because": wording.filled(recommendation.because, _NO_TEST) or None,
            "tradeoff": recommendation.tradeoff or None,
            "verify": None
            if verify is None
            else {
                "after_seconds": verify.after,
                "after": format_value(verify.after, _SECONDS),
                "expect": [self._expected(leaf, wording) for leaf in leaves(verify.expect)],
            },
        }

    def _expected(self, leaf: Leaf, wording: Wording) -> Json:
        """What a test asks for, in words, and the figure it has to change from."""
        sentence, now = wished(leaf, wording)
        return {"text": leaf.text, "sentence": sentence, "now": now}

    def _change(self, change: Change) -> Json:
        return {
            "parameter": change.parameter,
            "key": change.key or None,
            "from": change.current_text,
            "to": change.wanted_text,
            "value": json_value(change.wanted),
            "write": self._written(change),
            "restart": change.restart,
            "ignored_by_release": change.ignored,
        }

    def _written(self, change: Change) -> str | None:
        """The line of the server's configuration that makes the change; None where it has no key for it."""
        dialect = self._diagnosis.catalogue.dialects.get(self._diagnosis.subject.dialect)
        key = dialect.keys.get(change.parameter) if dialect else None
        kind = self._diagnosis.catalogue.parameters[change.parameter].kind
        if key is None or not key.key or change.wanted is None:
            return None
        value = literal(change.wanted, key.unit, kind)
        return f"{change.key} = {value}" if value is not None else None

    def _decision(self, decision: Decision) -> Json:
        """What all causes together come to for one parameter."""
        spec = self._diagnosis.catalogue.facts.get(decision.name)
        voices = (decision.chosen, *decision.agreeing)
        return {
            "parameter": decision.name,
            "key": decision.key.key if decision.key is not None else None,
            "from": fact_text(decision.current, spec),
            "to": fact_text(decision.wanted, spec) if decision.wanted is not None else decision.chosen.text,
            "when": decision.group,
            "standing": decision.standing,
            "reason": decision.reason or None,
            "by": list(dict.fromkeys(voice.rule for voice in voices)),
            "against": [{"rule": one.rule, "to": fact_text(one.wanted, spec)} for one in decision.conflicting],
        }

    # What was not concluded

    def _undecided(self, kind: str) -> list[Untestable]:
        return [item for item in self._diagnosis.undecided if item.firing.rule.kind == kind]

    def _untestable(self, item: Untestable) -> Json:
        return self._head(item.firing.rule, item.firing.scope) | {
            "missing": [entry_of_missing(missing) for missing in item.missing],
            "too_coarse": not item.missing,
        }

    def _ruled_out(self, firing: Firing, *, applies: bool = False) -> Json:
        because = self._because(firing, Truth.FALSE, applies=applies)
        return self._head(firing.rule, firing.scope) | {"because": because}

    def _because(self, firing: Firing, truth: Truth, *, applies: bool = False) -> list[str]:
        condition = firing.rule.applies if applies else firing.rule.when
        tests = trace(condition, self._seen(firing), self._vocabulary, firing.rule)
        return [test.sentence for test in deciding(tests, truth) or tests]

    def _derived(self, firing: Firing) -> Json:
        seen = self._seen(firing)
        values = {
            name: fact_text(seen.memory.value(name, firing.scope), self._vocabulary.spec(name))
            for name in firing.rule.outputs.values()
        }
        why = firing.rule.rows[firing.row].why if firing.row is not None else firing.rule.value_text
        inputs = [entry_of_reading(reading) for reading in read_by(firing, seen, self._vocabulary)]
        return self._head(firing.rule, firing.scope) | {"values": values, "why": why, "inputs": inputs}

    def _coverage(self) -> Json:
        found = self._diagnosis.coverage
        tested, targets = self._diagnosis.targets_tested()
        return {
            "sentence": str(found),
            "causes": found.causes,
            "testable": found.testable,
            "reasons": {reason.name: count for reason, count in found.reasons},
            "targets": targets,
            "targets_tested": tested,
        }
