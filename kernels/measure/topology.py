"""
Which CPUs are threads of one core, and so share its caches.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from engram_diagnose.kernels.measure.host import cpus_of

_SYSTEM = Path("/sys/devices/system/cpu")


def siblings_of(cpu: int, folder: Path = _SYSTEM) -> frozenset[int]:
    """The CPUs of a CPU's core, itself among them; itself alone where the kernel does not say."""
    try:
        text = (folder / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text(
            encoding="ascii", errors="replace"
        )
    except OSError:
        text = ""
    return frozenset(cpus_of(text)) | {cpu}


def on_two_cores(cpus: Sequence[int], folder: Path = _SYSTEM) -> tuple[int, int]:
    """The places in `cpus` of the first two that are of different cores; the first two where all are of one."""
    others = siblings_of(cpus[0], folder)
    return 0, next((place for place in range(1, len(cpus)) if cpus[place] not in others), 1)


def spread_pairs(cpus: Sequence[int], most: int) -> list[tuple[int, int]]:
    """
    Pairs of places in `cpus`, all where there are no more than `most`, else evenly from near numbers to far ones.

    CPUs are numbered by core, by die, by socket: pairs of every distance have pairs of each kind among them.
    """
    pairs = sorted(combinations(range(len(cpus)), 2), key=lambda pair: (pair[1] - pair[0], pair))
    if len(pairs) <= most:
        return sorted(pairs)
    return sorted(pairs[number * len(pairs) // most] for number in range(most))
