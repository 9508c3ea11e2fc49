"""
False sharing: what a counter costs when others lie on its cache line, and how far apart is far enough.

    sharing.add        int64, atomic addition            s by layout and threads
    sharing.float_add  float32, compare and exchange     s by layout and threads
    sharing.factor     adjacent over 128 B apart         by update and threads
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.gate import Span
from engram_diagnose.kernels.loops.sharing import add_for, float_add_for
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, quantile
from engram_diagnose.kernels.measure.memory import buffer
from engram_diagnose.kernels.measure.sampling import of_values
from engram_diagnose.kernels.measure.together import (
    Gate,
    LostError,
    NotMeasurableError,
    at_once,
    one_cpu,
    rounds_of,
)
from engram_diagnose.kernels.measure.topology import on_two_cores, siblings_of

ADJACENT: Final = "adjacent"
PADDED: Final = "128 B"
"""A line of most ARM servers, and what x86 fetches at once: two lines."""
LAYOUTS: Final = (ADJACENT, "64 B", PADDED)
_APART: Final = {"64 B": 64, PADDED: 128}
_PLACES: Final = 4
"""Each repeat counts at several places: how far a line is from two cores depends on its address, by a fifth or more."""


@dataclass(frozen=True, slots=True)
class Update:
    """A way to count: the measurement's name, what it is called in labels, its loop, and the type of its counters."""

    name: str
    word: str
    add: Callable[..., Span]
    kind: Any

    def step(self, layout: str) -> int:
        """Items from counter to counter."""
        return _APART.get(layout, 0) // np.dtype(self.kind).itemsize or 1


UPDATES: Final = (
    Update("sharing.add", "add", add_for, np.int64),
    Update("sharing.float_add", "float add", float_add_for, np.float32),
)


def sharing(bench: Bench) -> list[Outcome]:
    """Counters of two threads, and of all, in each layout; no update may be lost."""
    if len(bench.cpus) < 2:
        return [one_cpu(name) for name in (*(update.name for update in UPDATES), "sharing.factor")]
    pair = on_two_cores(bench.cpus)
    teams = [pair] if len(bench.cpus) == 2 else [pair, tuple(range(len(bench.cpus)))]
    found: list[Outcome] = []
    for team in teams:
        bench.say(f"false sharing: counters of {len(team)} threads")
        for update in UPDATES:
            found += _layouts(bench, update, team)
    return found


def _layouts(bench: Bench, update: Update, team: Sequence[int]) -> list[Outcome]:
    labels = {"threads": str(len(team))}
    places = np.split(buffer(_PLACES * len(team) * _APART[PADDED], pages="small").of(update.kind), _PLACES)
    try:
        rounds = rounds_of(bench, {layout: partial(_repeat, bench, update, team, layout, places) for layout in LAYOUTS})
    except NotMeasurableError as error:
        return [error.of(update.name, labels), error.of("sharing.factor", {"update": update.word, **labels})]
    take = partial(of_values, bench=bench, threads=len(team), switches=rounds.switches, steal=rounds.steal,
                   notes=_notes(bench, team))  # fmt: skip
    figures = {
        layout: take(update.name, "s", values, better="lower", labels={"layout": layout, **labels})
        for layout, values in rounds.values.items()
    }
    factors = tuple(
        near / far for near, far in zip(rounds.values[ADJACENT], rounds.values[PADDED], strict=True)
    )  # each of one round: what disturbed it is in both
    factor = take("sharing.factor", "", factors, better="higher", labels={"update": update.word, **labels},
                  notes=(*_notes(bench, team), _padding(bench, figures["64 B"], figures[PADDED])))  # fmt: skip
    return [*figures.values(), factor]


def _repeat(
    bench: Bench, update: Update, team: Sequence[int], layout: str, places: Sequence[npt.NDArray[Any]], _: int
) -> float:
    """Seconds of one update on one thread, the mean of all places. Raises `LostError`."""
    return fmean(_once(bench, update, team, update.step(layout), counters) for counters in places)


def _once(bench: Bench, update: Update, team: Sequence[int], step: int, counters: npt.NDArray[Any]) -> float:
    counters.fill(0)
    window = bench.limits["sharing_seconds"] / bench.limits["repeats"] / _PLACES

    def add(thread: int, gate: Gate) -> Span:
        return update.add(counters, thread * step, gate, len(team),
                          gate_seconds=bench.limits["meeting_seconds"], window_seconds=window)  # fmt: skip

    spans = at_once(bench.pool, team, add)
    wanted, arrived = sum(span.count for span in spans), float(counters.sum(dtype=np.float64))
    if arrived != wanted:
        raise LostError(arrived, wanted)
    return sum(span.seconds for span in spans) / wanted


def _notes(bench: Bench, team: Sequence[int]) -> tuple[str, ...]:
    of_one_core = len(team) == 2 and bench.cpus[team[1]] in siblings_of(bench.cpus[team[0]])
    return ("both threads are of one core, whose cache they share",) if of_one_core else ()


def _padding(bench: Bench, near: Measurement, far: Measurement) -> str:
    """What the second 64 bytes gain; what is less than the scatter of a quiet host is nothing."""
    gained = 1 - far.median / near.median
    if gained > bench.limits["spread_noisy"] and quantile(far.values, 0.75) < quantile(near.values, 0.25):
        return f"128 B apart takes {gained:.0%} less time than 64 B"
    return "128 B apart gains nothing over 64 B"
