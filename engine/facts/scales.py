"""
The figures that turn words into confidence, of `rules/catalogue/inference.yaml`, and what labelled cases made of them,
of `rules/catalogue/calibration.yaml`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

UNLIKELY: Final = "unlikely"
"""The word below all those that `inference.yaml` has figures for."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """
    A fit on labelled cases, as a map of log-odds: `intercept + slope · logit(p)`, with `slope` above 0.

    `cases` is how many it was fitted on, `source` where they come from (`lab`), `date` the ISO day it was made.
    """

    intercept: float
    slope: float
    cases: int
    source: str
    date: str = ""

    def __call__(self, probability: float) -> float:
        """The share of right conclusions among those that the designers' figures call so likely."""
        if not 0 < probability < 1:
            return probability
        log_odds = self.intercept + self.slope * math.log(probability / (1 - probability))
        return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0

    @property
    def told(self) -> str:
        """What it rests on, in words."""
        return f"calibrated on {self.cases} {self.source} cases"


@dataclass(frozen=True, slots=True)
class Weights:
    """
    What a missed target counts for in the order of causes, as factors from 0 to 1.

    By the `severity` of the symptom; from `slight` for a target that is only just missed up to 1 for one missed `full`
    times over; and `stood` for a cause that held just as well while all was well.
    """

    severity: Mapping[str, float] = field(default_factory=dict)
    slight: float = 1.0
    full: float = 2.0
    stood: float = 1.0

    def missed(self, times: float | None) -> float:
        """
        The weight of a target that is missed so many times over: 1 is just met, below it is kept, None is not known.

        By powers; what is not known weighs as the middle of what it may be, as an unknown impact does.
        """
        if times is None:
            return (self.slight + 1) / 2
        powers = math.log(times) / math.log(self.full) if times > 0 else 0.0
        return self.slight + (1 - self.slight) * min(1.0, max(0.0, powers))


@dataclass(frozen=True, slots=True)
class Scales:
    """
    `certainty` maps `when_true` words to probabilities, `likelihood_ratio` strengths to ratios; scores closer
    than `tie_margin` are a tie; `weights` are those of the order. `calibration` is the fit on labelled cases, None
    while there is none for these figures.
    """

    certainty: Mapping[str, float]
    likelihood_ratio: Mapping[str, float]
    tie_margin: float
    weights: Weights = Weights()
    calibration: Calibration | None = None

    @property
    def calibrated(self) -> bool:
        """Whether confidences are what labelled cases bore out."""
        return self.calibration is not None

    def stated(self, probability: float) -> float:
        """A confidence as reports state it: as weighed, until there is a calibration."""
        return probability if self.calibration is None else self.calibration(probability)

    def log_ratio(self, strength: str) -> float:
        """The log-odds that evidence of a strength adds when it is seen; `none` adds nothing."""
        return math.log(self.likelihood_ratio[strength]) if strength != "none" else 0.0

    def word(self, probability: float) -> str:
        """The word for a probability; below the least of them it is `UNLIKELY`."""
        reached = [(figure, word) for word, figure in self.certainty.items() if probability >= figure - 1e-9]
        return max(reached)[1] if reached else UNLIKELY

    @property
    def figures(self) -> str:
        """The figures that a calibration was fitted on, as one text: `possible 0.3, …, weak 2, …`."""
        both = (*self.certainty.items(), *self.likelihood_ratio.items())
        return ", ".join(f"{word} {figure:g}" for word, figure in both)
