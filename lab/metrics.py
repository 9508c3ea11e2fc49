"""
`/metrics`: what the engine and the front counted, under the names of the guide's dialect.
"""

import math
import os
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final, Protocol

from engram_diagnose.lab.api import Counts
from engram_diagnose.lab.asking import DEFAULT_SPACE, OPERATIONS
from engram_diagnose.lab.figures import Figures, Histogram
from engram_diagnose.lab.settings import Settings

_HOPS: Final = {"recall": "single", "activation": "multi", "pattern_completion": "multi"}
"""The guide's targets part the reading operations by their hops; a store has none."""
_PROMISED: Final = frozenset({"engram_recall_result_size", "engram_graph_edges_per_node"})
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

Labels = tuple[tuple[str, str], ...]
NONE: Final[Labels] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """Durations without buckets: their sum in seconds, and how many there were."""

    total: float
    count: int


Value = float | Histogram | Summary
Samples = tuple[tuple[Labels, Value], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name, its type (counter, gauge, histogram, summary), what it says, and its samples by labels."""

    name: str
    type: str
    help: str
    samples: Samples


class Counting(Protocol):
    """Whoever has figures."""

    def figures(self) -> Figures: ...


class Exposition:
    """The text of /metrics; `without` lists names, parted by commas, that are not published."""

    def __init__(self, engine: Counting, settings: Settings, *, without: str = "") -> None:
        self.engine = engine
        self.is_on = settings.monitoring_metrics_enabled
        self.without = frozenset(name.strip() for name in without.split(",") if name.strip())
        self.counts: Counts | None = None
        self.connections: Callable[[], int] = lambda: 0
        self._boot = _boot_seconds()

    def text(self) -> bytes | None:
        """The text, or None where metrics are off."""
        if not self.is_on:
            return None
        families = [*engine_families(self.engine.figures(), self.counts), *self._front(), *process_families(self._boot)]
        return exposition(family for family in families if not self.without & set(_names(family)))

    def _front(self) -> Iterator[Family]:
        yield _one("engram_client_connections", "gauge", "Connections that are open.", self.connections())
        if self.counts is not None and self.counts.retries_told:
            text = (
                "Requests whose X-Retry-Attempt says that they were sent before; clients that do not say are not here."
            )
            yield _one("engram_client_retries_total", "counter", text, self.counts.retries)
        yield Family("engram_lab_info", "gauge", "This is a lab, not a product.", (((("lab", "true"),), 1),))


def exposition(families: Iterable[Family]) -> bytes:
    """The families in Prometheus' text format, in their order; those without a sample are left out."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines.append(f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.type}")
            for labels, value in family.samples:
                lines += _sample(family.name, labels, value)
    lines.append("")
    return "\n".join(lines).encode()


def engine_families(figures: Figures, counts: Counts | None) -> Iterator[Family]:
    """What the engine counted; `counts` adds the operations that the front had to turn away."""
    yield from _operations(figures, counts)
    yield from _pools(figures)
    yield from _spaces(figures)
    yield from _tiers(figures)
    yield from _wal(figures)
    yield from _rest(figures)


def process_families(boot_seconds: float) -> Iterator[Family]:
    """What client libraries tell of their process."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield _one("process_cpu_seconds_total", "counter", "Processor time, user and system.", cpu)
    yield _one("process_resident_memory_bytes", "gauge", "Resident memory.", int(fields[21]) * _PAGE)
    yield _one("process_virtual_memory_bytes", "gauge", "Virtual memory.", int(fields[20]))
    yield _one(
        "process_start_time_seconds", "gauge", "Start, since the epoch.", boot_seconds + int(fields[19]) / _TICKS
    )
    yield _one("process_open_fds", "gauge", "Open files.", len(os.listdir("/proc/self/fd")))
    yield _one("process_max_fds", "gauge", "Files that may be open.", most)
    yield _one("process_threads", "gauge", "Threads.", int(fields[17]))


def _operations(figures: Figures, counts: Counts | None) -> Iterator[Family]:
    latency = {**_nothing_yet(figures.latency.values()), **figures.latency}
    yield Family(
        "engram_memory_operation_duration_seconds",
        "histogram",
        "From the last byte of a request to its answer.",
        tuple((_with_hops(*key), histogram) for key, histogram in latency.items()),
    )
    done = {key: histogram.count for key, histogram in latency.items()}
    yield Family("engram_operations_total", "counter", "Operations that ended.", _samples(done, _of_operation))
    for operation in ("recall", "store"):
        by_space = {space: done.get((space, operation), 0) for space in figures.spaces or (DEFAULT_SPACE,)}
        name = f"engram_{operation}_operations_total"
        yield Family(name, "counter", f"Operations that ended: {operation}.", _by("memory_space", by_space))
    errors = dict(figures.errors)
    for (operation, space), refused in (counts.refused if counts is not None else {}).items():
        errors[space, operation] = errors.get((space, operation), 0) + refused
    text = "Operations that failed, or were turned away."
    yield Family("engram_memory_operation_errors_total", "counter", text, _samples(errors, _of_operation))
    text = "Operations that are waiting or at work."
    yield Family("engram_memory_operations_in_flight", "gauge", text, _samples(figures.in_flight, _of_operation))
    failed = {key: count for key, count in errors.items() if key[1] == "activation"}
    yield Family("engram_activation_failures_total", "counter", "Activations that failed.", _samples(failed, _of_space))


def _nothing_yet(known: Iterable[Histogram]) -> dict[tuple[str, str], Histogram]:
    """
    Each operation in the default space, never done.

    A counter that only appears with its first count looks as if nothing had been counted: no rate shows it.
    """
    bounds = next((histogram.bounds for histogram in known), ())
    never = Histogram(bounds, (0,) * (len(bounds) + 1), 0.0)
    return {(DEFAULT_SPACE, operation): never for operation in OPERATIONS}


def _pools(figures: Figures) -> Iterator[Family]:
    pools = figures.pools
    for name, text, values in (
        ("engram_workers_configured", "Threads of a pool.", {k: pool.configured for k, pool in pools.items()}),
        ("engram_workers_busy", "Threads of a pool at work.", {k: pool.busy for k, pool in pools.items()}),
        (
            "engram_worker_queue_depth",
            "Operations waiting for a thread.",
            {k: pool.waiting for k, pool in pools.items()},
        ),
    ):
        yield Family(name, "gauge", text, _by("operation", values))
    waits = tuple(((("operation", name),), pool.waited) for name, pool in pools.items())
    yield Family("engram_worker_queue_wait_seconds", "histogram", "From a request to a thread that takes it.", waits)


def _spaces(figures: Figures) -> Iterator[Family]:
    for name, kind, field, text in (
        ("engram_activation_cache_hits_total", "counter", "cache_hits", "Visits that the hot tier answered."),
        ("engram_activation_cache_requests_total", "counter", "cache_requests", "Visits that asked the hot tier."),
        ("engram_activation_visits_total", "counter", "visits", "Nodes that activations visited."),
        ("engram_activation_depth", "gauge", "depth", "Hops of an activation."),
        ("engram_graph_nodes", "gauge", "index_nodes", "Memories that are linked."),
        ("engram_graph_edges_per_node", "gauge", "edges_per_node", "Links of a node."),
        ("engram_index_coverage_ratio", "gauge", "coverage", "Linked memories of all."),
    ):
        values = {space: getattr(one, field) for space, one in figures.spaces.items()}
        yield Family(name, kind, text, _by("memory_space", _promised(name, values)))


def _tiers(figures: Figures) -> Iterator[Family]:
    tiers = figures.tiers
    for name, kind, field, text in (
        ("engram_storage_tier_memories_count", "gauge", "memories", "Memories."),
        ("engram_storage_tier_capacity_memories", "gauge", "capacity", "Memories there is room for."),
        ("engram_storage_tier_bytes", "gauge", "bytes", "Bytes of the memories."),
        ("engram_storage_tier_accesses_total", "counter", "hits", "Accesses that found their memory there."),
        ("engram_storage_tier_evictions_total", "counter", "evictions", "Memories that had to make room."),
        ("engram_storage_tier_migrations_total", "counter", "migrations", "Memories that came from another tier."),
        ("engram_activation_batch_size", "gauge", "batch_size", "Embeddings compared at once."),
    ):
        yield Family(name, kind, text, _by("tier", {tier: getattr(one, field) for tier, one in tiers.items()}))
    accesses = sum(tier.hits for tier in tiers.values())
    shares = {name: tier.hits / accesses for name, tier in tiers.items()} if accesses else {}
    yield Family("engram_storage_tier_hit_ratio", "gauge", "Accesses found there, of all.", _by("tier", shares))
    latencies = tuple(((("tier", name),), tier.latency) for name, tier in tiers.items())
    yield Family("engram_storage_tier_access_duration_seconds", "histogram", "One access, of a sample.", latencies)


def _wal(figures: Figures) -> Iterator[Family]:
    wal = figures.wal
    yield _one("engram_wal_flush_duration_seconds", "histogram", "One flush, its write and its sync.", wal.flushes)
    yield _one("engram_wal_bytes_written_total", "counter", "Bytes given to the disk.", wal.bytes_written)
    yield _one("engram_wal_disk_bytes", "gauge", "Bytes of the log's files.", wal.disk_bytes)
    yield _one("engram_wal_pending_entries", "gauge", "Records that are not flushed.", wal.pending)
    yield _one("engram_wal_recovery_duration_seconds", "gauge", "The last recovery.", wal.recovery_seconds)
    yield _one("engram_wal_failed_flushes_total", "counter", "Flushes that failed.", wal.failed)


def _rest(figures: Figures) -> Iterator[Family]:
    yield _one("engram_store_bytes_total", "counter", "Bytes of what was stored.", figures.store_bytes)
    similarity = Summary(figures.similarity_seconds, figures.similarities)
    yield _one("engram_similarity_duration_seconds", "summary", "One similarity of two embeddings.", similarity)
    for name, text, value in (
        ("engram_recall_result_size", "Memories of a recall's answer.", figures.recall_result_size),
        ("engram_pattern_completion_candidates", "Candidates of a completion.", figures.completion_candidates),
        ("engram_pattern_completion_depth", "Steps of a completion.", figures.completion_depth),
        ("engram_consolidation_freshness_seconds", "Since the last consolidation.", figures.consolidation_freshness),
        ("engram_memory_bytes", "Memory that the server took.", figures.memory_bytes),
        ("engram_data_bytes", "Bytes of the data themselves.", figures.data_bytes),
    ):
        shown = _promised(name, {"": value})[""]
        yield Family(name, "gauge", text, () if shown is None else ((NONE, shown),))
    for name, value in figures.more.items():
        yield _one(name, "gauge", "Of this lab alone.", value)


def _promised(name: str, values: Mapping[str, float | None]) -> dict[str, float | None]:
    """
    Figures of metrics that a server of this dialect always has are not a number while there is nothing to count.

    Left out, they would look like metrics that the server does not know.
    """
    return {key: math.nan if value is None and name in _PROMISED else value for key, value in values.items()}


def _one(name: str, kind: str, text: str, value: Value) -> Family:
    return Family(name, kind, text, ((NONE, value),))


def _by(label: str, values: Mapping[str, float | None]) -> Samples:
    return tuple((((label, key),), value) for key, value in values.items() if value is not None)


def _samples(values: Mapping[tuple[str, str], float], labels: Callable[[str, str], Labels]) -> Samples:
    return tuple((labels(*key), value) for key, value in values.items())


def _of_operation(space: str, operation: str) -> Labels:
    return ("memory_space", space), ("operation", operation)


def _of_space(space: str, operation: str) -> Labels:
    return (("memory_space", space),)


def _with_hops(space: str, operation: str) -> Labels:
    labels, hops = _of_operation(space, operation), _HOPS.get(operation)
    return labels if hops is None else (*labels, ("hops", hops))


def _sample(name: str, labels: Labels, value: Value) -> Iterator[str]:
    if isinstance(value, (Histogram, Summary)):
        if isinstance(value, Histogram):
            yield _buckets(name, labels, value.bounds) % tuple(accumulate(value.counts))
        yield f"{name}_sum{_braces(labels)} {_number(value.total)}"
        yield f"{name}_count{_braces(labels)} {value.count}"
    else:
        yield f"{name}{_braces(labels)} {_number(value)}"


@lru_cache(maxsize=1024)
def _buckets(name: str, labels: Labels, bounds: tuple[float, ...]) -> str:
    """All bucket lines of a histogram with places for their figures: most of the text, and always the same."""
    inside = "".join(f'{key}="{_escaped(value)}",' for key, value in labels).replace("%", "%%")
    return "\n".join(f'{name}_bucket{{{inside}le="{bound}"}} %d' for bound in (*map(_number, bounds), "+Inf"))


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if isinstance(value, int):
        return repr(value)
    return "NaN" if math.isnan(value) else repr(float(value))


def _names(family: Family) -> Iterator[str]:
    """What a family may be left out by: its name, or one of the names that its samples have."""
    yield family.name
    if family.type in ("histogram", "summary"):
        yield from (f"{family.name}_{part}" for part in ("bucket", "sum", "count"))


def _boot_seconds() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        for line in file:
            if line.startswith("btime "):
                return float(line.split()[1])
    return 0.0
