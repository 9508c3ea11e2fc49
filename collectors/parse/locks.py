"""Locks: futex and yield rates, and what waiting in futexes costs by address."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_lock import (
    CALLS,
    COLLECTOR,
    KIND_LOCK,
    KIND_OTHER,
    MOST_ADDRESSES,
    OTHER_WAITER,
    WAITS,
)
from engram_diagnose.collectors.capture.tracepoints import parse_call_counts, watched_seconds
from engram_diagnose.collectors.parse.figures import Between, Found, Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import figure
from engram_diagnose.collectors.parse.tool_answers import ToolAnswer, facts_of_answer, tool_answer
from engram_diagnose.engine.facts.fact import Fact, Reason

_RATES: Final = ("lock.futex_rate", "lock.yield_rate")
_WAITED: Final = ("lock.futex_wait_share", "lock.hot_address_top_share", "lock.hot_addresses", "lock.wait_mean")

LOCK_FACTS: Final = frozenset({*_RATES, *_WAITED})
"""The names of the facts that tracing locks gives."""

_GET_BY: Final = {
    Reason.NO_TOOL: "install perf (package linux-perf), better bpftrace too, and collect again as root",
    Reason.TOO_EXPENSIVE: "install bpftrace and collect again as root: it sums the waits in the kernel",
    Reason.PARANOID: "collect as root, or with CAP_PERFMON and readable tracefs",
    Reason.SECCOMP: "collect on the host instead of in the container",
    Reason.TOO_FEW_SAMPLES: "collect again while there is load",
    Reason.TOO_COARSE: "perf record -g -e syscalls:sys_enter_futex -p PID -- sleep 1: the stacks tell",
}

MOST_OF_WAITING: Final = 0.8
"""The share of all lock waiting that `lock.hot_addresses` locks hold: its definition in the catalogue."""


@dataclass(frozen=True, slots=True)
class Place:
    """What waiting at one futex cost: calls, their nanoseconds, and the longest."""

    calls: float
    ns: float
    longest: float

    def __add__(self, other: "Place") -> "Place":
        return Place(self.calls + other.calls, self.ns + other.ns, max(self.longest, other.longest))


NOWHERE: Final = Place(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Waits:
    """
    The futex waits of one window of `seconds`.

    `locks` are those that are locks by the call itself, and `shared` those where several threads waited that may be
    locks or queues of idle threads, each by address. `private` are waits of single threads at addresses of their own,
    which may be for any lock, or idle (parking_lot waits so). `uncounted` is lock time of further addresses, no longer
    than those that are there. `asleep` is the time of all futex waits in the window, from the least to the most it can
    have been. All times in nanoseconds.
    """

    seconds: float
    locks: Mapping[int, Place]
    shared: Mapping[int, Place]
    private: Place
    uncounted: Place
    threads: int
    asleep: tuple[float, float]


def facts_of_locks(answers: Iterable[Answer]) -> list[Fact]:
    """The facts of `LOCK_FACTS`, each known, or unknown with its reason."""
    mine = [answer for answer in answers if answer.collector == COLLECTOR]
    calls, waits = tool_answer(mine, CALLS), tool_answer(mine, WAITS)
    return [
        *facts_of_answer(calls, _RATES, _rates, _GET_BY),
        *facts_of_answer(_windowed(waits), _WAITED, _waited, _GET_BY),
    ]


def _windowed(said: ToolAnswer) -> ToolAnswer:
    """The waits' answer with the length of the window that its text states."""
    try:
        return replace(said, window=parse_waits(said.text).seconds) if said.text else said
    except UnparsedError:
        return said


def _rates(text: str) -> Mapping[str, Found]:
    counted, seconds = parse_call_counts(text), watched_seconds(text)
    if seconds <= 0:
        raise UnparsedError("it does not say how long it watched")
    absent = Missing(Reason.NOT_COUNTED, "perf stat did not count it")
    names = zip(_RATES, ("futex", "sched_yield"), strict=True)
    return {name: counted[call] / seconds if call in counted else absent for name, call in names}


def _waited(text: str) -> Mapping[str, Found]:
    waits = parse_waits(text)
    return {
        "lock.futex_wait_share": _wait_share(waits),
        "lock.hot_address_top_share": top_share(waits),
        "lock.hot_addresses": hot_addresses(waits),
        "lock.wait_mean": wait_mean(waits),
    }


