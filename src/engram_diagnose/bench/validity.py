"""
Whether a run says something of the server: one whose bottleneck was the client is INVALID, which is no failure.
"""

from collections.abc import Mapping
from typing import Any, Final

LAG: Final = "client-lag"
CPU: Final = "client-cpu"
DELIVERED: Final = "not-delivered"
UNSTABLE: Final = "unstable"
ABORTED: Final = "aborted"


def validity(
    *, lag_p99: float, delivered: float, worker_cpu: float, aborted: bool, unstable: bool,
    p99: Mapping[str, float], limits: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    """
    The part `validity` of a run in the benchmark format.

    `lag_p99` is the client's own delay in seconds, `delivered` the share of what was planned that it sent, `worker_cpu`
    the CPU use of its busiest worker as a share of a core. `p99` are the latencies, in seconds, that the run is held
    to: the delay may be a share of the smallest of them (`limits` are those of `rules/catalogue/bench.yaml`).
    """
    late = bool(p99) and lag_p99 > limits["lag_share"] * min(p99.values())
    found = {
        LAG: late,
        CPU: worker_cpu > limits["worker_cpu"],
        DELIVERED: delivered < limits["delivered_least"],
        UNSTABLE: unstable,
        ABORTED: aborted,
    }
    reasons = [name for name, holds in found.items() if holds]
    return {
        "valid": not reasons,
        "reasons": reasons,
        "lag_p99_seconds": max(0.0, lag_p99),
        "delivered_share": min(1.0, max(0.0, delivered)),
        "worker_cpu_share": max(0.0, worker_cpu),
    }
