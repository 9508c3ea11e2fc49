"""
False sharing: our counters against those of C, on one line and apart; and that no addition is lost.

Adjacent counters are given the wider bar: whose turn it is on a line is up to the hardware.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from contending import Side, figures, in_c, judged, line, of_one, pairs_of
from outcome import Outcome

from engram_diagnose.kernels.loops.gate import Span
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.memory import buffer
from engram_diagnose.kernels.measure.sharing import ADJACENT, LAYOUTS, UPDATES, Update
from engram_diagnose.kernels.measure.together import Gate, at_once
from engram_diagnose.kernels.measure.topology import on_two_cores

NAME = "sharing"
WINDOW_SECONDS = 0.006
PADDED_WITHIN, BOUNCED_WITHIN = 0.02, 0.10
LEAST_FACTOR = 5.0
_C = {"sharing.add": "add_for", "sharing.float_add": "float_add_for"}
_POINTER, _WHOLE = ctypes.c_void_p, ctypes.c_int64

Counting = Callable[[int, Gate], Span]


def outcomes(*, quick: bool) -> list[Outcome]:
    """Two threads are judged; all are printed."""
    return judged(NAME, partial(_outcomes, rounds=4 if quick else 40))


def _outcomes(bench: Bench, *, rounds: int) -> list[Outcome]:
    if len(bench.cpus) < 2:
        return []
    teams = [on_two_cores(bench.cpus), tuple(range(len(bench.cpus)))]
    found = [
        outcome
        for team in (teams if len(bench.cpus) > 2 else teams[:1])
        for update in UPDATES
        for outcome in _update(bench, update, team, rounds=rounds)
    ]
    return [*found, *(_lost(bench, update) for update in UPDATES)]


def _update(bench: Bench, update: Update, team: Sequence[int], *, rounds: int) -> list[Outcome]:
    counters = buffer(len(team) * 128, pages="small").of(update.kind)
    sides: list[Side] = []
    for layout in LAYOUTS:
        for make in (_ours, _theirs):
            counting = make(bench, update, counters, update.step(layout), len(team))
            sides.append(partial(_once, bench, team, counters, counting))
    found = figures(sides, rounds)
    promised, threads = len(team) == 2, f"{len(team)} threads"
    made = []
    for number, layout in enumerate(LAYOUTS):
        within = BOUNCED_WITHIN if layout == ADJACENT else PADDED_WITHIN
        pairs = pairs_of(found, 2 * number, 2 * number + 1)
        what = f"{update.word}, {layout}, {threads}"
        made.append(line(NAME, what, "C", pairs, **({"within": within} if promised else {})))
    factor = pairs_of(found, 0, 2 * (len(LAYOUTS) - 1))
    made.append(line(NAME, f"{update.word}, adjacent, {threads}", "128 B apart", factor,
                     floor=LEAST_FACTOR if promised else None))  # fmt: skip
    return made


def _once(bench: Bench, team: Sequence[int], counters: npt.NDArray[Any], counting: Counting) -> float:
    counters.fill(0)
    spans = at_once(bench.pool, team, counting)
    wanted, arrived = sum(span.count for span in spans), counters.sum(dtype=np.float64)
    if wanted != arrived:
        raise AssertionError(f"{wanted - arrived:.0f} of {wanted} additions were lost")
    return of_one(spans)


def _ours(bench: Bench, update: Update, counters: npt.NDArray[Any], step: int, threads: int) -> Counting:
    return lambda number, gate: update.add(counters, number * step, gate, threads,
                                           gate_seconds=bench.limits["meeting_seconds"],
                                           window_seconds=WINDOW_SECONDS)  # fmt: skip


def _theirs(bench: Bench, update: Update, counters: npt.NDArray[Any], step: int, threads: int) -> Counting:
    add = in_c("sharing", _C[update.name], _POINTER, _WHOLE, _POINTER, _WHOLE, _WHOLE, _WHOLE)
    patience, window = int(bench.limits["meeting_seconds"] * 1e9), int(WINDOW_SECONDS * 1e9)
    return lambda number, gate: add(counters.ctypes.data, number * step, gate.ctypes.data, threads, patience, window)


def _lost(bench: Bench, update: Update) -> Outcome:
    """All threads on one and the same counter: what is not atomic loses most of it here."""
    counters = buffer(128, pages="small").of(update.kind)
    team = range(len(bench.cpus))
    spans = at_once(bench.pool, team, _ours(bench, update, counters, 0, len(team)))
    wanted = sum(span.count for span in spans)
    lost = abs(wanted - float(counters[0]))
    return Outcome(
        NAME, f"{update.word}: lost of {wanted} on one counter, {len(team)} threads", lost, unit="n", limit=0
    )