def parse_waits(text: str) -> Waits:
    """
    The waits from lines of bpftrace's JSON; raises `UnparsedError`.

    `{"type": "map", "data": {"@ns": {"94326083072673": 174879773}}}`: the key is the address, with the kind of wait in
    the two low bits and `OTHER_WAITER` for waits of others than the first thread.
    """
    maps, threads = parse_maps(text)
    if not maps.keys() >= {"began", "now"}:
        raise UnparsedError("the sums are not complete: it ended in the middle")
    seconds = (_scalar(maps, "now") - _scalar(maps, "began")) * 1e-9
    if seconds <= 0:
        raise UnparsedError("its window has no length")
    places = _places(maps)
    if len(places) > MOST_ADDRESSES:
        raise UnparsedError(f"{len(places)} addresses; capture keeps at most {MOST_ADDRESSES}")
    locks = _of_kind(places, KIND_LOCK)
    other = _of_kind(places, KIND_OTHER)
    shared = {address: place for address, place in other.items() if address + KIND_OTHER + OTHER_WAITER in places}
    private = sum((place for address, place in other.items() if address not in shared), NOWHERE)
    lost = _lost(maps, KIND_OTHER, sum(other.values(), NOWHERE))
    uncounted = _lost(maps, KIND_LOCK, sum(locks.values(), NOWHERE))
    count = int(figure(threads.get("threads")) or 0)
    return Waits(seconds, locks, shared, private + lost, uncounted, count, _asleep(maps, threads, seconds * 1e9))


def parse_maps(text: str) -> tuple[dict[str, dict[str, float]], Mapping[str, object]]:
    """Maps by name, a figure without keys under the key ""; and what was said of the threads."""
    maps: dict[str, dict[str, float]] = {}
    threads: Mapping[str, object] = {}
    for kind, data in _lines(text):
        if kind == "threads":
            threads = data
        elif kind == "map":
            for name, value in data.items():
                maps[name.lstrip("@")] = _figures(value)
    return maps, threads


def _lines(text: str) -> Iterator[tuple[object, dict[str, object]]]:
    for line in text.splitlines():
        if not line.startswith("{"):
            continue  # blank lines, and what a version prints between
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise UnparsedError(f"{line[:40]!r} is not a JSON line of bpftrace") from None
        if isinstance(value, dict) and isinstance(value.get("data"), dict):
            yield value.get("type"), value["data"]


def _figures(value: object) -> dict[str, float]:
    items = value.items() if isinstance(value, dict) else [("", value)]
    figures = {key: figure(one) for key, one in items}
    return {key: max(0.0, one) for key, one in figures.items() if one is not None}


def _scalar(maps: Mapping[str, Mapping[str, float]], name: str) -> float:
    return maps.get(name, {}).get("", 0.0)


def _numbered(of: Mapping[str, float]) -> dict[int, float]:
    """Figures by address; what is no address in decimal or hexadecimal is left out."""
    found = {}
    for key, value in of.items():
        base = 16 if key.startswith("0x") else 10
        digits = key[2:] if base == 16 else key
        if 0 < len(digits) <= 20 and digits.isascii() and digits.isalnum():
            try:
                found[int(digits, base)] = value
            except ValueError:
                continue
    return found


def _places(maps: Mapping[str, Mapping[str, float]]) -> dict[int, Place]:
    calls, ns, longest = (_numbered(maps.get(name, {})) for name in ("n", "ns", "longest"))
    return {
        key: Place(calls.get(key, 1.0), time, min(time, longest.get(key, time)))
        for key, time in sorted(ns.items())
    }  # fmt: skip


def _of_kind(places: Mapping[int, Place], kind: int) -> dict[int, Place]:
    found: dict[int, Place] = {}
    for key, place in places.items():
        if key & 3 == kind:
            address = (key & ~3) & ~OTHER_WAITER
            found[address] = found.get(address, NOWHERE) + place
    return found


def _lost(maps: Mapping[str, Mapping[str, float]], kind: int, kept: Place) -> Place:
    """What the totals have over the addresses that were printed."""
    calls = maps.get("calls", {}).get(str(kind), 0.0) - kept.calls
    ns = maps.get("total", {}).get(str(kind), 0.0) - kept.ns
    return Place(calls, ns, ns) if calls > 0 and ns > 0 else NOWHERE


def _asleep(maps: Mapping[str, Mapping[str, float]], said: Mapping[str, object], window: float) -> tuple[float, float]:
    """
    Nanoseconds that threads were in futex waits: those that ended, those that last, those that began before, and all
    of the window for threads that are in one and made no call. A thread of which the kernel hides where it sleeps may
    have been in one.
    """
    now, since = _scalar(maps, "now"), maps.get("since", {})
    ended = sum(maps.get("total", {}).values()) + _scalar(maps, "early")
    lasting = sum(max(0.0, now - start) for start in since.values() if start > 1)
    listed = said.get("asleep")
    silent = [tid for tid in listed if str(tid) not in since] if isinstance(listed, list) else []
    least = ended + lasting + len(silent) * window
    return least, least + (figure(said.get("hidden")) or 0.0) * window


