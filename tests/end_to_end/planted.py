"""
A process that stands in for a server with a planted fault. The standard library is all it needs.

    python planted.py --port 7432 --data-dir DIR --config FILE [--fault wal|healthy]
                      [--dialect guide|engram-0.1] [--space NAME ...] [--clients N] [--seconds N]
                      [--slower-flush SECONDS]

It writes FILE when there is none, with settings that plant the fault, and then runs by what stands there. Its figures
are measured while it stores small records through a log on the disk and answers from memory. It ends by itself.
"""

import argparse
import json
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from planted_figures import WINDOWS, line, process_lines, statistics
from planted_store import CAPACITY, Log, Memories, start_clients

GUIDE_CONFIGURATION = """\
# Settings in the guide's keys.
[storage]
hot_tier_size_mb = 2048
hot_tier_shards = 16
use_huge_pages = false

[activation]
prefetch_distance = 8
simd_enabled = true

[hnsw_index]
M = 16
ef_construction = 200
ef_search = 100

[wal]
buffer_size_mb = {buffer}
flush_interval_ms = {interval}
sync_mode = "{mode}"

[thread_pools]
recall_workers = 32
store_workers = 16

[consolidation]
enabled = true
interval_seconds = 5
"""

RELEASE_CONFIGURATION = """\
[server]
http_bind = "127.0.0.1:{port}"

[memory_spaces]
default_space = "default"

# None of these exist in the release, which says nothing of it.
[wal]
sync_mode = "immediate"
flush_interval_ms = 1000
"""

FAULTS = {
    "wal": {"mode": "immediate", "interval": 10, "buffer": 4},
    "healthy": {"mode": "batch", "interval": 100, "buffer": 64},
}
LOADS: Mapping[str, dict[str, Any]] = {
    "wal": {"mix": {"store": 0.85, "recall": 0.12, "activation": 0.03}, "pause": 0.0},
    "healthy": {"mix": {"store": 0.25, "recall": 0.65, "activation": 0.10}, "pause": 0.05},
}


