"""
Nodes into limits: figures with a name, a unit and a reason. Read by the command that goes by them: a diagnosis does not
need them.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from engram_diagnose.engine.facts.unit import BYTES, NUMBER, RATE, TIME, Dimension
from engram_diagnose.engine.language import source as yaml_source
from engram_diagnose.engine.language.deferred import deferred_file, schema_of
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import Mark, Problems, TooManyProblems, did_you_mean

LIMITS: Final[Mapping[str, Mapping[str, Dimension]]] = {
    "collection": {
        "watch": TIME,
        "profile_watch": TIME,
        "follow_up": TIME,
        "budget": TIME,
        "profile_budget": TIME,
        "least_count": TIME,
        "counting_share": NUMBER,
        "sample_rate": RATE,
        "profile_samples": NUMBER,
        "profile_counters": NUMBER,
        "profile_text": BYTES,
        "threads": NUMBER,
        "state_reads": NUMBER,
        "resident": BYTES,
        "mappings": NUMBER,
        "traced_futex_rate": RATE,
        "traced_flush_rate": RATE,
        "stacks": NUMBER,
        "profile_stacks_text": BYTES,
        "bundle_bytes": BYTES,
        "look_every": TIME,
        "looks_in_a_row": NUMBER,
        "cpu_pressure_rise": NUMBER,
        "memory_pressure_rise": NUMBER,
        "io_pressure_rise": NUMBER,
        "least_memory": BYTES,
    },
    "kernels": {
        "repeats": NUMBER,
        "figure_seconds": TIME,
        "spread_noisy": NUMBER,
        "spread_unstable": NUMBER,
        "steal_noisy": NUMBER,
        "steal_unstable": NUMBER,
        "busy_noisy": NUMBER,
        "busy_refused": NUMBER,
        "memory_share": NUMBER,
        "most_memory": BYTES,
        "expiry": TIME,
        "gate_watch": TIME,
        "gap_watch": TIME,
        "gap_least": TIME,
        "gap_noisy": NUMBER,
        "frequency_watch": TIME,
        "frequency_cpus": NUMBER,
        "frequency_differs": NUMBER,
        "frequency_falls": NUMBER,
        "clock_step": TIME,
        "ticks_differ": NUMBER,
        "wal_seconds": TIME,
        "wal_longest": TIME,
        "wal_most_written": BYTES,
        "wal_most_file": BYTES,
        "wal_least_free": NUMBER,
        "wal_least_flush": TIME,
        "wal_tail_writes": NUMBER,
        "ladder_seconds": TIME,
        "ladder_smallest": BYTES,
        "edge_margin": NUMBER,
        "plateau_penalty": NUMBER,
        "plateau_sizes": NUMBER,
        "plateau_step": NUMBER,
        "cache_missed": NUMBER,
        "cache_differs": NUMBER,
        "walk_size": BYTES,
        "walk_seconds": TIME,
        "prefetch_lines": NUMBER,
        "prefetch_within": NUMBER,
        "wal_spread_noisy": NUMBER,
        "wal_spread_unstable": NUMBER,
        "meeting_seconds": TIME,
        "core_pairs": NUMBER,
        "cores_seconds": TIME,
        "placement_shift": NUMBER,
        "shards_within": NUMBER,
        "further_gain": NUMBER,
        "locks_seconds": TIME,
        "stream_caches": NUMBER,
        "stream_seconds": TIME,
        "stream_window": BYTES,
        "level_share": NUMBER,
        "numa_seconds": TIME,
        "similarity_seconds": TIME,
        "level_above": NUMBER,
        "batch_within": NUMBER,
        "sharing_seconds": TIME,
        "turns_longest": TIME,
        "turns_least": NUMBER,
        "hnsw_vectors": NUMBER,
        "hnsw_few": NUMBER,
        "hnsw_dimensions": NUMBER,
        "hnsw_queries": NUMBER,
        "hnsw_recall": NUMBER,
        "hnsw_batch": NUMBER,
        "hnsw_rows": NUMBER,
        "hnsw_seconds": TIME,
    },
    "bench": {
        "seconds": TIME,
        "burst_seconds": TIME,
        "burst_longest": TIME,
        "connections": NUMBER,
        "most_connections": NUMBER,
        "memories": NUMBER,
        "most_memories": NUMBER,
        "tenants": NUMBER,
        "most_spaces": NUMBER,
        "space_memories": NUMBER,
        "results": NUMBER,
        "side_seconds": TIME,
        "zipf": NUMBER,
        "read_share": NUMBER,
        "seed_rate": RATE,
        "seed_wait": TIME,
        "warm_window": TIME,
        "warm_windows": NUMBER,
        "warm_longest": TIME,
        "warm_alike": NUMBER,
        "ramp_step": TIME,
        "ramp_from": RATE,
        "ramp_factor": NUMBER,
        "ramp_within": NUMBER,
        "ramp_most_rate": RATE,
        "served_least": NUMBER,
        "knee_share": NUMBER,
        "lag_share": NUMBER,
        "delivered_least": NUMBER,
        "worker_cpu": NUMBER,
        "errors_most": NUMBER,
        "tail_least": NUMBER,
        "worker_rate": RATE,
        "answer_wait": TIME,
        "drain": TIME,
        "hang": TIME,
        "abort_window": TIME,
        "most_requests": NUMBER,
        "most_bytes": BYTES,
        "most_seconds": TIME,
        "preflight_wait": TIME,
        "collect_after": TIME,
        "collect_margin": TIME,
        "collect_least": TIME,
        "quality_memories": NUMBER,
        "quality_queries": NUMBER,
        "quality_seconds": TIME,
        "saved_most": NUMBER,
    },
    "cases": {
        "held_out": NUMBER,
        "top": NUMBER,
        "healthy_most": NUMBER,
        "sure": NUMBER,
        "bins": NUMBER,
        "intercept_spread": NUMBER,
        "slope_spread": NUMBER,
        "least_cases": NUMBER,
        "least_families": NUMBER,
        "load_seconds": TIME,
        "warm_seconds": TIME,
        "probe_seconds": TIME,
        "rate_noise": NUMBER,
        "case_seconds": TIME,
        "others_most": NUMBER,
        "memories": NUMBER,
        "felt_slower": NUMBER,
        "felt_missing": NUMBER,
    },
    "slow-queries": {
        "over": TIME,
        "since": TIME,
        "longest": TIME,
        "window": TIME,
        "windows": NUMBER,
        "all_the_time": NUMBER,
        "peak": NUMBER,
        "follows": NUMBER,
        "spaces": NUMBER,
        "told": NUMBER,
    },
}
"""Every limit there is, by the kind of file it stands in, and what it is measured in."""


def read_limits(texts: Mapping[str, str], kind: str) -> dict[str, float]:
    """
    The limits by name, in base units, from the one file of `texts` (by file name) that is of this kind; a later file
    takes the place of an earlier one.

    Raises `RuleBaseError` with every problem of it at its place.
    """
    problems = Problems()
    limits: dict[str, float] = {}
    with suppress(TooManyProblems):
        name = deferred_file(texts, kind)
        if not name:
            problems.error(Mark("rules", 1, 1), f"no file with schema {schema_of(kind)}",
                           hint="the installation is incomplete: install the package again")  # fmt: skip
        root = yaml_source.parse_document(texts[name], file=name, problems=problems) if name else None
        limits = _limits(Fields(root, "the file", problems), LIMITS[kind], problems) if root is not None else {}
    problems.raise_errors()
    return limits


def _limits(root: Fields, known: Mapping[str, Dimension], problems: Problems) -> dict[str, float]:
    root.only(("schema", "limits"))
    root.need("schema", "limits")
    node = root.mapping("limits") or yaml_source.Mapping("", 1, 1)
    for name in node.values:
        if name not in known:
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            problems.error(node.key_mark(name), f"there is no limit {name}", hint=hint, length=len(name))
    if missing := [name for name in known if name not in node.values]:
        problems.error(root.mark("limits"), f"limits lack {', '.join(missing)}", length=len("limits"))
    entries = [(name, entry) for name, entry in node.values.items() if name in known]
    return {name: _limit(name, entry, known[name], problems) for name, entry in entries}


def _limit(name: str, entry: yaml_source.Node, dimension: Dimension, problems: Problems) -> float:
    if not isinstance(entry, yaml_source.Mapping):
        problems.error(entry.mark, f"{name} must be a mapping, not {yaml_source.describe(entry)}")
        return 0.0
    fields = Fields(entry, name, problems)
    fields.only(("is", "reason"))
    fields.need("is", "reason")
    fields.text("reason")
    quantity = fields.quantity("is")
    if quantity is None:
        return 0.0
    if quantity.unit.dimension != dimension:
        problems.error(fields.mark("is"), f"{name} is {dimension}, not {quantity.unit.dimension}", length=len("is"))
    if quantity.value <= 0:
        problems.error(fields.mark("is"), f"{name} is more than 0", length=len("is"))
    return quantity.value
