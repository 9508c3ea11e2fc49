"""
Figures that the planted server measures of itself, and the two forms it publishes them in.

Prometheus text for the guide's dialect, JSON windows (and the text beside them) for the released server's.
"""

import os
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping

EDGES = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01,
         0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0)  # fmt: skip
"""Bucket bounds in seconds; 5 ms and 10 ms, which targets and thresholds speak of, are among them."""

WINDOWS = {"one_second": 1.0, "ten_seconds": 10.0, "one_minute": 60.0, "five_minutes": 300.0}

Labels = Mapping[str, str]


class Histogram:
    """Counts by bucket, and the sum."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(EDGES) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        with self._lock:
            self._counts[bisect_left(EDGES, seconds)] += 1
            self._sum += seconds

    def lines(self, name: str, labels: Labels) -> Iterable[str]:
        with self._lock:
            counts, total = list(self._counts), self._sum
        running = 0
        for edge, count in zip((*map(repr, EDGES), "+Inf"), counts, strict=True):
            running += count
            yield line(f"{name}_bucket", {**labels, "le": edge}, running)
        yield line(f"{name}_sum", labels, total)
        yield line(f"{name}_count", labels, running)


class Counter:
    """A figure that only rises."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        with self._lock:
            self.value += amount


class Samples:
    """What was measured in the last five minutes, with its times, as the released server keeps it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pairs: deque[tuple[float, float]] = deque()

    def add(self, value: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._pairs.append((now, value))
            while self._pairs[0][0] < now - WINDOWS["five_minutes"]:
                self._pairs.popleft()

    def since(self, seconds: float) -> list[float]:
        start = time.monotonic() - seconds
        with self._lock:
            return sorted(value for at, value in self._pairs if at >= start)


def statistics(values: list[float]) -> dict[str, float]:
    """The released server's fields of one metric in one window; `values` in ascending order."""
    last = len(values) - 1
    of = {f"p{percent}": values[round(last * percent / 100)] for percent in (50, 90, 99)}
    ends = {"min": values[0], "max": values[-1]}
    return {"count": len(values), "sum": sum(values), "mean": sum(values) / len(values), **ends, **of}


def line(name: str, labels: Labels, value: float) -> str:
    """One sample of the text exposition, its label values escaped."""
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {value!r}" if pairs else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def process_lines() -> list[str]:
    """What Prometheus' client libraries publish of any process."""
    times = os.times()
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with open("/proc/self/limits", encoding="ascii") as file:
        limit = next(row.split()[3] for row in file if row.startswith("Max open files"))
    return [
        line("process_cpu_seconds_total", {}, times.user + times.system),
        line("process_resident_memory_bytes", {}, resident),
        line("process_open_fds", {}, len(os.listdir("/proc/self/fd"))),
        *([line("process_max_fds", {}, int(limit))] if limit.isdigit() else []),
    ]
