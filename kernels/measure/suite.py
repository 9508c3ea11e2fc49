"""
The parts one after another: what was measured, what could not be, and why.
"""

import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the suite: its name, its module here, what it measures, and whether it runs when none is named."""

    name: str
    about: str
    usual: bool = True

    def measure(self, bench: Bench) -> list[Outcome]:
        """Run it; the module is imported, and its loops compiled, only now."""
        module = importlib.import_module(f"engram_diagnose.kernels.measure.{self.name}")
        run: Callable[[Bench], list[Outcome]] = getattr(module, self.name)
        return run(bench)


INDEX: Final = "hnsw"
"""The part that is measured on a sample of the user's vectors where there is one."""

PARTS: Final = (
    Part("stream", "memory bandwidth: copy, scale, add, triad, read; by level of cache"),
    Part("latency", "load latency from 16 KiB to 1 GiB, and how large the caches really are"),
    Part("peak", "floating point peak of one core"),
    Part("similarity", "768-dimensional similarities: scalar, rows, tiles of 8 lanes, in batches"),
    Part("walk", "walking a graph of vectors, by prefetch distance"),
    Part("sharing", "counters on one cache line, and apart"),
    Part("cores", "latency from core to core"),
    Part("locks", "what sharding a lock buys, with even and with hot keys"),
    Part("wal", "durable writes in the data directory"),
    Part("numa", "local and remote memory"),
    Part(INDEX, "recall and queries per second by M, ef_construction and ef_search; takes a minute", usual=False),
)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a part: its outcomes, and the seconds that it took."""

    part: str
    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What was measured."""
        return tuple(one for one in self.outcomes if isinstance(one, Measurement))

    @property
    def unmeasured(self) -> tuple[Unmeasured, ...]:
        """What was not."""
        return tuple(one for one in self.outcomes if isinstance(one, Unmeasured))


def measure(parts: Iterable[Part], bench: Bench, *, done: Callable[[Done], None] = lambda _: None) -> list[Done]:
    """
    Measure part by part; `done` is told of each.

    A part that lacks memory, or that the system refuses something, costs only itself. Whatever `bench.check` raises
    ends the measuring.
    """
    found = []
    for part in parts:
        bench.check()
        bench.say(part.about)
        start = time.monotonic()
        found.append(Done(part.name, tuple(_outcomes(part, bench)), time.monotonic() - start))
        done(found[-1])
    return found


def _outcomes(part: Part, bench: Bench) -> Sequence[Outcome]:
    try:
        return part.measure(bench)
    except MemoryError:
        return [Unmeasured(part.name, "there was not enough memory for its buffers", "free memory, or raise the limit")]
    except OSError as error:
        reason = f"the system refused what it needs: {error.strerror or error}"
        return [Unmeasured(part.name, reason, "run it as the server's user, on the server's host")]


def parts_of(names: Sequence[str]) -> tuple[Part, ...]:
    """The parts of these names in the order of the suite, the usual ones where none is named; raises `ValueError`."""
    known = {part.name for part in PARTS}
    for name in names:
        if name not in known:
            raise ValueError(f"there is no kernel {name!r}; known: {', '.join(part.name for part in PARTS)}")
    return tuple(part for part in PARTS if (part.name in names if names else part.usual))
