"""
Faults to plant into the lab: single ones, healthy servers, two at once, and some of which less is shown.

`settings_of` and `environment_of` turn a severity into the figures of one host.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from engram_diagnose.lab.fault import (
    SEVERITIES,
    Fault,
    Hidden,
    Load,
    NoSuchFaultError,
    Scaled,
    Severity,
    Surroundings,
    Value,
)
from engram_diagnose.lab.single_faults import HEALTHY, SINGLE

_TOGETHER: Final = (
    ("fsync-per-write", "scalar-similarity"),
    ("scalar-similarity", "small-hot-tier"),
    ("one-shard", "tiny-log-buffer"),
    ("few-workers", "search-too-wide"),
    ("cpu-quota", "fsync-per-write"),
    ("noisy-neighbour", "unbounded-completion"),
    ("consolidation-storm", "fsync-per-write"),
)


def _together(one: Fault, other: Fault) -> Fault:
    """
    Both at once, at the same severity, under a load with as many of each operation as the two have on average.

    Where both change a key the second one's value is taken.
    """
    both = (one, other)
    operations = sorted({name for fault in both for name in fault.load.mix})
    mix = {name: round(sum(fault.load.mix.get(name, 0.0) for fault in both) / 2, 4) for name in operations}
    severities = tuple(
        Severity(
            name,
            {**one.severity(name).settings, **other.severity(name).settings},
            {**one.severity(name).environment, **other.severity(name).environment},
            _surroundings(one.severity(name).around, other.severity(name).around),
            max(one.severity(name).heavier, other.severity(name).heavier),
        )
        for name in SEVERITIES
    )
    return Fault(
        name=f"{one.name}+{other.name}",
        title=f"{one.title}; and {other.title[0].lower()}{other.title[1:]}",
        family="two at once",
        mechanism=f"{one.mechanism} {other.mechanism}",
        severities=severities,
        load=Load(mix, max(one.load.rate, other.load.rate), max(one.load.connections, other.load.connections),
                  min(one.load.skew, other.load.skew), one.load.quality or other.load.quality),
        causes=one.causes + other.causes,
        mended_by=tuple(dict.fromkeys(one.mended_by + other.mended_by)),
        breaches=tuple(dict.fromkeys(one.breaches + other.breaches)),
        counters=one.counters or other.counters,
    )  # fmt: skip


def _surroundings(one: Surroundings, other: Surroundings) -> Surroundings:
    return Surroundings(
        one.cpu_quota or other.cpu_quota,
        one.memory_limit or other.memory_limit,
        one.disk_rate or other.disk_rate,
        one.neighbours or other.neighbours,
    )


def _veiled(fault: Fault, name: str, title: str, hidden: Hidden) -> Fault:
    """The same with less of it shown."""
    return replace(fault, name=name, title=title, family="sources missing", hidden=hidden)


def _all() -> Iterator[Fault]:
    by_name = {fault.name: fault for fault in SINGLE}
    yield from SINGLE
    yield from HEALTHY
    for one, other in _TOGETHER:
        yield _together(by_name[one], by_name[other])
    yield _veiled(
        by_name["fsync-per-write"], "missing-metrics", "Stores are slow, and the log's metrics are missing",
        Hidden(metrics=("engram_wal_bytes_written_total",)),
    )  # fmt: skip
    yield _veiled(
        by_name["many-workers"], "missing-permissions", "Too many workers, and nobody may look into the process",
        Hidden(process=True),
    )  # fmt: skip


FAULTS: Final[Mapping[str, Fault]] = {fault.name: fault for fault in _all()}
"""Every fault by its name, in the order in which they are told."""


def fault_named(name: str) -> Fault:
    """A fault; raises `NoSuchFaultError` naming those that are near."""
    if name in FAULTS:
        return FAULTS[name]
    near = get_close_matches(name, FAULTS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the first of {len(FAULTS)} is {next(iter(FAULTS))}."
    raise NoSuchFaultError(f"there is no fault {name[:60]!r}; {hint} All are listed by: engram-diagnose demo --list")


def settings_of(severity: Severity, *, cores: int, memories: int) -> dict[str, Value]:
    """The keys that a severity changes, with the figures for a host with so many cores and so many memories."""
    return {
        key: value.figure(cores=cores, memories=memories) if isinstance(value, Scaled) else value
        for key, value in severity.settings.items()
    }


def environment_of(fault: Fault, severity: Severity) -> dict[str, str]:
    """What the lab's process is started with besides."""
    hidden = {"ENGRAM_LAB_WITHOUT_METRICS": ",".join(fault.hidden.metrics)} if fault.hidden.metrics else {}
    return {**severity.environment, **hidden}
