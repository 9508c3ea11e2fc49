"""Tracing a real program, and every reason why that cannot be done."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hosts import LIMITS

from engram_diagnose.collectors.capture import perf_c2c, perf_lock, perf_lock_kernel, perf_mem, perf_trace
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.memory_samples import lacking_precise
from engram_diagnose.collectors.capture.process import start_ticks
from engram_diagnose.collectors.capture.step import Context, Step
from engram_diagnose.collectors.capture.target import LocalTarget
from engram_diagnose.collectors.capture.tracepoints import count_calls, lacking, parse_call_counts
from engram_diagnose.collectors.parse.c2c import facts_of_coherence
from engram_diagnose.collectors.parse.kernel_locks import facts_of_kernel_locks
from engram_diagnose.collectors.parse.locks import facts_of_locks
from engram_diagnose.collectors.parse.perf_mem import facts_of_memory_latency
from engram_diagnose.collectors.parse.tracing import facts_of_flushes
from engram_diagnose.engine.facts.fact import Fact, Reason

PROGRAMS = Path(__file__).parents[1] / "programs"
live = pytest.mark.skipif(not (shutil.which("perf") and shutil.which("gcc")), reason="needs perf and gcc")
STEPS = [
    (perf_lock.STEP, facts_of_locks),
    (perf_trace.STEP, facts_of_flushes),
    (perf_c2c.STEP, facts_of_coherence),
    (perf_mem.STEP, facts_of_memory_latency),
    (perf_lock_kernel.STEP, facts_of_kernel_locks),
]


def context(pid: int, seconds: float = 4.0, **machine: str) -> Context:
    target = LocalTarget(pid, start_ticks(pid) or 0, 0, "program", "")
    return Context(Machine("id", **machine), target, seconds, limits=LIMITS)


def watch(pid: int, step: Step, facts: Callable[..., list[Fact]], **limits: float) -> dict[str, Fact]:
    return {fact.name: fact for fact in facts(step.run(replace(context(pid), limits=LIMITS | limits)))}


def build(name: str, folder: Path) -> Path:
    path = folder / name
    subprocess.run(["gcc", "-O1", "-pthread", "-o", path, PROGRAMS / f"{name}.c"], check=True)
    return path


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([str(one) for one in arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().startswith("ready")
        yield process
    finally:
        process.kill()
        process.communicate()


def told(facts: dict[str, Fact], *names: str) -> bool:
    """Whether these are known; where this machine does not let us trace, that is what they must say."""
    refused = lacking(Machine(), ("futex", "fsync"))
    for name in names:
        assert refused is None or facts[name].unknown.reason.name == refused.reason
    return refused is None


@live
@pytest.mark.slow
@pytest.mark.parametrize("name", ["work", "a\nb [x] \"'", "perf\x1b[2J"])
def test_one_futex_lock_is_seen_whatever_its_threads_are_called(tmp_path, name):
    with running(build("one_lock", tmp_path), 4, 1, 60, name) as process:
        facts = watch(process.pid, *STEPS[0])
    if told(facts, "lock.futex_rate", "lock.hot_address_top_share"):
        assert facts["lock.futex_rate"].value[0] > 5_000
        assert facts["lock.yield_rate"].value == (0.0, 0.0)
        if shutil.which("bpftrace"):
            assert facts["lock.hot_address_top_share"].value[0] > 0.95
            assert facts["lock.hot_addresses"].value == (1.0, 1.0)
            assert 0 < facts["lock.wait_mean"].value[0] < 1
            assert facts["lock.futex_wait_share"].value[0] > 0.02


@live
@pytest.mark.slow
def test_an_idle_pool_is_no_contended_lock_with_bpftrace_or_without(tmp_path, monkeypatch):
    with running(build("idle_waits", tmp_path), 60) as process:
        with_bpftrace = watch(process.pid, *STEPS[0])
        monkeypatch.setattr(perf_lock, "_by_bpftrace", lambda *_, **__: perf_lock.Reading(None, "NO_TOOL", "none"))
        without = watch(process.pid, *STEPS[0])
    for facts in (with_bpftrace, without):
        if told(facts, "lock.futex_rate"):
            assert facts["lock.futex_rate"].value[0] < 50_000
            assert facts["lock.futex_wait_share"].value[0] > 0.6
            low, high = facts["lock.wait_mean"].value
            assert low < high


@live
@pytest.mark.slow
def test_above_the_limit_waits_are_summed_in_the_kernel_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(perf_lock, "_by_bpftrace", lambda *_, **__: perf_lock.Reading(None, "NO_TOOL", "none"))
    monkeypatch.setattr(perf_lock, "_by_recording", lambda *_, **__: pytest.fail("recorded above the limit"))
    with running(build("one_lock", tmp_path), 4, 1, 60) as process:
        facts = watch(process.pid, *STEPS[0], traced_futex_rate=100.0)
    if told(facts, "lock.futex_rate"):
        assert facts["lock.wait_mean"].unknown.reason is Reason.TOO_EXPENSIVE
        assert "bpftrace" in facts["lock.wait_mean"].get_by


@live
@pytest.mark.slow
def test_flushes_are_as_many_as_the_program_counts(tmp_path):
    with running(build("flusher", tmp_path), tmp_path, 3, 60, 20_000) as process:
        facts = watch(process.pid, *STEPS[1])
        process.terminate()
        said = process.stdout.read().split()  # ops N seconds S
    if told(facts, "io.fsync_rate", "io.fsync_p99"):
        assert facts["io.fsync_rate"].value[0] == pytest.approx(int(said[1]) / float(said[3]), rel=0.2)
        assert 0 < facts["io.fsync_wait_share"].value[0] < 1
        assert 0 < facts["io.fsync_p99"].value[0] < 1


@live
@pytest.mark.slow
def test_waiting_for_the_kernels_own_locks_is_told_or_said_to_be_unknown(tmp_path):
    with running(build("one_lock", tmp_path), 4, 1, 60) as process:
        (fact,) = watch(process.pid, *STEPS[4]).values()
    if fact.known:
        assert 0 <= fact.value[0] <= 1
    else:
        assert fact.unknown.reason.name in ("KERNEL_CONFIG", "PARANOID", "TOO_EXPENSIVE", "SOURCE_ABSENT")


@live
@pytest.mark.slow
def test_a_target_that_exits_meanwhile_is_gone(tmp_path):
    with running(build("one_lock", tmp_path), 2, 1, 60) as process:
        threading.Timer(0.4, process.kill).start()
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        facts = watch(process.pid, *STEPS[0])
        reaper.join()
    refused = lacking(Machine(), ("futex", "fsync"))
    expected = {Reason.TARGET_GONE, Reason.PARANOID} if refused is None else {Reason[refused.reason]}
    assert {fact.unknown.reason for fact in facts.values()} <= expected


@live
@pytest.mark.slow
def test_nothing_is_left_behind_when_collecting_stops(tmp_path):
    with running(build("one_lock", tmp_path), 2, 1, 60) as process:
        asked = context(process.pid)
        threading.Timer(0.5, asked.stop.set).start()
        began = time.monotonic()
        perf_lock.STEP.run(asked)
        perf_trace.STEP.run(asked)
        assert time.monotonic() - began < 30
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        assert [child for child in children if child != str(process.pid)] == []


def test_false_sharing_without_counters_is_a_reason_and_no_zero(tmp_path):
    for step, facts in STEPS[2:4]:
        answers = step.run(context(os.getpid(), sys_root=str(tmp_path)))
        reason = "NO_PMU" if shutil.which("perf") else "NO_TOOL"
        assert {fact.unknown.reason.name for fact in facts(answers)} == {reason}
        assert all(fact.get_by for fact in facts(answers))


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Callable[..., Machine]:
    """A machine with `perf` of our own, and trees below /sys and /proc as they are asked for."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    def make(script: str, *, folders: tuple[str, ...] = (), status: str = "Seccomp:\t0") -> Machine:
        perf = tools / "perf"
        perf.write_text(f"#!/bin/sh\n{script}\n")
        perf.chmod(0o755)
        for folder in folders:
            (tmp_path / "sys" / folder).mkdir(parents=True, exist_ok=True)
        proc = tmp_path / "proc"
        (proc / "self").mkdir(parents=True, exist_ok=True)
        (proc / "self/status").write_text(f"Name:\tx\n{status}\n")
        (proc / str(os.getpid())).mkdir(exist_ok=True)
        stat = Path(f"/proc/{os.getpid()}/stat").read_text()
        (proc / str(os.getpid()) / "stat").write_text(stat)
        return Machine("id", str(proc), str(tmp_path / "sys"))

    return make


