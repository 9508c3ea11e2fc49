"""
Against a saved baseline: is a limit crossed, and is it more than noise?
"""

from dataclasses import dataclass
from typing import Literal

from engram_diagnose.engine.comparison.effect import Effect
from engram_diagnose.engine.comparison.policy import Sense

State = Literal["regressed", "held", "not comparable", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a regression rule comes to; `bound` is the figure (base units) beyond which it counts."""

    state: State
    bound: float
    note: str = ""


def judge(effect: Effect, *, sense: Sense, limit: float) -> Judged:
    """
    Hold an effect between the baseline (before) and now (after) against a rule's limit.

    `rise` and `fall`: `limit` is a share of the baseline's figure. `below` and `above`: a level that the baseline kept
    and that is lost now. Either way it counts only where the interval excludes that nothing changed.
    """
    if effect.before is None or effect.after is None:
        return Judged("not comparable", limit, effect.note or "not known on both sides")
    bound = {"rise": (1 + limit) * effect.before, "fall": (1 - limit) * effect.before}.get(sense, limit)
    if effect.low is None or effect.high is None:
        return Judged("inconclusive", bound, effect.note)
    grows = sense in ("rise", "above")
    beyond = effect.after > bound if grows else effect.after < bound
    before_beyond = effect.before > bound if grows else effect.before < bound
    if not beyond:
        return Judged("held", bound)
    if sense in ("below", "above") and before_beyond:
        return Judged("held", bound, "the baseline was beyond the limit already")
    if not (effect.low > 0 if grows else effect.high < 0):
        return Judged("inconclusive", bound, "it may be noise")
    if effect.verdict == "not comparable":
        return Judged("not comparable", bound, effect.note)
    if effect.verdict == "inconclusive":
        return Judged("inconclusive", bound, effect.note)
    return Judged("regressed", bound, effect.note)
