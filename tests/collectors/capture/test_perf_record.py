"""Recording where the CPU time goes: real where perf runs, and with stand-ins for what goes wrong."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hosts import LIMITS

from engram_diagnose.collectors.capture import perf_record, tool
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.perf_record import profile, refused
from engram_diagnose.collectors.capture.step import Context
from engram_diagnose.collectors.capture.target import LocalTarget, local_target
from engram_diagnose.collectors.capture.tool import ToolRun, find_tool
from engram_diagnose.collectors.parse.hot_code import facts_of_hot_code
from engram_diagnose.collectors.parse.stacks import parse_profile, places

LOOP = r"""
#include <math.h>
#include <unistd.h>
volatile float out; static float a[768];
__attribute__((noinline)) float cosine_similarity(const float *x) {
  float s = 0; for (int i = 0; i < 768; i++) s += x[i] * x[i]; return s; }
int main(void) { alarm(60); for (;;) out = cosine_similarity(a); }
"""
SCRIPT = "busy  {pid}/{pid}  1.000001:   10101010 cpu-clock: \n\t 1 w+0x1 (/bin/x)\n\n"


def context(pid: int, *, seconds: float = 1.0, **changes: object) -> Context:
    target = local_target(pid=pid)
    assert isinstance(target, LocalTarget)
    return Context(Machine(host="db1"), target, seconds, **{"limits": LIMITS, **changes})


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A program called perf that does as it is told, and notes how it was called."""

    def make(record: str = "", script: str = "") -> Path:
        path = tmp_path / "perf"
        code = f"""\
            #!{sys.executable}
            import os, sys, time
            open({str(tmp_path / "calls")!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
            data = sys.argv[sys.argv.index("-o") + 1] if "-o" in sys.argv else ""
            if sys.argv[1] == "record":
                open(data, "w").write("data")
                exec({record!r})
            else:
                exec({script!r})
            """
        path.write_text(textwrap.dedent(code))
        path.chmod(0o755)
        monkeypatch.setattr(tool, "find_tool", lambda name: str(path) if name == "perf" else find_tool(name))
        return tmp_path / "calls"

    return make


def printing(pid: int, count: int = 3) -> str:
    return f"sys.stdout.write({SCRIPT.format(pid=pid)!r} * {count})"


def test_what_was_recorded_is_folded_and_the_text_is_not_kept(sleeper, stand_in):
    calls = stand_in(script=printing(sleeper))
    stacks, code = profile(context(sleeper))
    assert (stacks.collector, stacks.name, stacks.answered) == ("profile", "perf record", True)
    head, lines = (stacks.body or "").split("\n", 1)
    assert lines == "busy;w 3\n"
    assert json.loads(head[2:])["samples"] == 3
    assert code.name == "objdump"
    record, script = calls.read_text().splitlines()
    assert f"-p {sleeper}" in record
    assert " -B -F 99 " in record
    assert "--no-inline --no-demangle" in script
    assert not Path(record.split(" -o ")[1].split()[0]).parent.exists(), "no recording is left behind"


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("Error:\nAccess to performance monitoring and observability operations is limited.", "PARANOID"),
        ("Error:\nNo permission to enable cpu-clock event.\nperf_event_paranoid setting is 4", "PARANOID"),
        ("The sys_perf_event_open() syscall returned with 1 (Operation not permitted)", "PTRACE_DENIED"),
        ("The sys_perf_event_open() syscall returned with 38 (Function not implemented)", "SECCOMP"),
        ("The cycles event is not supported.", "EVENT_UNSUPPORTED"),
        ("Couldn't create thread/CPU maps: No such process", "TARGET_GONE"),
        ("Too many open files", "TOO_EXPENSIVE"),
        ("surprise", "SOURCE_UNREACHABLE"),
        ("", "SOURCE_UNREACHABLE"),
    ],
)
def test_a_refusal_is_a_reason_with_what_perf_said(errors, reason):
    said = refused(ToolRun(errors=errors, status=255))
    assert said is not None
    assert said.reason == reason
    assert said.detail.startswith("perf: ")
    assert "Error:" not in said.detail


