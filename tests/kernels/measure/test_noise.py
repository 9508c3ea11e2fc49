"""Whether a host may be measured, as its operator is told."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.loops.noise import Gaps
from engram_diagnose.kernels.measure import noise as module
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.host_look import CpuTimes, Look
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.noise import Gate, changes, gate, shares, spread_over
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.rulebase import load_rules

SECOND = 1_000_000_000
CPUS = tuple(sorted(os.sched_getaffinity(0)))


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    read = read_limits(load_rules((), thorough=False).texts, "kernels")
    return {**read, "repeats": 3, "gate_watch": 0.02, "gap_watch": 0.003, "frequency_watch": 0.003}


@pytest.fixture
def bench(limits: Mapping[str, float]) -> Iterator[Bench]:
    with Pool(CPUS) as pool:
        yield Bench(limits, CPUS, 1 << 20, pool)


QUIET = Look(CpuTimes(0, 0, 0), 0, "one model", 0, 0, 100 * SECOND, 0)


def after(look: Look, seconds: float, *, busy: float = 0, steal: float = 0, own: float = 0, rate: float = 2.6) -> Look:
    """So much later, when one CPU was so many seconds at work."""
    cpus = CpuTimes(look.cpus.busy + busy, look.cpus.steal + steal, look.cpus.total + seconds)
    passed = int(seconds * SECOND)
    return replace(
        look, cpus=cpus, own=look.own + own, ticks=look.ticks + int(passed * rate), monotonic=look.monotonic + passed
    )


def planted(monkeypatch: pytest.MonkeyPatch, *looks: Look) -> None:
    given = iter(looks)
    monkeypatch.setattr(Look, "now", lambda bench: next(given))


def looks(**watch: float) -> tuple[Look, Look, Look]:
    second = after(QUIET, 1, **watch)
    return QUIET, second, after(second, 1)


def of(name: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if one.name == name]


def said(found: Gate, words: str) -> bool:
    return any(words in note for note in found.notes)


def test_every_cpu_has_its_frequency_and_the_host_its_shares(bench: Bench) -> None:
    found = gate(bench, quota=None, guest=True)
    frequencies = of("noise.frequency", found.outcomes)
    assert [one.labels["cpu"] for one in frequencies] == [str(cpu) for cpu in CPUS]
    assert all(isinstance(one, Measurement) and one.unit == "/s" and len(one.values) == 3 for one in frequencies)
    for name in ("noise.others", "noise.steal"):
        assert len(of(name, found.outcomes)) == 1
    gone = [one for one in of("noise.gap_share", found.outcomes) if isinstance(one, Measurement)]
    assert all(0 <= value <= 1 for one in gone for value in one.values)
    assert {one.labels["by"] for one in gone} in ({"host", "programs"}, set())


def test_one_cpu_is_enough(limits: Mapping[str, float]) -> None:
    with Pool(CPUS[:1]) as pool:
        found = gate(Bench(limits, CPUS[:1], 1 << 20, pool), quota=None, guest=False)
    assert len(of("noise.frequency", found.outcomes)) == 1


def test_a_quiet_host_is_not_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, *looks(busy=0.03))
    found = gate(bench, quota=None, guest=True)
    assert found.refused == found.all_cores == ""
    assert not said(found, "other programs use")


def test_what_this_process_used_is_not_held_against_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, *looks(busy=0.9, own=0.9))
    found = gate(bench, quota=None, guest=True)
    assert found.refused == ""
    (others,) = of("noise.others", found.outcomes)
    assert isinstance(others, Measurement)
    assert others.median == pytest.approx(0)


def test_a_host_that_others_use_a_little_is_measured_with_a_note(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, *looks(busy=0.12))
    found = gate(bench, quota=None, guest=True)
    assert found.refused == ""
    assert said(found, "other programs use 12% of the CPUs")


def test_a_host_in_use_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, *looks(busy=0.31))
    assert "other programs use 31% of the CPUs" in gate(bench, quota=None, guest=True).refused


def test_a_hypervisor_that_takes_the_time_is_said_and_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, *looks(steal=0.1))
    assert said(gate(bench, quota=None, guest=True), "the hypervisor took 5.0% of the CPUs' time")
    planted(monkeypatch, *looks(steal=0.8))
    assert "the hypervisor takes 40% of the CPUs' time" in gate(bench, quota=None, guest=True).refused


def test_a_kernel_that_says_nothing_of_its_cpus_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = [replace(look, cpus=CpuTimes(0, 0, 0)) for look in looks()]
    planted(monkeypatch, *silent)
    found = gate(bench, quota=None, guest=True)
    assert said(found, "does not say what others use")
    assert isinstance(of("noise.others", found.outcomes)[0], Unmeasured)


def test_a_cpu_without_a_counter_costs_the_gaps_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, *[replace(look, ticks=0) for look in looks()])
    found = gate(bench, quota=None, guest=True)
    assert [type(one) for one in of("noise.gap_share", found.outcomes)] == [Unmeasured]
    assert not said(found, "counter")


@pytest.mark.parametrize(
    ("quota", "words", "all_cores"),
    [
        (None, "", ""),
        (64.0, "", ""),
        (1.5, "those of the quota", ""),
        (0.5, "figures of all cores mean nothing", "a quota of 0.5 CPUs"),
    ],
)
def test_a_quota_is_said_and_below_one_cpu_all_cores_are_refused(
    limits: Mapping[str, float], monkeypatch: pytest.MonkeyPatch, quota: float | None, words: str, all_cores: str
) -> None:
    planted(monkeypatch, *looks())
    found = gate(Bench(limits, (0, 1), 1 << 20, ToldPool({0: [1.0], 1: [1.0]}, monkeypatch)), quota=quota, guest=True)
    assert found.refused == ""
    assert said(found, "CPU quota") == bool(words)
    assert not words or said(found, words)
    assert found.all_cores.startswith(all_cores)
    assert bool(found.all_cores) == bool(all_cores)


class ToldPool(Pool):
    """CPUs whose chains take what they are told: nanoseconds a step, by CPU, in the order of time."""

    def __init__(self, told: Mapping[int, Sequence[float]], monkeypatch: pytest.MonkeyPatch) -> None:
        self._told = {cpu: list(values) for cpu, values in told.items()}
        self._now = 0.0
        monkeypatch.setattr(module, "chain", lambda steps: (0, int(steps * self._now)))
        monkeypatch.setattr(module, "watch", lambda long, least: Gaps(0, 0, 0, long))

    def __len__(self) -> int:
        return len(self._told)

    @property
    def cpus(self) -> tuple[int, ...]:
        return tuple(self._told)

    def run(self, *calls: Callable[[], Any]) -> list[Any]:
        return [call() for call in calls]

    def run_on(self, threads: Sequence[int], calls: Sequence[Callable[[], Any]]) -> list[Any]:
        values = self._told[threads[0]]
        self._now = values.pop(0) if len(values) > 1 else values[0]
        return [call() for call in calls]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({0: [1.0], 1: [1.01]}, ""),
        ({0: [1.0], 1: [2.0]}, "CPU 1 runs at 1.00 GHz, CPU 0 at 2.00 GHz"),
        ({0: [1.0, 1.0, 1.5, 1.5], 1: [1.4]}, "CPU 0 became slower by 33%"),
        ({0: [1.5, 1.5, 1.0, 1.0], 1: [1.02]}, ""),
    ],
)
def test_cpus_that_differ_or_become_slower_are_named(
    limits: Mapping[str, float], monkeypatch: pytest.MonkeyPatch, told: dict[int, list[float]], words: str
) -> None:
    planted(monkeypatch, *looks())
    found = gate(Bench(limits, (0, 1), 1 << 20, ToldPool(told, monkeypatch)), quota=None, guest=True)
    about = [note for note in found.notes if note.startswith("CPU ")]
    assert any(note.startswith(words) for note in about) if words else not about


def test_of_a_large_host_some_cpus_are_looked_at(limits: Mapping[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, *looks())
    pool = ToldPool({cpu: [1.0] for cpu in range(200)}, monkeypatch)
    found = gate(Bench(limits, tuple(range(200)), 1 << 20, pool), quota=None, guest=True)
    assert len(of("noise.frequency", found.outcomes)) == limits["frequency_cpus"]


def test_numbers_are_spread_evenly() -> None:
    assert spread_over(4, 16) == [0, 1, 2, 3]
    assert spread_over(8, 4) == [0, 2, 4, 6]
    assert spread_over(1, 1) == [0]


def test_gaps_of_a_thread_that_was_not_switched_away_are_the_hosts() -> None:
    quiet, stopped, switched = Gaps(0, 0, 0, 100), Gaps(2, 30, 20, 100), Gaps(1, 50, 50, 200)
    assert shares([(quiet, 0), (stopped, 0), (switched, 3)]) == (30 / 400, 50 / 400)
    assert shares([(Gaps(0, 0, 0, 0), 0)]) == (0, 0)


@pytest.mark.parametrize(("guest", "who"), [(True, "the hypervisor has"), (False, "interrupts or the firmware have")])
def test_time_that_is_gone_while_nobody_ran_is_said(
    limits: Mapping[str, float], monkeypatch: pytest.MonkeyPatch, guest: bool, who: str
) -> None:
    planted(monkeypatch, *looks())
    pool = ToldPool({0: [1.0]}, monkeypatch)
    monkeypatch.setattr(module, "_watched", lambda long, least: (Gaps(1, long // 10, long // 10, long), 0))
    found = gate(Bench(limits, (0,), 1 << 20, pool), quota=None, guest=guest)
    assert said(found, f"10.0% of the CPUs' time was gone while no other program ran: {who} taken it")


def test_nothing_is_said_of_a_host_that_stayed_the_same(limits: Mapping[str, float]) -> None:
    assert changes(looks(), limits) == []


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (lambda look: replace(look, model="another model"), "the CPU became another (one model, now another model)"),
        (lambda look: replace(look, ticks=0), "counter went back"),
        (lambda look: replace(look, ticks=look.ticks + 26_000_000), "counter went at 2600 MHz and at 2626 MHz"),
        (lambda look: replace(look, boot=look.boot + SECOND // 4), "the host stood still for 0.25 s"),
        (lambda look: replace(look, real=look.real - 2 * SECOND), "the time of day was set by -2 s"),
    ],
)
def test_a_guest_that_was_moved_is_said_as_far_as_it_shows(
    limits: Mapping[str, float], last: Callable[[Look], Look], words: str
) -> None:
    first, second, third = looks()
    notes = changes((first, second, last(third)), limits)
    assert len(notes) == 1
    assert words in notes[0]


def test_frequencies_that_the_kernel_chooses_are_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "governors", lambda cpus: ("performance", "powersave"))
    assert said(gate(bench, quota=None, guest=False), "frequency governor powersave:")


def test_the_gate_ends_where_it_is_told_to(bench: Bench) -> None:
    class EndedError(Exception):
        pass

    def end() -> None:
        raise EndedError

    with pytest.raises(EndedError):
        gate(replace(bench, check=end), quota=None, guest=True)
