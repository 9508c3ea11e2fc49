"""
Whether this host is quiet enough to be measured: what others use of its CPUs, how fast they run, and who takes them.

What it finds does not go into other figures: it refuses, or is said beside them.
"""

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from engram_diagnose.kernels.loops.noise import LONGEST_WATCH, OPERATIONS, Gaps, chain, watch
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.host_look import Look, governors
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Stability, Unmeasured, quantile
from engram_diagnose.kernels.measure.sampling import of_values

TRIAL_STEPS: Final = 20_000
"""Steps that are timed to know how many fill a look: some ten microseconds."""

_SLICES: Final = 8
"""Of a look at a frequency: on a small host each takes half a millisecond, a scheduler's turn 3 ms."""

_NAP: Final = 0.05
"""Seconds between two chances to end the watch."""


@dataclass(frozen=True, slots=True)
class Gate:
    """
    Whether measuring may begin.

    `refused` is a clause for an operator, empty when it may; `notes` are sentences to print beside all figures. Figures
    of all cores mean nothing where `all_cores` says why; empty when they do.
    """

    refused: str
    notes: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    all_cores: str = ""


@dataclass(frozen=True, slots=True)
class _Frequency:
    """Operations per second of a CPU, one at a time, by repeat: its clock's frequency."""

    cpu: int
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return quantile(self.values, 0.5)

    @property
    def fall(self) -> float:
        """By which share the last third of the repeats lies under the first; negative where it rose."""
        third = max(1, len(self.values) // 3)
        return 1 - quantile(self.values[-third:], 0.5) / quantile(self.values[:third], 0.5)


@dataclass(frozen=True, slots=True)
class _Missing:
    """The share of the CPUs' time that was gone, by repeat: taken by the host, and by other programs of this system."""

    by_host: tuple[float, ...]
    by_programs: tuple[float, ...]


def gate(bench: Bench, *, quota: float | None, guest: bool) -> Gate:
    """
    Look at this host for about half a second.

    `quota` is how many CPUs a control group allows this process, None where none limits it; `guest` is whether this is
    a virtual machine.
    """
    bench.say("what others use of the CPUs")
    bench.pool.run(*[_warm] * len(bench.pool))
    first = Look.now(bench)
    _wait(bench)
    second = Look.now(bench)
    frequencies = _frequencies(bench)
    missing = _missing(bench, _rate(first, second))
    last = Look.now(bench)
    others, steal = others_share(first, second), steal_share(first, last)
    limits = bench.limits
    notes = [
        *_busy_notes(others, steal, missing, limits, guest=guest),
        *_quota_notes(quota, len(bench.cpus)),
        *_frequency_notes(frequencies, limits),
        *_governor_notes(governors(bench.cpus)),
        *changes((first, second, last), limits),
    ]
    outcomes = [
        _share("noise.others", others, bench),
        _share("noise.steal", steal, bench),
        *(
            of_values("noise.frequency", "/s", one.values, bench, better="higher", labels={"cpu": str(one.cpu)})
            for one in frequencies
        ),
        *_missing_outcomes(missing, bench),
    ]
    return Gate(_refusal(others, steal, missing, limits), tuple(notes), tuple(outcomes), all_cores(quota))


def _warm() -> None:
    """What is compiled on the first call is not to be taken for work of others."""
    chain(1)
    watch(1, least=1)


def _wait(bench: Bench) -> None:
    end = time.monotonic() + bench.limits["gate_watch"]
    while (left := end - time.monotonic()) > 0:
        bench.check()
        time.sleep(min(left, _NAP))


# What others use


def others_share(before: Look, after: Look) -> float | None:
    """The share of the CPUs that other programs used between two looks, None where the kernel does not say."""
    total = after.cpus.total - before.cpus.total
    if total <= 0:
        return None
    used = after.cpus.busy - before.cpus.busy - (after.own - before.own)
    return min(1.0, max(0.0, used / total))


def steal_share(before: Look, after: Look) -> float | None:
    """The share of the CPUs' time that the hypervisor took between two looks, None where the kernel does not say."""
    total = after.cpus.total - before.cpus.total
    return min(1.0, max(0.0, (after.cpus.steal - before.cpus.steal) / total)) if total > 0 else None


def _refusal(others: float | None, steal: float | None, missing: _Missing | None, limits: Mapping[str, float]) -> str:
    most = limits["busy_refused"]
    if others is not None and others >= most:
        return f"other programs use {others:.0%} of the CPUs; from {most:.0%} on, figures are those of what is left"
    gone = _taken_by_host(steal, missing)
    if gone >= most:
        return (
            f"the hypervisor takes {gone:.0%} of the CPUs' time; from {most:.0%} on, figures are those of what is left"
        )
    return ""


def _taken_by_host(steal: float | None, missing: _Missing | None) -> float:
    """The larger of what the kernel was told, and what is missing: a hypervisor may say nothing."""
    return max(steal or 0.0, quantile(missing.by_host, 0.5) if missing else 0.0)


def _busy_notes(
    others: float | None, steal: float | None, missing: _Missing | None, limits: Mapping[str, float], *, guest: bool
) -> list[str]:
    notes = []
    if others is None:
        notes.append("the kernel does not say what others use of the CPUs")
    elif others >= limits["busy_noisy"]:
        notes.append(
            f"other programs use {others:.0%} of the CPUs: figures scatter, and are lower than on an idle host"
        )
    if steal is not None and steal >= limits["steal_noisy"]:
        notes.append(f"the hypervisor took {steal:.1%} of the CPUs' time")
    gone = quantile(missing.by_host, 0.5) if missing else 0.0
    if gone >= limits["gap_noisy"]:
        who = "the hypervisor has" if guest else "interrupts or the firmware have"
        notes.append(f"{gone:.1%} of the CPUs' time was gone while no other program ran: {who} taken it")
    return notes


# A quota


def all_cores(quota: float | None) -> str:
    """Why figures of all cores mean nothing here, a clause; empty when they do."""
    if quota is None or quota >= 1:
        return ""
    return f"a quota of {quota:g} CPUs stops even one thread for a part of each period"


def _quota_notes(quota: float | None, cpus: int) -> list[str]:
    if quota is None or quota >= cpus:
        return []
    if quota < 1:
        return [
            f"a CPU quota of {quota:g} CPUs: figures of all cores mean nothing and are left out; those of one thread "
            "hold between its pauses"
        ]
    return [f"a CPU quota of {quota:g} of {cpus} CPUs: figures of all cores are those of the quota, not of the host"]


# Frequency


def _frequencies(bench: Bench) -> list[_Frequency]:
    """Of each CPU in turn, again and again; on a large host of every so-many-th."""
    bench.say("the frequency of each CPU")
    threads = spread_over(len(bench.pool), int(bench.limits["frequency_cpus"]))
    repeats = int(bench.limits["repeats"])
    trial = bench.pool.run_on(threads[:1], [lambda: _fastest(TRIAL_STEPS)])[0]
    wanted = bench.limits["frequency_watch"] / (repeats * len(threads) * _SLICES) * 1e9
    steps = max(TRIAL_STEPS, int(TRIAL_STEPS * wanted / trial))
    taken: dict[int, list[float]] = {thread: [] for thread in threads}
    for _ in range(repeats):
        for thread in threads:
            bench.check()
            nanoseconds = bench.pool.run_on([thread], [lambda: _fastest(steps)])[0]
            taken[thread].append(OPERATIONS * steps * 1e9 / nanoseconds)
    return [_Frequency(bench.pool.cpus[thread], tuple(values)) for thread, values in taken.items()]


def _fastest(steps: int) -> int:
    """Nanoseconds of so many steps, where nobody took the CPU: the fastest of some slices, each shorter than a turn."""
    return max(1, min(chain(steps)[1] for _ in range(_SLICES)))


def spread_over(count: int, most: int) -> list[int]:
    """At most `most` of the numbers from 0 to `count`, evenly apart."""
    chosen = min(count, most)
    return [number * count // chosen for number in range(chosen)]


def _frequency_notes(frequencies: Sequence[_Frequency], limits: Mapping[str, float]) -> list[str]:
    slow = min(frequencies, key=lambda one: one.median)
    fast = max(frequencies, key=lambda one: one.median)
    notes = []
    if 1 - slow.median / fast.median >= limits["frequency_differs"]:
        notes.append(
            f"CPU {slow.cpu} runs at {_gigahertz(slow.median)}, CPU {fast.cpu} at {_gigahertz(fast.median)}: "
            "they are of different kinds, or something slows one of them down"
        )
    falling = max(frequencies, key=lambda one: one.fall)
    if falling.fall >= limits["frequency_falls"]:
        notes.append(
            f"CPU {falling.cpu} became slower by {falling.fall:.0%} within {limits['frequency_watch']:g} s: "
            "heat, a power limit, or another CPU of the host under it"
        )
    return notes


def _gigahertz(frequency: float) -> str:
    return f"{frequency / 1e9:.2f} GHz"


def _governor_notes(found: Sequence[str]) -> list[str]:
    slow = [name for name in found if name != "performance"]
    return [f"frequency governor {', '.join(slow)}: the first milliseconds of a load may run slower"] if slow else []


# Time that is gone


def _rate(before: Look, after: Look) -> float:
    """Ticks of the counter in a nanosecond, 0 where there is none."""
    passed = after.monotonic - before.monotonic
    return (after.ticks - before.ticks) / passed if passed > 0 else 0.0


def _missing(bench: Bench, rate: float) -> _Missing | None:
    """Watch all CPUs at once, None where they have no counter."""
    if rate <= 0:
        return None
    bench.say("who takes the CPUs")
    repeats = int(bench.limits["repeats"])
    long = min(LONGEST_WATCH, max(1, int(bench.limits["gap_watch"] / repeats * 1e9)))
    least = max(1, int(bench.limits["gap_least"] * 1e9 * rate))
    by_host, by_programs = [], []
    for _ in range(repeats):
        bench.check()
        host, programs = shares(bench.pool.run(*[lambda: _watched(long, least)] * len(bench.pool)))
        by_host.append(host)
        by_programs.append(programs)
    return _Missing(tuple(by_host), tuple(by_programs))


def _watched(long: int, least: int) -> tuple[Gaps, int]:
    """The gaps of this thread, and how often another program took its CPU meanwhile."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
    found = watch(long, least=least)
    return found, resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw - before


def shares(watched: Sequence[tuple[Gaps, int]]) -> tuple[float, float]:
    """
    The shares of the time that the host and that other programs took, from the gaps and switches of each thread.

    A thread that was not switched away, and yet had gaps, was stopped from below.
    """
    span = sum(gaps.span for gaps, _ in watched)
    host = sum(gaps.total for gaps, switches in watched if not switches)
    programs = sum(gaps.total for gaps, switches in watched if switches)
    return (host / span, programs / span) if span > 0 else (0.0, 0.0)


def _missing_outcomes(missing: _Missing | None, bench: Bench) -> list[Outcome]:
    if missing is None:
        return [Unmeasured("noise.gap_share", "this CPU has no counter that programs may read")]
    taken = {"host": missing.by_host, "programs": missing.by_programs}
    return [
        Measurement(
            "noise.gap_share", "", values, "lower", _stability(values, bench.limits), {"by": by}, len(bench.pool)
        )
        for by, values in taken.items()
    ]


def _stability(values: tuple[float, ...], limits: Mapping[str, float]) -> Stability:
    """By how far shares lie apart themselves: a hundredth or two hundredths of one are both nothing."""
    apart = quantile(values, 0.75) - quantile(values, 0.25)
    if apart > limits["spread_unstable"]:
        return "unstable"
    return "noisy" if apart > limits["spread_noisy"] else "stable"


def _share(name: str, share: float | None, bench: Bench) -> Outcome:
    if share is None:
        return Unmeasured(name, "the kernel does not say what its CPUs do", "mount /proc")
    return Measurement(name, "", (share,), "lower", "stable", threads=len(bench.cpus))


# Another host under it


def changes(looks: Sequence[Look], limits: Mapping[str, float]) -> list[str]:
    """What became another between the looks, as it does when a guest is moved: the CPU, its counter, the clocks."""
    first, last = looks[0], looks[-1]
    notes = []
    if first.model != last.model:
        notes.append(f"the CPU became another ({first.model}, now {last.model}): the guest was moved; measure again")
    rates = [_rate(before, after) for before, after in pairwise(looks)]
    if min(rates) < 0:
        notes.append("the CPU's counter went back: the guest was moved, or its CPUs do not agree; measure again")
    elif max(rates) > 0 and 1 - min(rates) / max(rates) > limits["ticks_differ"]:
        notes.append(
            f"the CPU's counter went at {min(rates) * 1e3:.5g} MHz and at {max(rates) * 1e3:.5g} MHz: "
            "the guest was moved, or its clock is being corrected; measure again"
        )
    if (stood := (last.boot - first.boot) / 1e9) > limits["clock_step"]:
        notes.append(f"the host stood still for {stood:.3g} s: it was suspended, or moved; measure again")
    if abs(stepped := (last.real - first.real) / 1e9) > limits["clock_step"]:
        notes.append(f"the time of day was set by {stepped:+.3g} s meanwhile: by hand, or after the guest was moved")
    return notes
