"""
What earlier changes teach: how much of what was predicted came true, and what that makes of the next prediction.
"""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from engram_diagnose.engine.advice.record import Prediction, Realised, Verdict

_COUNTED: Final[frozenset[Verdict]] = frozenset({"improved", "no change", "worse"})
"""Verdicts that say what a change did; the others say that it could not be told."""


@dataclass(frozen=True, slots=True)
class Learned:
    """
    What is known of one rule's predictions.

    `ratio` is the median of realised over predicted effect: 1 where predictions came true, 0 where nothing changed,
    below 0 where figures got worse. `spread` is the median distance of the cases from it, `cases` their number.
    """

    rule: str
    ratio: float
    spread: float
    cases: int


def learned(rule: str, realised: Iterable[Realised], *, least: int = 1) -> Learned | None:
    """
    What the ledger teaches of a rule; None with fewer than `least` cases.

    The effect of one figure is `after - before`; the predicted one `(predicted_low + predicted_high) / 2 - before`.
    Their quotient counts where both are known, the predicted one is not nought, and the verdict is improved, no
    change or worse. All figures of one application are one case, which counts by the median of their quotients; a
    figure that was verified again counts as it was found last. Verifications without an application are a case for
    each instant.
    """
    cases: dict[Hashable, dict[Hashable, float]] = {}
    for item in sorted(realised, key=lambda item: item.at):
        ratio = _ratio(item) if item.rule == rule else None
        if ratio is not None:
            case = item.application or (item.instance, item.at)
            cases.setdefault(case, {})[(item.on, item.scope)] = ratio
    if len(cases) < max(1, least):
        return None
    ratios = [median(figures.values()) for figures in cases.values()]
    middle = median(ratios)
    return Learned(rule, middle, median(abs(ratio - middle) for ratio in ratios), len(ratios))


def _ratio(item: Realised) -> float | None:
    figures = (item.before, item.after, item.predicted_low, item.predicted_high)
    if item.verdict not in _COUNTED or None in figures:
        return None
    before, after, low, high = (figure for figure in figures if figure is not None)
    predicted = low / 2 + high / 2 - before
    if not predicted:
        return None
    ratio = (after - before) / predicted
    return ratio if math.isfinite(ratio) else None


def adjusted(prediction: Prediction, lesson: Learned) -> Prediction:
    """
    The prediction as the past makes it.

    Both ends of the predicted effect, `low - measured` and `high - measured`, are multiplied by `ratio - spread` and by
    `ratio + spread`; the new interval is `measured` plus the least and the most of the four. It never passes the
    measured figure to the worse side, unless the ratio is below 0: then figures did get worse. A figure that was not
    predicted to fall below nought is not so now. A lesson that comes to no finite figure changes nothing.
    """
    measured = prediction.measured
    factors = (lesson.ratio - lesson.spread, lesson.ratio + lesson.spread)
    if factors == (1.0, 1.0):
        return prediction
    ends = [measured + (end - measured) * factor for end in (prediction.low, prediction.high) for factor in factors]
    if not all(map(math.isfinite, ends)):
        return prediction
    ends = [max(end, min(0.0, prediction.low)) for end in ends]
    if lesson.ratio >= 0:
        ends = [_not_worse(end, prediction) for end in ends]
    return replace(prediction, low=min(ends), high=max(ends))


def _not_worse(end: float, prediction: Prediction) -> float:
    return min(end, prediction.measured) if prediction.better == "lower" else max(end, prediction.measured)
