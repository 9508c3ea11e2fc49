"""
A fit of confidences on labelled cases: two figures, held towards those of the designers.

    logit(stated) = intercept + slope · logit(weighed)

They minimise the logarithmic loss over the conclusions of the training cases, each case weighing as much as any other,
plus half the squared distance of (intercept, slope) from (0, 1) in spreads: the posterior mode under normal priors.
With no cases that is (0, 1), which changes nothing; cases move it as far as they speak. The function is convex, and
Newton's steps find its one minimum. A slope that is not above 0 would call likely causes unlikely, and is refused.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.cases.judging import Judged
from engram_diagnose.cases.label import HEALTHY
from engram_diagnose.cases.scoring import Limits, Score, restated, score
from engram_diagnose.cases.split import side_of
from engram_diagnose.engine.facts.scales import Calibration

_STEPS: Final = 100
_CLOSE: Final = 1e-10
_EDGE: Final = 1e-6
"""Confidences are kept this far from 0 and 1, whose log-odds are endless."""


class NoFitError(ValueError):
    """Cases that a fit cannot rest on; says what is missing."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A conclusion: the log-odds that were weighed, whether it is right, and its share of its case."""

    log_odds: float
    right: bool
    weight: float


@dataclass(frozen=True, slots=True)
class Line:
    """A map of log-odds."""

    intercept: float
    slope: float

    def __call__(self, probability: float) -> float:
        """The confidence that is stated for one that was weighed."""
        return Calibration(self.intercept, self.slope, 0, "")(probability)


DESIGNED: Final = Line(0.0, 1.0)
"""The designers' figures as they are."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A line with the cases it was fitted on, and scores before and after on both sides of the split."""

    line: Line
    train: tuple[Judged, ...]
    held_out: tuple[Judged, ...]
    before: tuple[Score, Score]
    after: tuple[Score, Score]

    @property
    def helps(self) -> bool:
        """Whether cases that were held out are told better by it than before, by the Brier score."""
        before, after = self.before[1].brier, self.after[1].brier
        return before is not None and after is not None and after.score < before.score


def fit_cases(cases: Iterable[Judged], limits: Limits) -> Fit:
    """
    Fit on the training side and score both.

    Raises `NoFitError` when there are too few cases or families, or none with a conclusion on either side.
    """
    all_of = list(cases)
    train = tuple(one for one in all_of if side_of(one.label, share=limits["held_out"]) == "train")
    held_out = tuple(one for one in all_of if side_of(one.label, share=limits["held_out"]) == "held-out")
    _check(train, held_out, limits)
    line = fitted(observations(train), intercept_spread=limits["intercept_spread"], slope_spread=limits["slope_spread"])
    sides = (restated(train, DESIGNED), restated(held_out, DESIGNED))
    before = (score(sides[0], limits), score(sides[1], limits))
    after = (score(restated(train, line), limits), score(restated(held_out, line), limits))
    return Fit(line, train, held_out, before, after)


def _check(train: Sequence[Judged], held_out: Sequence[Judged], limits: Limits) -> None:
    telling = [one for one in train if one.named]
    families = {name for one in telling for name in one.label.families if name != HEALTHY}
    least, least_families = round(limits["least_cases"]), round(limits["least_families"])
    if len(telling) < least:
        raise NoFitError(f"{len(telling)} cases to fit on hold a conclusion, {least} are needed; make more, or lower "
                         "least_cases of rules/catalogue/cases.yaml in a pack of your own")  # fmt: skip
    if len(families) < least_families:
        raise NoFitError(f"the cases to fit on are of {len(families)} fault families ({', '.join(sorted(families))}), "
                         f"and {least_families} are needed; make cases of other faults")  # fmt: skip
    if not any(one.named for one in held_out):
        raise NoFitError("no case is held out that the fit could be tested on; make cases of other faults and of "
                         "other host shapes: `engram-diagnose cases list` says on which side each stands")  # fmt: skip


def observations(cases: Iterable[Judged]) -> list[Observation]:
    """Conclusions that are right or wrong; those of one case weigh 1 together."""
    found = []
    for one in cases:
        said = [(named.weighed, right) for named in one.named if (right := one.is_right(named)) is not None]
        found += [Observation(_logit(weighed), right, 1 / len(said)) for weighed, right in said]
    return found


def loss(line: Line, seen: Iterable[Observation], *, intercept_spread: float, slope_spread: float) -> float:
    """What the fit minimises: logarithmic loss, and the distance from the designers' figures."""
    away = (line.intercept / intercept_spread) ** 2 + ((line.slope - 1) / slope_spread) ** 2
    return math.fsum([away / 2, *(one.weight * _log_loss(line, one) for one in seen)])


def _log_loss(line: Line, one: Observation) -> float:
    odds = line.intercept + line.slope * one.log_odds
    signed = -odds if one.right else odds
    return max(signed, 0.0) + math.log1p(math.exp(-abs(signed)))


def fitted(seen: Sequence[Observation], *, intercept_spread: float, slope_spread: float) -> Line:
    """The line of least loss; raises `NoFitError` where its slope is not above 0."""
    line = DESIGNED
    spreads = {"intercept_spread": intercept_spread, "slope_spread": slope_spread}
    for _ in range(_STEPS):
        step = _newton(line, seen, intercept_spread, slope_spread)
        share, here = 1.0, loss(line, seen, **spreads)
        while share > _CLOSE and loss(_moved(line, step, share), seen, **spreads) > here:
            share /= 2
        line = _moved(line, step, share)
        if share * max(abs(step[0]), abs(step[1])) < _CLOSE:
            break
    if line.slope <= 0:
        raise NoFitError(f"the best slope is {line.slope:.2f}: in these cases surer conclusions were right less often. "
                         "No map of confidences mends that; look at `engram-diagnose cases score`")  # fmt: skip
    return line


def _moved(line: Line, step: tuple[float, float], share: float) -> Line:
    return Line(line.intercept - share * step[0], line.slope - share * step[1])


def _newton(
    line: Line, seen: Sequence[Observation], intercept_spread: float, slope_spread: float
) -> tuple[float, float]:
    """The inverse of the second derivatives times the first ones: what to subtract."""
    first, second = line.intercept / intercept_spread**2, (line.slope - 1) / slope_spread**2
    aa, ab, bb = 1 / intercept_spread**2, 0.0, 1 / slope_spread**2
    for one in seen:
        said = _sigmoid(line.intercept + line.slope * one.log_odds)
        off, bent = one.weight * (said - one.right), one.weight * said * (1 - said)
        first, second = first + off, second + off * one.log_odds
        aa, ab, bb = aa + bent, ab + bent * one.log_odds, bb + bent * one.log_odds**2
    determinant = aa * bb - ab * ab
    return (bb * first - ab * second) / determinant, (aa * second - ab * first) / determinant


def _logit(probability: float) -> float:
    kept = min(1 - _EDGE, max(_EDGE, probability))
    return math.log(kept / (1 - kept))


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
