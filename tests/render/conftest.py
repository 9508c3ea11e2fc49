"""The diagnoses that reports are made of here: documents of a small rule base over the built-in catalogue."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.engine.diagnosis import Expert, Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Value, unknown_fact
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.loader import load
from engram_diagnose.rulebase import builtin_files

DATA = Path(__file__).parent / "data"
TIME = 1_790_000_000.0

Json = dict[str, Any]


def known(
    name: str, value: float | str | tuple[float, float], source: str = "engram_metric[5m]", *,
    status: Status = Status.MEASURED, **labels: str,
) -> Fact:  # fmt: skip
    whole: Value = value if isinstance(value, str | tuple) else (float(value), float(value))
    return Fact(name, whole, status, scope_of(labels), source, "db1", TIME)


def store_facts(space: str = "default") -> list[Fact]:
    return [
        known("wal.bytes_written@rate_5m", 60e6), known("store.bytes@rate_5m", 10e6), known("wal.flush.p99", 0.009),
        known("op.latency.p99", (0.025, 0.05), operation="store", space=space),
        known("op.latency.p99", 0.006, operation="recall", space=space),
        known("config.wal.sync_mode", "immediate", "engram.toml"),
        known("config.wal.flush_interval", 0.1, "engram.toml"),
        known("disk.flush_rate", 2500, "/sys/block/sda/stat", device="sda"),
    ]  # fmt: skip


def incident_facts() -> list[Fact]:
    """Facts under which the small rule base comes out in every way."""
    counters = "perf_event_open: ENOENT"
    return [
        *store_facts(),
        known("host.attainable.fsync_p50", 0.0004, "kernels"),
        known("io.fsync_wait_share", 0.02, "perf trace"),
        known("psi.io_some_share", 0.4, "/proc/pressure/io", status=Status.PROXY),
        known("process.pid", 41234, "/proc"),
        known("op.latency.p99", 0.045, operation="recall", space="tenant-a"),
        known("op.latency.p99", 0.145, operation="recall", space="tenant-b"),
        known("op.error_share", 0.03, operation="recall", space="tenant-b"),
        known("activation.cache_hit_ratio", 0.55),
        known("config.storage.hot_tier_size", 512 * 2.0**20, "engram.toml"),
        known("numa.nodes", 2, "/sys/devices/system/node"), known("numa.remote_access_share", 0.45, "perf stat"),
        known("cgroup.cpu_throttled_period_share", 0.4, "/sys/fs/cgroup"),
        known("cgroup.cpu_throttled_time_share", 0.3, "/sys/fs/cgroup"),
        known("client.retry_share", 0.2), known("telemetry.dropped_updates", 12),
        known("mem.swapin_rate", 20, "/proc/vmstat"), known("cpu.busy", 0.3, "/proc/41234/stat"),
        known("simd.available", 0, "/proc/cpuinfo"), known("disk.util_share", 0.9, "/sys/block/sda/stat", device="sda"),
        known("index.nodes", 3e6, space="default"), known("workload.read_share", 0.83),
        unknown_fact("cache.miss_ratio", Reason.NO_PMU, counters, source="perf stat", host="db1", time=TIME),
        unknown_fact("cache.llc_miss_ratio", Reason.NO_PMU, counters, source="perf stat", host="db1", time=TIME),
    ]  # fmt: skip


def healthy_facts() -> list[Fact]:
    return [
        known("op.latency.p99", 0.006, operation="recall", space="default"),
        known("op.latency.p99", 0.004, operation="store", space="default"),
        known("activation.cache_hit_ratio", 0.97),
    ]  # fmt: skip


HOSTILE = (
    "\x1b[31m[red]`|<script>alert(1)</script>\r\n# \u202eevil\u2066\x9b2J\x00 **b** [x](http://e.vil) @all #1 😀 \ud800"
)
"""What somebody may name a memory space who wants to see what comes of it."""


def files(*names: str) -> dict[str, bytes]:
    return {name: (DATA / name).read_bytes() for name in names}


def catalogue() -> dict[str, bytes]:
    kept = ("/catalogue/", "/dialects/")
    return {name: data for name, data in builtin_files().items() if any(part in name for part in kept)}


@pytest.fixture(scope="session")
def sample() -> Expert:
    """The small rule base."""
    return expert(load(catalogue() | files("rules.yaml"), today="2026-11-22"))


@pytest.fixture(scope="session")
def sample_with_site() -> Expert:
    """The small rule base, as a site changes it."""
    return expert(load(catalogue() | files("rules.yaml"), [files("site.yaml")], today="2026-11-22"))


def diagnosed(expert_: Expert, facts: Iterable[Fact], *, dialect: str = "guide", target_set: str = "target") -> Json:
    subject = Subject("db1:7432", "db1", TIME, dialect, target_set)
    return document(expert_.diagnose(facts, subject))


@pytest.fixture(scope="session")
def documents(sample: Expert, sample_with_site: Expert) -> dict[str, Json]:
    """A document for every way a diagnosis can come out."""
    return {
        "wal": diagnosed(sample, store_facts()),
        "incident": diagnosed(sample_with_site, incident_facts()),
        "release": diagnosed(sample, incident_facts(), dialect="engram-0.1", target_set="floor"),
        "healthy": diagnosed(sample, healthy_facts()),
        "accepted": diagnosed(sample_with_site, [*healthy_facts(), known("disk.util_share", 0.9, device="sda")]),
        "partly": diagnosed(sample, healthy_facts()[:1]),
        "untested": diagnosed(sample, []),
        "hostile": diagnosed(sample, store_facts(HOSTILE)),
    }


@pytest.fixture(scope="session")
def diagnose(sample: Expert) -> Callable[[Iterable[Fact]], Json]:
    """The document of facts under the small rule base."""
    return lambda facts: diagnosed(sample, facts)


@pytest.fixture(scope="session")
def golden() -> Callable[[str, str], None]:
    """Holds a text against the transcript of that name; `ENGRAM_DIAGNOSE_REGENERATE=1` writes it anew."""

    def compare(name: str, text: str) -> None:
        path = DATA / name
        if os.environ.get("ENGRAM_DIAGNOSE_REGENERATE") == "1":
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} differs; ENGRAM_DIAGNOSE_REGENERATE=1 writes it anew"

    return compare


WORDS = frozenset(
    {"kind", "restart", "schema", "severity", "state", "status", "strength", "truth", "when", "word"}
)  # fmt: skip
"""Keys whose texts are words of the format and not from outside."""


@pytest.fixture(scope="session")
def soiled() -> Callable[[Any, Sequence[str]], Any]:
    """A document with every text that comes from outside replaced by one of these, in turn."""

    def soil(document: Any, texts: Sequence[str]) -> Any:
        return _soiled(document, itertools.cycle(texts), "")

    return soil


def _soiled(value: Any, texts: Iterator[str], key: str) -> Any:
    if isinstance(value, str):
        return value if key in WORDS or not value else next(texts)
    if isinstance(value, dict):
        return {name: _soiled(item, texts, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_soiled(item, texts, key) for item in value]
    return value
