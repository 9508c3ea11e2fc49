"""
The load generator of `bench`, beside wrk on the same nginx in the same run.

Requests per CPU-second of the client; what is delivered of 10,000 operations a second over 1,000 connections; whether
the 99th percentile tells a stall of one second, of which the truth is computed from the plan; and how soon a server
that only fails is left alone.
"""

import http.client
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from measure import timing
from nginx import FAILING, PATH, Nginx, NoTargetError
from outcome import Outcome
from pairs import NOISY

from engram_diagnose.bench.loading import outcome_of
from engram_diagnose.bench.results import Outcome as Load
from engram_diagnose.bench.sending.processes import send
from engram_diagnose.bench.sending.task import Kind, Progress, Task

BENCHMARK = "load_generator"
SPACE = "X-Memory-Space: bench-a"
CONNECTIONS = 64
TOO_MUCH = 500_000
OF_WRK = 0.75
DELIVERED = 0.999
STALL = 1.0
WITHIN = 0.02
LAST_SENT = 2.0


def run(*, quick: bool) -> list[Outcome]:
    """Every line; none where nginx or wrk is missing."""
    if shutil.which("wrk") is None:
        print("load_generator: wrk is not installed, nothing stands beside", file=sys.stderr)
        return []
    try:
        with Nginx() as target:
            return [
                _efficiency(target, seconds=1.0 if quick else 4.0, pairs=2 if quick else 9),
                *_delivered(target, seconds=2.0 if quick else 10.0),
                *_stall(target, seconds=10.0),
                _given_up(target),
            ]
    except NoTargetError as error:
        print(f"load_generator: {error}", file=sys.stderr)
        return []