SYSCALLS = tuple(f"kernel/tracing/events/syscalls/sys_enter_{call}" for call in ("futex", "sched_yield", "fsync"))


@pytest.mark.parametrize(
    ("folders", "reason"),
    [
        ((), "KERNEL_CONFIG"),
        (("kernel/tracing",), "SOURCE_ABSENT"),  # not mounted
        (("kernel/tracing/events/sched",), "KERNEL_CONFIG"),  # built without CONFIG_FTRACE_SYSCALLS
        (SYSCALLS[1:], "KERNEL_CONFIG"),
    ],
)
def test_a_kernel_without_these_tracepoints_is_a_reason(fake, folders, reason):
    refused = lacking(fake("exit 0", folders=folders), ("futex",))
    assert refused.reason == reason


def test_a_tracing_folder_that_may_not_be_read_is_a_reason(fake, monkeypatch):
    machine = fake("exit 0", folders=SYSCALLS)

    def deny(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    assert lacking(machine, ("futex",)) is None
    monkeypatch.setattr(os, "listdir", deny)
    assert lacking(machine, ("futex",)).reason == "PARANOID"


def test_the_older_place_of_tracefs_is_looked_at_too(fake):
    machine = fake("exit 0", folders=("kernel/debug/tracing/events/syscalls/sys_enter_futex",))
    assert lacking(machine, ("futex",)) is None


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ("Access to performance monitoring and observability operations is limited.", "Seccomp:\t0", "PARANOID"),
        ("Error: No permission to enable syscalls:sys_enter_futex event.", "Seccomp:\t0", "PARANOID"),
        ("perf_event_open: Operation not permitted", "Seccomp:\t2", "SECCOMP"),
        ("The sys_perf_event_open() syscall returned with 38 (Function not implemented)", "Seccomp:\t2", "SECCOMP"),
        ("syscall returned with 38 (Function not implemented)", "Seccomp:\t0", "KERNEL_CONFIG"),
        ("event syntax error: unknown tracepoint", "Seccomp:\t0", "KERNEL_CONFIG"),
        ("Problems finding threads of monitor", "Seccomp:\t0", "TARGET_GONE"),
        ("something else \x1b[2J went wrong", "Seccomp:\t0", "SOURCE_UNREACHABLE"),
    ],
)
def test_what_perf_complains_of_becomes_a_reason(fake, monkeypatch, said, status, reason):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    machine = fake(f"echo '{said}' >&2; exit 255", status=status)
    asked = replace(context(os.getpid()), machine=machine)
    refused = count_calls(asked, ("futex",), seconds=0.1)
    assert (refused.body, refused.reason) == (None, reason)
    assert said.replace("\x1b", "?") in refused.detail


