"""Reports of benchmarks, made to order: seeded latencies in real histograms, verdicts, a diagnosis, timelines."""

import math
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from engram_diagnose.bench.document import Verdict, report_document
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.rulebase import load_rules

BOUNDS = [round(1e-4 * 1.1**number, 9) for number in range(110)]
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    return load_rules((), thorough=False).catalogue


def histogram(values: Sequence[float]) -> dict[str, Any]:
    """The histogram of observations, with the upper bounds of their buckets as quantiles."""
    counts = [0] * (len(BOUNDS) + 1)
    for value in values:
        counts[next((number for number, bound in enumerate(BOUNDS) if value <= bound), len(BOUNDS))] += 1
    ordered = sorted(values)
    quantiles = {key: ordered[math.ceil(share * len(ordered)) - 1] if ordered else None
                 for key, share in SHARES.items()}  # fmt: skip
    return {"bounds": BOUNDS, "counts": counts, "sum": sum(values), "max": max(values, default=None),
            "quantiles": quantiles}  # fmt: skip


def operation(seconds: float, *, count: int = 2000, errors: Mapping[str, int] | None = None, seed: int = 1,
              stalled: float = 0.0) -> dict[str, Any]:  # fmt: skip
    """Latencies about `seconds`; a hundredth of them waits `stalled` longer for its turn."""
    noise = random.Random(seed)
    service = [seconds * noise.lognormvariate(0, 0.5) for _ in range(count)]
    response = [one + (stalled * noise.random() if number % 80 == 0 else 0.0) for number, one in enumerate(service)]
    failed = dict(errors or {})
    return {"sent": count + sum(failed.values()), "ok": count, "errors": failed, "rate": count / 10,
            "response": histogram(response), "service": histogram(service),
            "lag": histogram([0.0001] * count)}  # fmt: skip


def timeline(seconds: float, *, seed: int = 1, failing: bool = True) -> dict[str, Any]:
    """Ten seconds; in the seventh most fails."""
    noise = random.Random(seed)
    points = [{"at_seconds": float(at), "sent": 200, "ok": 50 if failing and at == 6 else 200,
               "errors": 150 if failing and at == 6 else 0, "p50": seconds, "p99": seconds * noise.uniform(2, 6)}
              for at in range(10)]  # fmt: skip
    return {"interval_seconds": 1.0, "points": points}


def run(order: int = 1, workload: str = "mixed", *, reasons: Sequence[str] = (), side: str = "",
        operations: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:  # fmt: skip
    """One run of 70 % recalls and 30 % stores."""
    asked = operations or {"recall": operation(0.003, errors={"timeout": 2}, stalled=0.1),
                           "store": operation(0.001, seed=2)}  # fmt: skip
    found = {
        "started": f"2026-11-22T01:{order:02d}:00Z",
        "duration_seconds": 10.0,
        "order": order,
        "side": side,
        "workload": {"name": workload, "mix": {"recall": 0.7, "store": 0.3}, "loop": "open", "offered_rate": 400.0,
                     "clients": 64, "dataset": {"memories": 20000, "bytes": 84000000}, "dimension": 768,
                     "spaces": ["bench-a"]},
        "server": {"address": "engram-7:7432", "version": "0.1.4", "dialect": "guide",
                   "configuration": "sha256:" + "a" * 64},
        "client": {"host": "load-1", "workers": 2},
        "validity": {"valid": not reasons, "reasons": list(reasons), "lag_p99_seconds": 0.0003, "delivered_share": 1.0,
                     "worker_cpu_share": 0.41},
        "operations": asked,
        "timeline": timeline(0.003),
        "recall_quality": {"recall_at_k": 0.968, "k": 10, "queries": 1000},
    }  # fmt: skip
    return found | more


def benchmark(*runs: dict[str, Any], name: str = "suite of the evening") -> dict[str, Any]:
    return {"schema": "engram-diagnose/benchmark/v1", "name": name, "tool": "engram-diagnose 0.2.0",
            "runs": list(runs) or [run()]}  # fmt: skip


RECALL, STORE = {"operation": "recall"}, {"operation": "store"}
VERDICTS = (
    Verdict("mixed", "op.latency.p99", RECALL, "target", "lower", 0.01, 0.0113, "fail",
            "99 % of the recalls, over a single hop", "", (1,)),
    Verdict("mixed", "op.latency.p99", STORE, "target", "lower", 0.01, 0.0031, "pass", "", "", (1,)),
    Verdict("mixed", "ops.rate", {}, "target", "higher", 10000.0, 400.0, "not measured", "", "400/s were offered",
            (1,)),
    Verdict("burst", "ops.burst_rate", {}, "target", "higher", 50000.0, 9000.0, "invalid", "",
            "a worker of the client had no CPU left", (2,)),
)  # fmt: skip
"""One of every state."""


def report(*verdicts: Verdict, runs: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
    """A report of two runs, with one verdict of every state."""
    made = runs or (run(), run(2, "burst", reasons=["client-cpu"]))
    return report_document(benchmark=benchmark(*made), verdicts=verdicts or VERDICTS, target_set="target",
                           catalogue=catalogue(), **{"notes": ("the server's host was not seen",), **more})  # fmt: skip
