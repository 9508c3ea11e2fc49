"""
What the kernel says of the CPUs at one moment; two such looks tell what happened between them.
"""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engram_diagnose.kernels.loops.noise import clocks
from engram_diagnose.kernels.measure.bench import Bench

_MODEL_KEYS: Final = frozenset(
    {
        *("vendor_id", "cpu family", "model", "model name", "stepping"),
        *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision"),
    }
)


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds of some CPUs since the host started: at work, taken by the hypervisor, and all together."""

    busy: float
    steal: float
    total: float


@dataclass(frozen=True, slots=True)
class Look:
    """
    One moment: the times of the CPUs, what this process has used of them (seconds), the model of the CPUs, and clocks.

    `ticks` is the CPU's counter, 0 where there is none, read at `monotonic`; `real` and `boot` are how far those clocks
    are ahead of that one. All are in nanoseconds but the counter.
    """

    cpus: CpuTimes
    own: float
    model: str
    ticks: int
    monotonic: int
    real: int
    boot: int

    @classmethod
    def now(cls, bench: Bench) -> "Look":
        """Look; the counter is that of the first CPU."""
        ticks, monotonic = bench.pool.run(clocks)[0]
        used = os.times()
        return cls(
            cpu_times(_text("/proc/stat"), bench.cpus),
            used.user + used.system,
            cpu_model(_text("/proc/cpuinfo")),
            ticks,
            monotonic,
            _ahead(time.CLOCK_REALTIME),
            _ahead(time.CLOCK_BOOTTIME),
        )


def cpu_times(text: str, cpus: Sequence[int], *, ticks_a_second: float | None = None) -> CpuTimes:
    """
    The times of these CPUs from the text of `/proc/stat`, zeros where it has none of them.

        cpu0 1507247 58552 228989 1728973 58131 0 5017 351 0 0

    These are user, nice, system, idle, iowait, irq, softirq, steal, guest and guest_nice; user has guest in it.
    """
    wanted = {f"cpu{cpu}" for cpu in cpus}
    busy = steal = total = 0
    for line in text.splitlines():
        name, *cells = line.split()[:9] or [""]
        if name in wanted and len(cells) == 8 and all(cell.isdecimal() and cell.isascii() for cell in cells):
            user, nice, system, idle, waiting, hard, soft, stolen = (int(cell) for cell in cells)
            busy += user + nice + system + hard + soft
            steal += stolen
            total += user + nice + system + idle + waiting + hard + soft + stolen
    rate = ticks_a_second or os.sysconf("SC_CLK_TCK")
    return CpuTimes(busy / rate, steal / rate, total / rate)


def cpu_model(text: str) -> str:
    """What `/proc/cpuinfo` says of which kinds of CPUs there are, without its figures that change all the time."""
    kinds = []
    for block in re.split(r"\n\s*\n", text):
        pairs = (line.partition(":") for line in block.splitlines())
        kind = ", ".join(value.strip() for key, _, value in pairs if key.strip() in _MODEL_KEYS)
        if kind and kind not in kinds:
            kinds.append(kind)
    return "; ".join(kinds)


def governors(cpus: Sequence[int], folder: Path = Path("/sys/devices/system/cpu")) -> tuple[str, ...]:
    """How the frequencies of these CPUs are chosen, each way once; none where the kernel does not choose them."""
    said = {_text(str(folder / f"cpu{cpu}" / "cpufreq" / "scaling_governor")).strip() for cpu in cpus}
    return tuple(sorted(said - {""}))


def _ahead(clock: int) -> int:
    """By how much a clock is ahead of the monotonic one; an interruption between both readings is halved."""
    before = time.monotonic_ns()
    read = time.clock_gettime_ns(clock)
    return read - (before + time.monotonic_ns()) // 2


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
