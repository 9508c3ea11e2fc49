"""
Loops that run on several threads at the same moment, repeated in turns, and what is done when they did not.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.gate import Span, new_gate
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Unmeasured
from engram_diagnose.kernels.measure.sampling import Disturbance
from engram_diagnose.kernels.measure.threads import Pool

Key = TypeVar("Key")
Gate = npt.NDArray[np.int64]

TWO_CPUS = "run it where the process may use two CPUs at least"


class NotMeasurableError(Exception):
    """Something cannot be measured here; `reason` and `get_by` are those of an `Unmeasured`."""

    def __init__(self, reason: str, get_by: str) -> None:
        super().__init__(reason)
        self.reason, self.get_by = reason, get_by

    def of(self, name: str, labels: Mapping[str, str] | None = None) -> Unmeasured:
        """What could not be measured."""
        return Unmeasured(name, self.reason, self.get_by, dict(labels or {}))


class ApartError(NotMeasurableError):
    """The threads did not run at the same time."""

    def __init__(self) -> None:
        super().__init__(
            "its threads were not given their CPUs at the same time",
            "run it while the host is idle, without a CPU quota",
        )


class LostError(NotMeasurableError):
    """Updates are missing: a figure of what does not work is none."""

    def __init__(self, found: float, wanted: float) -> None:
        super().__init__(
            f"of {wanted:.0f} updates {found:.0f} arrived: atomic access does not work here", "report it, with the CPU"
        )


def one_cpu(name: str, labels: Mapping[str, str] | None = None) -> Unmeasured:
    """What takes two threads at once."""
    return Unmeasured(name, "this process may use one CPU alone", TWO_CPUS, dict(labels or {}))


def at_once(pool: Pool, threads: Sequence[int], call: Callable[[int, Gate], Span]) -> list[Span]:
    """
    Run `call` on these threads of the pool, each with its number and a gate of their own; what each gave.

    Raises `ApartError` where one of them waited at the gate in vain.
    """
    gate = new_gate()
    calls = [_bound(call, number, gate) for number in range(len(threads))]
    spans: list[Span] = pool.run_on(threads, calls)
    if not all(span.count and span.seconds for span in spans):
        raise ApartError
    return spans


def _bound(call: Callable[[int, Gate], Span], number: int, gate: Gate) -> Callable[[], Any]:
    return lambda: call(number, gate)


@dataclass(frozen=True, slots=True)
class Rounds(Generic[Key]):
    """The figures of each run, by repeat: those of one place were taken one after the other."""

    values: Mapping[Key, tuple[float, ...]]
    switches: int
    steal: float


def rounds_of(bench: Bench, runs: Mapping[Key, Callable[[int], float]]) -> Rounds[Key]:
    """
    Take the figure of each run in turns, as often as the limits say, after a round that is not counted. Each is told
    the number of the round, 0 that of the one that is not counted.

    Every other round goes backwards: what runs after threads that fought for a line reads some hundredths high.

    A round in which threads did not meet is left out; raises `ApartError` where half of them are. Where they meet late,
    on a busy host or with a CPU quota, there are fewer rounds.
    """
    repeats = int(bench.limits["repeats"])
    taken: list[dict[Key, float]] = []
    missed = 0
    before, until = Disturbance.now(), time.monotonic() + bench.limits["turns_longest"]
    for number in range(repeats + 1):
        if len(taken) >= bench.limits["turns_least"] and time.monotonic() > until:
            break
        try:
            order = list(runs) if number % 2 else list(runs)[::-1]
            figures = {key: _checked(bench, runs[key], number) for key in order}
        except ApartError:
            missed += 1
            if missed * 2 > repeats:
                raise
            continue
        if number:
            taken.append(figures)
        else:
            before = Disturbance.now()
    after = Disturbance.now()
    values = {key: tuple(figures[key] for figures in taken) for key in runs}
    return Rounds(values, after.switches - before.switches, after.steal_since(before))


def _checked(bench: Bench, run: Callable[[int], float], number: int) -> float:
    bench.check()
    return run(number)
