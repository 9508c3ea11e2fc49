"""The block device and the file system under the data directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from engram_diagnose.collectors.parse.figures import (
    Found,
    Missing,
    UnparsedError,
    integer,
    quotient,
    rate,
    share,
)
from engram_diagnose.collectors.parse.lines import bracketed, parse_tree
from engram_diagnose.collectors.parse.recipe import Key, Pair, Recipe
from engram_diagnose.engine.facts.fact import Reason
from engram_diagnose.engine.facts.scope import Scope, scope_of


class DiskCounters(NamedTuple):
    """One line of `/proc/diskstats`; times in milliseconds, flushes None before Linux 5.5."""

    reads: int
    read_sectors: int
    read_ms: int
    writes: int
    written_sectors: int
    write_ms: int
    busy_ms: int
    queue_ms: int
    flushes: int | None
    flush_ms: int | None


def parse_diskstats(text: str) -> dict[str, DiskCounters]:
    """
    Counters by device.

    `254 0 vda 52830 7726 3655538 11746 12059 15891 1701688 5508 0 8652 17696 …`
    """
    return {
        fields[2]: _counters([integer(field) for field in fields[3:]])
        for fields in map(str.split, text.splitlines())
        if len(fields) >= 14
    }


Counters = Mapping[str, DiskCounters]
"""By device."""


def _counters(row: list[int]) -> DiskCounters:
    flushes, flush_ms = (row[15], row[16]) if len(row) > 16 else (None, None)
    reads, _, read_sectors, read_ms, writes, _, written_sectors, write_ms, _, busy_ms, queue_ms = row[:11]
    return DiskCounters(
        reads, read_sectors, read_ms, writes, written_sectors, write_ms, busy_ms, queue_ms, flushes, flush_ms
    )


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk under the data directory: its queue's attributes by file, and the devices that count its flushes."""

    name: str
    queue: Mapping[str, str]
    flushed_by: tuple[str, ...]

    @property
    def scope(self) -> Scope:
        """That of the facts about it."""
        return scope_of({"device": self.name})


def parse_disks(tree: str) -> list[Disk]:
    """
    The disks of the answer `storage/device`, at least one.

    `name:sda` for each, `sda/queue/rotational:0`, and `nvme0n1/flushes:nvme0c0n1`; one disk's attributes may stand
    without its name.
    """
    files = parse_tree(tree)
    names = list(dict.fromkeys(filter(None, map(str.strip, files.get("name", "").splitlines()))))
    if not names:
        raise UnparsedError("no device name")
    return [_disk(name, files, alone=len(names) == 1) for name in names]


def _disk(name: str, files: Mapping[str, str], *, alone: bool) -> Disk:
    lead = f"{name}/"
    queue = {path: text.strip() for path, text in files.items() if alone and path.startswith("queue/")}
    queue |= {path.removeprefix(lead): text.strip() for path, text in files.items() if path.startswith(f"{lead}queue/")}
    return Disk(name, queue, tuple(files.get(f"{lead}flushes", name).split()))


def _traffic(pair: Pair, tree: str) -> Mapping[Key, Found]:
    before, after = parse_diskstats(pair.before), parse_diskstats(pair.after)
    return {(fact, disk.scope): found for disk in parse_disks(tree)
            for fact, found in _traffic_of(disk, before, after, pair.seconds).items()}  # fmt: skip


def _traffic_of(disk: Disk, before: Counters, after: Counters, seconds: float) -> Mapping[str, Found]:
    name = disk.name
    if name not in before or name not in after:
        return dict.fromkeys(_TRAFFIC, Missing(Reason.SOURCE_ABSENT, f"{name} is not in /proc/diskstats"))
    ways = [way for way in disk.flushed_by if way in before and way in after]
    flushes = _flushes([before[way] for way in ways], [after[way] for way in ways], seconds)
    return {**_figures(before[name], after[name], seconds), **flushes}


_TRAFFIC: Final = (
    "disk.iops",
    "disk.await",
    "disk.util_share",
    "disk.queue_depth",
    "disk.read_rate",
    "disk.write_rate",
    "disk.flush_rate",
    "disk.flush_latency",
)
_SECTOR_BYTES: Final = 512
"""What the kernel counts in, whatever the device's sectors are."""


