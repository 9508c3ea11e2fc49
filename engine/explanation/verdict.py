"""
The answer in one sentence.
"""

from typing import Any

from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.language.rule import SEVERITIES


def verdict(diagnosis: Diagnosis) -> dict[str, Any]:
    """
    The answer in a sentence, and its state: `missed`, `met`, `partly-tested` or `untested`.

    *Met* is said only when every target could be tested, and none that is missed is suppressed.
    """
    missed = diagnosis.missed()
    worst = max((firing.rule.severity for firing in missed), key=SEVERITIES.index, default=None)
    state, sentence = _judgement(diagnosis)
    return {"state": state, "severity": worst, "sentence": sentence}


def _judgement(diagnosis: Diagnosis) -> tuple[str, str]:
    tested, targets = diagnosis.targets_tested()
    missed = diagnosis.missed()
    accepted = sum(item.firing.rule.kind == "symptom" for item in diagnosis.suppressed)
    if missed:
        causes = sum(1 for cause in diagnosis.causes if cause.severity)
        return "missed", f"{_count(len(missed), 'symptom')} found, {_count(causes, 'cause')} concluded"
    if accepted:
        return "partly-tested", f"nothing is missed beyond {_count(accepted, 'symptom')} that the site accepts"
    if not tested:
        return "untested", "no target could be tested: nothing can be said about this server's health"
    if tested < targets:
        return "partly-tested", f"no target is missed among the {tested} of {targets} that could be tested"
    return "met", f"all {targets} targets are met"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
