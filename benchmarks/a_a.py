"""
How often a comparison calls a server different from itself: interleaved runs of one noisy server, judged as always.

Each comparison is made of real runs, sixteen of a quarter of a second, labelled `before` and `after` in random pairs;
nothing is resampled. An alarm is any figure that is called improved or worse. Beside it stands what "more than 20 % in
P99 between two single runs" would have said of the same runs.
"""

import asyncio
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import uvloop
from outcome import Outcome

from engram_diagnose.bench.comparing import Turns, compared, interleave
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.rulebase import load_rules

NAME = "a_a"
COMPARISONS, QUICK = 200, 3
SLOWER, DIFFERENT = 1.3, 20
"""How much slower a server is that should be told from itself, and in how many comparisons that is tried."""
RUNS, SECONDS, RATE, CONNECTIONS = 8, 0.25, 1000.0, 16
"""Runs a side, seconds of one, requests a second: about a third of what the target can do."""
MOST = 0.08
"""What the upper 95 % bound of the rate of false alarms is held to."""
RISE = 0.2
"""What "+20 % between single runs" means."""
GRACE = 0.5
BOUNDS = [1e-5 * 1.02**number for number in range(900)]
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
RECALL = b"GET /api/v1/memories/recall?query=a HTTP/1.1\r\nHost: a\r\n\r\n"
STORE = b"POST /api/v1/memories/remember HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(frozen=True, slots=True)
class Alarms:
    """What came of some comparisons: false alarms of ours, and those of single pairs of runs."""

    comparisons: int = 0
    alarms: int = 0
    pairs: int = 0
    single: int = 0

    def __add__(self, other: "Alarms") -> "Alarms":
        return Alarms(self.comparisons + other.comparisons, self.alarms + other.alarms, self.pairs + other.pairs,
                      self.single + other.single)  # fmt: skip


def run(*, quick: bool) -> list[Outcome]:
    """False alarms beside those of single runs; and how often a server that is slower is found to be."""
    found = compare_with_itself(QUICK if quick else COMPARISONS, seed=1)
    tried = QUICK if quick else DIFFERENT
    worse = slower_found(tried, seed=2)
    told = Outcome(NAME, f"found to be worse when {SLOWER - 1:.0%} slower", worse / tried, unit="n", repetitions=tried)
    return [*outcomes(found), told]


def outcomes(found: Alarms) -> list[Outcome]:
    """The lines of a benchmark."""
    bound = upper_bound(found.alarms, found.comparisons)
    enough = "" if found.comparisons >= COMPARISONS else f"{found.comparisons} of {COMPARISONS} comparisons"
    return [
        Outcome(NAME, f"false alarms, upper 95 % bound ({found.alarms} of {found.comparisons})", bound, unit="n",
                limit=MOST, noise=enough),
        Outcome(NAME, "false alarms, rate", found.alarms / found.comparisons, "+20 % in P99 of single runs",
                found.single / found.pairs or None, "n", repetitions=found.comparisons),
    ]  # fmt: skip


def upper_bound(alarms: int, comparisons: int, *, confidence: float = 0.95) -> float:
    """
    The one-sided Clopper-Pearson bound: the largest rate at which so few alarms come in more than 1 - confidence.

        sum over k <= alarms of C(n, k) p^k (1 - p)^(n - k) = 1 - confidence
    """
    low, high = 0.0, 1.0
    while alarms < comparisons and high - low > 1e-9:
        middle = (low + high) / 2
        under = sum(
            math.comb(comparisons, k) * middle**k * (1 - middle) ** (comparisons - k) for k in range(alarms + 1)
        )
        low, high = (middle, high) if under > 1 - confidence else (low, middle)
    return high


def compare_with_itself(comparisons: int, *, seed: int) -> Alarms:
    """So many comparisons of one server with itself, one after the other."""
    found = Alarms()
    with target(seed) as port:
        for document, verdict in _compared(comparisons, {"before": port, "after": port}, seed):
            pairs = _pairs(document["runs"])
            found += Alarms(1, verdict in ("improved", "worse"), len(pairs), sum(map(_rose, pairs)))
    return found


def slower_found(comparisons: int, *, seed: int) -> int:
    """How many of so many comparisons with a slower server find it worse."""
    with target(seed) as port, target(seed + 1, slowness=SLOWER) as slower:
        found = [verdict for _, verdict in _compared(comparisons, {"before": port, "after": slower}, seed)]
    return found.count("worse")


def _compared(comparisons: int, ports: Mapping[str, int], seed: int) -> Iterator[tuple[dict[str, Any], str]]:
    """The runs of each comparison, and its verdict."""
    loaded = load_rules((), thorough=False)
    policy = read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules)
    for number in range(comparisons):
        runs = interleave(
            Turns(RUNS, 1000 * seed + number), switch=lambda side: None, measure=lambda side: one_run(ports[side])
        )
        document = runs.benchmark(f"a/a {number}", "benchmarks/a_a.py")
        yield document, compared(document, policy, loaded.catalogue)["verdict"]["state"]


