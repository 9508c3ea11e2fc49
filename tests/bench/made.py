"""Runs of the benchmark format, made up."""

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

from engram_diagnose.bench.workloads import KINDS

BOUNDS = [0.0005 * 1.3**step for step in range(50)]
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


def histogram(seconds: Sequence[float]) -> dict[str, Any]:
    """The histogram of these times; a quantile is the time at its rank."""
    counts = [0] * (len(BOUNDS) + 1)
    for one in seconds:
        counts[bisect.bisect_left(BOUNDS, one)] += 1
    ordered = sorted(seconds)
    at = {name: ordered[max(0, round(share * len(ordered)) - 1)] if ordered else None for name, share in SHARES.items()}
    return {"bounds": BOUNDS, "counts": counts, "sum": sum(seconds), "max": max(seconds, default=None), "quantiles": at}


def operation(count: int, *, seconds: float = 20.0, fast: float = 0.002, slow: float = 0.002, slow_share: float = 0.02,
              errors: Mapping[str, int] | None = None) -> dict[str, Any]:  # fmt: skip
    """So many good answers, of which a share is slow."""
    slow_count = round(count * slow_share)
    times = [fast] * (count - slow_count) + [slow] * slow_count
    failed = dict(errors or {})
    return {"sent": count + sum(failed.values()), "ok": count, "errors": failed, "rate": count / seconds,
            "response": histogram(times), "service": histogram(times), "lag": histogram([1e-5] * count)}  # fmt: skip


def run(workload: str, *, rate: float = 1020.0, seconds: float = 20.0, order: int = 1, served: float = 1.0,
        reasons: Sequence[str] = (), clients: int = 64, spaces: Sequence[str] = ("bench-t-main",),
        **operations: Any) -> dict[str, Any]:  # fmt: skip
    """A run that served this share of what it was offered; `operations` are given to `operation`."""
    mix = KINDS[workload].mix(0.7)
    return {
        "started": "2026-11-22T01:00:00Z", "duration_seconds": seconds, "order": order, "side": "",
        "workload": {"name": workload, "mix": dict(mix), "loop": "open", "offered_rate": rate, "clients": clients,
                     "dataset": {"memories": 4000}, "dimension": 768, "spaces": list(spaces)},
        "server": {"address": "127.0.0.1:7432", "version": "9.9", "dialect": "guide", "configuration": ""},
        "client": {"host": "load", "workers": 2},
        "validity": {"valid": not reasons, "reasons": list(reasons), "lag_p99_seconds": 0.0001, "delivered_share": 1.0,
                     "worker_cpu_share": 0.2},
        "operations": {name: operation(round(rate * seconds * share * served), seconds=seconds, **operations)
                       for name, share in mix.items()},
    }  # fmt: skip


def benchmark(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"schema": "engram-diagnose/benchmark/v1", "name": "made", "tool": "test", "runs": list(runs)}
