"""The probe says what may be counted here, and leaves nothing open."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture import perf_open, pmu_probe
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.pmu_probe import event_devices, probe, probe_answer, uncore_devices
from engram_diagnose.collectors.capture.process import start_ticks
from engram_diagnose.collectors.capture.step import Context
from engram_diagnose.collectors.capture.target import LocalTarget
from engram_diagnose.collectors.parse.pmu_access import Access, parse_probe
from engram_diagnose.engine.facts.fact import Reason

ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"
TABLES = {"a.yaml": {"table": "arm", "counters": "6", "cpus": [{"arch": "any"}], "groups": {}}}


def plant(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


@pytest.fixture
def graviton(tmp_path: Path) -> Context:
    devices = "bus/event_source/devices"
    sys_root = plant(
        tmp_path / "sys",
        {
            f"{devices}/armv8_pmuv3_0/type": "8\n",
            f"{devices}/armv8_pmuv3_0/caps/slots": "0x00000008\n",
            f"{devices}/arm_cmn_0/type": "12\n",
            f"{devices}/arm_cmn_0/cpumask": "3\n",
            f"{devices}/arm_cmn_1/type": "13\n",
            f"{devices}/software/type": "1\n",
            f"{devices}/odd/type": "x\n",
            "kernel/tracing/events/sched/sched_switch/id": "314\n",
            "devices/system/cpu/smt/active": "0\n",
            "devices/system/node/online": "0-1\n",
        },
    )
    proc_root = plant(
        tmp_path / "proc",
        {
            "cpuinfo": ARM,
            "sys/kernel/perf_event_paranoid": "2\n",
            "sys/kernel/osrelease": "6.8.0-aws\n",
            "self/status": "Name:\tpython\nSeccomp:\t2\n",
        },
    )
    machine = Machine("h", proc_root=proc_root, sys_root=sys_root)
    return Context(machine, LocalTarget(77, 1, 0, "engram", "given"), 1.0, events=TABLES)


def test_it_says_what_the_machine_has(graviton: Context) -> None:
    found = probe(graviton, open_event=lambda *_, **__: "")
    assert found.devices == {"arm_cmn_0": 12, "arm_cmn_1": 13, "armv8_pmuv3_0": 8, "software": 1}
    assert (found.core, found.width, found.smt, found.nodes) == ("armv8_pmuv3_0", 8, False, 2)
    assert (found.cpu.implementer, found.cpu.part, found.table) == (0x41, 0xD40, "arm")
    assert (found.paranoid, found.seccomp, found.kernel) == ("2", "2", "6.8.0-aws")
    assert found.kernel_counted


def test_it_asks_for_each_thing_as_it_would_be_counted(graviton: Context) -> None:
    asked: dict[tuple[int, int, int, int], set[bool]] = {}

    def opened(
        kind: int, config: int, *, pid: int = 0, cpu: int = -1, user_only: bool = True, precise: bool = False
    ) -> str:
        asked.setdefault((kind, config, pid, cpu), set()).add(user_only)
        return "EACCES" if not user_only else "EINVAL" if precise else ""

    found = probe(graviton, open_event=opened)
    assert found.opens["cycles_user"] == "", "with the kernel left out it may be counted"
    assert found.opens["cycles"] == "EACCES"
    assert not found.kernel_counted
    assert found.opens["precise"] == "EINVAL"
    assert asked[perf_open.HARDWARE, perf_open.CYCLES, 77, -1] == {True}, "the target"
    assert asked[perf_open.SOFTWARE, perf_open.TASK_CLOCK, -1, 0] == {False}, "the whole host"
    assert asked[perf_open.TRACEPOINT, 314, 0, -1] == {False}
    assert asked[12, 0, -1, 3] == {False}, "a device is opened on the CPU that it names"


def test_its_answer_is_what_parsing_expects(graviton: Context) -> None:
    found = probe(graviton, open_event=lambda *_, **__: "ENOENT")
    answer = probe_answer(graviton.machine, found)
    assert (answer.collector, answer.name) == ("perf", "probe")
    access = parse_probe(answer.body or "")
    assert (access.width, access.nodes, access.table) == (8, 2, "arm")
    assert json.loads(answer.body or "")["opens"]["cycles_user"] == "ENOENT"


def test_tracepoints_that_may_not_be_read_are_forbidden_not_absent(
    graviton: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engram_diagnose.collectors.capture.reading import Reading

    monkeypatch.setattr(pmu_probe, "read", lambda _: Reading(None, "PTRACE_DENIED", ""))
    assert probe(graviton, open_event=lambda *_, **__: "").opens["tracepoint"] == "EACCES"


def test_a_machine_without_any_of_it_is_probed_too(tmp_path: Path) -> None:
    machine = Machine("h", proc_root=str(tmp_path / "proc"), sys_root=str(tmp_path / "sys"))
    context = Context(machine, LocalTarget(1, 1, 0, "engram", "given"), 1.0)
    found = probe(context, open_event=lambda *_, **__: "ENOSYS")
    assert (found.devices, found.core, found.table, found.nodes) == ({}, "", "", 0)


def test_the_kernel_itself_is_asked_and_nothing_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        error = perf_open.open_error(perf_open.SOFTWARE, perf_open.TASK_CLOCK)
        assert error in ("", "EACCES", "EPERM", "ENOSYS")
        assert perf_open.open_error(4_000_000, 0) != ""
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_that_is_not_there_is_said_to_be_that() -> None:
    if perf_open.open_error(perf_open.SOFTWARE, perf_open.TASK_CLOCK):
        pytest.skip("this kernel gives no counter at all")
    assert perf_open.open_error(perf_open.SOFTWARE, perf_open.TASK_CLOCK, pid=2**22 - 1) == "ESRCH"


def test_a_machine_whose_system_call_is_not_known_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    assert perf_open.open_error(perf_open.SOFTWARE, perf_open.TASK_CLOCK) == "ENOSYS"


def test_it_works_here() -> None:
    target = LocalTarget(os.getpid(), start_ticks(os.getpid()) or 0, 0, "test", "given")
    found = probe(Context(Machine("h"), target, 1.0))
    assert {"software_user", "cycles_user", "target_software", "host_software"} <= found.opens.keys()
    assert bool(found.core) == (found.opens["cycles_user"] != "ENOENT"), "no counters, no device that counts"


def test_devices_of_a_kind_are_in_their_order() -> None:
    devices = {"uncore_imc_10": 1, "uncore_imc_2": 2, "uncore_imc_free_running_0": 3, "uncore_imc": 4}
    assert uncore_devices(devices, "uncore_imc") == ["uncore_imc", "uncore_imc_2", "uncore_imc_10"]


def test_a_folder_of_devices_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert event_devices(Machine("h", sys_root=str(tmp_path))) == {}


@given(st.text())
def test_any_list_of_nodes_counts_some(text: str) -> None:
    assert pmu_probe._count(text) >= 0


# ── as others than root, and in containers ───────────────────────────────────────────────────────

CONFINED = """
import ctypes, os, resource, struct, sys
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.pmu_probe import probe, probe_answer
from engram_diagnose.collectors.capture.step import Context
from engram_diagnose.collectors.capture.target import LocalTarget

