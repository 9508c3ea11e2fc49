"""
Two ways of doing one thing, one after the other, again and again: the ratio is taken within each pair, so that what
slows the machine down for a moment slows both.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from measure import Timing, timing
from outcome import Outcome, Unit

NOISY = 0.10
"""How far apart the quartiles of the ratio may lie before nothing is said of a bar between them."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds of each side, and theirs over ours by pair: above 1 ours is the faster."""

    ours: Timing
    theirs: Timing
    speed: Timing

    def noise(self, *, floor: float | None, bar: float | None) -> str:
        """Why the ratio says nothing of a promise; empty where all between its quartiles is on one side of it."""
        low, high = self.speed.low, self.speed.high
        between = any(low < promised < high for promised in (floor, bar) if promised is not None)
        unclear = self.speed.spread > NOISY and (between or floor is bar is None)
        return f"too noisy to say (quartiles {self.speed.spread:.0%} apart)" if unclear else ""


def paired(ours: Callable[[], object], theirs: Callable[[], object], *, pairs: int = 31, warm_up: int = 2) -> Pairs:
    """Time both in turns, each first in every other pair."""
    for _ in range(warm_up):
        ours()
        theirs()
    taken: list[tuple[float, float]] = []
    for number in range(pairs):
        if number % 2:
            second = _once(theirs)
            taken.append((_once(ours), second))
        else:
            taken.append((_once(ours), _once(theirs)))
    return Pairs(
        timing([one for one, _ in taken]),
        timing([other for _, other in taken]),
        timing([other / one for one, other in taken]),
    )


def speed(
    benchmark: str,
    what: str,
    against: str,
    pairs: Pairs,
    *,
    work: float = 1.0,
    unit: Unit = "n",
    floor: float | None = None,
    bar: float | None = None,
) -> Outcome:
    """The line of how fast both are: `work` by second, and the median of the ratios, of which `floor` is promised."""
    return Outcome(
        benchmark,
        what,
        work / pairs.ours.median,
        against,
        work / pairs.theirs.median,
        unit,
        bar,
        floor=floor,
        noise=pairs.noise(floor=floor, bar=bar),
        quartiles=(work / pairs.ours.high, work / pairs.ours.low),
        yardstick_quartiles=(work / pairs.theirs.high, work / pairs.theirs.low),
        repetitions=pairs.ours.count,
        paired_ratio=pairs.speed.median,
    )


def _once(side: Callable[[], object]) -> float:
    start = time.perf_counter()
    side()
    return time.perf_counter() - start