def test_a_refusal_reaches_both_answers(sleeper, stand_in):
    stand_in(record="sys.stderr.write('Error:\\nAccess to performance monitoring is limited'); sys.exit(255)")
    for answer in profile(context(sleeper)):
        assert (answer.body, answer.reason) == (None, "PARANOID")


def test_without_perf_that_is_the_reason(sleeper, monkeypatch):
    monkeypatch.setattr(perf_record, "find_tool", lambda name: None)
    assert {answer.reason for answer in profile(context(sleeper))} == {"NO_TOOL"}


def test_a_target_that_ends_or_is_replaced_meanwhile_is_gone(sleeper, stand_in):
    stand_in(record=f"os.kill({sleeper}, 9)", script=printing(sleeper))
    assert {answer.reason for answer in profile(context(sleeper))} == {"TARGET_GONE"}
    other = LocalTarget(os.getpid(), 1, 0, "python", "given")
    assert {a.reason for a in profile(Context(Machine(), other, 1.0, limits=LIMITS))} == {"TARGET_GONE"}


def test_perf_cut_in_the_middle_of_its_text_keeps_the_whole_samples(sleeper, stand_in):
    stand_in(script=printing(sleeper, 1000))
    limits = LIMITS | {"profile_text": 5000.0}
    stacks, _ = profile(context(sleeper, limits=limits))
    head = json.loads((stacks.body or "").split("\n", 1)[0][2:])
    assert "more than 5000 bytes" in head["cut"]
    assert 0 < head["samples"] < 1000
    assert parse_profile(stacks.body or "").kept == head["samples"]


def test_perf_that_dies_while_it_reads_keeps_what_it_said(sleeper, stand_in):
    stand_in(
        script=printing(sleeper, 5)
        + "; sys.stdout.write('busy  1/2 3.0'); sys.stdout.flush(); os.kill(os.getpid(), 11)"
    )
    stacks, _ = profile(context(sleeper))
    assert parse_profile(stacks.body or "").samples == 5


def test_perf_that_reads_nothing_is_a_reason(sleeper, stand_in):
    stand_in(script="sys.stderr.write('incompatible file format'); sys.exit(1)")
    stacks, code = profile(context(sleeper))
    assert (stacks.reason, code.reason) == ("SOURCE_UNREACHABLE", "SOURCE_UNREACHABLE")
    assert "incompatible file format" in stacks.detail


def test_a_perf_that_cannot_tell_of_lost_samples_is_asked_without(sleeper, stand_in):
    old = (
        "'--show-lost-events' in sys.argv and sys.exit(sys.stderr.write('unknown option `show-lost-events') and 129); "
    )
    calls = stand_in(script=old + printing(sleeper))
    stacks, _ = profile(context(sleeper))
    assert parse_profile(stacks.body or "").samples == 3
    assert len(calls.read_text().splitlines()) == 3


def test_stopping_ends_it_at_once_and_leaves_nothing(sleeper, stand_in):
    calls = stand_in(record="time.sleep(30)", script=printing(sleeper))
    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    began = time.monotonic()
    stacks, code = profile(context(sleeper, seconds=20.0, stop=stop))
    assert time.monotonic() - began < 10
    assert (stacks.reason, code.reason) == ("BUDGET", "BUDGET")
    assert not Path(calls.read_text().split(" -o ")[1].split()[0]).parent.exists()


def test_a_recorder_that_does_not_end_is_ended_and_what_it_wrote_is_read(sleeper, stand_in, monkeypatch):
    monkeypatch.setattr(perf_record, "_SPARE_SECONDS", 0.2)
    stand_in(record="time.sleep(60)", script=printing(sleeper))
    stacks, _ = profile(context(sleeper, seconds=0.3))
    assert parse_profile(stacks.body or "").samples == 3


