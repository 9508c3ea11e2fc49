"""
What every measurement is given: where it may run, how much it may take, and how it is stopped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engram_diagnose.kernels.measure.threads import Pool


@dataclass(frozen=True, slots=True)
class Cache:
    """A level of cache as the kernel claims it, in bytes, and how many CPUs share it; a guest may be told anything."""

    level: int
    size: int
    sharers: int


@dataclass(frozen=True, slots=True)
class Bench:
    """
    The host as far as it may be used.

    `limits` are the figures of `rules/catalogue/kernels.yaml`, `cpus` those that this process may run on, `memory` how
    many bytes all buffers together may take, `caches` those of data as they are claimed, the smallest first. `folder`
    is where something may be written, such as the server's data directory; "" is nowhere. `check` raises what ends the
    measuring; it is called between repeats.
    """

    limits: Mapping[str, float]
    cpus: tuple[int, ...]
    memory: int
    pool: "Pool"
    caches: tuple[Cache, ...] = ()
    folder: str = ""
    say: Callable[[str], None] = field(default=lambda _: None)
    check: Callable[[], None] = field(default=lambda: None)

    def cache_size(self, level: int, otherwise: int) -> int:
        """Bytes of a level as it is claimed, for one CPU; `otherwise` where nothing is."""
        return next((one.size for one in self.caches if one.level == level), otherwise)
