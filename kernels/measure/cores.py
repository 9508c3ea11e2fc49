"""
Latency from core to core: two threads raise a number in turns, for each pair of CPUs, twice.

    cores.round_trip  there and back, one pair            s by cpus
    cores.typical     the median of all pairs             s
    cores.factor      the farthest pair over the nearest

A hypervisor moves virtual CPUs between cores: then two passes, each steady in itself, find different latencies for one
pair, and nothing that goes by which CPUs are neighbours holds for long.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.cores import new_lines, ping_for, pong_for
from engram_diagnose.kernels.loops.gate import Span, new_gate
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome
from engram_diagnose.kernels.measure.sampling import of_values
from engram_diagnose.kernels.measure.together import (
    ApartError,
    Gate,
    NotMeasurableError,
    Rounds,
    at_once,
    one_cpu,
    rounds_of,
)
from engram_diagnose.kernels.measure.topology import siblings_of, spread_pairs

NAMES: Final = ("cores.round_trip", "cores.typical", "cores.factor")
MOVED: Final = "placement unstable"
"""How the notes begin of a pair whose two passes disagree."""
_PASSES: Final = 2
_LINES: Final = 32
"""Lines that the number moves over within each repeat: half a millisecond has room for all of them."""

Pair = tuple[int, int]


def cores(bench: Bench) -> list[Outcome]:
    """The matrix of round trips, and what it comes to."""
    if len(bench.cpus) < 2:
        return [one_cpu(name) for name in NAMES]
    pairs = spread_pairs(bench.cpus, int(bench.limits["core_pairs"]))
    _compile()
    passes = []
    for number in range(_PASSES):
        bench.say(f"latency from core to core, pass {number + 1} of {_PASSES}: pairs of CPUs: {len(pairs)}")
        try:
            passes.append(_matrix(bench, pairs))
        except NotMeasurableError as error:
            return [error.of(name) for name in NAMES]
    found = [_pair(bench, pair, [matrix.values[pair] for matrix in passes], passes) for pair in pairs]
    return [*found, *_summary(bench, found, passes)]


def _compile() -> None:
    """Before threads wait for each other: a gate has no patience for a compiler."""
    for loop in (ping_for, pong_for):
        loop(new_lines(1), new_gate(), gate_seconds=0.0, window_seconds=0.0)


def _matrix(bench: Bench, pairs: Sequence[Pair]) -> Rounds[Pair]:
    each = min(bench.limits["figure_seconds"], bench.limits["cores_seconds"] / len(pairs))
    window = each / bench.limits["repeats"] / _PASSES
    lines = new_lines(_LINES)
    return rounds_of(bench, {pair: partial(_once, bench, pair, window, lines) for pair in pairs})


def _once(bench: Bench, pair: Pair, window: float, lines: npt.NDArray[np.int64], _: int) -> float:
    """Seconds of a round trip between the threads of two places in the pool."""
    lines.fill(0)

    def play(number: int, gate: Gate) -> Span:
        begin = pong_for if number else ping_for
        return begin(lines, gate, gate_seconds=bench.limits["meeting_seconds"], window_seconds=window)

    first = at_once(bench.pool, pair, play)[0]
    if not first.count:
        raise ApartError
    return first.seconds / first.count


def _pair(bench: Bench, pair: Pair, passes: Sequence[tuple[float, ...]], rounds: Sequence[Rounds[Pair]]) -> Measurement:
    one, other = (bench.cpus[place] for place in pair)
    notes = ["two threads of one core"] if other in siblings_of(one) else []
    before, after = (statistics.median(values) for values in passes)
    moved = max(before, after) / min(before, after) - 1 > bench.limits["placement_shift"]
    if moved:
        notes.insert(0, f"{MOVED}: {before * 1e9:.0f} ns at first, {after * 1e9:.0f} ns a moment later")
    values = tuple(value for each in passes for value in each)
    return _measurement(
        bench, NAMES[0], "s", values, rounds, moved=moved, labels={"cpus": f"{one}-{other}"}, notes=notes
    )


def _summary(bench: Bench, pairs: Sequence[Measurement], rounds: Sequence[Rounds[Pair]]) -> list[Measurement]:
    moved = sum(any(note.startswith(MOVED) for note in pair.notes) for pair in pairs)
    notes = [f"{MOVED}: {moved} of {len(pairs)} pairs were another distance apart a moment later"] if moved else []
    every = len(bench.cpus) * (len(bench.cpus) - 1) // 2
    if every > len(pairs):
        notes.append(f"{len(pairs)} of {every} pairs were measured")
    moments = [moment for matrix in rounds for moment in zip(*matrix.values.values(), strict=True)]
    typical = tuple(statistics.median(moment) for moment in moments)
    factors = tuple(max(moment) / min(moment) for moment in moments)
    take = partial(_measurement, bench, rounds=rounds, moved=bool(moved), notes=notes)
    found = [take(NAMES[1], "s", typical)]
    return found if len(pairs) == 1 else [*found, take(NAMES[2], "", factors)]


def _measurement(
    bench: Bench,
    name: str,
    unit: str,
    values: tuple[float, ...],
    rounds: Sequence[Rounds[Pair]],
    *,
    moved: bool,
    labels: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Measurement:
    switches, steal = sum(each.switches for each in rounds), max(each.steal for each in rounds)
    found = of_values(name, unit, values, bench, better="lower", labels=labels, threads=2, switches=switches,
                      steal=steal, notes=tuple(notes))  # fmt: skip
    return replace(found, stability="unstable") if moved else found
