"""
Predicted against realised: which application a verification belongs to, and what the ledger is told.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from engram_diagnose.engine.advice.record import Application, Prediction, Realised
from engram_diagnose.engine.comparison.effect import Effect
from engram_diagnose.verification.comparing import Comparison

Outcome = Literal["as predicted", "more than predicted", "less than predicted", "the other way", "not seen"]


class Ledger(Protocol):
    """What was applied, and where to write what came of it."""

    def applications(self, instance: str = "") -> Sequence[Application]:
        """What was applied to an instance, newest last."""

    def add_realised(self, items: Sequence[Realised]) -> None:
        """Keep what a verification found."""


def application_between(applications: Sequence[Application], start: float, end: float) -> Application | None:
    """The newest patch that is in force and was applied in a span of time (seconds since the epoch)."""
    found = [one for one in applications if one.state == "applied" and start <= one.at <= end]
    return max(found, key=lambda one: (one.at, one.id), default=None)


def outcome_of(predicted: Prediction, effect: Effect) -> Outcome:
    """How what was realised stands to what was predicted; nothing is said of a change that is not told from noise."""
    if effect.verdict == "worse":
        return "the other way"
    if effect.verdict != "improved" or effect.after is None:
        return "not seen"
    if predicted.low <= effect.after <= predicted.high:
        return "as predicted"
    further = effect.after < predicted.low if predicted.better == "lower" else effect.after > predicted.high
    return "more than predicted" if further else "less than predicted"


def realised(found: Comparison, *, at: float) -> list[Realised]:
    """An entry for each figure that was compared; `at` is the time of the verification."""
    application = found.application
    return [
        Realised(
            application=application.id if application else 0,
            at=at,
            instance=found.after.instance,
            on=one.key.on,
            scope=one.key.scope,
            rule=one.predicted.rule if one.predicted else "",
            verdict=one.effect.verdict,
            before=one.effect.before,
            after=one.effect.after,
            low=one.effect.low,
            high=one.effect.high,
            predicted_low=one.predicted.low if one.predicted else None,
            predicted_high=one.predicted.high if one.predicted else None,
        )
        for one in found.figures
    ]