def _figures(before: DiskCounters, after: DiskCounters, seconds: float) -> dict[str, Found]:
    done = after.reads + after.writes - before.reads - before.writes
    waited = after.read_ms + after.write_ms - before.read_ms - before.write_ms
    busy = rate(before.busy_ms * 1e-3, after.busy_ms * 1e-3, seconds)
    return {
        "disk.iops": rate(before.reads + before.writes, after.reads + after.writes, seconds),
        "disk.await": quotient(max(0, waited) * 1e-3, done, "the device did nothing"),
        "disk.util_share": busy if isinstance(busy, Missing) else min(1.0, busy),
        "disk.queue_depth": rate(before.queue_ms * 1e-3, after.queue_ms * 1e-3, seconds),
        "disk.read_rate": _bytes_rate(before.read_sectors, after.read_sectors, seconds),
        "disk.write_rate": _bytes_rate(before.written_sectors, after.written_sectors, seconds),
    }


def _bytes_rate(before: int, after: int, seconds: float) -> Found:
    return rate(before * _SECTOR_BYTES, after * _SECTOR_BYTES, seconds)


def _flushes(before: list[DiskCounters], after: list[DiskCounters], seconds: float) -> dict[str, Found]:
    """Those of all ways to a disk together; its own where there is one way."""
    old, new = _flush_totals(before), _flush_totals(after)
    if old is None or new is None:
        why = (
            Missing(Reason.KERNEL_CONFIG, "kernels before 5.5 count no flushes")
            if before
            else Missing(Reason.SOURCE_ABSENT, "the paths to it, which count flushes, are not in /proc/diskstats")
        )
        return {"disk.flush_rate": why, "disk.flush_latency": why}
    done, took = new[0] - old[0], max(0, new[1] - old[1]) * 1e-3
    return {
        "disk.flush_rate": rate(old[0], new[0], seconds),
        "disk.flush_latency": quotient(took, done, "the device flushed nothing"),
    }


def _flush_totals(counters: list[DiskCounters]) -> tuple[int, int] | None:
    """Flushes and the milliseconds they took; None where one device counts none."""
    figures = [(one.flushes, one.flush_ms) for one in counters]
    known = [(done, took) for done, took in figures if done is not None and took is not None]
    return (sum(d for d, _ in known), sum(t for _, t in known)) if known and len(known) == len(figures) else None


def _queue(tree: str) -> Mapping[Key, Found]:
    return {(fact, disk.scope): found for disk in parse_disks(tree) for fact, found in _attributes(disk.queue).items()}


def _attributes(files: Mapping[str, str]) -> Mapping[str, Found]:
    facts: dict[str, Found] = {}
    if "queue/rotational" in files:
        facts["disk.rotational"] = float(integer(files["queue/rotational"]) != 0)
    if "queue/write_cache" in files:
        facts["disk.write_cache"] = files["queue/write_cache"]
    scheduler = bracketed(files.get("queue/scheduler", ""))
    if scheduler is not None:
        facts["disk.scheduler"] = scheduler
    return facts


def _path(tree: str) -> Mapping[Key, Found]:
    path = parse_tree(tree).get("path", "").strip()
    return {"fs.device_path": path} if path else {"fs.device_path": " + ".join(disk.name for disk in parse_disks(tree))}


def _file_system(text: str) -> Mapping[Key, Found]:
    fields = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    facts: dict[Key, Found] = {}
    if fields.get("type", "unknown") != "unknown":
        facts["fs.type"] = fields["type"]
    if fields.get("options"):
        facts["fs.mount_options"] = fields["options"]
    if "free_bytes" in fields and "total_bytes" in fields:
        free, total = integer(fields["free_bytes"]), integer(fields["total_bytes"])
        facts["fs.free_share"] = share(free, total, "the file system has no blocks of its own")
    return facts


DISK: Final = (
    Recipe(_TRAFFIC, _traffic, pairs=("/proc/diskstats",), texts=("storage/device",)),
    Recipe(
        ("disk.rotational", "disk.write_cache", "disk.scheduler"),
        _queue,
        texts=("storage/device",),
    ),
    Recipe(("fs.device_path",), _path, texts=("storage/device",)),
    Recipe(("fs.type", "fs.free_share", "fs.mount_options"), _file_system, texts=("storage/filesystem",)),
)
"""Storage under the data directory; facts of the device carry its name as scope."""
