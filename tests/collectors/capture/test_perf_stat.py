"""Counting with perf: what is asked, what is left out, and that nothing is left behind."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hosts import LIMITS

from engram_diagnose.collectors.capture import perf_stat
from engram_diagnose.collectors.capture.event_tables import Cpu, table_for
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.perf_plan import rounds
from engram_diagnose.collectors.capture.pmu_probe import Probed, probe
from engram_diagnose.collectors.capture.process import start_ticks
from engram_diagnose.collectors.capture.step import Context
from engram_diagnose.collectors.capture.target import LocalTarget
from engram_diagnose.collectors.parse.events import read_tables
from engram_diagnose.collectors.parse.perf_stat import Counted, parse_counts
from engram_diagnose.collectors.parse.pmu import facts_of_pmu
from engram_diagnose.engine.facts.fact import Reason

DOCUMENT: dict[str, Any] = {
    "schema": "engram-diagnose/events/v1",
    "table": "acme",
    "title": "Acme 1",
    "source": "its makers",
    "status": "stable",
    "cpus": [{"arch": "any"}],
    "counters": "3",
    "fixed": ["instr"],
    "events": {"instr": "event=0x01", "cyc": "event=0x02", "miss": "event=0x03,umask=0x01", "cas": "event=0x04"},
    "groups": {
        "pipeline": {"count": {"instructions": "instr", "cycles": "cyc"}},
        "cache": {"count": {"instructions": "instr", "misses": "miss"}},
        "again": {"count": {"misses": "miss", "cycles": "cyc"}},
        "memory": {"on": "uncore_imc", "count": {"reads": "cas"}},
    },
    "facts": {
        "pmu.ipc": {"is": "pipeline.instructions / pipeline.cycles"},
        "cache.llc_mpki": {"is": "1000 * cache.misses / cache.instructions"},
        "membw.read": {"is": "64 * memory.reads / seconds"},
        "tlb.walk_pki": {"is": "again.misses / again.cycles"},
    },
}
EVENTS = {"acme.yaml": DOCUMENT}
CPU = Cpu(arch="x86_64")
DEVICES = {"cpu": 4, "uncore_imc_0": 20, "uncore_imc_1": 21, "software": 1}
PERF = r"""#!{python}
import os, re, sys
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(repr(arguments) + "\n")
if arguments == ["--version"]:
    print("perf version {version}")
    sys.exit()
if {refused!r} and {refused!r} in " ".join(arguments):
    print("event syntax error: '.." + {refused!r} + "'", file=sys.stderr)
    sys.exit(129)
if "--log-fd" in arguments:
    expression = arguments[arguments.index("-e") + 1]
    for term in re.findall(r"(?:\w+/[^/]*/\w*)|[\w-]+(?::u)?", expression):
        name = re.search(r"name=([\w.]+)", term)
        name = name.group(1) if name else term
        if "-j" in arguments:
            form = '{{"counter-value" : "1000.000000", "event" : "%s", "event-runtime" : 9, "pcnt-running" : 100.00}}'
            print(form % name)
        else:
            print("1000;;%s;9;100.00;;" % name)
"""


@pytest.fixture
def target() -> Iterator[LocalTarget]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        ticks = start_ticks(process.pid)
        assert ticks is not None
        yield LocalTarget(process.pid, ticks, 0, "engram", "given")
    finally:
        process.kill()
        process.wait()


def context_of(target: LocalTarget, seconds: float = 2.0, **limits: float) -> Context:
    return Context(Machine("h"), target, seconds, limits=LIMITS | limits, events=EVENTS)


def probed(**changes: Any) -> Probed:
    found = Probed(CPU, DEVICES, "cpu", {}, 0, False, 1, "2", "0", "6.8", "6.12", "acme")
    return replace(found, **changes)


class Fake:
    """A perf of our own before all others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"

    def install(self, *, version: str = "6.12.1", refused: str = "") -> None:
        script = PERF.format(python=sys.executable, log=str(self.log), version=version, refused=refused)
        (self.folder / "perf").write_text(script)
        (self.folder / "perf").chmod(0o755)

    @property
    def runs(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "--log-fd" in line]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    made = Fake(tmp_path)
    made.install()
    return made


def body_of(context: Context, found: Probed) -> dict[str, Any]:
    answer = perf_stat.count(context, found)
    assert answer.body is not None, answer.detail
    body: dict[str, Any] = json.loads(answer.body)
    return body


# ── what is asked ────────────────────────────────────────────────────────────────────────────────


