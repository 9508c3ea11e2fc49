"""
The figures that turn words into confidence; `rules/catalogue/inference.yaml` holds them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scales:
    """
    `certainty` maps `when_true` words to probabilities, `likelihood_ratio` strengths to ratios; scores closer
    than `tie_margin` are a tie. `calibrated` tells whether the figures were fitted on labelled cases.
    """

    certainty: Mapping[str, float]
    likelihood_ratio: Mapping[str, float]
    tie_margin: float
    calibrated: bool = False

    def log_ratio(self, strength: str) -> float:
        """The log-odds that evidence of a strength adds when it is seen; `none` adds nothing."""
        return math.log(self.likelihood_ratio[strength]) if strength != "none" else 0.0

    def word(self, probability: float) -> str:
        """The word for a probability; below the least of them it is `unlikely`."""
        reached = [(figure, word) for word, figure in self.certainty.items() if probability >= figure - 1e-9]
        return max(reached)[1] if reached else "unlikely"