def test_perf_that_cannot_keep_up_gives_nothing_rather_than_part(fake):
    script = 'case "$1" in script) echo "Processed 9 events and lost 3 chunks!" >&2;; esac; exit 0'
    machine = fake(script, folders=SYSCALLS)
    asked = replace(context(os.getpid()), machine=machine)
    refused = perf_lock.record_calls(asked, ("futex",), seconds=0.1, keep=1000)
    assert refused.reason == "TOO_EXPENSIVE"
    assert "lost 3 chunks" in refused.detail


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("echo 'ERROR: bpftrace currently only supports running as the root user.' >&2; exit 1", "root user"),
        ("""echo '{"type": "map", "data": {"@now": 5}}'""", "another namespace"),
        ("echo Terminated", "without its sums"),
    ],
)
def test_what_bpftrace_cannot_do_is_said_and_nothing_dearer_is_run(fake, tmp_path, printed, said):
    machine = fake('[ "$1" = stat ] || exit 9; echo "900000;;syscalls:sys_enter_futex;5;100.00;;"; '
                   'echo "0;;syscalls:sys_enter_sched_yield;5;100.00;;"', folders=SYSCALLS)  # fmt: skip
    (tmp_path / "bin/bpftrace").write_text(f"#!/bin/sh\n{printed}\n")
    (tmp_path / "bin/bpftrace").chmod(0o755)
    facts = {
        fact.name: fact for fact in facts_of_locks(perf_lock.STEP.run(replace(context(os.getpid()), machine=machine)))
    }
    assert facts["lock.futex_rate"].value == (900_000.0, 900_000.0)
    assert facts["lock.wait_mean"].unknown.reason is Reason.TOO_EXPENSIVE
    assert said in facts["lock.wait_mean"].unknown.detail