def test_groups_share_a_round_as_long_as_the_counters_suffice() -> None:
    table = table_for(CPU, EVENTS)
    assert table is not None
    found = rounds(table, DEVICES, "cpu", user_only=False, of_host=True)
    # An instruction count has a counter of its own, once: pipeline and cache take 1 + 2 of three.
    assert [each.groups for each in found] == [["pipeline", "cache"], ["again"], ["memory"]]
    assert found[0].expression() == (
        "{cpu/event=0x01,name=pipeline.instructions/,cpu/event=0x02,name=pipeline.cycles/},"
        "{cpu/event=0x01,name=cache.instructions/,cpu/event=0x03,umask=0x01,name=cache.misses/}"
    )
    assert found[2].expression() == (
        "{uncore_imc_0/event=0x04,name=memory.reads/},{uncore_imc_1/event=0x04,name=memory.reads/}"
    )


def test_user_space_alone_is_asked_for_where_no_more_is_allowed() -> None:
    table = table_for(CPU, EVENTS)
    assert table is not None
    found = rounds(table, DEVICES, "cpu", user_only=True, of_host=False)
    assert all(asked.term.endswith("/u") for each in found for asked in each.asked)
    assert not any(each.of_host for each in found)


def test_it_counts_the_target_for_its_part_of_the_window_and_the_host_for_its_own(
    fake: Fake, target: LocalTarget
) -> None:
    body = body_of(context_of(target, 1.5, counting_share=1), probed())
    runs = fake.runs
    assert [f"'-p', '{target.pid}'" in run for run in runs] == [True, True, False]
    assert ["'-a'" in run for run in runs] == [False, False, True]
    assert all("'sleep', '0.500'" in run for run in runs)
    assert [each["of_host"] for each in body["rounds"]] == [False, False, True]
    assert all("'task-clock,{" in run for run in runs), "how long the server ran is counted each time"


def test_what_it_says_becomes_facts(fake: Fake, target: LocalTarget) -> None:
    answer = perf_stat.count(context_of(target, 1.5, counting_share=1), probed())
    facts = {fact.name: fact for fact in facts_of_pmu([answer], read_tables(EVENTS))}
    assert facts["pmu.ipc"].value == (1.0, 1.0)
    assert facts["cache.llc_mpki"].value == (1000.0, 1000.0)
    assert facts["membw.read"].known


def test_an_old_perf_is_asked_for_fields_between_semicolons(fake: Fake, target: LocalTarget) -> None:
    fake.install(version="5.10.226")
    body = body_of(context_of(target, 0.6, counting_share=1), probed(perf="5.10.226"))
    assert body["rounds"][0]["form"] == "csv"
    assert "'-x', ';'" in fake.runs[0]
    assert parse_counts(body["rounds"][0]["output"]).of("pipeline.cycles")[0].state is Counted.YES


def test_an_event_that_perf_does_not_take_is_left_out_and_the_others_are_counted(
    fake: Fake, target: LocalTarget
) -> None:
    fake.install(refused="event=0x03,umask=0x01")
    body = body_of(context_of(target, 1.5, counting_share=1), probed())
    assert body["refused"].keys() == {"cache.misses", "again.misses"}
    assert body["refused"]["cache.misses"].startswith("event syntax error")
    assert ["cache", "instructions", "cache.instructions"] in body["rounds"][0]["asked"]
    assert "umask" in fake.runs[0]
    assert "umask" not in fake.runs[1], "it counts again without them"


# ── what is left out ─────────────────────────────────────────────────────────────────────────────


def test_without_counters_perf_is_not_run_at_all(fake: Fake, target: LocalTarget) -> None:
    """What the kernel counts by itself stands in /proc, and perf would open it for every thread."""
    body = body_of(context_of(target, 0.5, counting_share=1), probed(core="", opens={"target_cycles": "ENOENT"}))
    assert body["rounds"] == []
    assert not fake.log.exists()


def test_the_whole_host_is_left_alone_without_permission(fake: Fake, target: LocalTarget) -> None:
    body_of(context_of(target, 1.0, counting_share=1), probed(opens={"host_software": "EACCES"}))
    assert not any("'-a'" in run for run in fake.runs)


def test_a_short_window_counts_what_matters_most(fake: Fake, target: LocalTarget) -> None:
    body = body_of(context_of(target, 0.6, counting_share=1), probed())
    assert len(fake.runs) == 1
    assert body["left_out"]["again"][0] == "BUDGET"
    assert body["left_out"]["memory"][0] == "BUDGET"


def test_what_would_take_too_much_of_a_core_is_left_out_from_the_end(fake: Fake, target: LocalTarget) -> None:
    # Two rounds of 16 ms and a little: 17 ms of two seconds are enough for the first alone.
    body = body_of(context_of(target, 2.0, counting_share=0.0085), probed(opens={"host_software": "EACCES"}))
    assert body["left_out"].keys() == {"again"}
    assert body["left_out"]["again"][0] == "BUDGET"
    assert len(fake.runs) == 1


