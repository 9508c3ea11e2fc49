"""
What was advised, applied, predicted and found: the entries of the ledger.
"""

from dataclasses import dataclass
from typing import Final, Literal

from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.scope import Scope

State = Literal["intended", "applied", "rolled back"]
Verdict = Literal["improved", "no change", "worse", "not comparable", "inconclusive"]
VERDICTS: Final[tuple[Verdict, ...]] = ("improved", "no change", "worse", "not comparable", "inconclusive")


@dataclass(frozen=True, slots=True)
class Prediction:
    """
    What one figure should become if the cause is the right one.

    `measured`, `low` and `high` are in the base unit of `on`; `unit` is the symbol it is shown in; `better` is
    `lower` or `higher`.
    """

    on: str
    scope: Scope
    unit: str
    better: str
    measured: float
    low: float
    high: float
    rule: str


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key of the configuration: values in base units; `before` is None where it was not set or not known."""

    parameter: str
    key: str
    before: Value | None
    after: Value
    rule: str


@dataclass(frozen=True, slots=True)
class Application:
    """
    One patch that was applied, or was about to be.

    `at` is in seconds since the epoch; `base` and `result` are `sha256:…` of the file before and after; `id` is 0
    until the ledger gave it one.
    """

    at: float
    instance: str
    file: str
    base: str
    result: str
    dialect: str
    changes: tuple[KeyChange, ...]
    predictions: tuple[Prediction, ...]
    state: State
    patch: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class Realised:
    """
    What a verification found for one figure, in base units; `low` and `high` bound `after - before`.

    `application` is 0 where it belongs to none; the predicted figures are None where nobody predicted.
    """

    application: int
    at: float
    instance: str
    on: str
    scope: Scope
    rule: str
    verdict: Verdict
    before: float | None
    after: float | None
    low: float | None
    high: float | None
    predicted_low: float | None
    predicted_high: float | None
