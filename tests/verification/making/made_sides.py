"""Bundles, benchmark results and a ledger, made to order."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engram_diagnose.collectors.bundle import write_bundle
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.engine.advice.record import Application, KeyChange, Prediction, Realised
from engram_diagnose.engine.facts.scope import scope_of

BEFORE = 1_795_000_000.0
AFTER = BEFORE + 7200.0
INSTANCE = "db1:7432"
EDGES = (0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.03, 0.05, 0.1)


@dataclass
class Made:
    """A server as Prometheus saw it; latencies in seconds are spread about `latency` by a tenth."""

    end: float = BEFORE
    minutes: float = 20
    interval: float = 15
    rate: float = 1000.0
    latency: float = 0.009
    read_share: float = 0.7
    nodes: float = 1e6
    hits: float = 0.9
    overhead: float = 1.5
    clients: float = 100
    spaces: Sequence[str] = ("default",)
    seed: int = 1
    config: str = '[wal]\nsync_mode = "immediate"\n'
    version: str = "0.1.4"
    without: Sequence[str] = ()
    reset_at: float = 0.0
    series: dict[str, list[list[Any]]] = field(default_factory=dict)

    def bundle(self) -> Bundle:
        noise = random.Random(self.seed)
        count = int(self.minutes * 60 / self.interval) + 1
        times = [self.end - (count - 1 - number) * self.interval for number in range(count)]
        totals: dict[str, float] = {}
        for time in times:
            if self.reset_at and time >= self.reset_at > time - self.interval:
                totals = {}
            self._scrape(time, totals, noise)
        result = [{"metric": json.loads(key), "values": values} for key, values in sorted(self.series.items())
                  if json.loads(key)["__name__"] not in self.without]  # fmt: skip
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})
        answers = (
            Answer("prometheus", f"window {self.minutes * 60:g}", self.end, INSTANCE, body),
            Answer("http", "/health", self.end, INSTANCE, json.dumps({"status": "healthy", "version": self.version})),
            Answer("config", "/etc/engram/engram.toml", self.end, INSTANCE, self.config),
        )
        return Bundle(self.end, "made", "guide", INSTANCE, options={"window": 300.0}, answers=answers)

    def write(self, path: Path) -> str:
        write_bundle(path, self.bundle())
        return str(path)

    def _scrape(self, time: float, totals: dict[str, float], noise: random.Random) -> None:
        done = self.rate * self.interval * noise.uniform(0.98, 1.02)
        self._add(time, totals, "engram_operations_total", done)
        self._add(time, totals, "engram_recall_operations_total", done * self.read_share)
        self._add(time, totals, "engram_store_operations_total", done * (1 - self.read_share))
        self._add(time, totals, "engram_activation_cache_requests_total", done)
        self._add(
            time, totals, "engram_activation_cache_hits_total", done * min(1, self.hits * noise.uniform(0.99, 1.01))
        )
        shares = {"recall": self.read_share, "store": 1 - self.read_share}
        for space in self.spaces:
            for operation, share in shares.items():
                labels = {"operation": operation, "memory_space": space}
                self._histogram(time, totals, labels, done * share / len(self.spaces), noise)
        self._put(time, "engram_graph_nodes", self.nodes, memory_space="default")
        self._put(time, "engram_memory_bytes", self.overhead * 1e9 * noise.uniform(0.99, 1.01))
        self._put(time, "engram_data_bytes", 1e9)
        self._put(time, "engram_client_connections", self.clients)
        self._put(time, "up", 1)

    def _histogram(self, time: float, totals: dict[str, float], labels: dict[str, str], done: float,
                   noise: random.Random) -> None:  # fmt: skip
        middle = self.latency * noise.uniform(0.9, 1.1)
        for edge in (*EDGES, float("inf")):
            share = min(1.0, max(0.0, (edge / middle - 0.2) / 0.8)) if edge < 1 else 1.0
            name = "engram_memory_operation_duration_seconds_bucket"
            le = "+Inf" if edge > 1 else repr(edge)
            self._add(time, totals, name, done * share, **labels, le=le)
        self._add(time, totals, "engram_memory_operation_duration_seconds_count", done, **labels)
        self._add(time, totals, "engram_memory_operation_duration_seconds_sum", done * middle * 0.6, **labels)

    def _add(self, time: float, totals: dict[str, float], name: str, by: float, **labels: str) -> None:
        key = json.dumps({"name": name, **labels})
        totals[key] = totals.get(key, 0.0) + by
        self._put(time, name, totals[key], **labels)

    def _put(self, time: float, name: str, value: float, **labels: str) -> None:
        key = json.dumps({"__name__": name, "instance": INSTANCE, "job": "engram", **labels})
        self.series.setdefault(key, []).append([time, repr(value)])


def histogram(p99: float, count: int) -> dict[str, Any]:
    """A histogram whose observations lie evenly up to the 99th percentile."""
    bounds = [p99 / 2, p99, p99 * 2]
    below = count // 2
    counts = [below, count - below - count // 100, count // 100, 0]
    quantiles = {"p50": p99 / 2, "p90": p99 * 0.9, "p95": p99 * 0.95, "p99": p99, "p999": p99 * 1.5}
    return {"bounds": bounds, "counts": counts, "sum": count * p99 * 0.6, "max": p99 * 1.9,
            "quantiles": quantiles if count else dict.fromkeys(quantiles)}  # fmt: skip


def run(order: int, side: str, p99: float, *, valid: bool = True, rate: float = 1000.0, memories: int = 100_000,
        loop: str = "open", started: float = BEFORE) -> dict[str, Any]:  # fmt: skip
    """One run of a benchmark."""
    from datetime import UTC, datetime

    ok = 30_000
    operation = {"sent": ok + 3, "ok": ok, "errors": {"timeout": 3}, "rate": rate, "response": histogram(p99, ok),
                 "service": histogram(p99 * 0.9, ok), "lag": histogram(0.0001, ok + 3)}  # fmt: skip
    return {
        "started": datetime.fromtimestamp(started + order * 40, UTC).isoformat().replace("+00:00", "Z"),
        "duration_seconds": 30.0,
        "order": order,
        "side": side,
        "workload": {"name": "recall", "mix": {"recall": 1.0}, "loop": loop,
                     "offered_rate": 1000.0 if loop == "open" else None, "clients": 64,
                     "dataset": {"memories": memories}, "dimension": 768, "spaces": ["bench-a"]},
        "server": {"address": INSTANCE, "version": "0.1.4", "dialect": "guide", "configuration": ""},
        "client": {"host": "load1", "workers": 4},
        "validity": {"valid": valid, "reasons": [] if valid else ["client-cpu"], "lag_p99_seconds": 0.0002,
                     "delivered_share": 1.0, "worker_cpu_share": 0.4},
        "operations": {"recall": operation},
    }  # fmt: skip


def benchmark(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A benchmark's document."""
    return {"schema": "engram-diagnose/benchmark/v1", "name": "recall-1000", "tool": "made 1", "runs": list(runs)}


