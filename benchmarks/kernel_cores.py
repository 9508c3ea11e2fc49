"""
Round trips from core to core, ours against those of C. Nothing is promised: pairs of virtual CPUs move meanwhile.
"""

import ctypes
from functools import partial

import numpy as np
import numpy.typing as npt
from contending import figures, in_c, judged, line, pairs_of
from outcome import Outcome

from engram_diagnose.kernels.loops.cores import new_lines, ping_for, pong_for
from engram_diagnose.kernels.loops.gate import Span
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.together import Gate, at_once
from engram_diagnose.kernels.measure.topology import spread_pairs

NAME = "cores"
WINDOW_SECONDS = 0.002
MOST_PAIRS = 6
LINES = 64
_POINTER, _WHOLE = ctypes.c_void_p, ctypes.c_int64

Lines = npt.NDArray[np.int64]


def outcomes(*, quick: bool) -> list[Outcome]:
    """Some pairs of CPUs."""
    return judged(NAME, partial(_outcomes, rounds=4 if quick else 40))


def _outcomes(bench: Bench, *, rounds: int) -> list[Outcome]:
    pairs = spread_pairs(bench.cpus, MOST_PAIRS) if len(bench.cpus) > 1 else []
    return [_pair(bench, pair, rounds=rounds) for pair in pairs]


def _pair(bench: Bench, pair: tuple[int, int], *, rounds: int) -> Outcome:
    lines = new_lines(LINES)  # the same for both: how far a line is depends on its address
    found = figures([partial(side, bench, pair, lines) for side in (_ours, _theirs)], rounds)
    one, other = (bench.cpus[place] for place in pair)
    return line(NAME, f"round trip, CPU {one} to {other}", "C", pairs_of(found))


def _ours(bench: Bench, pair: tuple[int, int], lines: Lines) -> float:
    lines.fill(0)

    def play(number: int, gate: Gate) -> Span:
        begin = pong_for if number else ping_for
        return begin(lines, gate, gate_seconds=bench.limits["meeting_seconds"], window_seconds=WINDOW_SECONDS)

    return _of_first(at_once(bench.pool, pair, play))


def _theirs(bench: Bench, pair: tuple[int, int], lines: Lines) -> float:
    lines.fill(0)
    takes = (_POINTER, _WHOLE, _POINTER, _WHOLE, _WHOLE)
    players = in_c("cores", "ping_for", *takes), in_c("cores", "pong_for", *takes)
    patience, window = int(bench.limits["meeting_seconds"] * 1e9), int(WINDOW_SECONDS * 1e9)

    def play(number: int, gate: Gate) -> Span:
        return players[number](lines.ctypes.data, LINES, gate.ctypes.data, patience, window)

    return _of_first(at_once(bench.pool, pair, play))


def _of_first(spans: list[Span]) -> float:
    return spans[0].seconds / spans[0].count