def test_counts_that_are_no_figures_are_left_out():
    text = "12;;syscalls:sys_enter_futex;5;100.00;;\n<not counted>;;syscalls:sys_enter_fsync;0;0.00;;\nx\n"
    assert parse_call_counts(text) == {"futex": 12}


def test_an_ordinary_users_counts_are_read_too():
    """Without the right to see the kernel, perf counts for the user alone, and lets the name say so."""
    for name in ("sys_enter_futexu", "sys_enter_futex:u"):
        assert parse_call_counts(f"210677;;syscalls:{name};733720372;100.00;;\n") == {"futex": 210677}


def test_a_sampling_cpu_is_recognised_by_its_devices(fake):
    assert lacking_precise(fake("exit 0", folders=("bus/event_source/devices/ibs_op",))) is None


def test_counters_without_addresses_are_another_reason_than_none(fake):
    machine = fake("exit 0", folders=("bus/event_source/devices/cpu/events",))
    assert lacking_precise(machine).reason == "EVENT_UNSUPPORTED"


def test_perf_that_does_not_sample_memory_after_all_is_a_reason(fake):
    machine = fake("echo 'failed: memory events not supported' >&2; exit 255",
                   folders=("bus/event_source/devices/ibs_op",))  # fmt: skip
    for step, facts in STEPS[2:4]:
        found = facts(step.run(replace(context(os.getpid()), machine=machine)))
        assert {fact.unknown.reason for fact in found} == {Reason.EVENT_UNSUPPORTED}


def test_the_report_of_a_recording_becomes_facts(fake):
    report = Path(__file__).parents[2] / "data/tracing/c2c-report.two-lines.txt"
    machine = fake(f'[ "$2" = report ] && cat {report}; exit 0', folders=("bus/event_source/devices/ibs_op",))
    found = facts_of_coherence(perf_c2c.STEP.run(replace(context(os.getpid()), machine=machine)))
    assert {fact.name: fact.value for fact in found}["coherence.hitm"] == (1000.0, 1000.0)


def test_sampled_loads_become_a_latency(fake):
    samples = Path(__file__).parents[2] / "data/tracing/perf-script.loads.txt"
    machine = fake(f'[ "$1" = script ] && cat {samples}; exit 0', folders=("bus/event_source/devices/ibs_op",))
    Path(machine.proc("cpuinfo")).write_text("cpu MHz\t\t: 1000.000\ncpu MHz\t\t: 3000.000\n")
    (fact,) = facts_of_memory_latency(perf_mem.STEP.run(replace(context(os.getpid()), machine=machine)))
    assert fact.value[0] == pytest.approx(400 / 2e9)


def test_waits_for_kernel_locks_of_which_some_were_lost_are_not_told_in_part(fake):
    counted = "500;;lock:contention_begin;1;100.00;;"
    table = " contended   total wait     max wait     avg wait         type   caller"
    script = f"""case "$1 $2" in
        "stat --log-fd") echo "{counted}";;
        "lock contention") echo "{table}"; echo "Processed 9 events and lost 3 chunks!" >&2;;
    esac; exit 0"""
    begun = tuple(f"kernel/tracing/events/lock/{name}" for name in ("contention_begin", "contention_end"))
    asked = replace(context(os.getpid()), machine=fake(script, folders=begun))
    (answer,) = perf_lock_kernel.STEP.run(asked)
    assert (answer.reason, answer.detail) == ("TOO_EXPENSIVE", "perf could not keep up: lost 3 chunks")


@pytest.mark.parametrize(("step", "facts"), STEPS[2:4])
def test_memory_accesses_of_very_many_threads_are_not_sampled(fake, step, facts):
    machine = fake("exit 0", folders=("bus/event_source/devices/ibs_op",))
    for thread in range(10):
        Path(machine.proc(f"{os.getpid()}/task/{thread}")).mkdir(parents=True)
    asked = replace(context(os.getpid()), machine=machine, limits=LIMITS | {"profile_counters": 9.0})
    assert {fact.unknown.reason for fact in facts(step.run(asked))} == {Reason.TOO_EXPENSIVE}


def test_a_process_that_was_replaced_is_not_measured():
    asked = context(os.getpid())
    other = replace(asked, target=replace(asked.target, start_ticks=asked.target.start_ticks + 1))
    for step, facts in STEPS:
        assert {fact.unknown.reason for fact in facts(step.run(other))} == {Reason.TARGET_GONE}
