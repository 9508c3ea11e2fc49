"""
Warming up until the figures are stable: the medians of short windows, compared.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engram_diagnose.bench.verdict import total_rate

Json = Mapping[str, Any]
Window = Callable[[float], Json | None]
"""Makes the load for so many seconds and gives its run in the benchmark format; None when it was ended."""
_FIGURE: Final = "p50"


@dataclass(frozen=True, slots=True)
class Warmed:
    """Whether the figures had settled, how many windows the warm-up took, and whether it was `ended` early."""

    stable: bool
    windows: int
    ended: bool = False


def warm_up(window: Window, limits: Mapping[str, float], *, clock: Callable[[], float] = time.monotonic) -> Warmed:
    """
    Load in windows until the last few are alike, or there is no more time for it.

    Alike are windows whose medians of each operation, and whose rates, differ by no more than a share. Medians rather
    than tails: what warms up is every operation, and tails of two seconds are chance. Where more is offered than is
    served, medians are those of a queue that grows, and only the rates are looked at.
    """
    length, needed = limits["warm_window"], round(limits["warm_windows"])
    most, until = int(limits["warm_longest"] / length), clock() + limits["warm_longest"]
    made: list[Json] = []
    while len(made) < needed or (len(made) < most and clock() + length <= until):
        run = window(length)
        if run is None:
            return Warmed(False, len(made), ended=True)
        made.append(run)
        if len(made) >= needed and alike(made[-needed:], limits):
            return Warmed(True, len(made))
    return Warmed(False, len(made))


def alike(runs: Sequence[Json], limits: Mapping[str, float]) -> bool:
    """Whether the figures of these runs lie within a share of each other; runs without good answers are not."""
    queueing = all(total_rate(run) < limits["served_least"] * run["workload"]["offered_rate"] for run in runs)
    figures = [_figures(run, medians=not queueing) for run in runs]
    names = {name for found in figures for name in found}
    columns = [[found.get(name) for found in figures] for name in sorted(names)]
    return bool(columns) and all(_near(column, limits["warm_alike"]) for column in columns)


def _near(values: Sequence[float | None], share: float) -> bool:
    known = [value for value in values if value is not None]
    return len(known) == len(values) and max(known) > 0 and max(known) - min(known) <= share * max(known)


def _figures(run: Json, *, medians: bool) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, operation in run["operations"].items():
        if medians:
            found[f"{name} median"] = operation["response"]["quantiles"][_FIGURE]
        found[f"{name} rate"] = operation["rate"]
    return found