def filtered(number, error):
    # load the number of the call; if it is that one, refuse it with the error; else allow it
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7FFF0000)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(header), 0, 0):
        sys.exit(3)

how, value = sys.argv[1:]
if how == "filter":
    filtered(298, int(value))
else:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
context = Context(Machine("h"), LocalTarget(1 if how == "user" else os.getpid(), 1, 0, "x", "given"), 1.0)
print(probe_answer(context.machine, probe(context)).body)
"""


def confined(how: str, value: int) -> Access:
    run = subprocess.run(
        [sys.executable, "-c", CONFINED, how, str(value)], capture_output=True, text=True, check=False, timeout=60
    )
    if run.returncode:
        pytest.skip(f"cannot be confined here: {run.stderr[-200:]}")
    return parse_probe(run.stdout)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter knows the number of the call on x86-64")
@pytest.mark.parametrize("error", [1, 38], ids=["EPERM", "ENOSYS"])
def test_a_container_s_filter_is_told_from_a_machine_without_counters(error: int) -> None:
    missing = confined("filter", error).cores
    assert missing is not None
    assert missing.reason is Reason.SECCOMP


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another")
def test_another_user_may_count_himself_and_neither_the_server_nor_the_host() -> None:
    access = confined("user", 0)
    if access.paranoid not in ("1", "2") or access.opens["software_user"]:
        pytest.skip("this kernel allows more, or nothing")
    assert access.opens["target_software"] in ("EACCES", "EPERM")
    assert access.host is not None
    assert access.host.reason is Reason.PARANOID
    assert access.cores is not None
    assert access.cores.reason in (Reason.NO_PMU, Reason.PTRACE_DENIED)
