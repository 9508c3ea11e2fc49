"""A benchmark from its plan, with an engine that makes figures up."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.bench.conftest import StartServer
from tests.bench.made import operation

from engram_diagnose.bench import running
from engram_diagnose.bench.asking import Asking
from engram_diagnose.bench.guards import checked_address
from engram_diagnose.bench.plans import Step, Wanted, planned
from engram_diagnose.bench.preflight import Server
from engram_diagnose.bench.results import Outcome, Setting
from engram_diagnose.bench.running import Bench, Done, LoadFailedError, run_benchmark
from engram_diagnose.bench.sending.processes import LaunchError
from engram_diagnose.bench.targets import routes_of
from engram_diagnose.bench.verdict import knee_of
from engram_diagnose.engine.facts.catalogue import Catalogue

SERVER = Server("127.0.0.1:7432", "guide", "9.9", routes_of("guide"), 0, True)


@dataclass
class MadeUp:
    """An engine whose server bears `bears` operations a second, and whose client `sends` so many at most."""

    bears: float = 1e9
    sends: float = 1e9
    aborts: Callable[[Step, float], str] = lambda step, rate: ""
    lost: str = ""
    medians: Any = field(default_factory=lambda: itertools.repeat(0.002))
    calls: list[tuple[str, float, float]] = field(default_factory=list)

    def seed(self, space: str, count: int, rate: float) -> Outcome:
        self.calls.append((space, count, rate))
        return Outcome(1.7e9, count / rate, {"store": operation(count)}, 1.0, 0.0, 0.1, 1)

    def next_begin(self) -> threading.Event:
        return threading.Event()

    def load(self, step: Step, rate: float, seconds: float, *, told: str) -> Outcome:
        self.calls.append((told, rate, seconds))
        if told == self.lost:
            raise LaunchError("no machine answers")
        served = min(rate, self.bears, self.sends)
        slow = 0.002 if rate <= self.bears else 5.0
        fast = next(self.medians)
        made = {name: operation(round(served * seconds * share), seconds=seconds, fast=fast, slow=max(fast, slow))
                for name, share in step.mix.items()}  # fmt: skip
        return Outcome(1.7e9, seconds, made, min(1.0, self.sends / rate), 1e-5, 0.2, 2, self.aborts(step, rate))


@pytest.fixture
def make(catalogue: Catalogue, limits: dict[str, float], start_server: StartServer, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(running.time, "sleep", lambda seconds: None)

    def run(
        engine: MadeUp, *, stopped: Callable[[], bool] = lambda: False, mode: str = "healthy", **wanted: Any
    ) -> Done:
        asked = replace(Wanted("mixed", "target", "t", quality=False, memories=100), **wanted)
        plan = planned(checked_address(start_server(mode).url), asked, catalogue, limits)
        with Asking(plan.address, wait=2.0) as asking:
            return run_benchmark(Bench(Setting(plan, SERVER, limits), asking, engine, None, lambda text: None, stopped))

    return run


def test_it_seeds_first_then_warms_up_until_stable_then_measures(make) -> None:
    engine = MadeUp()
    done = make(engine)
    assert [told for told, _, _ in engine.calls] == ["bench-t-mixed", *["mixed: warm-up"] * 3, "mixed"]
    (run,) = done.runs
    assert (run["order"], run["workload"]["name"], run["validity"]["valid"]) == (1, "mixed", True)
    assert done.ended == ""


def test_a_run_is_told_to_have_the_clients_that_were_let_in(make) -> None:
    class Limited(MadeUp):
        def load(self, step: Step, rate: float, seconds: float, *, told: str) -> Outcome:
            return replace(super().load(step, rate, seconds, told=told), connected=12)

    done = make(Limited())
    assert done.runs[0]["workload"]["clients"] == 12
    assert [note for note in done.notes if "connections" in note] == [
        "mixed: only 12 of 64 connections could be made, and its figures are of those"
    ]


def test_figures_that_do_not_settle_make_the_run_invalid(make) -> None:
    engine = MadeUp(medians=(0.002 * 1.5**step for step in itertools.count()))
    done = make(engine)
    assert done.runs[0]["validity"]["reasons"] == ["unstable"]
    assert any("not settled after 8 windows" in note for note in done.notes)


def test_a_ramp_finds_the_knee_between_two_rates(make, limits: dict[str, float]) -> None:
    done = make(MadeUp(bears=3100), workload="ramp")
    knee = knee_of(done.runs, limits, most_p99={"recall": 0.01, "store": 0.01})
    assert knee.ended == "server"
    assert knee.rate is not None
    assert 3100 / 1.1 <= knee.rate <= 3100
    assert [run["order"] for run in done.runs] == list(range(1, len(done.runs) + 1))


def test_a_ramp_begins_lower_where_even_its_first_rate_is_too_much(make, limits: dict[str, float]) -> None:
    done = make(MadeUp(bears=40), workload="ramp")
    knee = knee_of(done.runs, limits, most_p99={"recall": 0.01, "store": 0.01})
    assert knee.rate is not None
    assert 40 / 1.1 <= knee.rate <= 40


def test_a_ramp_tells_the_clients_end_from_the_servers(make, limits: dict[str, float]) -> None:
    done = make(MadeUp(sends=9000), workload="ramp")
    assert knee_of(done.runs, limits, most_p99={}).ended == "client"


def test_after_a_ramp_the_mixed_load_is_one_that_the_server_bears(make) -> None:
    done = make(MadeUp(bears=3100), workload="suite")
    by_name = {run["workload"]["name"]: run for run in done.runs}
    assert by_name["mixed"]["workload"]["offered_rate"] < 3100 * 0.75
    assert any("70% of the knee" in note for note in done.notes)
    assert by_name["burst"]["workload"]["offered_rate"] > 50_000


def test_a_rate_that_was_asked_for_is_offered_whatever_a_ramp_says(make) -> None:
    done = make(MadeUp(bears=3100), workload="suite", rate=5000.0)
    by_name = {run["workload"]["name"]: run for run in done.runs}
    assert by_name["mixed"]["workload"]["offered_rate"] == 5000


def test_a_load_that_was_aborted_ends_all_when_the_server_stays_ill(make) -> None:
    done = make(MadeUp(aborts=lambda step, rate: "every request failed"), workload="suite", mode="sick", warm=False)
    assert "not well" in done.ended
    assert len(done.runs) <= 1


def test_a_server_that_is_well_again_is_asked_the_other_loads(make) -> None:
    aborts = lambda step, rate: "every request failed" if step.kind.name == "recall" else ""  # noqa: E731
    done = make(MadeUp(aborts=aborts), workload="suite", warm=False)
    assert done.ended == ""
    by_name = {run["workload"]["name"]: run["validity"]["reasons"] for run in done.runs}
    assert (by_name["recall"], by_name["mixed"]) == (["aborted"], [])


def test_stopped_by_hand_it_keeps_what_was_measured(make) -> None:
    engine = MadeUp()
    done = make(engine, workload="suite", warm=False,
                stopped=lambda: any(told == "recall" for told, _, _ in engine.calls))  # fmt: skip
    assert done.ended == "stopped by hand"
    assert [run["workload"]["name"] for run in done.runs][-1] == "recall"
    assert done.runs[-1]["validity"]["reasons"] == [] or "aborted" in done.runs[-1]["validity"]["reasons"]


def test_machines_that_are_lost_end_it_with_what_was_measured(make) -> None:
    engine = MadeUp(lost="mixed")
    done = make(engine, workload="suite", warm=False)
    assert "could not be sent: no machine answers" in done.ended
    by_name = {run["workload"]["name"]: run["validity"]["valid"] for run in done.runs}
    assert by_name["recall"]
    assert not by_name["mixed"]
    assert engine.calls[-1][0] == "mixed"


def test_memories_that_cannot_be_stored_end_it_before_a_recall_is_sent(make) -> None:
    class Refusing(MadeUp):
        def seed(self, space: str, count: int, rate: float) -> Outcome:
            return Outcome(1.7e9, 1.0, {"store": operation(10, errors={"http-507": 90})}, 1.0, 0.0, 0.1, 1)

    engine = Refusing()
    with pytest.raises(LoadFailedError, match="http-507 90"):
        make(engine)
    assert engine.calls == []


def test_the_quality_of_recalls_is_told_with_every_run_that_recalls(make) -> None:
    done = make(MadeUp(), quality=True, workload="suite", warm=False)
    assert done.quality is not None
    told = {run["workload"]["name"]: run.get("recall_quality", {}).get("recall_at_k") for run in done.runs}
    assert told["store"] is None
    assert told["recall"] == told["mixed"] == 1.0
