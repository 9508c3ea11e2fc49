"""A collection ends when pressure on the host rises, and only then."""

import json
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engram_diagnose.collectors.capture.guard import Guard
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.reading import Reading
from engram_diagnose.collectors.capture.running import costs, run_steps
from engram_diagnose.collectors.capture.step import Context, Spending, Step, Stop
from engram_diagnose.collectors.capture.target import LocalTarget
from engram_diagnose.collectors.capture.tool import run_tool

LIMITS = {
    "look_every": 0.02,
    "looks_in_a_row": 2,
    "cpu_pressure_rise": 0.3,
    "memory_pressure_rise": 0.1,
    "io_pressure_rise": 0.4,
    "least_memory": 256 * 2**20,
}
TARGET = LocalTarget(pid=1, start_ticks=1, port=0, name="x", how="test")


@dataclass
class Host:
    """A tree with pressure files, and a clock that is moved by hand."""

    root: Path
    totals: dict[str, float] = field(default_factory=lambda: {"cpu": 0.0, "memory": 0.0, "io": 0.0})
    time: float = 1000.0
    resting: float = 0.0

    def __post_init__(self) -> None:
        (self.root / "pressure").mkdir()
        self.memory(8 * 2**30)
        self.pass_time(0)

    def memory(self, available: int) -> None:
        (self.root / "meminfo").write_text(f"MemTotal:       999999 kB\nMemAvailable:   {available // 1024} kB\n")

    def pass_time(self, seconds: float, **waited: float) -> None:
        self.time += seconds
        for resource in self.totals:
            self.totals[resource] += waited.get(resource, 0.0) * seconds
            text = f"some avg10={self.resting:.2f} avg60=0.00 avg300=0.00 total={self.totals[resource] * 1e6:.0f}\n"
            (self.root / "pressure" / resource).write_text(text)

    @property
    def machine(self) -> Machine:
        return Machine(host="h", proc_root=str(self.root), now=lambda: self.time)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def looked(host: Host, *shares: dict[str, float]) -> Stop:
    """After two quiet looks, which tell what is usual."""
    stop = Stop()
    guard = Guard(host.machine, LIMITS, stop)
    guard.look()
    for share in ({}, {}, *shares):
        host.pass_time(0.5, **share)
        guard.look()
    return stop


def test_a_host_at_rest_is_looked_at_to_the_end(host):
    assert not looked(host, *[{"cpu": 0.2, "io": 0.3}] * 10).is_set()


@pytest.mark.parametrize("resource", ["cpu", "memory", "io"])
def test_pressure_that_rises_ends_it_and_is_named(host, resource):
    stop = looked(host, {resource: 0.9}, {resource: 0.9})
    assert stop.is_set()
    assert f"{resource} pressure on the host rose from 0% to 90%" in stop.why


def test_a_single_hiccup_does_not_end_it(host):
    assert not looked(host, {"cpu": 0.9}, {"cpu": 0.1}, {"cpu": 0.9}).is_set()


def test_pressure_that_was_there_before_is_the_servers(host):
    host.resting = 80.0
    host.pass_time(0)
    assert not looked(host, *[{"cpu": 0.9}] * 5).is_set()


def test_load_that_began_just_before_is_usual(host):
    stop = Stop()
    guard = Guard(host.machine, LIMITS, stop)
    for _ in range(8):
        guard.look()
        host.pass_time(0.5, cpu=0.9)
    assert not stop.is_set()


def test_counters_that_fall_and_a_clock_that_stands_still_end_nothing(host):
    stop = Stop()
    guard = Guard(host.machine, LIMITS, stop)
    guard.look()
    host.totals["cpu"] = -5.0
    host.pass_time(0.5)
    guard.look()
    guard.look()
    guard.look()
    assert not stop.is_set()


def test_a_kernel_without_pressure_files_ends_nothing(host):
    for path in (host.root / "pressure").iterdir():
        path.unlink()
    assert not looked(host, {"cpu": 1.0}, {"cpu": 1.0}).is_set()


def test_scarce_memory_is_a_reason_not_to_begin(host):
    host.memory(100 * 2**20)
    stop = Stop()
    with Guard(host.machine, LIMITS, stop):
        assert stop.is_set()
    assert "only 100 MiB" in stop.why


def test_what_the_guard_saw_is_kept(host):
    stop = Stop()
    guard = Guard(host.machine, LIMITS, stop)
    guard.look()
    host.pass_time(0.5, io=0.25)
    guard.look()
    seen = json.loads(guard.answer().body or "")
    assert seen["highest"]["io"] == pytest.approx(0.25)
    assert seen["stopped"] == ""


# Steps


def context(host: Host, stop: threading.Event) -> Context:
    return Context(host.machine, TARGET, 1.0, stop)


def said(machine: Machine, name: str):
    return [machine.answer("perf", name, Reading("x"))]


def step(name: str, run) -> Step:
    return Step(name, "something", "nothing", run)


