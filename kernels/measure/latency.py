"""
How long a load takes by the size of what is loaded from, on huge and on small pages: which caches there are, and how
large they really are.

What is claimed need not be had: a guest may be told of a cache that it shares with others on the host, or of one that
another CPU has.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from engram_diagnose.kernels.loops.latency import LINE, Cycle
from engram_diagnose.kernels.measure.bench import Bench, Cache
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.memory import HUGE, Buffer, Pages, buffer
from engram_diagnose.kernels.measure.plateaus import MEMORY, Plateau, edge, named, plateaus
from engram_diagnose.kernels.measure.sampling import Repeats, of_values, repeats_of

HOPS: Final = 1024
"""Hops of a round: some microseconds, beside which calling the loop takes nothing."""
_MOSTLY: Final = 0.9
"""The share on huge pages from which memory counts as lying on them: the rest is its ragged end."""
_SHARED_OUT: Final = 64 << 20
"""
From here on all CPUs write the links. Below, they would leave their shares in their own caches, and a load from there
is no load from one's own cache nor from memory.
"""
_FINE: Final = 64 << 20
"""Up to here there are two sizes for each doubling; above, one: their links take longer to write than to follow."""
_GET_HUGE_BY: Final = "write madvise to /sys/kernel/mm/transparent_hugepage/enabled, and free memory in large pieces"
_NARROWED: Final = 2
"""How often the distance of the two sizes beside an edge is halved."""


def latency(bench: Bench) -> list[Outcome]:
    """
    The ladder on huge and on small pages, the plateaus of the one on huge pages, and the sizes of the caches.

    `latency.load` by size and pages, `latency.plateau` by level, `latency.effective_cache` by level, and
    `latency.last_cache`, that of the last level that is claimed.
    """
    steps = sizes_of(int(bench.limits["ladder_smallest"]), bench.memory, bench.caches, bench.limits["edge_margin"])
    if len(steps) < 2 * bench.limits["plateau_sizes"]:
        reason = f"its buffers may take {shown(bench.memory)}, which is inside the caches"
        return [Unmeasured("latency.load", reason, "give this program more memory")]
    found, levels = _on(steps, "huge", bench, levels=True)
    # The first ladder's memory is free by now: both together would take twice what they may.
    thinned = sorted({steps[0], *steps[::-2]}) if levels else steps
    more, other = _on(thinned, "small", bench, levels=not levels)
    return found + more + levels + other + _last_cache(bench.caches, [*levels, *other])


def _last_cache(caches: Sequence[Cache], found: Sequence[Outcome]) -> list[Outcome]:
    """How large the last cache really is. That of the level before it says nothing where its own edge was not seen."""
    last = f"L{caches[-1].level}" if caches else ""
    sizes = [one for one in found if isinstance(one, Measurement) and one.name == "latency.effective_cache"]
    return [replace(one, name="latency.last_cache") for one in sizes if one.labels["level"] == last]


def _on(steps: Sequence[int], pages: Pages, bench: Bench, *, levels: bool) -> tuple[list[Outcome], list[Outcome]]:
    """The loads of one ladder, and its plateaus and caches if they are wanted."""
    ladder = _ladder(steps, pages, bench)
    if isinstance(ladder, Unmeasured):
        return [ladder], []
    return list(ladder.loads(bench)), _levels(ladder, bench) if levels else []


def sizes_of(smallest: int, largest: int, caches: Sequence[Cache], margin: float) -> tuple[int, ...]:
    """
    The sizes to measure, in bytes, ascending: from the smallest to the largest, none at the edge of a claimed cache.

    The steps lie a quarter of a doubling off the powers of two, which the edges of unclaimed caches are at; a size
    within `margin` of a claimed one is moved away from it. At an edge a load hits as chance has laid the pages.
    """
    steps = [smallest * 2 ** (0.25 + number / 2) for number in range(2 * 64)]
    wanted = [size for number, size in enumerate(steps) if size < largest and (size < _FINE or number % 2 == 0)]
    if wanted and largest < wanted[-1] * 1.1:
        wanted.pop()
    found = {away_from(int(size), caches, margin) for size in (smallest, *wanted, largest)}
    return tuple(sorted(size for size in found if smallest <= size <= largest))


def away_from(size: int, caches: Sequence[Cache], margin: float) -> int:
    """A size in whole lines that is no claimed cache's within `margin`: the one nearest to `size` on its side."""
    for cache in caches:
        if cache.size / (1 + margin) < size < cache.size * (1 + margin):
            moved = cache.size / (1 + margin) if size <= cache.size else cache.size * (1 + margin) + LINE
            return int(moved) // LINE * LINE
    return size // LINE * LINE


