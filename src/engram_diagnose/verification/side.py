"""
One side of a comparison: what was measured of it, under which load, and on what.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from engram_diagnose.engine.comparison.samples import Samples
from engram_diagnose.engine.facts.scope import INSTANCE, Scope

Kind = Literal["bundle", "benchmark", "windows"]


class NothingToCompareError(ValueError):
    """A side that cannot be read or that holds nothing; says which, why, and what to give instead."""


class Key(NamedTuple):
    """A figure: the fact, and where it was measured."""

    on: str
    scope: Scope = INSTANCE

    def __str__(self) -> str:
        return f"{self.on}{self.scope}"


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that is the same on both sides of a fair comparison; `parameter` is set for a configuration key."""

    name: str
    value: str
    parameter: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """
    What is known of one side.

    `start` and `end` are in seconds since the epoch. `load` holds figures of the load by fact. `window` is the length
    in seconds of what one sample speaks of, 0 where they are runs. `left_out` counts runs that were not valid, and
    `restarted` holds the start of the server's process where it is known.
    """

    kind: Kind
    sources: tuple[str, ...]
    instance: str
    start: float
    end: float
    figures: Mapping[Key, Samples]
    load: Mapping[str, float]
    traits: tuple[Trait, ...] = ()
    window: float = 0.0
    left_out: int = 0
    restarted: float | None = None
    notes: tuple[str, ...] = ()
    beyond: frozenset[Key] = field(default_factory=frozenset)

    @property
    def samples(self) -> int:
        """The most samples that any figure has."""
        return max((len(one) for one in self.figures.values()), default=0)


def joined(values: Iterable[tuple[tuple[float, ...], ...]]) -> Samples:
    """Windows of several bundles, each with its stretches, as one figure's samples."""
    stretches = [stretch for one in values for stretch in one if stretch]
    return Samples(tuple(value for one in stretches for value in one), "windows", tuple(map(len, stretches)))