def _wait_share(waits: Waits) -> Found:
    whole = waits.threads * waits.seconds * 1e9
    if whole <= 0:
        return Missing(Reason.UNPARSED, "it does not say how many threads there were")
    low, high = (min(1.0, time / whole) for time in waits.asleep)
    return low if low == high else Between(low, high)


_NO_WAIT: Final = Missing(Reason.TOO_FEW_SAMPLES, "no thread waited for a lock while waits were traced")
_COARSE: Final = Missing(
    Reason.TOO_COARSE,
    "each thread waited at an address of its own, as with parking_lot: the call does not tell which lock, "
    "or whether the thread was idle",
)


def top_share(waits: Waits) -> Found:
    """
    The most contended lock's share of all lock waiting, from the least to the most it can be.

    Which of the shared addresses are locks is open, so that every choice of them counts, as long as something is one;
    private waits may be for no lock, for the most contended one, or spread over many.
    """
    if not _some_lock(waits):
        return _COARSE if waits.private.calls else _NO_WAIT
    private, locks = waits.private.ns, [place.ns for place in waits.locks.values()]
    top, known = max(locks, default=0.0), sum(locks) + waits.uncounted.ns
    shared = sorted(place.ns for place in waits.shared.values())
    choices = [(top, known)] if locks else []
    # Against a top among the shared speaks most who waits no longer than it does; for it, that nobody else does.
    lows = choices + [(max(top, one), known + some) for one, some in zip(shared, accumulate(shared), strict=True)]
    highs = choices + [(max(top, one), known + one) for one in shared]
    return _between(
        min(_part(most, whole + private) for most, whole in lows),
        max(_part(most + private, whole + private) for most, whole in highs),
    )


def hot_addresses(waits: Waits) -> Found:
    """
    How many locks hold `MOST_OF_WAITING` of the time, from the least to the most it can be.

    Private waits may be for as many further locks as there are such waits.
    """
    if not _some_lock(waits):
        return _COARSE if waits.private.calls else _NO_WAIT
    locks = [place.ns for place in waits.locks.values()]
    shared = sorted(place.ns for place in waits.shared.values())
    first = 0 if locks else 1
    small = [_fewest([*locks, *shared[:count]], waits.uncounted) for count in range(first, len(shared) + 1)]
    large = [
        _fewest([*locks, *shared[len(shared) - count :]], waits.uncounted) for count in range(first, len(shared) + 1)
    ]
    low = min(least for least, _ in (*small, *large))
    high = max(most for _, most in (*small, *large))
    return _between(1.0, high + waits.private.calls) if waits.private.calls else _between(low, high)


def _fewest(times: list[float], rest: Place) -> tuple[float, float]:
    """The least number of locks that hold it, from and to: of `rest`, each wait may be for a further one."""
    wanted, held = MOST_OF_WAITING * (sum(times) + rest.ns), 0.0
    for count, time in enumerate(sorted(times, reverse=True), 1):
        held += time
        if held >= wanted:
            return float(count), float(count)
    return len(times) + 1.0, len(times) + max(1.0, rest.calls)


def wait_mean(waits: Waits) -> Found:
    """
    The mean wait for a lock in seconds, from the least to the most it can be.

    A shared address either is a lock or is none; of private waits any may be for a lock.
    """
    if not _some_lock(waits):
        return _COARSE if waits.private.calls else _NO_WAIT
    known = sum(waits.locks.values(), waits.uncounted)
    shared = sorted(waits.shared.values(), key=_mean)
    low = min((sums for sums in accumulate(shared, initial=known) if sums.calls), key=_mean)
    high = max((sums for sums in accumulate(reversed(shared), initial=known) if sums.calls), key=_mean)
    private = waits.private
    least, most = _part(low.ns, low.calls + private.calls), max(_mean(high), private.longest)
    return _between(least * 1e-9, most * 1e-9)


def _some_lock(waits: Waits) -> bool:
    return any(place.calls for place in (*waits.locks.values(), *waits.shared.values()))


def _mean(place: Place) -> float:
    return _part(place.ns, place.calls)


def _part(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _between(low: float, high: float) -> Found:
    return low if low >= high else Between(low, high)
