#!/usr/bin/env python3
"""
A cheap server with the noise of a real one, for comparisons of a server with itself.

    python benchmarks/noisy_target.py SEED [SLOWNESS]

Prints its port. It answers any request with 200 and `{}`, one at a time like a single worker: a recall takes about
250 µs, a store 400 µs, spread as latencies are; with SLOWNESS 1.3 everything takes 30 % longer. What makes identical
runs differ is here as well: stalls of 5 to 30 ms, and a pace that wanders by a fifth over seconds, so that neighbouring
runs are alike.
"""

import asyncio
import random
import sys
import time
from typing import cast

import uvloop

RECALL, STORE = 250e-6, 400e-6
SPREAD = 0.4
STALLS_A_SECOND = 1.0
STALL = (0.005, 0.030)
PACE, WANDER, EVERY = 0.2, 0.05, 0.1
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """One worker that is busy for as long as a request takes: the queue in front of it is the socket."""

    def __init__(self, seed: int, slowness: float) -> None:
        self.noise = random.Random(seed)
        self.slowness = slowness
        self.pace = 1.0
        self.paced_at = self.stall_at = time.monotonic()

    def work(self, seconds: float) -> None:
        """Be busy with one request, and stalled where it is time for that."""
        now = time.monotonic()
        if now >= self.stall_at:
            self.stall_at = now + self.noise.expovariate(STALLS_A_SECOND)
            time.sleep(self.noise.uniform(*STALL))
        self.wander(now)
        spread = self.noise.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)
        end = time.monotonic() + seconds * self.slowness * self.pace * spread
        while time.monotonic() < end:
            pass

    def wander(self, now: float) -> None:
        """Let the pace go where it goes, back to 1 in about a second."""
        for _ in range(min(100, int((now - self.paced_at) / EVERY))):
            self.pace += self.noise.gauss(0, WANDER) + 0.1 * (1 - self.pace)
            self.pace = min(1 + PACE, max(1 - PACE, self.pace))
            self.paced_at = now


class Connection(asyncio.Protocol):
    """Requests one at a time, each in one packet: what the client beside this sends."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.server.work(STORE if data.startswith(b"POST") else RECALL)
        self.transport.write(ANSWER)


async def main() -> None:
    loop, server = asyncio.get_running_loop(), Server(int(sys.argv[1]), float(sys.argv[2] if len(sys.argv) > 2 else 1))
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
