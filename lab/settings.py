"""
The lab's settings: the performance guide's TOML file.

A field is a key of the file with its dots as underscores, in small letters: `storage.hot_tier_size_mb` is
`storage_hot_tier_size_mb`, `hnsw_index.M` is `hnsw_index_m`. A key that is not in the file has the value of the guide's
wizard for this host and a balanced workload (`fitting`). An unknown key is kept out of the settings and named; a value
that cannot be used stops the start, and all of them are told at once with their lines.
"""

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from engram_diagnose.lab.host import Host

DEFAULT_PORT: Final = 7432


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the file may hold. Sizes in MiB may be fractions; counts are whole."""

    server_http_bind: str

    storage_hot_tier_size_mb: float
    storage_hot_tier_shards: int
    storage_warm_tier_size_mb: float
    storage_use_huge_pages: bool
    storage_mmap_populate: bool
    storage_cold_tier_compression: str
    storage_cold_tier_compression_level: int

    tiers_hot_to_warm_accesses_per_hour: float
    tiers_warm_to_cold_accesses_per_hour: float
    tiers_cold_to_warm_accesses_per_hour: float
    tiers_warm_to_hot_accesses_per_hour: float

    activation_prefetch_distance: int
    activation_simd_enabled: bool
    activation_avx_version: str
    activation_simd_batch_size: int
    activation_simd_min_batch_size: int
    activation_simd_max_batch_size: int
    activation_max_traversal_depth: int
    activation_visit_budget_per_tier_hot: int
    activation_visit_budget_per_tier_warm: int
    activation_visit_budget_per_tier_cold: int

    hnsw_index_m: int
    hnsw_index_ef_construction: int
    hnsw_index_ef_search: int
    hnsw_index_max_m: int
    hnsw_index_max_m0: int

    wal_buffer_size_mb: float
    wal_flush_interval_ms: float
    wal_sync_mode: str
    wal_segment_size_mb: float

    thread_pools_recall_workers: int
    thread_pools_store_workers: int
    thread_pools_consolidation_workers: int
    thread_pools_background_workers: int

    lock_free_hazard_pointer_epochs: int
    lock_free_memory_pool_chunk_kb: int

    numa_numa_aware: bool
    numa_interleave_memory: bool
    numa_prefer_local_node: bool
    numa_socket_memory_mb: tuple[int, ...]

    consolidation_enabled: bool
    consolidation_interval_seconds: float
    consolidation_batch_size: int
    consolidation_min_confidence_threshold: float

    pattern_completion_max_depth: int
    pattern_completion_max_candidates: int

    monitoring_metrics_enabled: bool
    monitoring_metrics_interval_seconds: float
    monitoring_slow_query_threshold_ms: float
    monitoring_trace_sampling_rate: float


class SettingsError(ValueError):
    """The file cannot be used; each line says what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of the file: what it may hold. `low` and `high` bound numbers, `choices` text."""

    name: str
    kind: str
    low: float = 0
    high: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        return self.name.replace(".", "_").lower()


_WHOLE: Final = "a whole number"
_NUMBER: Final = "a number"
_SWITCH: Final = "true or false"
_TEXT: Final = "text"
_LIST: Final = "a list of whole numbers"
_SMALLEST_MB: Final = 4 / 1024
"""A page: no tier or segment is smaller."""
_SMALLEST_BUFFER_MB: Final = 0.5 / 1024
"""A few records of the log."""

_KEYS: Final = (
    _Key("server.http_bind", _TEXT),
    _Key("storage.hot_tier_size_mb", _NUMBER, _SMALLEST_MB, 1 << 20),
    _Key("storage.hot_tier_shards", _WHOLE, 1, 65536),
    _Key("storage.warm_tier_size_mb", _NUMBER, _SMALLEST_MB, 1 << 24),
    _Key("storage.use_huge_pages", _SWITCH),
    _Key("storage.mmap_populate", _SWITCH),
    _Key("storage.cold_tier_compression", _TEXT, choices=("zstd", "lz4", "none")),
    _Key("storage.cold_tier_compression_level", _WHOLE, 1, 22),
    _Key("tiers.hot_to_warm_accesses_per_hour", _NUMBER),
    _Key("tiers.warm_to_cold_accesses_per_hour", _NUMBER),
    _Key("tiers.cold_to_warm_accesses_per_hour", _NUMBER),
    _Key("tiers.warm_to_hot_accesses_per_hour", _NUMBER),
    _Key("activation.prefetch_distance", _WHOLE, 0, 1024),
    _Key("activation.simd_enabled", _SWITCH),
    _Key("activation.avx_version", _TEXT, choices=("none", "avx2", "avx512", "neon", "sve")),
    _Key("activation.simd_batch_size", _WHOLE, 1, 1024),
    _Key("activation.simd_min_batch_size", _WHOLE, 1, 1024),
    _Key("activation.simd_max_batch_size", _WHOLE, 1, 1024),
    _Key("activation.max_traversal_depth", _WHOLE, 1, 64),
    _Key("activation.visit_budget_per_tier.hot", _WHOLE, 0, 1 << 20),
    _Key("activation.visit_budget_per_tier.warm", _WHOLE, 0, 1 << 20),
    _Key("activation.visit_budget_per_tier.cold", _WHOLE, 0, 1 << 20),
    _Key("hnsw_index.M", _WHOLE, 2, 128),
    _Key("hnsw_index.ef_construction", _WHOLE, 1, 4096),
    _Key("hnsw_index.ef_search", _WHOLE, 1, 4096),
    _Key("hnsw_index.max_m", _WHOLE, 2, 256),
    _Key("hnsw_index.max_m0", _WHOLE, 2, 256),
    _Key("wal.buffer_size_mb", _NUMBER, _SMALLEST_BUFFER_MB, 4096),
    _Key("wal.flush_interval_ms", _NUMBER, 0.1, 3_600_000),
    _Key("wal.sync_mode", _TEXT, choices=("batch", "immediate")),
    _Key("wal.segment_size_mb", _NUMBER, 0.0625, 65536),
    _Key("thread_pools.recall_workers", _WHOLE, 1, 512),
    _Key("thread_pools.store_workers", _WHOLE, 1, 512),
    _Key("thread_pools.consolidation_workers", _WHOLE, 1, 512),
    _Key("thread_pools.background_workers", _WHOLE, 1, 512),
    _Key("lock_free.hazard_pointer_epochs", _WHOLE, 1, 1024),
    _Key("lock_free.memory_pool_chunk_kb", _WHOLE, 1, 1 << 20),
    _Key("numa.numa_aware", _SWITCH),
    _Key("numa.interleave_memory", _SWITCH),
    _Key("numa.prefer_local_node", _SWITCH),
    _Key("numa.socket_memory_mb", _LIST),
    _Key("consolidation.enabled", _SWITCH),
    _Key("consolidation.interval_seconds", _NUMBER, 0.001, 1e9),
    _Key("consolidation.batch_size", _WHOLE, 1, 1 << 20),
    _Key("consolidation.min_confidence_threshold", _NUMBER, 0, 1),
    _Key("pattern_completion.max_depth", _WHOLE, 1, 1 << 20),
    _Key("pattern_completion.max_candidates", _WHOLE, 1, 1 << 20),
    _Key("monitoring.metrics_enabled", _SWITCH),
    _Key("monitoring.metrics_interval_seconds", _NUMBER, 0.001, 1e9),
    _Key("monitoring.slow_query_threshold_ms", _NUMBER, 0, 1e9),
    _Key("monitoring.trace_sampling_rate", _NUMBER, 0, 1),
)
_BY_NAME: Final = {key.name: key for key in _KEYS}
_ALIASES: Final = {
    "hot_tier.size_mb": "storage.hot_tier_size_mb",
    "consolidation.max_batch_size": "consolidation.batch_size",
}
"""What the guide's slow-query script calls them; the other name goes before."""