def run(host: Host, steps: list[Step], stop: threading.Event | None = None, *, seconds: float = 30.0):
    shown: list[str] = []
    answers = run_steps(context(host, stop or Stop()), steps, seconds=seconds, progress=shown.append)
    return answers, shown


def test_steps_run_at_once_and_answer_in_their_order(host):
    both = threading.Barrier(2, timeout=20)

    def meet(name):
        def go(of):
            both.wait()
            return said(of.machine, name)

        return go

    answers, shown = run(host, [step("a", meet("a")), step("b", meet("b"))])
    assert [answer.name for answer in answers] == ["a", "b"]
    assert shown[0] == "a, b"


def test_a_step_that_fails_says_so_and_the_others_answer(host):
    def broken(_):
        raise RuntimeError("no such luck")

    answers, _ = run(host, [step("bad", broken), step("good", lambda of: said(of.machine, "good"))])
    assert [(answer.name, answer.reason) for answer in answers] == [("step bad", "SOURCE_UNREACHABLE"), ("good", "")]
    assert "no such luck" in answers[0].detail


def test_steps_that_take_too_long_are_asked_to_stop(host):
    def long(of):
        result = run_tool(["sleep", "60"], seconds=60, stop=of.stop)
        return [of.machine.answer("perf", "long", Reading(None, result.reason, result.detail))]

    answers, _ = run(host, [step("long", long)], seconds=0.2)
    assert answers[0].reason == "BUDGET"
    assert "longer than 0.2 s" in answers[0].detail


def test_nothing_begins_once_collecting_was_stopped(host):
    stop = Stop()
    stop.because("memory pressure rose")
    answers, _ = run(host, [step("late", lambda of: said(of.machine, "late"))], stop)
    assert [(answer.reason, answer.detail) for answer in answers] == [("BUDGET", "memory pressure rose")]


def test_an_interruption_ends_every_step_before_it_goes_on(host):
    ended = threading.Event()

    def long(of):
        run_tool(["sleep", "60"], seconds=60, stop=of.stop)
        ended.set()
        return []

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_steps(context(host, Stop()), [step("long", long)], seconds=60, progress=interrupt)
    assert ended.is_set()


def test_an_interruption_while_steps_are_begun_ends_those_that_are(host, monkeypatch):
    ended = threading.Event()

    def long(of):
        of.stop.wait(60)
        ended.set()
        return []

    begun = iter([threading.Thread.start])

    def start(thread):
        next(begun, interrupted)(thread)

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        run(host, [step("first", long), step("second", long)])
    assert ended.is_set()


def test_who_interrupts_twice_still_leaves_no_step_behind(host, monkeypatch):
    ended = threading.Event()
    interruptions = iter([KeyboardInterrupt, KeyboardInterrupt])
    join = threading.Thread.join

    def long(of):
        of.stop.wait(60)
        ended.set()
        return []

    def interrupted_join(thread, timeout=None):
        for interruption in interruptions:
            raise interruption
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupted_join)
    with pytest.raises(KeyboardInterrupt):
        run(host, [step("long", long)])
    assert ended.is_set()


def no_room(_):
    raise RuntimeError("can't start new thread")


def test_where_no_thread_can_be_started_a_step_says_so(host, monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", no_room)
    answers, _ = run(host, [step("late", lambda of: said(of.machine, "late"))])
    assert [(one.name, one.reason, one.detail) for one in answers] == [
        ("step late", "SOURCE_UNREACHABLE", "can't start new thread")
    ]


def test_without_a_guard_nothing_is_looked_at(host, monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", no_room)
    stop = Stop()
    with Guard(host.machine, LIMITS, stop):
        assert "nobody can watch" in stop.why
    assert stop.is_set()


def test_a_guard_whose_start_is_interrupted_looks_no_more(host, monkeypatch):
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    guard = Guard(host.machine, LIMITS, Stop())
    with pytest.raises(KeyboardInterrupt), guard:
        raise AssertionError("never entered")
    guard._thread.join(20)
    assert not guard._thread.is_alive()


def test_the_guard_ends_a_running_step(host):
    stop = Stop()

    def press():
        while not stop.wait(0.03):
            host.pass_time(0.5, memory=0.9)

    def long(of):
        threading.Thread(target=press, daemon=True).start()
        result = run_tool(["sleep", "60"], seconds=60, stop=of.stop)
        return [of.machine.answer("perf", "long", Reading(None, result.reason, result.detail))]

    with Guard(host.machine, LIMITS, stop) as guard:
        for _ in range(3):
            guard.look()
            host.pass_time(0.5)
        answers, _ = run(host, [step("long", long)], stop)
    assert "memory pressure" in answers[0].detail


def test_what_collecting_cost_is_kept_by_tool(host):
    spending = Spending()
    for seconds in (0.25, 0.5):
        spending.add("perf stat", seconds)
    answer = costs(host.machine, spending, 0.125, 8.0)
    assert json.loads(answer.body or "") == {
        "seconds": 8.0,
        "cpu_seconds": {"engram-diagnose": 0.125, "perf stat": 0.75},
    }
    assert replace(answer, time=0.0).collector == "collection"
