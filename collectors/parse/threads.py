"""The server's threads: how long they ran, waited for a CPU, and were blocked."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from engram_diagnose.collectors.parse.figures import (
    Found,
    Missing,
    Noted,
    Said,
    UnparsedError,
    integer,
    rate,
    share,
)
from engram_diagnose.collectors.parse.lines import parse_counts, parse_tree
from engram_diagnose.collectors.parse.process import allowed_cpus, parse_process_stat
from engram_diagnose.collectors.parse.recipe import Key, Pair, Recipe
from engram_diagnose.engine.facts.fact import Reason


@dataclass(frozen=True, slots=True)
class Task:
    """
    One thread's counters; nanoseconds on and waiting for a CPU, None where the kernel counts
    none.
    """

    run_ns: int | None
    wait_ns: int | None
    voluntary: int | None
    involuntary: int | None
    migrations: int | None
    processor: int


@lru_cache(maxsize=2)  # of one pair of snapshots come both the times and the counts
def parse_tasks(text: str) -> Mapping[int, Task]:
    """
    Threads by id, from lines of `TID/file:line`.

    `27577/schedstat:8916315 4585258 504` is time running, time waiting, and runs. `threads:3` says how many there are.
    """
    files: dict[str, dict[str, str]] = {}
    for path, content in parse_tree(text).items():
        thread, _, file = path.partition("/")
        files.setdefault(thread, {})[file] = content
    return {integer(thread): _task(of) for thread, of in files.items() if "stat" in of}


def _task(files: Mapping[str, str]) -> Task:
    times = [integer(field) for field in files.get("schedstat", "").split()[:2]]
    switches = parse_counts(files.get("status", ""))
    moves = parse_counts(files.get("sched", ""))
    return Task(
        run_ns=times[0] if len(times) == 2 else None,
        wait_ns=times[1] if len(times) == 2 else None,
        voluntary=switches.get("voluntary_ctxt_switches"),
        involuntary=switches.get("nonvoluntary_ctxt_switches"),
        migrations=moves.get("se.nr_migrations", moves.get("nr_migrations")),
        processor=parse_process_stat(files["stat"]).processor,
    )


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many threads there are, and of how many the counters were read."""

    all: int
    read: int

    @property
    def scale(self) -> float:
        """What a sum over the threads that were read is multiplied with."""
        return self.all / self.read if self.read else 1.0

    def noted(self, found: Found) -> Said:
        """The finding; one from some of the threads says so."""
        known = isinstance(found, float) and self.read < self.all
        return Noted(found, f"of {self.read:,} of {self.all:,} threads") if known else found


def coverage(text: str) -> Coverage:
    """Of one snapshot; one that does not say how many there are holds them all."""
    read = len(parse_tasks(text))
    stated = re.match(r"threads:([0-9]{1,9})$", text, re.MULTILINE)
    return Coverage(max(read, int(stated.group(1))) if stated else read, read)


@dataclass(frozen=True, slots=True)
class Spent:
    """What one thread that lived through the window did in it, in seconds."""

    run: float
    wait: float
    processor: int


def spent(pair: Pair) -> list[Spent] | Missing:
    """The threads of both snapshots whose times are counted."""
    before, after = parse_tasks(pair.before), parse_tasks(pair.after)
    lived = [_spent(before[thread], after[thread]) for thread in sorted(before.keys() & after)]
    counted = [one for one in lived if one is not None]
    if not lived:
        return Missing(Reason.TOO_FEW_SAMPLES, "no thread lived through the window")
    return counted or Missing(Reason.KERNEL_CONFIG, "the kernel counts no run times (schedstat)")


def _spent(old: Task, new: Task) -> Spent | None:
    if old.run_ns is None or new.run_ns is None or old.wait_ns is None or new.wait_ns is None:
        return None
    run, wait = max(0, new.run_ns - old.run_ns), max(0, new.wait_ns - old.wait_ns)
    return Spent(run * 1e-9, wait * 1e-9, new.processor)


def _times(pair: Pair, status: str, topology: str) -> Mapping[Key, Said]:
    """
    `blocked = 1 − Δ(run + wait) / (n · Δt)`; the run queue's share is of the time that threads
    were runnable.

    Imbalance is the busiest thread's time over the mean of the k busiest, k being the CPUs that
    the process may use: idle threads of a pool do not count.
    """
    threads = spent(pair)
    if isinstance(threads, Missing):
        return dict.fromkeys(_TIMES, threads)
    run, wait = sum(one.run for one in threads), sum(one.wait for one in threads)
    lived = len(threads) * pair.seconds
    runnable = share(run + wait, lived, "the two snapshots are of one instant")
    seen = coverage(pair.before)
    return {
        "sched.running_share": seen.noted(share(run, lived, "the two snapshots are of one instant")),
        "sched.blocked_share": seen.noted(runnable if isinstance(runnable, Missing) else 1 - runnable),
        "sched.runq_wait_share": seen.noted(share(wait, run + wait, "no thread was runnable")),
        "sched.thread_cpu_imbalance": _imbalance(threads, len(allowed_cpus(status, topology)))
        if seen.read == seen.all
        else Missing(Reason.TOO_EXPENSIVE, f"the busiest may be none of the {seen.read:,} threads that are read"),
    }


