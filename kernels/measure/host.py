"""
The host to measure, as its kernel shows it.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engram_diagnose.kernels.measure.bench import Bench, Cache
from engram_diagnose.kernels.measure.threads import Pool

_SYSTEM = Path("/sys/devices/system/cpu")
_MEMINFO = Path("/proc/meminfo")
_LEVEL = re.compile(r"[1-9]")
_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_MOST_CPUS = 1 << 16
"""More than any kernel has: a longer range is none of CPUs."""


@contextmanager
def bench_here(
    limits: Mapping[str, float],
    *,
    folder: str = "",
    memory_left: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Bench]:
    """
    Measure this host, with a thread on each CPU that this process may run on, until the block ends.

    `memory_left` is what a control group leaves this process, in bytes, 0 where none limits it.
    """
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    free = available_memory()
    memory = min([free, *([memory_left] if memory_left > 0 else [])]) * limits["memory_share"]
    with Pool(cpus) as pool:
        yield Bench(
            limits, cpus, int(min(memory, limits["most_memory"])), pool, claimed_caches(cpus[0]), folder, say, check
        )


def available_memory(path: Path = _MEMINFO) -> int:
    """Bytes that programs can get without others losing theirs; half a gibibyte where the kernel does not say."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return 512 << 20
    found = re.search(r"(?m)^MemAvailable:\s+([0-9]+) kB", text)
    return int(found.group(1)) << 10 if found else 512 << 20


def claimed_caches(cpu: int, folder: Path = _SYSTEM) -> tuple[Cache, ...]:
    """The caches of a CPU that hold data, the smallest first; none where the kernel does not say."""
    found = []
    for entry in sorted((folder / f"cpu{cpu}" / "cache").glob("index[0-9]*")):
        read = {name: _said(entry / name) for name in ("level", "type", "size", "shared_cpu_list")}
        size = re.fullmatch(r"([0-9]{1,12})([KMG]?)", read["size"])
        if read["type"] in ("Data", "Unified") and size and int(size.group(1)) and _LEVEL.fullmatch(read["level"]):
            shift = {"": 0, "K": 10, "M": 20, "G": 30}[size.group(2)]
            sharers = max(1, len(cpus_of(read["shared_cpu_list"])))
            found.append(Cache(int(read["level"]), int(size.group(1)) << shift, sharers))
    return tuple(sorted(found, key=lambda cache: (cache.level, cache.size)))


def cpus_of(text: str) -> tuple[int, ...]:
    """The CPUs of a list such as `0-3,8`; those that are no list are left out."""
    found: set[int] = set()
    for part in text.strip().split(","):
        if read := _RANGE.fullmatch(part):
            low, high = int(read.group(1)), int(read.group(2) or read.group(1))
            found.update(range(low, high + 1) if high - low < _MOST_CPUS else ())
    return tuple(sorted(found))


def _said(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