def load(port: int, *, rate: float, seconds: float, connections: int = CONNECTIONS, workers: int = 1, path: str = PATH,
         drain: float = 2.0, on_progress: Callable[[Progress], None] = lambda so_far: None) -> Load:  # fmt: skip
    """Our load: `GET path` at a rate."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{SPACE}\r\n\r\n".encode()
    kind = Kind("recall", (request,), frozenset({200}), (b'"memories"',))
    tasks = [
        Task(
            "127.0.0.1", port, connections // workers + (worker < connections % workers), worker, workers, 1 / rate,
            seconds, (kind,), b"\0", (0,), 0, 5.0, drain, 3.0, 1.0,
        )
        for worker in range(workers)
    ]  # fmt: skip
    started = time.time()
    return outcome_of(send(tasks, threading.Event(), on_progress), started=started, workers=workers)


@dataclass(frozen=True, slots=True)
class Wrk:
    """What wrk did, and what CPU time it took, in seconds."""

    requests: int
    cpu: float


def wrk(port: int, *, seconds: float, connections: int = CONNECTIONS, path: str = PATH) -> Wrk:
    """A run of wrk with one thread."""
    address = f"http://127.0.0.1:{port}{path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-H", SPACE, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    requests = re.search(r"(\d+) requests in", said)
    if requests is None:
        raise NoTargetError(f"wrk says {said[-200:]!r}")
    return Wrk(int(requests[1]), used.ru_utime + used.ru_stime)


def _efficiency(target: Nginx, *, seconds: float, pairs: int) -> Outcome:
    """Requests per CPU-second, by turns; both as fast as they can, on another core than the target."""
    with _apart(target):
        taken = _turns(target, seconds=seconds, pairs=pairs)
    ours, others = timing([one for one, _ in taken]), timing([other for _, other in taken])
    ratio = timing([one / other for one, other in taken])
    unclear = ratio.spread > NOISY and ratio.low < OF_WRK < ratio.high
    return Outcome(
        BENCHMARK, f"requests per CPU-second, {CONNECTIONS} connections", ours.median, "wrk", others.median, "n",
        floor=OF_WRK, noise=f"too noisy to say (quartiles {ratio.spread:.0%} apart)" if unclear else "",
        quartiles=(ours.low, ours.high), yardstick_quartiles=(others.low, others.high), repetitions=pairs,
        paired_ratio=ratio.median,
    )  # fmt: skip


def _turns(target: Nginx, *, seconds: float, pairs: int) -> list[tuple[float, float]]:
    taken = []
    for number in range(pairs):
        if number % 2:
            theirs = _theirs(target, seconds=seconds)
            taken.append((_ours(target, seconds=seconds), theirs))
        else:
            taken.append((_ours(target, seconds=seconds), _theirs(target, seconds=seconds)))
    return taken


@contextmanager
def _apart(target: Nginx) -> Iterator[None]:
    """
    Target and clients each on a core of its own, as they are on machines of their own.

    On one core they take turns without waking each other, which is cheaper for both, and chance would decide between
    the two.
    """
    cores = sorted(os.sched_getaffinity(0))
    target.pin({cores[0]})
    os.sched_setaffinity(0, set(cores[1:2]) or set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, set(cores))
        target.pin(set(cores))


def _ours(target: Nginx, *, seconds: float) -> float:
    """More is due than any server answers, so that each connection is asked again at once, as wrk does it."""
    found = load(target.port, rate=TOO_MUCH, seconds=seconds, drain=0.0)
    return found.operations["recall"]["ok"] / (found.worker_cpu * found.seconds)


def _theirs(target: Nginx, *, seconds: float) -> float:
    found = wrk(target.port, seconds=seconds)
    return found.requests / found.cpu


def _delivered(target: Nginx, *, seconds: float) -> list[Outcome]:
    """10,000 a second over 1,000 connections, by two processes."""
    rate, connections = 10_000, 1_000
    found = load(target.port, rate=rate, seconds=seconds, connections=connections, workers=2)
    recall = found.operations["recall"]
    what = f"of {rate:,}/s over {connections:,} connections"
    return [
        Outcome(BENCHMARK, f"operations answered in time {what}", recall["rate"], "planned", rate, "n",
                floor=DELIVERED),
        Outcome(BENCHMARK, f"lag P99 {what}", found.lag_p99),
        Outcome(BENCHMARK, f"response P99 {what}", recall["response"]["quantiles"]["p99"]),
        Outcome(BENCHMARK, f"busiest worker's share of a core {what}", found.worker_cpu, unit="n"),
    ]  # fmt: skip


def true_quantile(share: float, *, rate: float, count: int, start: float, stall: tuple[float, float]) -> float:
    """
    The quantile of the response times of a target that answers at once, but for a stall: from the plan alone.

    A request that was meant to start during the stall is answered at its end. All times in seconds.
    """
    first, last = stall
    meant = [start + place / rate for place in range(count)]
    waits = sorted(last - one if first <= one < last else 0.0 for one in meant)
    return waits[min(count - 1, round(share * count))]


def _stall(target: Nginx, *, seconds: float) -> list[Outcome]:
    """One stall in the middle: what ours says, what is true, what a closed loop says."""
    rate = 2_000
    begun: list[float] = []
    stalls: list[tuple[float, float]] = []

    def begin(so_far: Progress) -> None:
        if not begun:
            begun.append(time.monotonic())

    def stop() -> None:
        time.sleep(seconds * 0.4)
        stalls.append(target.stall(STALL))

    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(stop)
        told = load(target.port, rate=rate, seconds=seconds, on_progress=begin).operations["recall"]
        stopped.result()
        again = pool.submit(stop)
        closed = closed_loop(target.port, rate=rate, seconds=seconds)
        again.result()
    # The first word of progress comes a quarter second after the start: close enough, since where in the run the stall
    # lies changes nothing about the waits that it causes.
    truth = true_quantile(0.99, rate=rate, count=round(rate * seconds), start=begun[0] - 0.25, stall=stalls[0])
    what = f"a stall of {STALL:g} s in {seconds:g} s at {rate:,}/s"
    return [
        Outcome(BENCHMARK, f"P99 with {what}", told["response"]["quantiles"]["p99"], "the truth from the plan", truth,
                bar=1 + WITHIN, floor=1 - WITHIN),
        Outcome(BENCHMARK, "the same, counted from when each was sent", told["service"]["quantiles"]["p99"],
                "the truth from the plan", truth),
        Outcome(BENCHMARK, "the same as clients tell it that wait for answers", closed, "the truth from the plan",
                truth),
    ]  # fmt: skip


def closed_loop(port: int, *, rate: float, seconds: float, clients: int = 8) -> float:
    """The 99th percentile of clients that wait for each answer before they send again, at a pace of `rate` together."""
    until = time.monotonic() + seconds

    def client(number: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        times = []
        while (sent := time.monotonic()) < until:
            connection.request("GET", PATH)
            connection.getresponse().read()
            took = time.monotonic() - sent
            times.append(took)
            time.sleep(max(0.0, clients / rate - took))
        connection.close()
        return times

    with ThreadPoolExecutor(clients) as pool:
        every = sorted(one for times in pool.map(client, range(clients)) for one in times)
    return every[int(0.99 * len(every))]


def _given_up(target: Nginx) -> Outcome:
    """From the first 503 to the last request, as the target has it."""
    timer = threading.Timer(2.3, target.fail)
    timer.start()
    load(target.port, rate=2_000, seconds=15.0, workers=2, path=FAILING)
    timer.join()
    times = target.failed()
    lasted = times[-1] - times[0] if times else float("inf")
    return Outcome(BENCHMARK, "from the first 503 to the last request", lasted, limit=LAST_SENT)