class Server:
    """Memories, log and clients behind one dialect."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.dialect = options.dialect
        settings = _settings(options)
        log = Log(options.data_dir, slower=options.slower_flush, **settings)
        self.memories = Memories(log, options.space or ["default"])
        self.clients = options.clients
        self.started = time.time()
        start_clients(self.memories, options.clients, **LOADS[options.fault])

    def answer(self, path: str) -> tuple[str, str] | None:
        """Content type and body for a path, None where there is nothing."""
        if path == "/health":
            return "application/json", json.dumps({"status": "healthy", "version": "0.1.4"})
        if self.dialect == "guide":
            return ("text/plain; version=0.0.4", self.text()) if path == "/metrics" else None
        found = {"/metrics": self.json, "/metrics/prometheus": self.release_text, "/api/v1/memories": self.tiers}
        kind = "text/plain; version=0.0.4" if path.endswith("prometheus") else "application/json"
        return (kind, found[path]()) if path in found else None

    # The guide's names

    def text(self) -> str:
        memories = self.memories
        rows = [*self._operations(), *self._log(), *self._spaces(), *process_lines()]
        held = sum(space.held for space in memories.spaces.values())
        rows += [
            line("engram_client_connections", {}, self.clients),
            line("engram_recall_result_size", {}, memories.results),
            line("engram_storage_tier_memories_count", {"tier": "hot"}, memories.count()),
            line("engram_storage_tier_capacity_memories", {"tier": "hot"}, CAPACITY * len(memories.spaces)),
            line("engram_storage_tier_bytes", {"tier": "hot"}, held),
            line("engram_memory_bytes", {}, held),
            line("engram_data_bytes", {}, sum(space.data for space in memories.spaces.values())),
            line("engram_consolidation_freshness_seconds", {}, time.time() - memories.consolidated),
            *memories.similarity.lines("engram_similarity_duration_seconds", {}),
        ]
        return "\n".join(rows) + "\n"

    def _operations(self) -> Iterator[str]:
        counts = dict.fromkeys(("store", "recall"), 0)
        total = 0
        for (operation, space), histogram in self.memories.durations.items():
            labels = {"operation": operation, "memory_space": space}
            rows = list(histogram.lines("engram_memory_operation_duration_seconds", labels))
            done = int(rows[-1].rpartition(" ")[2])
            total += done
            counts[operation] = counts.get(operation, 0) + done
            yield from rows if done else ()
            yield line("engram_memory_operation_errors_total", labels, 0)
            yield line("engram_memory_operations_in_flight", labels, self.memories.in_flight[operation, space].value)
        yield line("engram_operations_total", {}, total)
        yield line("engram_store_operations_total", {}, counts["store"])
        yield line("engram_recall_operations_total", {}, counts["recall"])

    def _log(self) -> Iterator[str]:
        log = self.memories.log
        yield line("engram_store_bytes_total", {}, self.memories.stored_bytes.value)
        yield line("engram_wal_bytes_written_total", {}, log.bytes_written.value)
        yield line("engram_wal_disk_bytes", {}, log.disk_bytes)
        yield line("engram_wal_pending_entries", {}, log.pending)
        yield line("engram_worker_queue_depth", {"operation": "store"}, log.pending)
        yield from log.flushes.lines("engram_wal_flush_duration_seconds", {})
        yield from log.waits.lines("engram_worker_queue_wait_seconds", {"operation": "store"})

    def _spaces(self) -> Iterator[str]:
        for space, (hits, requests) in self.memories.cache.items():
            labels = {"memory_space": space}
            yield line("engram_activation_cache_hits_total", labels, hits.value)
            yield line("engram_activation_cache_requests_total", labels, requests.value)
            yield line("engram_activation_visits_total", labels, self.memories.visits[space].value)
            yield line("engram_activation_depth", labels, 2)
            yield line("engram_graph_nodes", labels, len(self.memories.spaces[space].payloads))
            yield line("engram_graph_edges_per_node", labels, 16)
            yield line("engram_index_coverage_ratio", labels, 1)

    # The release's names

    def json(self) -> str:
        measured = {
            "store_duration_seconds": "store",
            "memories_created_total": "store",
            "engram_spreading_latency_hot_seconds": "activation",
            "engram_spreading_activations_total": "activation",
            "engram_consolidation_runs_total": "consolidation",
        }
        snapshot: dict[str, Any] = {"schema_version": "1.1.0"}
        for window, seconds in WINDOWS.items():
            found = {name: self._values(name, operation, seconds) for name, operation in measured.items()}
            snapshot[window] = {name: statistics(values) for name, values in found.items() if values}
        return json.dumps({"snapshot": snapshot, "export": {"exported": 3, "dropped": 0, "queue_depth": 0}})

    def _values(self, name: str, operation: str, seconds: float) -> list[float]:
        values = self.memories.samples[operation].since(seconds)
        return values if name.endswith("seconds") else [1.0] * len(values)

    def release_text(self) -> str:
        done = {name: len(samples.since(300)) for name, samples in self.memories.samples.items()}
        rows = [
            line("engram_spreading_activations_total", {}, done["activation"]),
            line("engram_consolidation_runs_total", {}, done["consolidation"]),
            line("engram_consolidation_freshness_seconds", {}, time.time() - self.memories.consolidated),
        ]
        return "\n".join(rows) + "\n"

    def tiers(self) -> str:
        hot = self.memories.count()
        return json.dumps({"memories": [], "tier_counts": {"hot": hot, "warm": 0, "cold": 0, "total": hot}})


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """How the log behaves: what the configuration says, or what the release has built in."""
    form = GUIDE_CONFIGURATION if options.dialect == "guide" else RELEASE_CONFIGURATION
    if not options.config.exists():
        options.config.parent.mkdir(parents=True, exist_ok=True)
        options.config.write_text(form.format(port=options.port, **FAULTS[options.fault]), encoding="utf-8")
    wal = tomllib.loads(options.config.read_text(encoding="utf-8")).get("wal", {})
    if options.dialect != "guide":
        return {"mode": "batch", "interval": 0.01, "acknowledged": True}
    return {"mode": wal["sync_mode"], "interval": wal["flush_interval_ms"] / 1000, "acknowledged": False}


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = server.answer(urlsplit(self.path).path)
            kind, text = found or ("text/plain", "not here\n")
            body = text.encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--fault", choices=sorted(FAULTS), default="wal")
    parser.add_argument("--dialect", choices=("guide", "engram-0.1"), default="guide")
    parser.add_argument("--space", action="append")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--slower-flush", type=float, default=0.0)
    return parser.parse_args()


def main() -> None:
    sys.setswitchinterval(0.0005)  # 64 clients in one interpreter: none waits long for its turn
    options = parsed()
    http = ThreadingHTTPServer(("127.0.0.1", options.port), handler_of(Server(options)))
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    time.sleep(options.seconds)


if __name__ == "__main__":
    main()
