"""
A load generator in a process of its own: `python load.py PORT REQUESTS [--connections N] [--first N]` sends that many
notifications of one alert each, no two the same, and prints how long each took, as JSON.

The bodies are made before the first is sent. Each connection is kept, and sends its next request once the last one was
answered.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import uvloop

CONNECTIONS = 32
INSTANCES = 32
"""Alerts are spread over so many servers: one incident each."""
PATH = "/api/v1/alerts"


class LoadError(Exception):
    """Not every notification was accepted."""


@dataclass(frozen=True, slots=True)
class Load:
    """`seconds` from the first request to the last answer, and those of each request, ascending."""

    seconds: float
    latencies: tuple[float, ...]

    @property
    def each(self) -> float:
        """Seconds for one request, all connections together."""
        return self.seconds / len(self.latencies)

    def quantile(self, share: float) -> float:
        return quantile(self.latencies, share)


def quantile(ascending: "tuple[float, ...] | list[float]", share: float) -> float:
    """The figure that `share` of them do not exceed."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def load(port: int, requests: int, *, first: int = 0, connections: int = CONNECTIONS) -> Load:
    """Run the generator; `first` is the number of its first alert. Raises `LoadError`."""
    command = [sys.executable, __file__, str(port), str(requests), f"--first={first}", f"--connections={connections}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise LoadError(done.stderr.strip()[-500:])
    said = json.loads(done.stdout)
    return Load(said["seconds"], tuple(sorted(said["latencies"])))


# In its own process


def requests_of(port: int, number: int, first: int) -> deque[bytes]:
    """Whole requests as they go over the line."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    made: deque[bytes] = deque()
    for one in range(first, first + number):
        labels = {"alertname": "EngramRecallLatencyHigh", "instance": f"db{one % INSTANCES}:7432",
                  "severity": "critical", "job": "engram", "memory_space": f"space-{one}"}  # fmt: skip
        texts = {"summary": "Recall takes 120 ms at p99", "description": "99 % of recalls should take 10 ms at most."}
        alert = {"status": "firing", "labels": labels, "annotations": texts, "startsAt": now,
                 "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus.example:9090/graph?g0.expr=up",
                 "fingerprint": f"{one:016x}"}  # fmt: skip
        body = json.dumps({"version": "4", "groupKey": '{}:{alertname="EngramRecallLatencyHigh"}', "truncatedAlerts": 0,
                           "status": "firing", "receiver": "engram-diagnose", "groupLabels": {}, "commonLabels": labels,
                           "commonAnnotations": texts, "externalURL": "http://alertmanager.example:9093",
                           "alerts": [alert]}).encode()  # fmt: skip
        head = (f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: Alertmanager/0.28.1\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")  # fmt: skip
        made.append(head.encode() + body)
    return made


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, waiting: deque[bytes], latencies: list[float]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting, self._latencies = waiting, latencies
        self._transport: asyncio.Transport
        self._sent = 0.0
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by name

    def begin(self) -> None:
        if not self._waiting:
            self._transport.close()
            self.done.set_result(None)
            return
        self._read = b""
        request = self._waiting.popleft()
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._latencies.append(time.perf_counter() - self._sent)
        if head.split(b" ", 2)[1] != b"202":
            self._fail(f"answered {self._read[:300]!r}")
        else:
            self.begin()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._fail("the connection was closed")

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(LoadError(why))
        self._transport.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise LoadError("an answer without its length")


async def send(port: int, waiting: deque[bytes], connections: int) -> Load:
    """Send all that waits over so many connections, which are open before the first request."""
    loop, latencies = asyncio.get_running_loop(), list[float]()
    callers = [
        (await loop.create_connection(lambda: Caller(waiting, latencies), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    gc.disable()
    start = time.perf_counter()
    for caller in callers:
        caller.begin()
    await asyncio.gather(*(caller.done for caller in callers))
    return Load(time.perf_counter() - start, tuple(latencies))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=int)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    waiting = requests_of(given.port, given.requests, given.first)
    found = uvloop.run(send(given.port, waiting, given.connections))
    print(json.dumps({"seconds": found.seconds, "latencies": found.latencies}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
