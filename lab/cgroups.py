"""
Control groups of either version: where one can be made, and what is written into it.

Nothing here changes anything but `Group.make`, and what it makes the warden of `lab.planting` takes away.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PERIOD_US: Final = 100_000
"""The kernel's usual period of a CPU budget."""
_UNLIMITED_V1: Final = "-1"


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What a group allows: CPUs, bytes of memory, bytes written a second to a device (`major:minor`). 0 is no limit.
    """

    cpus: float = 0.0
    memory: int = 0
    disk_rate: int = 0
    device: str = ""

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers that it takes, by the names of version 2."""
        wanted = {"cpu": self.cpus, "memory": self.memory, "io": self.disk_rate}
        return tuple(name for name, figure in wanted.items() if figure)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder in which groups with one controller can be made; `version` is 1 or 2."""

    folder: Path
    version: int


@dataclass(frozen=True, slots=True)
class Impossible:
    """What cannot be done on this machine, and why."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"not possible here: {self.what} ({self.why})"


def own_groups(text: str) -> dict[str, str]:
    """
    The group of each controller in `/proc/self/cgroup`; that of version 2 under the empty name.

        4:memory:/system.slice
        0::/user.slice
    """
    found = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            found.update(dict.fromkeys(parts[1].split(","), parts[2]))
    return found


def mounted(mountinfo: str) -> dict[str, tuple[str, str]]:
    """
    Root and folder of each controller's hierarchy in `/proc/self/mountinfo`; that of version 2 under the empty name.

        35 25 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
        42 30 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
    """
    found: dict[str, tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if not dash or len(fields) < 5 or not kind:
            continue
        if kind[0] == "cgroup2":
            found.setdefault("", (fields[3], fields[4]))
        elif kind[0] == "cgroup" and len(kind) >= 3:
            for name in kind[2].split(","):
                found.setdefault(name, (fields[3], fields[4]))
    return found


def place_of(controller: str, groups: Mapping[str, str], mounts: Mapping[str, tuple[str, str]]) -> Place | Impossible:
    """Where a group with a controller (`cpu`, `memory`, `io`) can be made: beneath that of this process, or beside."""
    what = {"cpu": "a CPU limit", "memory": "a memory limit", "io": "a slower disk"}[controller]
    first = "blkio" if controller == "io" else controller
    if first in mounts and first in groups:
        folder = _folder(groups[first], mounts[first])
        return Place(folder, 1) if os.access(folder, os.W_OK) else Impossible(what, f"{folder} cannot be written")
    if "" not in mounts or "" not in groups:
        return Impossible(what, f"no control groups with the controller {controller} are mounted")
    own = _folder(groups[""], mounts[""])
    for folder in (own, own.parent):
        if not _is_within(folder, mounts[""][1]) or not os.access(folder, os.W_OK):
            continue
        if _delegates(folder, controller):
            return Place(folder, 2)
    return Impossible(what, f"{own} does not hand the controller {controller} on")


def _folder(group: str, mount: tuple[str, str]) -> Path:
    """The folder of a group, which may be seen from within a container."""
    root, folder = mount
    inner = group.removeprefix(root) if root != "/" and group.startswith(root) else group
    found = Path(folder) / inner.lstrip("/")
    return found if found.is_dir() else Path(folder)


def _is_within(folder: Path, mount: str) -> bool:
    return folder == Path(mount) or Path(mount) in folder.parents


def _delegates(folder: Path, controller: str) -> bool:
    """Whether groups beneath it get the controller; told to, where it has it itself and they do not."""
    control = folder / "cgroup.subtree_control"
    try:
        if controller in control.read_text().split():
            return True
        if controller not in (folder / "cgroup.controllers").read_text().split():
            return False
        control.write_text(f"+{controller}")
        return controller in control.read_text().split()
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Group:
    """A group to be: its folder, and what is written into which file of it, in that order."""

    folder: Path
    figures: tuple[tuple[str, str], ...]

    def make(self) -> Impossible | None:
        """Make it and set its limits; where that fails says so, and leaves nothing."""
        try:
            self.folder.mkdir()
        except OSError as error:
            return Impossible(f"the control group {self.folder}", error.strerror or str(error))
        for name, figure in self.figures:
            try:
                (self.folder / name).write_text(figure)
            except OSError as error:
                self.folder.rmdir()
                return Impossible(f"{name} = {figure}", error.strerror or str(error))
        return None


def group_of(controller: str, place: Place, limits: Limits, name: str) -> Group:
    """The group that sets one controller's limit."""
    files = _figures_v1(limits) if place.version == 1 else _figures_v2(limits)
    return Group(place.folder / name, files[controller])


def _figures_v1(limits: Limits) -> dict[str, tuple[tuple[str, str], ...]]:
    quota = str(round(limits.cpus * PERIOD_US)) if limits.cpus else _UNLIMITED_V1
    return {
        "cpu": (("cpu.cfs_period_us", str(PERIOD_US)), ("cpu.cfs_quota_us", quota)),
        "memory": (("memory.limit_in_bytes", str(limits.memory)),),
        "io": (("blkio.throttle.write_bps_device", f"{limits.device} {limits.disk_rate}"),),
    }


def _figures_v2(limits: Limits) -> dict[str, tuple[tuple[str, str], ...]]:
    return {
        "cpu": (("cpu.max", f"{round(limits.cpus * PERIOD_US)} {PERIOD_US}"),),
        "memory": (("memory.max", str(limits.memory)), ("memory.swap.max", "0")),
        "io": (("io.max", f"{limits.device} wbps={limits.disk_rate}"),),
    }


def device_of(folder: Path) -> str:
    """
    The whole disk beneath a folder as `major:minor`, which is what a rate is set for; empty where there is none.
    """
    number = folder.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    try:
        whole = device.resolve(strict=True)
    except OSError:
        return ""
    if (whole / "partition").exists():
        whole = whole.parent
    try:
        return (whole / "dev").read_text().strip()
    except OSError:
        return ""
