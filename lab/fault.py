"""
What a fault of the lab is made of: settings, surroundings, a load, and the rules that name it rightly.

A size that only means something beside another one is `Scaled` by it: a tier by the memories it is to hold, a pool by
the cores.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NODE_BYTES: Final = 3200
"""A memory in a tier: the guide's fifty cache lines."""
MEBIBYTE: Final = 1 << 20

Value = bool | int | float | str


class NoSuchFaultError(ValueError):
    """A fault, or a severity of one, that there is not; says which there are."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """
    A setting in shares of something: `cores`, or `memories` (MiB of all of them as nodes); from `least` to `most`.
    """

    by: str
    share: float
    least: float = 1
    most: float = math.inf
    whole: bool = True

    def figure(self, *, cores: int, memories: int) -> int | float:
        """The setting on a host with so many cores, for so many memories; raises `ValueError` for another scale."""
        scales = {"cores": float(cores), "memories": memories * NODE_BYTES / MEBIBYTE}
        if self.by not in scales:
            raise ValueError(f"a setting cannot be scaled by {self.by!r}; there are {', '.join(sorted(scales))}")
        found = min(self.most, max(self.least, self.share * scales[self.by]))
        return math.ceil(found) if self.whole else round(found, 4)


@dataclass(frozen=True, slots=True)
class Load:
    """
    What clients do. `mix` holds the share of each operation, and `rate` the operations a second as a share of what
    the healthy lab carries under the same mix; `skew` is the exponent of how unevenly memories are asked for (0: all
    alike). `quality` says that recall against an exact search has to be measured, or nobody notices.
    """

    mix: Mapping[str, float]
    rate: float
    connections: int = 64
    skew: float = 1.0
    quality: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What is done around the server's process; 0 stands for nothing. `cpu_quota` is in shares of its cores,
    `memory_limit` in shares of what the healthy lab takes under this load, `disk_rate` in bytes written a second, and
    `neighbours` in processes that compute without a pause, for each core.
    """

    cpu_quota: float = 0.0
    memory_limit: float = 0.0
    disk_rate: int = 0
    neighbours: float = 0.0

    @property
    def any(self) -> bool:
        """Whether there is anything to be done."""
        return self != Surroundings()


@dataclass(frozen=True, slots=True)
class Severity:
    """
    One step of a fault: keys of the configuration, the lab's environment, its surroundings; `heavier` is the load's
    rate in shares of the fault's usual one.
    """

    name: str
    settings: Mapping[str, Value | Scaled] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    around: Surroundings = Surroundings()
    heavier: float = 1.0


@dataclass(frozen=True, slots=True)
class Hidden:
    """What those who look are not shown: metrics by name, and whether the server's process may be looked into."""

    metrics: tuple[str, ...] = ()
    process: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """
    Something to plant.

    `causes` holds, for each thing that is wrong, the rules that name it rightly, the best first; none for a healthy
    server. `mended_by` are the keys that would take it away, empty where something outside the configuration must
    change; `breaches` are the figures that miss their target because of it. `counters` says that only the CPU's own
    counters show it.
    """

    name: str
    title: str
    family: str
    mechanism: str
    severities: tuple[Severity, ...]
    load: Load
    causes: tuple[tuple[str, ...], ...] = ()
    mended_by: tuple[str, ...] = ()
    breaches: tuple[str, ...] = ()
    counters: bool = False
    hidden: Hidden = Hidden()

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.causes

    @property
    def right(self) -> frozenset[str]:
        """Every rule that counts as right."""
        return frozenset(rule for rules in self.causes for rule in rules)

    def severity(self, name: str) -> Severity:
        """The step of that name; raises `NoSuchFaultError` for one there is not."""
        for one in self.severities:
            if one.name == name:
                return one
        raise NoSuchFaultError(
            f"{self.name} comes as {', '.join(one.name for one in self.severities)}, not as {name!r}"
        )


MILD: Final = "mild"
PLAIN: Final = "plain"
SEVERE: Final = "severe"
SEVERITIES: Final = (MILD, PLAIN, SEVERE)