def _pairs(runs: Sequence[Any]) -> list[tuple[float, float]]:
    """P99 of recalls of neighbouring runs, before and after."""
    waits = [one["operations"]["recall"]["response"]["quantiles"]["p99"] for one in runs]
    return list(zip(waits[::2], waits[1::2], strict=True))


def _rose(pair: tuple[float, float]) -> bool:
    return max(pair) > (1 + RISE) * min(pair)


# One run


@contextmanager
def target(seed: int, *, slowness: float = 1.0) -> Iterator[int]:
    """The noisy server in a process of its own, and its port."""
    program = Path(__file__).with_name("noisy_target.py")
    with subprocess.Popen(
        [sys.executable, str(program), str(seed), str(slowness)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def one_run(port: int) -> dict[str, Any]:
    """A run of 70 % recalls in the benchmark format, open loop."""
    started = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    client = Client()
    uvloop.run(client.run(port))
    operations = {name: _operation(name, client) for name in ("recall", "store")}
    return {
        "started": started, "duration_seconds": SECONDS, "order": 1, "side": "",
        "workload": {"name": "a/a", "mix": {"recall": 0.7, "store": 0.3}, "loop": "open", "offered_rate": RATE,
                     "clients": CONNECTIONS, "dataset": {"memories": 0}, "dimension": 768, "spaces": ["bench-a"]},
        "server": {"address": "127.0.0.1", "version": "", "dialect": "", "configuration": ""},
        "client": {"host": "", "workers": 1},
        "validity": {"valid": True, "reasons": [], "lag_p99_seconds": _quantile(sorted(client.lags), 0.99),
                     "delivered_share": 1.0, "worker_cpu_share": 0.0},
        "operations": operations,
    }  # fmt: skip


@dataclass(slots=True)
class Client:
    """Requests at their planned instants, in the exact mix; what finds no idle connection waits for one."""

    responses: dict[str, list[float]] = field(default_factory=lambda: {"recall": [], "store": []})
    services: dict[str, list[float]] = field(default_factory=lambda: {"recall": [], "store": []})
    sent: dict[str, int] = field(default_factory=lambda: {"recall": 0, "store": 0})
    lags: list[float] = field(default_factory=list)
    idle: list["Line"] = field(default_factory=list)
    waiting: list[tuple[str, float]] = field(default_factory=list)

    async def run(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: Line(self), "127.0.0.1", port)
        count = int(RATE * SECONDS)
        names = ["recall"] * round(0.7 * count) + ["store"] * (count - round(0.7 * count))
        random.shuffle(names)
        start = time.monotonic() + 0.01
        for number, name in enumerate(names):
            meant = start + number / RATE
            delay = meant - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            self.lags.append(max(0.0, time.monotonic() - meant))
            self.ask(name, meant)
        end = time.monotonic() + GRACE
        while len(self.idle) < CONNECTIONS and time.monotonic() < end:
            await asyncio.sleep(0.002)
        for line in self.idle:
            line.transport.close()

    def ask(self, name: str, meant: float) -> None:
        if self.idle:
            self.idle.pop().send(name, meant)
        else:
            self.waiting.append((name, meant))

    def answered(self, line: "Line", name: str, meant: float, sent: float) -> None:
        now = time.monotonic()
        self.responses[name].append(now - meant)
        self.services[name].append(now - sent)
        if self.waiting:
            line.send(*self.waiting.pop(0))
        else:
            self.idle.append(line)


class Line(asyncio.Protocol):
    """One connection, one request at a time."""

    transport: asyncio.Transport

    def __init__(self, client: Client) -> None:
        self.client = client
        self.asked = ("", 0.0, 0.0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.client.idle.append(self)

    def send(self, name: str, meant: float) -> None:
        self.client.sent[name] += 1
        self.asked = (name, meant, time.monotonic())
        self.transport.write(STORE if name == "store" else RECALL)

    def data_received(self, data: bytes) -> None:
        self.client.answered(self, *self.asked)


def _operation(name: str, client: Client) -> dict[str, Any]:
    responses, services = sorted(client.responses[name]), sorted(client.services[name])
    return {"sent": client.sent[name], "ok": len(responses), "errors": {}, "rate": len(responses) / SECONDS,
            "response": _histogram(responses), "service": _histogram(services),
            "lag": _histogram(sorted(client.lags))}  # fmt: skip


def _histogram(values: list[float]) -> dict[str, Any]:
    counts = [0] * (len(BOUNDS) + 1)
    at = 0
    for value in values:
        while at < len(BOUNDS) and value > BOUNDS[at]:
            at += 1
        counts[at] += 1
    quantiles = {key: _quantile(values, share) if values else None for key, share in SHARES.items()}
    return {"bounds": BOUNDS, "counts": counts, "sum": sum(values), "max": max(values, default=None),
            "quantiles": quantiles}  # fmt: skip


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
