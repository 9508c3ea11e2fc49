"""
The work of the planted server: a log that is really flushed, memories that are really held, clients that really wait.
"""

import os
import queue
import random
import struct
import sys
import threading
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from operator import mul
from pathlib import Path
from typing import Any

from planted_figures import Counter, Histogram, Samples

BLOCK = 4096
SEGMENT_BYTES = 16 << 20
CAPACITY = 40_000
WORKING_SET = 20_000
"""Memories that one space may hold, and the numbers that its clients use."""

DIMENSIONS = 24
VECTOR = struct.Struct(f"<{DIMENSIONS}f")
EDGES = struct.Struct("<16I")
OPERATIONS = ("store", "recall", "activation", "consolidation")

Waiting = tuple[bytes, Any, float]
"""A record, the lock that its client waits on (None when it does not wait), and when it was queued."""


class Log:
    """
    A write-ahead log in whole blocks, written by one thread.

    In mode `immediate` every record rewrites the tail block and is flushed by itself while its client waits. In mode
    `batch` what came within one interval shares blocks and flush, and with `acknowledged` the client waits for it.
    Each flush takes `slower` seconds longer than this disk needs, as it does on a slower one.
    """

    def __init__(self, folder: Path, *, mode: str, interval: float, acknowledged: bool, slower: float = 0.0) -> None:
        self._file = os.open(folder / "wal-000001.log", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._queue: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self._interval = interval if mode == "batch" else 0.0
        self._waits = acknowledged or mode == "immediate"
        self._slower = slower
        self._tail = b""
        self._offset = 0
        self.flushes = Histogram()
        self.waits = Histogram()
        self.bytes_written = Counter()
        self.disk_bytes = 0
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def pending(self) -> int:
        return self._queue.qsize()

    def append(self, payload: bytes) -> None:
        """Log one record; returns when the log's mode says that it is safe."""
        record = struct.pack("<II", len(payload), zlib.crc32(payload)) + payload
        if not self._waits:
            self._queue.put((record, None, time.perf_counter()))
            return
        done = threading.Lock()
        done.acquire()
        self._queue.put((record, done, time.perf_counter()))
        done.acquire()

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            if self._interval:
                time.sleep(self._interval)
                batch += [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            start = time.perf_counter()
            for _, done, queued in batch:
                if done is not None:
                    self.waits.observe(start - queued)
            self._write(b"".join(record for record, _, _ in batch))
            for _, done, _ in batch:
                if done is not None:
                    done.release()

    def _write(self, records: bytes) -> None:
        """The records behind what stands in the tail block; whole blocks, then one flush."""
        data = self._tail + records
        blocks = data + bytes(-len(data) % BLOCK)
        os.pwrite(self._file, blocks, self._offset)
        self.bytes_written.add(len(blocks))
        start = time.perf_counter()
        os.fsync(self._file)
        if self._slower:
            time.sleep(self._slower)
        self.flushes.observe(time.perf_counter() - start)
        whole = len(data) - len(data) % BLOCK
        self._tail = data[whole:]
        self._offset = (self._offset + whole) % SEGMENT_BYTES
        self.disk_bytes = max(self.disk_bytes, self._offset + len(blocks))


@dataclass(slots=True)
class Space:
    """The memories of one memory space and their edges, by number; `data` counts their bytes."""

    payloads: dict[int, bytes] = field(default_factory=dict)
    edges: dict[int, bytes] = field(default_factory=dict)
    spread: OrderedDict[int, int] = field(default_factory=OrderedDict)
    data: int = 0

    def keep(self, number: int, payload: bytes, edges: bytes) -> None:
        self.data += len(payload) - len(self.payloads.get(number, b""))
        self.payloads[number], self.edges[number] = payload, edges

    def vector(self, number: int) -> tuple[float, ...]:
        return VECTOR.unpack_from(self.payloads[number])

    def near(self, number: int) -> tuple[int, ...]:
        return EDGES.unpack(self.edges[number])

    @property
    def held(self) -> int:
        """Bytes that the memories take here."""
        objects = len(self.payloads) * (2 * sys.getsizeof(b"") + EDGES.size)
        return self.data + objects + sys.getsizeof(self.payloads) + sys.getsizeof(self.edges)


class Memories:
    """Spaces, and what is done to them; every operation is timed where it happens."""

    def __init__(self, log: Log, spaces: list[str]) -> None:
        self.log = log
        self.spaces = {name: Space() for name in spaces}
        self.durations = {(operation, space): Histogram() for operation in OPERATIONS for space in spaces}
        self.samples = {operation: Samples() for operation in OPERATIONS}
        self.in_flight = {key: Counter() for key in self.durations}
        self.stored_bytes = Counter()
        self.similarity = Histogram()
        self.visits = {space: Counter() for space in spaces}
        self.cache = {space: (Counter(), Counter()) for space in spaces}
        self.results = 0.0
        self.consolidated = time.time()

    def store(self, space: str, noise: random.Random) -> None:
        """A memory, new or in the place of an older one."""
        held = self.spaces[space]
        payload = VECTOR.pack(*(noise.random() for _ in range(DIMENSIONS))) + noise.randbytes(noise.randint(300, 700))
        self.log.append(payload)
        edges = EDGES.pack(*(noise.randrange(WORKING_SET) for _ in range(16)))
        held.keep(noise.randrange(WORKING_SET), payload, edges)
        self.stored_bytes.add(len(payload))

    def recall(self, space: str, noise: random.Random) -> None:
        """The nearest of a few candidates, as an index would hand them over."""
        held = self.spaces[space]
        cue = tuple(noise.random() for _ in range(DIMENSIONS))
        found = [number for number in (noise.randrange(WORKING_SET) for _ in range(16)) if number in held.payloads]
        start = time.perf_counter()
        scores = sorted((sum(map(mul, cue, held.vector(number))) for number in found), reverse=True)
        if found:
            self.similarity.observe((time.perf_counter() - start) / len(found))
        self.results = float(len(scores[:10]))

    def activation(self, space: str, noise: random.Random) -> None:
        """Two hops from one memory; the last answers are kept."""
        held, (hits, requests) = self.spaces[space], self.cache[space]
        seed = int(noise.expovariate(1 / 150)) % WORKING_SET
        requests.add()
        if seed in held.spread:
            hits.add()
            return
        reached = {seed}
        for _ in range(2):
            reached |= {end for start in list(reached) if start in held.edges for end in held.near(start)}
        self.visits[space].add(len(reached))
        held.spread[seed] = len(reached)
        if len(held.spread) > 1000:
            held.spread.popitem(last=False)

    def consolidation(self, space: str, noise: random.Random) -> None:
        """Blend some memories with their neighbours."""
        held = self.spaces[space]
        for number in list(held.payloads)[:200]:
            other = noise.choice(held.near(number))
            if other in held.payloads:
                mixed = ((a + b) / 2 for a, b in zip(held.vector(number), held.vector(other), strict=True))
                held.payloads[number] = VECTOR.pack(*mixed) + held.payloads[number][VECTOR.size :]
        self.consolidated = time.time()

    def do(self, operation: str, space: str, noise: random.Random) -> None:
        """One operation, timed."""
        inside = self.in_flight[operation, space]
        inside.add()
        start = time.perf_counter()
        getattr(self, operation)(space, noise)
        took = time.perf_counter() - start
        inside.add(-1)
        self.durations[operation, space].observe(took)
        self.samples[operation].add(took)

    def count(self) -> int:
        return sum(len(held.payloads) for held in self.spaces.values())


def start_clients(memories: Memories, count: int, *, mix: dict[str, float], pause: float) -> None:
    """Clients that ask, wait for the answer, pause for `pause` seconds on average, and ask again."""
    names = list(memories.spaces)

    def client(number: int) -> None:
        noise = random.Random(number)
        time.sleep(noise.random() * 0.5)
        while True:
            (operation,) = noise.choices(list(mix), list(mix.values()))
            memories.do(operation, names[number % len(names)], noise)
            time.sleep(noise.expovariate(1 / pause) if pause else 0)

    def sleeper() -> None:
        noise = random.Random(0)
        while True:
            for space in names:
                memories.do("consolidation", space, noise)
            time.sleep(5)

    for number in range(count):
        threading.Thread(target=client, args=(number,), daemon=True).start()
    threading.Thread(target=sleeper, daemon=True).start()
