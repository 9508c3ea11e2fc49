"""
The load of a step as processes that send it: requests made ready, workers started together, their figures merged.
"""

import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import numpy as np

from engram_diagnose.bench.plans import Step
from engram_diagnose.bench.results import Outcome, Setting
from engram_diagnose.bench.sending.histogram import merged
from engram_diagnose.bench.sending.processes import Launcher, ThisMachine, send
from engram_diagnose.bench.sending.task import Kind, Progress, Result, Second, Task, Told
from engram_diagnose.bench.texts import Texts
from engram_diagnose.bench.workloads import STORE

Say = Callable[[str], None]
_MARK: Final = b"#########"
_FIRST_NUMBER: Final = 100_000_000
"""Numbers of memories that a load stores: seeded ones have smaller ones."""
_STORE_TEXTS: Final = 512
_CARDS: Final = 1000
_PICKS: Final = 1 << 16
_SIGNS: Final[Mapping[str, tuple[bytes, ...]]] = {
    STORE: (b'id"', b'"status"', b'"success"'),
    "recall": (b'"memories"', b'"results"'),
}
"""What stands in every good answer."""
_GOOD: Final[Mapping[str, frozenset[int]]] = {STORE: frozenset({200, 201}), "recall": frozenset({200})}


class EngineLoader:
    """Sends the loads of one benchmark; `stopping` ends the one that is under way."""

    def __init__(self, setting: Setting, *, token: str, stopping: threading.Event, progress: Say,
                 launcher: Launcher | None = None) -> None:  # fmt: skip
        self._setting = setting
        self._launcher = launcher or ThisMachine()
        self._plan = setting.plan
        self._limits = setting.limits
        self._token = token
        self._texts = Texts(self._plan.seed)
        self._stopping = stopping
        self._progress = progress
        self._number = _FIRST_NUMBER
        self._loads = 0
        self._ready: dict[tuple[str, str], Kind] = {}
        self._begun = threading.Event()

    def next_begin(self) -> threading.Event:
        """Set once the next load is under way."""
        self._begun = threading.Event()
        return self._begun

    def seed(self, space: str, count: int, rate: float) -> Outcome:
        """Store the memories 0 to `count` - 1 into a space."""
        bodies = tuple(self._store(space, self._texts.memory(number)) for number in range(count))
        kind = Kind(STORE, bodies, _GOOD[STORE], _SIGNS[STORE])
        return self._send((kind,), b"\0", range(count), rate, count / rate, told=f"storing in {space}",
                          drain=self._limits["seed_wait"])  # fmt: skip

    def load(self, step: Step, rate: float, seconds: float, *, told: str) -> Outcome:
        """Offer the load of a step; ends early when it is stopped, or when nothing good comes of it."""
        cells = [(name, space) for name in step.mix for space in step.spaces]
        kinds = tuple(self._kind(name, space) for name, space in cells)
        self._loads += 1
        chance = random.Random(f"{self._plan.seed} {self._loads}")  # noqa: S311 -- a shuffle, not a secret
        shares = [step.mix[name] / len(step.spaces) for name, _ in cells]
        return self._send(kinds, deck(shares, chance), self._picks(), rate, seconds, told=told)

    # Requests

    def _kind(self, name: str, space: str) -> Kind:
        if (name, space) not in self._ready:
            texts, memories = self._texts, self._plan.memories
            if name == STORE:
                made = (
                    self._store(space, f"{texts.memory(number)} {_MARK.decode()}") for number in range(_STORE_TEXTS)
                )
                kind = Kind(name, tuple(made), _GOOD[name], _SIGNS[name], numbered=True, mark=_MARK)
            else:
                asked = (self._recall(space, texts.question(number)) for number in range(memories))
                kind = Kind(name, tuple(asked), _GOOD[name], _SIGNS[name])
            self._ready[name, space] = kind
        return self._ready[name, space]

    def _store(self, space: str, text: str) -> bytes:
        routes = self._setting.server.routes
        body = json.dumps({"content": text, "confidence": 0.9, "memory_space_id": space}, separators=(",", ":"))
        return self._request("POST", routes.remember, space, body.encode())

    def _recall(self, space: str, question: str) -> bytes:
        routes = self._setting.server.routes
        query = urlencode({"query": question, "max_results": round(self._limits["results"])}, quote_via=quote)
        return self._request("GET", f"{routes.recall}?{query}", space, b"")

    def _request(self, method: str, target: str, space: str, body: bytes) -> bytes:
        header = self._setting.server.routes.space_header
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._plan.address.authority}", f"{header}: {space}"]
        lines += ["User-Agent: engram-diagnose-bench"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
        lines += [f"Authorization: Bearer {self._token}"] if self._token else []
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _picks(self) -> Sequence[int]:
        """Which memory each recall asks for: few of them often, as zipf has it."""
        return zipf_picks(max(1, self._plan.memories), self._limits["zipf"], seed=self._plan.seed)

    # Processes

    def _send(self, kinds: tuple[Kind, ...], order: bytes, picks: Sequence[int], rate: float, seconds: float, *,
              told: str, drain: float | None = None) -> Outcome:  # fmt: skip
        address, limits = self._plan.address, self._limits
        waits = limits["answer_wait"], limits["drain"] if drain is None else drain
        workers = min(self._workers(rate), self._plan.connections)
        tasks = [
            Task(
                address.host, address.port, _part(self._plan.connections, worker, workers), worker, workers, 1 / rate,
                seconds, kinds, order, tuple(picks), self._number + worker, *waits, limits["hang"],
                limits["abort_window"],
            )
            for worker in range(workers)
        ]  # fmt: skip
        self._number += round(rate * seconds) + workers
        started = time.time()
        results = send(tasks, self._stopping, lambda so_far: self._progress(_line(told, so_far)),
                       launcher=self._launcher, on_begin=self._begun.set)  # fmt: skip
        return outcome_of(results, started=started, workers=workers, busy=limits["worker_cpu"])

    def _workers(self, rate: float) -> int:
        least, most = self._launcher.places
        if self._plan.workers:
            return max(least, self._plan.workers)
        # On the server's own machine half of it is the server's.
        own = max(1, most // 2) if self._plan.address.is_this_machine else most
        return max(least, min(own, -(-int(rate) // int(self._limits["worker_rate"]))))


def _part(whole: int, place: int, parts: int) -> int:
    return whole // parts + (place < whole % parts)


def _line(told: str, so_far: Progress) -> str:
    failed = f", {so_far.failed:,} failed" if so_far.failed else ""
    return f"{told}: {so_far.sent:,} sent, {so_far.ok:,} answered{failed}"


def deck(shares: Sequence[float], chance: random.Random) -> bytes:
    """Which kind each request is: cards in exactly these shares (to a thousandth), shuffled."""
    counts = [int(share * _CARDS) for share in shares]
    rest = sorted(range(len(shares)), key=lambda kind: (counts[kind] - shares[kind] * _CARDS, kind))
    for place in range(_CARDS - sum(counts)):
        counts[rest[place % len(rest)]] += 1
    cards = [kind for kind, count in enumerate(counts) for _ in range(count)]
    chance.shuffle(cards)
    return bytes(cards)


def zipf_picks(count: int, exponent: float, *, seed: int) -> list[int]:
    """Numbers below `count`, the r-th most frequent with a share like 1 / r^exponent; which that is, chance says."""
    random_ = np.random.default_rng((seed, 3))
    weights = 1.0 / np.arange(1, count + 1) ** exponent
    ranks = np.searchsorted(np.cumsum(weights) / weights.sum(), random_.random(_PICKS))
    found: list[int] = random_.permutation(count)[np.minimum(ranks, count - 1)].tolist()
    return found


# Merged


def outcome_of(results: Sequence[Result], *, started: float, workers: int, busy: float = math.inf) -> Outcome:
    """
    The figures of all workers as one load's, by operation.

    What a worker did not send counts as not delivered where it used more than `busy` of a core: with CPU left it was
    the server that let no connection become free.
    """
    lasted = max((one.lasted for one in results), default=0.0)
    by_name: dict[str, list[Told]] = {}
    for result in results:
        for name, told in result.told:
            by_name.setdefault(name, []).append(told)
    due = sum(one.due for one in results)
    lag = merged(told.lag for parts in by_name.values() for told in parts).quantile(0.99)
    aborted = next((one.aborted for one in results if one.aborted), "")
    return Outcome(
        started=started,
        seconds=max(lasted, 1e-3),
        operations={name: _operation(parts, max(lasted, 1e-3)) for name, parts in sorted(by_name.items())},
        delivered=1 - sum(_unsent(one) for one in results if one.cpu > busy) / due if due else 1.0,
        lag_p99=lag or 0.0,
        worker_cpu=max((one.cpu for one in results), default=0.0),
        workers=workers,
        aborted=aborted,
        timeline=_timeline(results),
        connected=sum(one.connected for one in results),
    )


def _unsent(result: Result) -> int:
    return sum(told.errors.get("not-served", 0) for _, told in result.told)


def _operation(parts: Sequence[Told], lasted: float) -> dict[str, Any]:
    errors: dict[str, int] = {}
    for told in parts:
        for kind, count in told.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    return {
        "sent": sum(one.sent for one in parts),
        "ok": sum(one.ok for one in parts),
        "errors": dict(sorted(errors.items())),
        "rate": sum(one.ok_in_time for one in parts) / lasted,
        **{name: merged(getattr(one, name) for one in parts).document() for name in ("response", "service", "lag")},
    }


def _timeline(results: Iterable[Result]) -> dict[str, Any] | None:
    seconds: dict[int, list[Second]] = {}
    for result in results:
        for place, second in result.seconds.items():
            seconds.setdefault(place, []).append(second)
    points = [_point(place, seconds[place]) for place in sorted(seconds) if place >= 0]
    return {"interval_seconds": 1.0, "points": points} if points else None


def _point(place: int, parts: Sequence[Second]) -> dict[str, Any]:
    response = merged(one.times for one in parts)
    return {
        "at_seconds": float(place), "sent": sum(one.sent for one in parts), "ok": sum(one.ok for one in parts),
        "errors": sum(one.errors for one in parts), "p50": response.quantile(0.5), "p99": response.quantile(0.99),
    }  # fmt: skip
