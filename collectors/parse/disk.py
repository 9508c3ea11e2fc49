"""The block device and the file system under the data directory."""

from collections.abc import Mapping
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


def _counters(row: list[int]) -> DiskCounters:
    flushes, flush_ms = (row[15], row[16]) if len(row) > 16 else (None, None)
    reads, _, read_sectors, read_ms, writes, _, written_sectors, write_ms, _, busy_ms, queue_ms = row[:11]
    return DiskCounters(
        reads, read_sectors, read_ms, writes, written_sectors, write_ms, busy_ms, queue_ms, flushes, flush_ms
    )


def _device(tree: str) -> tuple[str, Scope]:
    name = parse_tree(tree).get("name", "").strip()
    if not name:
        raise UnparsedError("no device name")
    return name, scope_of({"device": name})


def _traffic(pair: Pair, device: str) -> Mapping[Key, Found]:
    name, scope = _device(device)
    before, after = parse_diskstats(pair.before).get(name), parse_diskstats(pair.after).get(name)
    if before is None or after is None:
        absent = Missing(Reason.SOURCE_ABSENT, f"{name} is not in /proc/diskstats")
        return {(fact, scope): absent for fact in _TRAFFIC}
    figures = _figures(before, after, pair.seconds)
    return {(fact, scope): found for fact, found in figures.items()}


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
        **_flushes(before, after, seconds),
    }


def _bytes_rate(before: int, after: int, seconds: float) -> Found:
    return rate(before * _SECTOR_BYTES, after * _SECTOR_BYTES, seconds)


def _flushes(before: DiskCounters, after: DiskCounters, seconds: float) -> dict[str, Found]:
    if None in (before.flushes, after.flushes, before.flush_ms, after.flush_ms):
        old = Missing(Reason.KERNEL_CONFIG, "kernels before 5.5 count no flushes")
        return {"disk.flush_rate": old, "disk.flush_latency": old}
    done = (after.flushes or 0) - (before.flushes or 0)
    took = max(0, (after.flush_ms or 0) - (before.flush_ms or 0)) * 1e-3
    return {
        "disk.flush_rate": rate(before.flushes or 0, after.flushes or 0, seconds),
        "disk.flush_latency": quotient(took, done, "the device flushed nothing"),
    }


def _queue(device: str) -> Mapping[Key, Found]:
    _, scope = _device(device)
    files = parse_tree(device)
    facts: dict[Key, Found] = {}
    if "queue/rotational" in files:
        facts["disk.rotational", scope] = float(integer(files["queue/rotational"].strip()) != 0)
    if "queue/write_cache" in files:
        facts["disk.write_cache", scope] = files["queue/write_cache"].strip()
    scheduler = bracketed(files.get("queue/scheduler", ""))
    if scheduler is not None:
        facts["disk.scheduler", scope] = scheduler
    return facts


def _file_system(text: str) -> Mapping[Key, Found]:
    fields = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    facts: dict[Key, Found] = {}
    if fields.get("type", "unknown") != "unknown":
        facts["fs.type"] = fields["type"]
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
    Recipe(("fs.type", "fs.free_share"), _file_system, texts=("storage/filesystem",)),
)
"""Storage under the data directory; facts of the device carry its name as scope."""