def test_many_threads_are_too_expensive(fake: Fake, tmp_path: Path, target: LocalTarget) -> None:
    tasks = tmp_path / "proc" / str(target.pid) / "task"
    for number in range(3000):
        (tasks / str(number)).mkdir(parents=True)
    shutil.copy(f"/proc/{target.pid}/stat", tasks.parent / "stat")
    context = replace(context_of(target, 8.0), machine=Machine("h", proc_root=str(tmp_path / "proc")))
    body = body_of(context, probed(opens={"host_software": "EACCES"}))
    assert {why[0] for why in body["left_out"].values()} == {"TOO_EXPENSIVE"}
    assert body["left_out"].keys() == {"pipeline", "cache", "again"}
    assert body["rounds"] == []
    assert "3000 threads" in body["left_out"]["pipeline"][1]


def test_without_perf_it_says_so(target: LocalTarget) -> None:
    answer = perf_stat.count(context_of(target), probed(perf=""))
    assert (answer.body, answer.reason) == (None, "NO_TOOL")


def test_a_target_that_is_another_process_by_now_is_gone(fake: Fake, target: LocalTarget) -> None:
    answer = perf_stat.count(context_of(replace(target, start_ticks=1)), probed())
    assert (answer.body, answer.reason) == (None, "TARGET_GONE")
    assert not fake.log.exists()


def test_a_target_that_ends_meanwhile_is_gone(fake: Fake) -> None:
    process = subprocess.Popen(["sleep", "0.3"])
    target = LocalTarget(process.pid, start_ticks(process.pid) or 0, 0, "engram", "given")
    answer = perf_stat.count(context_of(target, 0.6, counting_share=1), probed())
    process.wait()
    # The stand-in for perf does not wait; the real one counts on to the end of its window.
    if answer.body is None:
        assert answer.reason == "TARGET_GONE"


def test_when_collecting_stops_so_does_counting(fake: Fake, target: LocalTarget) -> None:
    context = context_of(target)
    context.stop.set()
    body = body_of(context, probed())
    assert body["refused"] == {}, "what was not heard out is not refused"
    assert {each["reason"] for each in body["rounds"]} <= {"BUDGET", ""}


def test_stopped_before_perf_could_say_its_version_it_is_not_said_to_be_missing(
    fake: Fake, target: LocalTarget
) -> None:
    context = context_of(target)
    context.stop.because("memory pressure rose")
    answers = perf_stat.STEP.run(context)
    assert (answers[-1].reason, answers[-1].detail) == ("BUDGET", "memory pressure rose")


# ── the real one ─────────────────────────────────────────────────────────────────────────────────

REAL = pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")


@REAL
def test_the_perf_that_is_here_takes_codes_and_names_of_our_own(target: LocalTarget) -> None:
    """The time stamp counter stands in for a core's: it is there where there are no others."""
    document = {
        **DOCUMENT,
        "fixed": [],
        "events": {"tsc": "event=0x00"},
        "groups": {"pipeline": {"count": {"instructions": "tsc", "cycles": "tsc"}}},
        "facts": {"pmu.ipc": {"is": "pipeline.instructions / pipeline.cycles"}},
    }
    context = replace(context_of(target, 0.5, counting_share=1), events={"acme.yaml": document})
    found = probe(context)
    if "msr" not in found.devices or found.opens["target_software"] or not found.perf:
        pytest.skip("there is no such counter here")
    body = body_of(context, replace(found, core="msr", opens={}))
    assert body["refused"] == {}
    counts = parse_counts(body["rounds"][0]["output"])
    assert [count.event for count in counts.lines][-2:] == ["pipeline.instructions", "pipeline.cycles"]
    answer = perf_stat.count(context, replace(found, core="msr", opens={}))
    facts = {fact.name: fact for fact in facts_of_pmu([answer], read_tables({"acme.yaml": document}))}
    low, high = facts["pmu.ipc"].value or (0, 0)
    assert isinstance(low, float)
    assert 0.9 < low <= high < 1.1


@REAL
def test_an_event_that_the_perf_here_does_not_know_is_refused_alone(target: LocalTarget) -> None:
    context = context_of(target, 1.0, counting_share=1)
    found = probe(context)
    if "msr" not in found.devices or found.opens["target_software"] or not found.perf:
        pytest.skip("there is no such counter here")
    body = body_of(context, replace(found, core="msr", opens={"host_software": "EACCES"}))
    assert "cache.misses" in body["refused"], "this counter has no umask"
    assert ["cache", "instructions", "cache.instructions"] in body["rounds"][0]["asked"]


@REAL
def test_where_there_are_no_counters_every_fact_says_so(target: LocalTarget) -> None:
    answers = perf_stat.STEP.run(context_of(target, 0.5))
    body = json.loads(answers[0].body or "{}")
    if body["opens"]["cycles_user"] != "ENOENT":
        pytest.skip("there are counters here")
    facts = facts_of_pmu(answers, read_tables(EVENTS))
    reasons = {fact.unknown.reason for fact in facts if fact.unknown is not None and not fact.name.startswith("numa.")}
    assert reasons == {Reason.NO_PMU}
    assert all(fact.get_by for fact in facts if not fact.name.startswith("numa."))
