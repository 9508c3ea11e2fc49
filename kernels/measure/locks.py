"""
Sharded locks: what cutting a table into more shards buys, with even keys and with hot ones.

    locks.rate          operations per second            /s by shards and keys
    locks.shards        the least that are nearly as good as any   count by keys
    locks.best_rate     operations per second with those /s by keys
    locks.gain          their rate over that of one shard       by keys
    locks.further_gain  most shards over the guide's two a core  by keys

"More shards" is no advice for hot keys: the hottest has one lock, however many others there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.kernels.loops.gate import Span
from engram_diagnose.kernels.loops.locks import count_for, new_locks
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Stability, Unmeasured
from engram_diagnose.kernels.measure.sampling import of_values
from engram_diagnose.kernels.measure.together import (
    Gate,
    LostError,
    NotMeasurableError,
    Rounds,
    at_once,
    one_cpu,
    rounds_of,
)

KEYS: Final = 100_000
_DRAWN: Final = 1 << 18
"""Keys drawn for all threads together: some a hundred for each key of even ones, and no more than a cache holds."""
_DRAWN_EACH: Final = 1 << 14
_SEED: Final = 20_240_229
_PER_CORE: Final = 16
"""Up to so many shards for each core, four times what the guide sets where locks are contended."""
_GUIDE_PER_CORE: Final = 2
_PLACES: Final = 3
"""Each repeat has locks at several places: with few of them, how far their lines are from each core counts."""
_BYTES_DRAWN: Final = 32
"""What drawing one key takes: a random figure, its rank, twice while they are made, and the key."""


@dataclass(frozen=True, slots=True)
class Skew:
    """How often each key is used: the k-th most frequent in proportion to 1/k^`exponent`."""

    word: str
    exponent: float

    def shares(self) -> npt.NDArray[np.float64]:
        """The share of each rank."""
        weights: npt.NDArray[np.float64] = np.arange(1, KEYS + 1, dtype=np.float64) ** -self.exponent
        shares: npt.NDArray[np.float64] = weights / weights.sum()
        return shares

    def draw(self, count: int) -> npt.NDArray[np.int32]:
        """So many keys, the same ones each time."""
        random = np.random.default_rng(_SEED)
        # Hot keys lie anywhere: side by side, their counts would share cache lines, which no lock can help.
        key_of_rank = random.permutation(KEYS).astype(np.int32)
        steps = np.cumsum(self.shares())
        ranks = np.searchsorted(steps, random.random(count) * steps[-1], side="right")
        drawn: npt.NDArray[np.int32] = key_of_rank[np.minimum(ranks, KEYS - 1)]
        return drawn


SKEWS: Final = (Skew("uniform", 0.0), Skew("zipf 0.99", 0.99), Skew("zipf 1.3", 1.3))


def locks(bench: Bench) -> list[Outcome]:
    """Rates by number of shards and skew of keys, on all CPUs."""
    drawn = max(_DRAWN, _DRAWN_EACH * len(bench.cpus))
    if bench.memory < drawn * _BYTES_DRAWN + KEYS * 8:
        return [Unmeasured("locks.rate", "its keys and counts do not fit into the memory it may take", "free memory")]
    found: list[Outcome] = []
    for skew in SKEWS:
        bench.say(f"sharded locks, keys {skew.word}")
        found += _of_skew(bench, skew, np.array_split(skew.draw(drawn), len(bench.cpus)))
    return found


def numbers_of_shards(cores: int) -> tuple[int, ...]:
    """1, 2, 4 … until there are 16 for each core; 1 alone where no two threads meet."""
    return tuple(1 << power for power in range((cores * _PER_CORE - 1).bit_length() + 1)) if cores > 1 else (1,)


def _of_skew(bench: Bench, skew: Skew, keys: Sequence[npt.NDArray[np.int32]]) -> list[Outcome]:
    counts = np.zeros(KEYS, np.int64)
    runs = {n: partial(_repeat, bench, n, counts, keys) for n in numbers_of_shards(len(bench.cpus))}
    labels = {"keys": skew.word}
    try:
        rounds = rounds_of(bench, runs)
    except NotMeasurableError as error:
        return [error.of(name, labels) for name in ("locks.rate", *_ADVICE)]
    rates = {n: _rate(bench, rounds, n, labels) for n in rounds.values}
    if len(rates) == 1:
        best = replace(rates[1], name="locks.best_rate", labels=labels)
        return [rates[1], best, *(one_cpu(name, labels) for name in _ADVICE if name != best.name)]
    return [*rates.values(), *_advice(bench, skew, rounds, rates)]


def _repeat(
    bench: Bench, shards: int, counts: npt.NDArray[np.int64], keys: Sequence[npt.NDArray[np.int32]], _: int
) -> float:
    """Operations per second of all threads together, the mean of all places. Raises `LostError`."""
    places = [new_locks(shards) for _ in range(_PLACES)]
    return fmean(_once(bench, held, counts, keys) for held in places)


def _once(
    bench: Bench,
    held: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    keys: Sequence[npt.NDArray[np.int32]],
) -> float:
    counts.fill(0)
    window = bench.limits["locks_seconds"] / bench.limits["repeats"] / _PLACES

    def count(number: int, gate: Gate) -> Span:
        return count_for(held, counts, keys[number], gate, len(keys),
                         gate_seconds=bench.limits["meeting_seconds"], window_seconds=window)  # fmt: skip

    spans = at_once(bench.pool, range(len(keys)), count)
    wanted, arrived = sum(span.count for span in spans), int(counts.sum())
    if arrived != wanted:
        raise LostError(arrived, wanted)
    return sum(span.count / span.seconds for span in spans)


def _rate(bench: Bench, rounds: Rounds[int], shards: int, labels: Mapping[str, str]) -> Measurement:
    return of_values("locks.rate", "/s", rounds.values[shards], bench, better="higher",
                     labels={"shards": str(shards), **labels}, threads=len(bench.cpus),
                     switches=rounds.switches, steal=rounds.steal)  # fmt: skip


_ADVICE: Final = ("locks.shards", "locks.best_rate", "locks.gain", "locks.further_gain")


def _advice(bench: Bench, skew: Skew, rounds: Rounds[int], rates: Mapping[int, Measurement]) -> list[Measurement]:
    enough = enough_shards({n: rate.median for n, rate in rates.items()}, bench.limits["shards_within"])
    most, guide = max(rates), next(n for n in rates if n >= _GUIDE_PER_CORE * len(bench.cpus))
    take = partial(of_values, bench=bench, better="higher", labels={"keys": skew.word}, threads=len(bench.cpus),
                   switches=rounds.switches, steal=rounds.steal)  # fmt: skip
    gain = take(
        "locks.gain",
        "",
        _over(rounds, enough, 1),
        notes=(f"{enough} shards over one" if enough > 1 else "one shard is enough",),
    )
    further = take("locks.further_gain", "", _over(rounds, most, guide), notes=(f"{most} shards over {guide}",))
    hot = skew.exponent and further.median < bench.limits["further_gain"] and further.stability != "unstable"
    notes = (_hottest(skew),) if hot else ()
    shards = take("locks.shards", "count", (float(enough),), better="lower", notes=notes)
    return [
        # The number was chosen by the rates of all, and is no surer than they are; nor is what it gains.
        replace(shards, stability=_worst(rates.values())),
        take("locks.best_rate", "/s", rounds.values[enough], notes=(f"shards: {enough}",)),
        replace(gain, stability=_worst([gain, *rates.values()])),
        replace(further, notes=further.notes + notes),
    ]


def enough_shards(rates: Mapping[int, float], within: float) -> int:
    """The smallest number of shards whose rate is within a share of the best."""
    best = max(rates.values())
    return min(shards for shards, rate in rates.items() if rate >= best * (1 - within))


def _over(rounds: Rounds[int], shards: int, others: int) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(rounds.values[shards], rounds.values[others], strict=True))


def _hottest(skew: Skew) -> str:
    return (
        f"more shards gain little here: the hottest key is {float(skew.shares()[0]):.0%} of all operations, "
        "and has one lock however many there are"
    )


def _worst(measurements: Iterable[Measurement]) -> Stability:
    found = {one.stability for one in measurements}
    return "unstable" if "unstable" in found else "noisy" if "noisy" in found else "stable"
