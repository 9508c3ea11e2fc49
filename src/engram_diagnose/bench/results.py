"""
What came of a load, as a run of the benchmark format (`rules/schema/benchmark-v1.json`).
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from engram_diagnose import __version__
from engram_diagnose.bench.plans import Plan, Step
from engram_diagnose.bench.preflight import Server
from engram_diagnose.bench.quality import DIMENSION
from engram_diagnose.bench.validity import validity
from engram_diagnose.verification.benchmark import SCHEMA

TOOL: Final = f"engram-diagnose {__version__}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What the load engine found.

    `operations` and `timeline` are as the benchmark format has them; `started` is in seconds since the epoch, `lag_p99`
    in seconds, `worker_cpu` the busiest worker's share of a core. `aborted` says why it ended early, empty when it did
    not. `connected` is how many connections there were, None where nobody counted.
    """

    started: float
    seconds: float
    operations: Mapping[str, Any]
    delivered: float
    lag_p99: float
    worker_cpu: float
    workers: int
    aborted: str = ""
    timeline: Mapping[str, Any] | None = field(default=None, repr=False)
    connected: int | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """
    What the runs of one benchmark have in common; `configuration` is the digest of the server's file, or empty, and
    `clients` are the machines that send, this one where none is named.
    """

    plan: Plan
    server: Server
    limits: Mapping[str, float]
    configuration: str = ""
    clients: tuple[str, ...] = ()


def run_document(outcome: Outcome, step: Step, setting: Setting, *, rate: float, order: int, memories: int,
                 unstable: bool = False) -> dict[str, Any]:  # fmt: skip
    """One run; `memories` is how many the server held as it started, `rate` what was offered."""
    plan = setting.plan
    hosts = ", ".join(setting.clients or (socket.gethostname(),))
    held = {name: plan.p99[name] for name in outcome.operations if name in plan.p99}
    found = {
        "started": iso(outcome.started),
        "duration_seconds": outcome.seconds,
        "order": order,
        "side": "",
        "workload": {
            "name": step.kind.name,
            "mix": dict(step.mix),
            "loop": "open",
            "offered_rate": rate,
            "clients": plan.connections if outcome.connected is None else max(1, outcome.connected),
            "dataset": {"memories": memories},
            "dimension": DIMENSION,
            "spaces": sorted(step.spaces),
        },
        "server": {
            "address": setting.server.address,
            "version": setting.server.version,
            "dialect": setting.server.dialect,
            "configuration": setting.configuration,
        },
        "client": {"host": hosts[:255], "workers": max(1, outcome.workers)},
        "validity": validity(
            lag_p99=outcome.lag_p99, delivered=outcome.delivered, worker_cpu=outcome.worker_cpu,
            aborted=bool(outcome.aborted), unstable=unstable, p99=held, limits=setting.limits,
        ),
        "operations": dict(outcome.operations),
    }  # fmt: skip
    return found | ({"timeline": dict(outcome.timeline)} if outcome.timeline else {})


def benchmark_document(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs as one document; there is at least one."""
    return {"schema": SCHEMA, "name": name, "tool": TOOL, "runs": runs}


def iso(seconds: float) -> str:
    """An instant as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
