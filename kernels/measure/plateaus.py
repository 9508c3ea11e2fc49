"""
Steps in a curve: where latency stays about the same from size to size, and which cache answers there.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.kernels.measure.bench import Cache

MEMORY: Final = "memory"
_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class Plateau:
    """The sizes from number `first` up to `last` (both in it), whose loads take about `seconds`."""

    first: int
    last: int
    seconds: float


def segments(values: Sequence[float], penalty: float) -> tuple[tuple[int, int], ...]:
    """
    The best piecewise-constant fit: from and up to (not in it) of each piece.

    The best has the least sum of squared distances from the means of the pieces, with `penalty` for each piece; of
    equally good ones, the one with the fewer pieces, then with the earlier breaks. Takes time in the square of the
    length.
    """
    best: list[tuple[float, int, tuple[int, ...]]] = [(0.0, 0, ())]
    for end in range(1, len(values) + 1):
        ways = (
            (best[start][0] + _scatter(values[start:end]) + penalty, best[start][1] + 1, (*best[start][2], end))
            for start in range(end)
        )
        best.append(min(ways))
    return tuple(itertools.pairwise((0, *best[-1][2])))


def _scatter(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def plateaus(seconds: Sequence[float], limits: Mapping[str, float]) -> tuple[Plateau, ...]:
    """
    The plateaus of latencies by ascending size.

    The fit is one of their logarithms, since a step is a factor. Short pieces are the slope between two plateaus, where
    some loads hit and others do not; the first piece is on none. Pieces that hardly differ from the slowest of their
    neighbours are one plateau, split by something less than a level, such as the reach of the TLB.
    """
    pieces = segments([math.log(one) for one in seconds], limits["plateau_penalty"])
    found: list[Plateau] = []
    slowest = math.inf
    for start, end in reversed(pieces):
        if start > 0 and end - start < limits["plateau_sizes"]:
            continue
        one = Plateau(start, end - 1, statistics.median(seconds[start:end]))
        if found and one.seconds * limits["plateau_step"] > slowest:
            last = found[-1].last
            found[-1] = Plateau(start, last, statistics.median(seconds[start : last + 1]))
        else:
            found.append(one)
            slowest = one.seconds
    return tuple(reversed(found))


def named(found: Sequence[Plateau], sizes: Sequence[int], caches: Sequence[Cache]) -> dict[str, Plateau]:
    """
    Which level answers on each plateau: `L1`, `L2` …, `memory`.

    The last is memory's when the ladder leads out of every claimed cache. Where there are fewer plateaus than levels,
    each is given to the level whose claimed range of sizes it lies nearest to; where there are more, those below the
    last are none: they lie on the slope from a cache that others use as well. Where nothing is claimed, there are taken
    to be three caches at most.
    """
    names = [f"L{cache.level}" for cache in caches] or [f"L{number}" for number in range(1, min(len(found), _MOST + 1))]
    names.append(MEMORY)
    rest = [*found[:-1][: len(names) - 1], *found[-1:]]
    edges = (0.0, *(float(cache.size) for cache in caches), math.inf)
    outside = not caches or sizes[-1] > caches[-1].size
    ways = [way for way in itertools.combinations(range(len(names)), len(rest)) if not outside or len(names) - 1 in way]

    def apart(way: tuple[int, ...]) -> float:
        pairs = zip(rest, way, strict=True) if caches else ()
        return sum(_apart((sizes[one.first], sizes[one.last]), edges[level : level + 2]) for one, level in pairs)

    best = min(ways, key=apart, default=())
    return {names[level]: one for one, level in zip(rest, best, strict=True)}


def _apart(sizes: Sequence[float], level: Sequence[float]) -> float:
    """How many times twice lie between them; 0 where they overlap."""
    if sizes[0] > level[1]:
        return math.log2(sizes[0] / level[1])
    return math.log2(level[0] / sizes[1]) if sizes[1] < level[0] else 0.0


def edge(sizes: Sequence[int], seconds: Sequence[float], *, below: float, above: float, missed: float) -> float | None:
    """
    The size up to which loads take what they take on a plateau, in bytes; None where the curve shows none.

    It is where the share of `missed` loads takes what they take on the next plateau. Looked for from the large sizes
    down, since disturbances make loads slower and never faster; between two sizes the share is taken to grow with the
    logarithm of the size.
    """
    limit = below + missed * (above - below)
    inside = [number for number, one in enumerate(seconds) if one <= limit]
    if not inside or inside[-1] + 1 >= len(seconds):
        return None
    low, high = inside[-1], inside[-1] + 1
    share = (limit - seconds[low]) / (seconds[high] - seconds[low])
    return math.exp(math.log(sizes[low]) + share * math.log(sizes[high] / sizes[low]))