def tree(tmp_path: Path, pid: int, *, threads: int, cpus: int, counters: bool = False) -> Machine:
    """A machine with so many CPUs, and a target with so many threads."""
    proc, sys_ = tmp_path / "proc", tmp_path / "sys"
    for thread in range(threads):
        (proc / f"{pid}/task/{pid + thread}").mkdir(parents=True)
    (proc / f"{pid}/stat").write_text(Path(f"/proc/{pid}/stat").read_text())
    for cpu in range(cpus):
        (sys_ / f"devices/system/cpu/cpu{cpu}").mkdir(parents=True)
    (sys_ / "bus/event_source/devices" / ("cpu" if counters else "software")).mkdir(parents=True)
    return Machine(proc_root=str(proc), sys_root=str(sys_))


def test_many_threads_are_sampled_by_the_hosts_clock_and_many_cpus_more_seldom(
    sleeper, stand_in, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    calls = stand_in(script=printing(sleeper))
    target = context(sleeper).target
    machine = tree(tmp_path / "m", sleeper, threads=300, cpus=128)
    stacks, _ = profile(Context(machine, target, 8.0, limits=LIMITS))
    record = calls.read_text().splitlines()[0]
    assert " -a " in record
    assert " -F 19 " in record
    head = json.loads((stacks.body or "").split("\n", 1)[0][2:])
    assert (head["whole_host"], head["threads"], head["hertz"]) == (True, 300, 19)


def test_too_many_threads_for_one_who_may_not_sample_the_host_are_too_expensive(
    sleeper, stand_in, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    stand_in(script=printing(sleeper))
    machine = tree(tmp_path / "m", sleeper, threads=300, cpus=128)
    answers = profile(Context(machine, context(sleeper).target, 1.0, limits=LIMITS))
    assert {answer.reason for answer in answers} == {"TOO_EXPENSIVE"}


def test_a_counter_that_is_refused_or_counts_nothing_gives_way_to_the_clock(sleeper, stand_in, tmp_path):
    refuse = "(sys.stderr.write('The cycles event is not supported.'), sys.exit(255)) if 'cycles' in sys.argv else None"
    calls = stand_in(record=refuse, script=printing(sleeper))
    machine = tree(tmp_path / "m", sleeper, threads=1, cpus=2, counters=True)
    stacks, _ = profile(Context(machine, context(sleeper).target, 1.0, limits=LIMITS))
    assert parse_profile(stacks.body or "").samples == 3
    assert [line.split(" -e ")[1].split()[0] for line in calls.read_text().splitlines() if "record" in line] == [
        "cycles", "cpu-clock",
    ]  # fmt: skip


def may_record() -> bool:
    if find_tool("perf") is None or find_tool("gcc") is None:
        return False
    run = tool.run_tool(["perf", "record", "-q", "-B", "-e", "cpu-clock", "-o", "/dev/null", "--", "true"], seconds=20)
    return run.status == 0


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    if not may_record():
        pytest.skip("perf cannot record here")
    folder = tmp_path_factory.mktemp("busy")
    (folder / "loop.c").write_text(LOOP)
    subprocess.run(
        ["gcc", "-O1", "-fno-omit-frame-pointer", "-o", folder / "loop", folder / "loop.c", "-lm"], check=True
    )
    process = subprocess.Popen([folder / "loop"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.slow
def test_the_hot_function_of_a_real_program_is_found_and_is_scalar(busy):
    asked = context(busy, seconds=1.5)
    stacks, code = profile(asked)
    found = parse_profile(stacks.body or "")
    assert places(found)[0].name == "cosine_similarity"
    assert places(found)[0].own > found.samples / 2
    assert set(asked.spending.by_tool()) >= {"perf record", "perf script"}
    if find_tool("objdump") is not None:
        (fact,) = facts_of_hot_code([code])
        assert fact.known, fact.unknown
        assert fact.value[1] < 0.5