def interleaved(before: float, after: float, *, count: int = 8, seed: int = 3, **more: Any) -> dict[str, Any]:
    """Runs of both sides by turns, with P99s that vary by three per cent."""
    noise = random.Random(seed)
    turns = [("before", before), ("after", after)] * count
    return benchmark([run(number, side, p99 * noise.uniform(0.97, 1.03), **more)
                      for number, (side, p99) in enumerate(turns, 1)])  # fmt: skip


def application(at: float, *, low: float = 0.003, high: float = 0.006) -> Application:
    """A patch of the sync mode that promises a P99 of stores between `low` and `high` seconds."""
    promise = Prediction("op.latency.p99", scope_of({"operation": "store"}), "s", "lower", 0.009, low, high,
                         "storage.wal-write-amplification")  # fmt: skip
    change = KeyChange("config.wal.sync_mode", "wal.sync_mode", "immediate", "batch", promise.rule)
    return Application(at, INSTANCE, "/etc/engram/engram.toml", "sha256:0", "sha256:1", "guide", (change,), (promise,),
                       "applied", "", id=7)  # fmt: skip


class FakeLedger:
    """A ledger in memory; with `broken`, one that cannot be written."""

    def __init__(self, *applications: Application, broken: bool = False) -> None:
        self._applications = applications
        self._broken = broken
        self.realised: list[Realised] = []

    def applications(self, instance: str = "") -> list[Application]:
        return [one for one in self._applications if one.instance == instance]

    def add_realised(self, items: Sequence[Realised]) -> None:
        if self._broken:
            raise OSError(28, "No space left on device")
        self.realised += items


def rolled_back(one: Application) -> Application:
    """The same patch, undone."""
    return replace(one, state="rolled back")
