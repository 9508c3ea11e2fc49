"""
One figure, before and after: by how much it changed, how sure that is, and what it comes to.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from engram_diagnose.engine.advice.record import Verdict
from engram_diagnose.engine.comparison.policy import Better, Least
from engram_diagnose.engine.comparison.ranks import mann_whitney
from engram_diagnose.engine.comparison.resampling import spread
from engram_diagnose.engine.comparison.samples import Samples

_MOST_ASKED: Final = 1000
"""More samples than this are not worth asking for."""
_FARTHEST: Final = 30.0
"""The logarithm of the widest ratio that an interval tells: beyond 10^13 nothing is known."""


@dataclass(frozen=True, slots=True)
class Effect:
    """
    What became of one figure, in its base unit.

    `change` is `after - before` of the medians, `low` and `high` its interval, None where the samples do not give one.
    `least` is the smallest change that counts, `p` the Mann-Whitney test's (runs only). `needed` are the further
    samples that each side lacks, as far as that can be told; `note` says why a verdict is none.
    """

    verdict: Verdict
    before: float | None
    after: float | None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    least: float = 0.0
    p: float | None = None
    needed: int = 0
    note: str = ""

    @property
    def outside_noise(self) -> bool:
        """Whether the interval excludes that nothing changed."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def compare(before: Samples, after: Samples, *, better: Better, share: float, least: float, level: float,
            fewest: Least, ratio: bool = False) -> Effect:  # fmt: skip
    """
    The effect between two sides whose load is alike.

    A change counts when its interval at `level` excludes zero, the runs' test agrees, and it is at least `share` of
    the larger median and `least` in base units. With `ratio`, noise is taken to grow with the figure, as it does of
    latencies: the interval is that of the ratio, where every sample is positive. Swapping the sides turns improved into
    worse and keeps the others.
    """
    smallest = max(least, share * _larger(before, after)) if before.values and after.values else 0.0
    effect = Effect("inconclusive", _median(before), _median(after), least=smallest)
    form = "runs" if "runs" in (before.form, after.form) else "windows"
    lacking = (fewest.runs if form == "runs" else fewest.windows) - min(len(before), len(after))
    if before.values and after.values:
        effect = replace(effect, change=after.median - before.median)
    if before.form != after.form:
        return replace(effect, note="runs cannot be held against windows")
    if lacking > 0:
        return replace(effect, needed=lacking, note=f"too few {form}")
    as_ratio = ratio and min(before.values) > 0 and min(after.values) > 0
    return _judged(effect, before, after, (_ratio if as_ratio else _difference)(
        before, after, effect.least, level, fewest.apart), better, level, fewest)  # fmt: skip


def _median(side: Samples) -> float | None:
    return side.median if side.values else None


def _larger(before: Samples, after: Samples) -> float:
    return max(abs(before.median), abs(after.median))


@dataclass(frozen=True, slots=True)
class _Interval:
    """
    The interval `low` to `high` of the change, in base units; the rest on the scale it was computed on.

    `change` lies within `reach` either side, and `least` is the smallest that counts. `within` tells that all of it is
    smaller than that; `independent` is how many samples the smaller side is worth, `separated` whether the sides lie
    too far apart for that to matter.
    """

    low: float
    high: float
    change: float
    reach: float
    least: float
    within: bool
    independent: float
    separated: bool


def _difference(before: Samples, after: Samples, least: float, level: float, apart: float) -> _Interval:
    change, found = after.median - before.median, spread(before, after, level=level, apart=apart)
    low, high = change - found.below, change + found.above
    return _Interval(low, high, change, (high - low) / 2, least, -least <= low and high <= least, found.independent,
                     found.separated)  # fmt: skip


def _ratio(before: Samples, after: Samples, least: float, level: float, apart: float) -> _Interval:
    found = spread(_logarithms(before), _logarithms(after), level=level, apart=apart)
    change = math.log(after.median / before.median)
    low, high = max(-_FARTHEST, change - found.below), min(_FARTHEST, change + found.above)
    smallest = math.log1p(least / _larger(before, after))
    within = -smallest <= low and high <= smallest
    base = before.median
    return _Interval(base * math.expm1(low), base * math.expm1(high), change, (high - low) / 2, smallest, within,
                     found.independent, found.separated)  # fmt: skip


@lru_cache(maxsize=256)
def _logarithms(side: Samples) -> Samples:
    return Samples(tuple(map(math.log, side.values)), side.form, side.segments)


def _judged(effect: Effect, before: Samples, after: Samples, found: _Interval, better: Better, level: float,
            fewest: Least) -> Effect:  # fmt: skip
    p = mann_whitney(before.values, after.values) if before.form == "runs" else None
    effect = replace(effect, low=found.low, high=found.high, p=p)
    change, values, count = after.median - before.median, (*before.values, *after.values), min(len(before), len(after))
    if max(values) - min(values) <= effect.least:
        return replace(effect, verdict="no change")
    if before.form == "windows" and found.independent < fewest.independent and not found.separated:
        needed = _asked(count * (fewest.independent / found.independent - 1))
        return replace(effect, needed=needed, note="its windows are too much like their neighbours")
    if effect.outside_noise and (p is None or p <= 1 - level) and abs(change) >= effect.least:
        return replace(effect, verdict="improved" if (change < 0) == (better == "lower") else "worse")
    if found.within:
        return replace(effect, verdict="no change")
    return replace(effect, needed=_asked(_further(found, count)), note="it may be noise")


def _further(found: _Interval, count: int) -> float:
    """Samples that would shrink the interval until it decides, if nothing else changes: it shrinks with their root."""
    change = abs(found.change)
    ends = [change if change >= found.least else 0.0, found.least - change]
    shares = [(found.reach / end) ** 2 for end in ends if end > 0]
    return count * (min(shares, default=math.inf) - 1)


def _asked(further: float) -> int:
    """A number of samples to ask for; 0 where so many would be needed that asking is no use."""
    return max(1, math.ceil(further)) if further <= _MOST_ASKED else 0
