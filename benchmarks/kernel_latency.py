"""
Loads that wait for one another, by size: our chase against the same in C, along the same links.

Both go on where the other stopped. The plateaus are looked for in both curves, and on each of them the two are compared
once more, at the size in its middle.
"""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from outcome import Outcome
from pairs import paired, speed
from reference_c import NoReferenceError, function, library

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.loops.latency import LINE, Cycle
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.host import bench_here
from engram_diagnose.kernels.measure.latency import shown, sizes_of
from engram_diagnose.kernels.measure.memory import buffer
from engram_diagnose.kernels.measure.plateaus import Plateau, named, plateaus
from engram_diagnose.rulebase import load_rules

NAME = "latency"
SECONDS = 1e-3
"""How long a side of a pair takes, about."""
QUICK = 16 << 20


def outcomes(*, quick: bool) -> list[Outcome]:
    """A line for how many plateaus each side shows, and one for each of them."""
    try:
        reference = library(NAME)
    except NoReferenceError as error:
        return [Outcome(NAME, f"nothing to compare with: {error}", 0.0, unit="n")]
    chase = function("chase", reference, [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64], ctypes.c_uint64)
    limits = read_limits(load_rules((), thorough=False).texts, "kernels")
    with bench_here(limits) as bench:
        return list(bench.pool.run(partial(_lines, chase, bench, quick=quick))[0])


def _lines(chase: Callable[..., Any], bench: Bench, *, quick: bool) -> list[Outcome]:
    largest = min(QUICK, bench.memory) if quick else bench.memory
    sizes = sizes_of(int(bench.limits["ladder_smallest"]), largest, bench.caches, bench.limits["edge_margin"])
    memory = buffer(sizes[-1])
    curves: tuple[list[float], list[float]] = ([], [])
    for size in sizes:
        sides = _Sides(_laid(memory.bytes[:size].view(np.uint64)), chase)
        both = paired(sides.ours, sides.theirs, pairs=5 if quick else 9)
        for curve, side in zip(curves, (both.ours, both.theirs), strict=True):
            curve.append(side.median / sides.hops)
    ours, theirs = (named(plateaus(curve, bench.limits), sizes, bench.caches) for curve in curves)
    lines = [_count(ours, theirs)]
    for level, one in theirs.items():
        sides = _Sides(_laid(memory.bytes[: sizes[(one.first + one.last) // 2]].view(np.uint64)), chase)
        both = paired(sides.ours, sides.theirs, pairs=5 if quick else 61)
        what = f"loads per second, {level}, {shown(8 * len(sides.cycle.slots))}"
        lines.append(speed(NAME, what, "gcc", both, work=float(sides.hops), floor=0.96, bar=1.04))
    return lines


def _count(ours: dict[str, Plateau], theirs: dict[str, Plateau]) -> Outcome:
    what = f"plateaus found ({', '.join(ours) or 'none'})"
    noise = "" if len(ours) == len(theirs) else "one curve was disturbed: measure again"
    return Outcome(
        NAME, what, float(len(ours)), "gcc, same fit", float(len(theirs)), "n", floor=1.0, noise=noise
    )  # fmt: skip


def _laid(slots: np.ndarray[Any, np.dtype[np.uint64]]) -> Cycle:
    cycle = Cycle(slots[: len(slots) * 8 // LINE * LINE // 8])
    cycle.lay()
    return cycle


class _Sides:
    """Two chases that take turns along one cycle, about as long as one another."""

    def __init__(self, cycle: Cycle, chase: Callable[..., Any]) -> None:
        self.cycle = cycle
        self.at = 0
        self.hops = 1024
        self._chase = partial(chase, cycle.slots.ctypes.data)
        while (taken := paired(self.ours, self.theirs, pairs=3, warm_up=1).ours.median) < SECONDS / 2:
            self.hops = max(self.hops * 2, int(self.hops * SECONDS / max(taken, 1e-7) * 0.9))

    def ours(self) -> None:
        self.at = self.cycle.chase(self.at, self.hops)

    def theirs(self) -> None:
        self.at = self._chase(self.at, self.hops)
