"""Timing: how often a work is done follows from how long it takes, and what it works on never changes."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure import sampling as module
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.sampling import (
    Repeats,
    Took,
    measured,
    of_values,
    repeats_of,
    rounds_for,
    stability_of,
    stolen_seconds,
)
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.rulebase import load_rules

LIMITS: Mapping[str, float] = read_limits(load_rules((), thorough=False).texts, "kernels")
CPU = min(os.sched_getaffinity(0))


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Pool((CPU,)) as pool:
        yield Bench(LIMITS, (CPU,), 1 << 20, pool)


class Clock:
    """Time that passes only where a work says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.asked: list[int] = []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def work(self, seconds: float, first: float = 0.0) -> module.Work:
        def work(rounds: int) -> None:
            self.now += rounds * seconds + (first if not self.asked else 0.0)
            self.asked.append(rounds)

        return work


def test_a_figure_is_of_one_round_however_many_were_timed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    found = repeats_of(clock.work(2e-6), bench)
    assert found.seconds == pytest.approx([2e-6] * int(LIMITS["repeats"]))
    assert found.rounds * 2e-6 >= LIMITS["figure_seconds"] / LIMITS["repeats"] / 2


def test_the_first_round_which_compiles_is_not_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    found = repeats_of(clock.work(2e-6, first=3.0), bench)
    assert max(found.seconds) == pytest.approx(2e-6)
    assert found.rounds > 1000


@pytest.mark.parametrize("seconds", [1e-9, 1e-7, 1e-5, 1e-3, 0.1])
def test_calibrating_takes_no_longer_than_a_few_repeats(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    rounds = rounds_for(clock.work(seconds), 0.01)
    assert 0.005 <= rounds * seconds <= max(0.01, seconds)
    assert clock.now - 1000.0 < 4 * max(0.01, seconds)


def test_calibrating_asks_for_rounds_alone_and_so_never_changes_a_size(bench: Bench) -> None:
    array = bytearray(1000)
    sizes = set()

    def work(rounds: int) -> None:
        for _ in range(rounds):
            sizes.add(len(array))
            array.reverse()

    repeats_of(work, bench, seconds=0.002)
    assert sizes == {1000}


def test_a_clock_that_stands_still_does_not_calibrate_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rounds_for(Clock(monkeypatch).work(0.0), 0.01) == 1 << 40


def test_a_work_that_took_its_own_time_is_believed(bench: Bench) -> None:
    found = repeats_of(lambda rounds: Took(rounds * 0.25), bench)
    assert found.seconds == (0.25,) * int(LIMITS["repeats"])
    assert found.rounds == 1


def test_each_repeat_asks_whether_to_go_on(bench: Bench) -> None:
    class StopError(Exception):
        pass

    asked = []

    def check() -> None:
        asked.append(True)
        if len(asked) == 3:
            raise StopError

    stopped = Bench(bench.limits, bench.cpus, bench.memory, bench.pool, check=check)
    with pytest.raises(StopError):
        repeats_of(lambda _: None, stopped, seconds=0.0001)
    assert len(asked) == 3


def test_a_measurement_has_the_figure_of_each_repeat_in_the_order_of_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter([9.0, 9.0, 1.0, 2.0, 4.0])
    one = measured("some.figure", "B/s", lambda rounds: Took(next(taken) * rounds), bench, better="higher", repeats=3,
                   figure=lambda seconds: 8 / seconds, labels={"size": "8"}, threads=2, notes=("a note",))  # fmt: skip
    assert one.values == (8.0, 4.0, 2.0)
    assert (one.name, one.unit, one.labels, one.threads, one.notes) == (
        "some.figure", "B/s", {"size": "8"}, 2, ("a note",),
    )  # fmt: skip
    assert one.stability == "unstable"


@pytest.mark.parametrize(
    ("values", "steal", "stability"),
    [
        ((100.0, 101.0, 102.0, 103.0), 0.0, "stable"),
        ((100.0, 105.0, 110.0, 115.0), 0.0, "noisy"),
        ((100.0, 150.0, 200.0, 300.0), 0.0, "unstable"),
        ((100.0, 100.0, 100.0, 900.0), 0.0, "unstable"),  # the upper quartile of four lies a quarter of the way up
        ((100.0,) * 9 + (900.0,), 0.0, "stable"),  # of ten, one does not move it
        ((100.0,) * 4, 0.02, "noisy"),
        ((100.0,) * 4, 0.2, "unstable"),
        ((-100.0, -101.0), 0.0, "stable"),
        ((0.0, 0.0), 0.0, "stable"),
        ((-1.0, 0.0, 0.0, 1.0), 0.0, "unstable"),  # no share of nothing is small
    ],
)
def test_stability_is_told_by_quartiles_and_by_what_the_hypervisor_took(
    values: tuple[float, ...], steal: float, stability: str
) -> None:
    assert stability_of(values, steal, LIMITS) == stability


@given(values=st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=20), factor=st.sampled_from([1e-9, 0.5, 1e6]))
def test_stability_does_not_depend_on_the_unit(values: list[float], factor: float) -> None:
    scaled = tuple(value * factor for value in values)
    spread = of_values("one", "s", tuple(values), _limits_alone(), better="lower").spread
    on_the_edge = any(abs(spread - LIMITS[name]) < 1e-9 for name in ("spread_noisy", "spread_unstable"))
    assert on_the_edge or stability_of(scaled, 0.0, LIMITS) == stability_of(tuple(values), 0.0, LIMITS)


def test_the_stability_of_a_measurement_agrees_with_the_spread_that_it_shows() -> None:
    for values in ((1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 0.0, 5.0), (-1.0, 0.0, 1.0), (5.0, 5.0)):
        one = of_values("one", "s", values, _limits_alone(), better="lower")
        assert (one.stability == "unstable") == (one.spread > LIMITS["spread_unstable"])


def test_what_was_stolen_is_read_from_the_line_of_all_cpus(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  1 2 3 4 5 6 7 800 0 0\ncpu0 1 2 3 4 5 6 7 1 0 0\n")
    assert stolen_seconds(str(stat)) == 800 / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "text", ["", "cpu", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu  1 2 3 4 5 6 7 -8 0", "\xff" * 9]
)
def test_what_does_not_tell_what_was_stolen_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "stat").write_text(text, encoding="latin-1")
    assert stolen_seconds(str(tmp_path / "stat")) == 0.0
    assert stolen_seconds(str(tmp_path / "none")) == 0.0


def test_steal_and_switches_are_those_between_the_repeats(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stolen = iter([10.0, 10.0 + 0.5 * (os.cpu_count() or 1)])
    monkeypatch.setattr(module, "stolen_seconds", lambda: next(stolen))
    clock = Clock(monkeypatch)
    found = repeats_of(clock.work(1.0), bench, repeats=5)
    assert isinstance(found, Repeats)
    assert found.steal == pytest.approx(0.1)
    assert found.switches >= 0


def _limits_alone() -> Bench:
    return Bench(LIMITS, (CPU,), 0, None)  # type: ignore[arg-type]  # nothing is run