@dataclass(slots=True)
class _Ladder:
    """What loads take by size: `steps` are those asked for, `curve` has those between that narrow an edge as well."""

    memory: Buffer
    curve: dict[int, Repeats] = field(default_factory=dict)
    steps: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def load(self, size: int, bench: Bench) -> None:
        """Measure one more size."""
        slots = self.memory.bytes[: size // LINE * LINE].view(np.uint64)
        cycle = Cycle(slots)
        parts = len(bench.cpus) if size >= _SHARED_OUT else 1
        bench.pool.run(*(partial(cycle.lay, part=part, parts=parts) for part in range(parts)))
        work = partial(repeats_of, Chase(cycle).follow, bench, seconds=bench.limits["ladder_seconds"])
        self.curve[size] = bench.pool.run(work)[0]

    def loads(self, bench: Bench) -> list[Measurement]:
        """The measurement of each step."""
        return [self._measurement(size, bench) for size in self.steps]

    def seconds(self, size: int) -> tuple[float, ...]:
        """What one load took, by repeat."""
        return tuple(each / HOPS for each in self.curve[size].seconds)

    def middle(self, size: int) -> float:
        """What one load takes."""
        return statistics.median(self.seconds(size))

    def _measurement(self, size: int, bench: Bench) -> Measurement:
        one = self.curve[size]
        return of_values(
            "latency.load", "s", self.seconds(size), bench, better="lower", switches=one.switches, steal=one.steal,
            labels={"size": shown(size), "pages": self.memory.pages}, notes=self.notes,
        )  # fmt: skip


@dataclass(slots=True)
class Chase:
    """A chase that goes on where it stopped: one that starts over finds what it read in the caches."""

    cycle: Cycle
    at: int = 0

    def follow(self, rounds: int) -> int:
        self.at = self.cycle.chase(self.at, rounds * HOPS)
        return self.at


def _ladder(steps: Sequence[int], pages: Pages, bench: Bench) -> _Ladder | Unmeasured:
    bench.say(f"loads from {shown(steps[0])} to {shown(steps[-1])} on {pages} pages")
    # On the CPU that follows the links, so that its own node has the pages.
    memory: Buffer = bench.pool.run(partial(buffer, steps[-1], pages=pages))[0]
    if pages == "huge" and memory.huge is not None and memory.huge < _MOSTLY and steps[-1] >= HUGE:
        reason = f"the system gave huge pages for {memory.huge:.0%} of the memory"
        return Unmeasured("latency.load", reason, _GET_HUGE_BY, {"pages": pages})
    ladder = _Ladder(memory, steps=tuple(steps), notes=_notes(memory))
    for size in steps:
        bench.check()
        ladder.load(size, bench)
    return ladder


def _notes(memory: Buffer) -> tuple[str, ...]:
    if memory.huge is None:
        return (f"{memory.pages} pages were asked for; the system does not say which were given",)
    if memory.pages == "small" and memory.huge > 0:
        return (f"{memory.huge:.0%} of it lies on huge pages",)
    return ()


def _levels(ladder: _Ladder, bench: Bench) -> list[Outcome]:
    middles = [ladder.middle(size) for size in ladder.steps]
    levels = named(plateaus(middles, bench.limits), ladder.steps, bench.caches)
    if not levels:
        reason = "latency grows with every size: there is no plateau"
        return [Unmeasured("latency.plateau", reason, "measure again while the host is idle")]
    found: list[Outcome] = [_plateau(level, one, ladder, bench) for level, one in levels.items()]
    found += _unseen(levels, ladder.steps[-1], bench.caches)
    if MEMORY not in levels:
        reason = f"the ladder ends at {shown(ladder.steps[-1])}, inside the caches"
        found.append(Unmeasured("latency.plateau", reason, "give this program more memory", {"level": MEMORY}))
    for (level, below), (_, above) in pairwise(levels.items()):
        found.append(_cache(level, (below, above), ladder, bench))
    return found


def _unseen(levels: Mapping[str, Plateau], largest: int, caches: Sequence[Cache]) -> Iterator[Unmeasured]:
    """The claimed caches without a plateau: `largest` is the last size, and a level begins where the one below ends."""
    begins = 0
    for cache in caches:
        level = f"L{cache.level}"
        reason = f"latency has no plateau where {level} should be: it is too small, or too much used by others, to show"
        get_by = "measure again while the host is idle"
        if begins >= largest:
            reason, get_by = (
                f"the ladder ends at {shown(largest)}, before {level} begins",
                "give this program more memory",
            )
        if level not in levels:
            yield Unmeasured("latency.plateau", reason, get_by, {"level": level})
        begins = cache.size


def _plateau(level: str, one: Plateau, ladder: _Ladder, bench: Bench) -> Measurement:
    within = ladder.steps[one.first : one.last + 1]
    disturbed = [ladder.curve[size] for size in within]
    return of_values(
        "latency.plateau", "s", _by_repeat(within, ladder), bench, better="lower",
        labels={"level": level, "pages": ladder.memory.pages, "from": shown(within[0]), "to": shown(within[-1])},
        switches=sum(each.switches for each in disturbed), steal=max(each.steal for each in disturbed),
        notes=ladder.notes,
    )  # fmt: skip


def _by_repeat(sizes: Sequence[int], ladder: _Ladder) -> tuple[float, ...]:
    """The latency in the middle of the sizes, for each repeat."""
    return tuple(statistics.median(row) for row in zip(*(ladder.seconds(size) for size in sizes), strict=True))


def _cache(level: str, beside: tuple[Plateau, Plateau], ladder: _Ladder, bench: Bench) -> Outcome:
    """The size up to which loads hit this level, on each repeat's curve."""
    steps, (below, above) = ladder.steps, beside
    levels = [_by_repeat(steps[one.first : one.last + 1], ladder) for one in beside]
    _narrow(steps[below.last], steps[above.first], below.seconds, above.seconds, ladder, bench)
    sizes = sorted(size for size in ladder.curve if steps[below.first] <= size <= steps[above.last])
    found = [
        edge(sizes, row, below=low, above=high, missed=bench.limits["cache_missed"])
        for low, high, row in zip(*levels, zip(*(ladder.seconds(size) for size in sizes), strict=True), strict=True)
    ]
    values = tuple(each for each in found if each is not None)
    claimed = next((cache for cache in bench.caches if f"L{cache.level}" == level), None)
    labels = {"level": level, **({"claimed": shown(claimed.size)} if claimed else {})}
    if len(values) < (len(found) + 1) // 2:
        reason = f"the latencies of {level} and of what follows it overlap"
        return Unmeasured("latency.effective_cache", reason, "measure again while the host is idle", labels)
    notes = _differs(statistics.median(values), claimed, bench.limits)
    return of_values("latency.effective_cache", "B", values, bench, better="higher", labels=labels, notes=notes)


def _narrow(low: int, high: int, below: float, above: float, ladder: _Ladder, bench: Bench) -> None:
    """Measure sizes between two, nearer and nearer to where loads begin to miss."""
    for _ in range(_NARROWED):
        bench.check()
        sizes = sorted(size for size in ladder.curve if low <= size <= high)
        limit = below + bench.limits["cache_missed"] * (above - below)
        inside = max((size for size in sizes if ladder.middle(size) <= limit), default=sizes[0])
        outside = min((size for size in sizes if size > inside), default=inside)
        middle = away_from(int((inside * outside) ** 0.5), bench.caches, bench.limits["edge_margin"])
        if not inside < middle < outside:
            return
        ladder.load(middle, bench)


def _differs(size: float, claimed: Cache | None, limits: Mapping[str, float]) -> tuple[str, ...]:
    if claimed is None or 1 / limits["cache_differs"] <= size / claimed.size <= limits["cache_differs"]:
        return ()
    how = f"loads hit up to {shown(int(size))}, and {shown(claimed.size)} are claimed"
    shared = "others on the host use it too, or the claim is another CPU's"
    return (f"{how}: {shared}" if size < claimed.size else f"{how}: the claim is another CPU's",)


def shown(size: int) -> str:
    """Bytes in three digits: `26.9 KiB`."""
    scale, unit = next((each for each in ((1 << 30, "GiB"), (1 << 20, "MiB")) if size >= 0.97 * each[0]), (1024, "KiB"))
    return f"{size / scale:.3g} {unit}"