_TIMES: Final = (
    "sched.running_share",
    "sched.blocked_share",
    "sched.runq_wait_share",
    "sched.thread_cpu_imbalance",
)


def _imbalance(threads: list[Spent], cpus: int) -> Found:
    busiest = sorted((one.run for one in threads), reverse=True)[: max(1, cpus)]
    if sum(busiest) <= 0:
        return Missing(Reason.TOO_FEW_SAMPLES, "no thread ran")
    return busiest[0] * len(busiest) / sum(busiest)


def _counts(pair: Pair) -> Mapping[Key, Said]:
    before, after = parse_tasks(pair.before), parse_tasks(pair.after)
    both = [(before[thread], after[thread]) for thread in sorted(before.keys() & after)]
    seen = coverage(pair.after)
    counted = {
        "sched.voluntary_rate": [(a.voluntary, b.voluntary) for a, b in both],
        "sched.involuntary_rate": [(a.involuntary, b.involuntary) for a, b in both],
        "sched.migration_rate": [(a.migrations, b.migrations) for a, b in both],
    }
    rates: dict[Key, Said] = {name: seen.noted(_sum_rate(counts, pair, seen.scale)) for name, counts in counted.items()}
    return {"sched.threads": float(seen.all), **rates}


def _sum_rate(counts: list[tuple[int | None, int | None]], pair: Pair, scale: float) -> Found:
    grown = [new - old for old, new in counts if old is not None and new is not None]
    if counts and not grown:
        return Missing(Reason.KERNEL_CONFIG, "the kernel does not count it")
    return rate(0, scale * sum(map(float, grown)), pair.seconds)


def parse_states(text: str) -> Counter[tuple[str, str]]:
    """Samples by state and kernel function: `S futex_wait_queue 120`."""
    samples: Counter[tuple[str, str]] = Counter()
    for line in text.splitlines():
        fields = line.split()
        if len(fields) != 3:
            raise UnparsedError(f"{line[:40]!r} is not `state function count`")
        samples[fields[0], fields[1]] += integer(fields[2])
    return samples


def _states(text: str) -> Mapping[Key, Said]:
    samples = parse_states(text)
    asleep = sum(count for (state, _), count in samples.items() if state == "D")
    places = _places(samples)
    waited = any(state != "R" for state, _ in samples)
    hidden = (
        Missing(Reason.PTRACE_DENIED, "the kernel does not tell where threads wait")
        if waited
        else Missing(Reason.TOO_FEW_SAMPLES, "no thread was seen waiting")
    )
    return {
        "sched.d_state_share": share(asleep, samples.total(), "no thread was sampled"),
        "sched.top_wchan": places[0][0] if places else hidden,
        "sched.wait_channels": _listed(places, samples.total()) if places else hidden,
    }


_LISTED: Final = 5
"""Wait channels that are named: what comes after them is a per cent or two."""


def _places(samples: Counter[tuple[str, str]]) -> list[tuple[str, int]]:
    """Kernel functions that threads were seen waiting in, most frequent first."""
    places: Counter[str] = Counter()
    for (_, place), count in samples.items():
        places[place] += count
    return sorted(((place, n) for place, n in places.items() if place != "0"), key=lambda one: (-one[1], one[0]))


def _listed(places: list[tuple[str, int]], total: int) -> str:
    """`futex_wait_queue 62 %, jbd2_log_wait_commit 30 %`: shares of all samples."""
    return ", ".join(f"{place} {100 * count / total:.0f} %" for place, count in places[:_LISTED] if total > 0)


SCHEDULING: Final = (
    Recipe(
        _TIMES,
        _times,
        pairs=("/proc/PID/task",),
        texts=("/proc/PID/status",),
        optional=("/sys/devices/system/cpu",),
    ),
    Recipe(
        (
            "sched.threads",
            "sched.voluntary_rate",
            "sched.involuntary_rate",
            "sched.migration_rate",
        ),
        _counts,
        pairs=("/proc/PID/task",),
    ),
    Recipe(
        ("sched.d_state_share", "sched.top_wchan", "sched.wait_channels"), _states, texts=("/proc/PID/task/states",)
    ),
)
"""Scheduling of the server's threads."""
