"""
The entries of a diagnosis's document that are the same wherever they stand: tests, readings, facts, what is missing.

Each is plain values for JSON. Figures are in base units beside their words; unknown is null with a reason.
"""

import math
from typing import Any

from engram_diagnose.engine.explanation.trace import Reading, TestTrace
from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.catalogue import FactSpec
from engram_diagnose.engine.facts.fact import Fact, Interval
from engram_diagnose.engine.facts.instant import iso
from engram_diagnose.engine.ranking.coverage import Missing

Json = dict[str, Any]


def entry_of_test(test: TestTrace) -> Json:
    """A test with its outcome, in words, and the facts that it read."""
    return {
        "text": test.leaf.text,
        "truth": test.truth.name.lower(),
        "sentence": test.sentence,
        "facts": [entry_of_reading(reading) for reading in test.readings],
    }


def entry_of_reading(reading: Reading) -> Json:
    """What was read of one fact; one that is not there at all was not collected."""
    if reading.fact is None:
        return {
            "name": reading.reference.name,
            "scope": dict(reading.reference.labels),
            "text": "unknown",
            "status": "unknown",
            "reason": "NOT_COLLECTED",
            "source": "",
            "host": "",
            "time": None,
        }
    fact = reading.fact
    return {
        "name": fact.name,
        "scope": dict(fact.scope.labels),
        "text": reading.text,
        "status": fact.status.value,
        "reason": fact.unknown.reason.name if fact.unknown else None,
        "source": fact.source,
        "host": fact.host,
        "time": iso(fact.time) if fact.time else None,
    }


def entry_of_fact(fact: Fact, spec: FactSpec | None) -> Json:
    """A fact, whole; `spec` is what the vocabulary says of its name."""
    return {
        "name": fact.name,
        "scope": dict(fact.scope.labels),
        "value": json_value(fact.value),
        "unit": spec.unit.symbol if spec else "",
        "text": fact_text(fact.value, spec),
        "status": fact.status.value,
        "source": fact.source,
        "host": fact.host,
        "time": iso(fact.time) if fact.time else None,
        "window_seconds": fact.window or None,
        "quality": fact.quality or None,
        "proxy_of": fact.proxy_of or None,
        "unknown": None
        if fact.unknown is None
        else {
            "reason": fact.unknown.reason.name,
            "why": fact.unknown.reason.value,
            "detail": fact.unknown.detail,
            "get_by": fact.get_by or (spec.get_by if spec else ""),
        },
    }


def entry_of_missing(missing: Missing) -> Json:
    """A fact that a rule lacked, why, and how to get it."""
    return {
        "fact": str(missing.reference),
        "reason": missing.unknown.reason.name,
        "why": missing.unknown.reason.value,
        "detail": missing.unknown.detail,
        "get_by": missing.get_by,
    }


def rounded(figure: float) -> float:
    """To nine digits: finer differences are the floating point's, not the server's."""
    return round(figure, 9)


def json_value(value: Interval | str | None) -> Any:
    """A point as a figure, an interval as [low, high] with null for no bound."""
    if value is None or isinstance(value, str):
        return value
    low, high = (None if math.isinf(end) else end for end in value)
    return low if value[0] == value[1] else [low, high]