def fitting(host: Host) -> Settings:
    """The guide's wizard for this host and a balanced workload."""
    whole_memory = host.memory_mb
    return Settings(
        server_http_bind=f"127.0.0.1:{DEFAULT_PORT}",
        storage_hot_tier_size_mb=min(8192, max(256, whole_memory // 10)),
        storage_hot_tier_shards=_power_of_two(max(2, 2 * host.cores)),
        storage_warm_tier_size_mb=max(64, whole_memory * 3 // 10),
        storage_use_huge_pages=whole_memory > 16 << 10,
        storage_mmap_populate=host.flash,
        storage_cold_tier_compression="zstd",
        storage_cold_tier_compression_level=3,
        tiers_hot_to_warm_accesses_per_hour=10,
        tiers_warm_to_cold_accesses_per_hour=round(1 / 24, 4),
        tiers_cold_to_warm_accesses_per_hour=5,
        tiers_warm_to_hot_accesses_per_hour=20,
        activation_prefetch_distance=16 if host.cores > 32 else 12 if host.cores > 16 else 8,
        activation_simd_enabled=host.avx != "none",
        activation_avx_version=host.avx,
        activation_simd_batch_size=8,
        activation_simd_min_batch_size=8,
        activation_simd_max_batch_size=64,
        activation_max_traversal_depth=5,
        activation_visit_budget_per_tier_hot=3,
        activation_visit_budget_per_tier_warm=2,
        activation_visit_budget_per_tier_cold=1,
        hnsw_index_m=24,
        hnsw_index_ef_construction=300,
        hnsw_index_ef_search=150,
        hnsw_index_max_m=48,
        hnsw_index_max_m0=48,
        wal_buffer_size_mb=64,
        wal_flush_interval_ms=1000,
        wal_sync_mode="batch" if host.flash else "immediate",
        wal_segment_size_mb=64,
        thread_pools_recall_workers=host.cores,
        thread_pools_store_workers=max(1, host.cores // 2),
        thread_pools_consolidation_workers=2,
        thread_pools_background_workers=4,
        lock_free_hazard_pointer_epochs=3,
        lock_free_memory_pool_chunk_kb=64,
        numa_numa_aware=host.numa_nodes > 1,
        numa_interleave_memory=False,
        numa_prefer_local_node=True,
        numa_socket_memory_mb=(whole_memory // host.numa_nodes,) * host.numa_nodes if host.numa_nodes > 1 else (),
        consolidation_enabled=True,
        consolidation_interval_seconds=300,
        consolidation_batch_size=5000 if whole_memory > 32 << 10 else 1000,
        consolidation_min_confidence_threshold=0.3,
        pattern_completion_max_depth=3,
        pattern_completion_max_candidates=100,
        monitoring_metrics_enabled=True,
        monitoring_metrics_interval_seconds=10,
        monitoring_slow_query_threshold_ms=10,
        monitoring_trace_sampling_rate=0.001,
    )


def parse_settings(text: str, *, where: str, host: Host) -> tuple[Settings, tuple[str, ...]]:
    """
    The settings of a file's text, and a warning for each key that the lab does not know.

    What the file does not say fits `host`; `max_m` and `max_m0` that it does not say are twice its M. Raises
    `SettingsError` with every problem, each as `where:line: …`.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{where}: not TOML: {error}") from None
    lines = _Lines(text, where)
    given: dict[str, Any] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for name, value in _leaves(document):
        key = _BY_NAME.get(_ALIASES.get(name, name))
        if key is None:
            warnings.append(f"{lines.of(name)}: the lab does not know {name}; it is ignored")
        elif problem := _problem(key, value):
            problems.append(f"{lines.of(name)}: {name} {problem}")
        elif name not in _ALIASES or key.field not in given:
            given[key.field] = _held(key, value)
    if not problems:
        problems = [f"{lines.of(name)}: {name} {text}" for name, text in _contradictions(given)]
    if problems:
        raise SettingsError("\n".join(problems))
    if "hnsw_index_m" in given:
        twice = 2 * given["hnsw_index_m"]
        given = {"hnsw_index_max_m": twice, "hnsw_index_max_m0": twice, **given}
    return replace(fitting(host), **given), tuple(warnings)


def written(settings: Settings) -> str:
    """The settings as the file that would give them, each section once, every key stated."""
    lines: list[str] = []
    section = ""
    for key in _KEYS:
        head, _, rest = key.name.partition(".")
        if head != section:
            section = head
            lines += ["", f"[{section}]"]
        if key.name.startswith("activation.visit_budget_per_tier."):
            if rest.endswith(".hot"):
                lines.append(f"visit_budget_per_tier = {_budget(settings)}")
        elif key.kind != _LIST or getattr(settings, key.field):
            lines.append(f"{rest} = {_toml(getattr(settings, key.field))}")
    return "\n".join(lines[1:]) + "\n"


def address(settings: Settings) -> tuple[str, int]:
    """Host and port of `server.http_bind`, which was checked when it was read."""
    host, _, port = settings.server_http_bind.rpartition(":")
    return host.strip("[]"), int(port)


def key_names() -> tuple[str, ...]:
    """The keys that the lab knows, in the file's order."""
    return tuple(key.name for key in _KEYS)


def _budget(settings: Settings) -> str:
    hot = settings.activation_visit_budget_per_tier_hot
    warm = settings.activation_visit_budget_per_tier_warm
    return f"{{ hot = {hot}, warm = {warm}, cold = {settings.activation_visit_budget_per_tier_cold} }}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else repr(value)


def _leaves(table: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        dotted = f"{above}.{name}" if above else name
        if isinstance(value, dict) and dotted not in _BY_NAME:
            yield from _leaves(value, dotted)
        else:
            yield dotted, value


def _problem(key: _Key, value: Any) -> str:
    """What is wrong with the value; empty where nothing is."""
    if not _is_a(key.kind, value):
        return f"takes {key.kind}, not {_shown(value)}"
    if key.name == "server.http_bind":
        return _address_problem(value)
    if key.choices and value not in key.choices:
        return f"is one of {', '.join(key.choices)}, not {_shown(value)}"
    if key.kind in (_WHOLE, _NUMBER) and not key.low <= value <= key.high:
        return f"lies between {key.low:g} and {key.high:g}, not at {_shown(value)}"
    if key.kind == _LIST and any(not 0 <= each <= 1 << 30 for each in value):
        return f"lists sizes between 0 and {1 << 30}, not {_shown(value)}"
    return ""


def _is_a(kind: str, value: Any) -> bool:
    if kind == _SWITCH:
        return isinstance(value, bool)
    if kind == _TEXT:
        return isinstance(value, str)
    if kind == _LIST:
        return isinstance(value, list) and all(_is_a(_WHOLE, each) for each in value)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (kind == _NUMBER and isinstance(value, float) and math.isfinite(value))


def _held(key: _Key, value: Any) -> Any:
    return tuple(value) if key.kind == _LIST else value


def _address_problem(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        return f"is HOST:PORT, such as 127.0.0.1:{DEFAULT_PORT}, not {_shown(value)}"
    return ""


def _contradictions(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    links = given.get("hnsw_index_m")
    if links is None:
        return
    for name in ("max_m", "max_m0"):
        most = given.get(f"hnsw_index_{name}", 2 * links)
        if most < links:
            yield f"hnsw_index.{name}", f"is at least M, which is {links}, not {most}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


class _Lines:
    """Where in the text a key stands, as `file:line`; the file alone where that cannot be told."""

    _SECTION = re.compile(r"\s*\[([^\[\]]+)\]")
    _KEY = re.compile(r"\s*([A-Za-z0-9_.\-\"']+)\s*=")

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.places: dict[str, int] = {}
        section = ""
        for number, line in enumerate(text.splitlines(), 1):
            if match := self._SECTION.match(line):
                section = _bare(match[1]) + "."
                self.places.setdefault(section[:-1], number)
            elif match := self._KEY.match(line):
                self.places.setdefault(section + _bare(match[1]), number)

    def of(self, name: str) -> str:
        """The line of the key, or of the nearest table around it."""
        parts = name.split(".")
        for count in range(len(parts), 0, -1):
            if number := self.places.get(".".join(parts[:count])):
                return f"{self.where}:{number}"
        return self.where


def _bare(name: str) -> str:
    return re.sub(r"[\s\"']", "", name)


assert {key.field for key in _KEYS} == {field.name for field in fields(Settings)}  # noqa: S101 -- two lists, one truth
