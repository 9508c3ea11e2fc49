"""
What the lab's own sizing needs to know of the machine.

It asks the kernel itself, because the lab knows nothing of the collectors that will look at it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MEMORY_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True)
class Host:
    """Cores and memory (MiB) that may be used, NUMA nodes, the widest SIMD, and whether the disk is flash."""

    cores: int
    memory_mb: int
    numa_nodes: int
    avx: str
    flash: bool


def read_host(folder: Path) -> Host:
    """The machine this runs on, with the disk under `folder` (or under the nearest folder above it that is there)."""
    return Host(
        cores=len(os.sched_getaffinity(0)),
        memory_mb=memory_mb(_text("/proc/meminfo"), *(_text(path) for path in _MEMORY_LIMITS)),
        numa_nodes=max(1, len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))),
        avx=widest_simd(_text("/proc/cpuinfo")),
        flash=_is_flash(folder),
    )


def memory_mb(meminfo: str, *limits: str) -> int:
    """
    MemTotal of `meminfo`, or the smallest of the cgroups' limits where one is smaller; 1,024 where nothing can be read.

        MemTotal:       24567890 kB
    """
    total = 1 << 30
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal" and rest.split()[:1] and rest.split()[0].isdecimal():
            total = int(rest.split()[0]) * 1024
    stated = [int(limit) for limit in map(str.strip, limits) if limit.isdecimal()]
    return min([total, *stated]) >> 20


def widest_simd(cpuinfo: str) -> str:
    """The widest of the guide's instruction sets among the CPU's flags: avx512, avx2, neon, or none."""
    flags: set[str] = set()
    for line in cpuinfo.splitlines():
        name, _, rest = line.partition(":")
        if name.strip().lower() in ("flags", "features"):
            flags = set(rest.split())
            break
    if "avx512f" in flags:
        return "avx512"
    if "avx2" in flags:
        return "avx2"
    return "neon" if flags & {"asimd", "neon"} else "none"


def _is_flash(folder: Path) -> bool:
    """
    Whether the device under the folder is flash.

    A virtual disk says that it rotates unless somebody told it otherwise, so its word counts only where it says no;
    a device that cannot be found is taken for flash.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    number = place.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    for queue in (device / "queue", device.resolve().parent / "queue"):
        rotates = _text(str(queue / "rotational")).strip()
        if rotates:
            return rotates == "0" or "virtio" in str(device.resolve())
    return True


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
