"""
Timing several ways of doing one thing against each other.

The sides take turns within each round, so that a slow moment of the machine meets all of them, and each is summed up by
its median and quartiles. Absolute times say which machine it was; only ratios within one run are compared.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds for one repetition: the median and the quartiles, over `count` of them."""

    median: float
    low: float
    high: float
    count: int

    @property
    def spread(self) -> float:
        """The distance of the quartiles as a share of the median."""
        return (self.high - self.low) / self.median


def timing(seconds: list[float]) -> Timing:
    """Sum up repetitions; at least two are needed."""
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Timing(median, low, high, len(seconds))


def interleaved(
    sides: Mapping[str, Callable[[], object]], *, repetitions: int, inner: int = 1, warm_up: int = 2
) -> dict[str, Timing]:
    """
    Time each side `repetitions` times, taking turns.

    One repetition is the mean over `inner` calls in a row, for what is too short to be timed alone. The garbage
    collector stays on, as it is in use; a full collection before each turn keeps one side from paying for another.
    """
    for side in sides.values():
        for _ in range(warm_up):
            side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, side in sides.items():
            seconds[name].append(_once(side, inner))
    return {name: timing(taken) for name, taken in seconds.items()}


def _once(side: Callable[[], object], inner: int) -> float:
    gc.collect()
    start = time.perf_counter()
    for _ in range(inner):
        side()
    return (time.perf_counter() - start) / inner
