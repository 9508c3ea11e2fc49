"""
Threads that contend, ours against those of C: each side's threads meet at a gate, and read the clock themselves, so
that neither waking them nor the one that ends last is in the figure.
"""

import ctypes
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from measure import timing
from outcome import Outcome
from pairs import Pairs
from reference_c import NoReferenceError, function, library

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.loops.gate import Span
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.host import bench_here
from engram_diagnose.kernels.measure.together import ApartError
from engram_diagnose.rulebase import load_rules

Side = Callable[[], float]
"""Runs its threads once; the seconds of one operation."""


def judged(benchmark: str, take: Callable[[Bench], list[Outcome]]) -> list[Outcome]:
    """The lines of a benchmark on this host, or one that says why there are none."""
    try:
        with this_host() as bench:
            return take(bench)
    except (NoReferenceError, ApartError) as error:
        return [Outcome(benchmark, f"nothing to compare: {error}", 0.0, unit="n")]


@contextmanager
def this_host() -> Iterator[Bench]:
    """The host, by the limits that the kernels go by."""
    with bench_here(read_limits(load_rules((), thorough=False).texts, "kernels")) as bench:
        yield bench


def in_c(name: str, function_name: str, *takes: Any) -> Callable[..., Span]:
    """A function of `reference/NAME.c` that gives its count, and leaves its nanoseconds where the last pointer says."""
    found = function(function_name, library(name), [*takes, ctypes.POINTER(ctypes.c_int64)], ctypes.c_int64)

    def call(*given: Any) -> Span:
        taken = ctypes.c_int64(0)
        count = found(*given, ctypes.byref(taken))
        return Span(count, taken.value / 1e9)

    return call


def figures(sides: Sequence[Side], rounds: int) -> list[tuple[float, ...]]:
    """
    The figures of all sides by round, in an order that differs from round to round: what runs after a side that fought
    for a line reads some hundredths high. Rounds whose threads did not meet are left out, as is the first, which
    compiles.

    Two rounds at least remain, or `ApartError` is raised.
    """
    shuffled, places = random.Random(0), list(range(len(sides)))
    found: list[tuple[float, ...]] = []
    for _ in range(rounds + 1):
        shuffled.shuffle(places)
        try:
            taken = {place: sides[place]() for place in places}
        except ApartError:
            continue
        found.append(tuple(taken[place] for place in range(len(sides))))
    if len(found) < 3:
        raise ApartError
    return found[1:]


def pairs_of(found: Sequence[tuple[float, ...]], ours: int = 0, theirs: int = 1) -> Pairs:
    """Two of the sides, by round."""
    return Pairs(
        timing([each[ours] for each in found]),
        timing([each[theirs] for each in found]),
        timing([each[theirs] / each[ours] for each in found]),
    )


def line(
    benchmark: str,
    what: str,
    against: str,
    pairs: Pairs,
    *,
    within: float = math.inf,
    floor: float | None = None,
) -> Outcome:
    """
    Seconds of an operation beside those of the other side, and the median of their ratios.

    It is promised to be `within` so much of 1, or at least `floor`.
    """
    both = not math.isinf(within)
    most, least = 1 + within if both else None, 1 - within if both else floor
    return Outcome(
        benchmark,
        what,
        pairs.ours.median,
        against,
        pairs.theirs.median,
        bar=most,
        floor=least,
        # Of the speed, which is the other way up.
        noise=pairs.noise(floor=1 / most if most else None, bar=1 / least if least else None),
        quartiles=(pairs.ours.low, pairs.ours.high),
        yardstick_quartiles=(pairs.theirs.low, pairs.theirs.high),
        repetitions=pairs.ours.count,
        paired_ratio=1 / pairs.speed.median,
    )


def of_one(spans: Sequence[Span]) -> float:
    """Seconds of one operation on one thread, of threads that each did their own number."""
    return sum(span.seconds for span in spans) / sum(span.count for span in spans)


def of_all(spans: Sequence[Span]) -> float:
    """Seconds from one operation of all threads together to the next."""
    return 1 / math.fsum(span.count / span.seconds for span in spans)
