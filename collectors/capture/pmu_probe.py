"""What this kernel, CPU and user may count: asked of the kernel itself, without any tool."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import asdict, dataclass

from engram_diagnose.collectors.capture import perf_open
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.event_tables import Cpu, parse_cpu, table_for
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.process import start_ticks
from engram_diagnose.collectors.capture.reading import Reading, line_of, read
from engram_diagnose.collectors.capture.step import Context, Step
from engram_diagnose.collectors.capture.tool import run_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Open = Callable[..., str]
    """As `perf_open.open_error`."""

_DEVICES = "bus/event_source/devices"
_CORE = re.compile(r"cpu|cpu_core|armv[0-9]\w*|riscv_pmu\w*|\w*_pmuv3\w*")
_UNCORE = re.compile(r"(uncore_imc|amd_umc|amd_df|amd_l3|arm_cmn)(_[0-9]+)?")
_TRACEFS = ("kernel/tracing", "kernel/debug/tracing")
_VERSION_SECONDS = 5.0


@dataclass(frozen=True)
class Probed:
    """
    What may be counted here.

    `devices` are the kinds of counters by name with their type, `core` the name of those of the cores ("" for none),
    `opens` by what was asked for the name of the errno that refused it, "" where it was granted. `width` is how many
    slots a cycle has, 0 where the kernel does not say; `smt` whether threads share cores; `table` the table of events
    for this CPU, "" for none; `perf` the version of the tool, "" where it is not there.
    """

    cpu: Cpu
    devices: dict[str, int]
    core: str
    opens: dict[str, str]
    width: int
    smt: bool
    nodes: int
    paranoid: str
    seccomp: str
    kernel: str
    perf: str
    table: str

    @property
    def kernel_counted(self) -> bool:
        """Whether what the kernel does for the server may be counted too."""
        return not self.opens.get("cycles")


def probe(context: Context, *, open_event: Open = perf_open.open_error) -> Probed:
    """What may be counted on this machine and of this target; nothing is left open."""
    machine = context.machine
    devices = event_devices(machine)
    core = next((name for name in sorted(devices) if _CORE.fullmatch(name)), "")
    cpu = parse_cpu(read(machine.proc("cpuinfo")).body or "", arch=platform.machine())
    table = table_for(cpu, context.events)
    return Probed(
        cpu=cpu,
        devices=devices,
        core=core,
        opens=_opens(context, devices, open_event),
        width=_width(machine, core),
        smt=line_of(machine.sys("devices/system/cpu/smt/active")) == "1",
        nodes=_count(line_of(machine.sys("devices/system/node/online"))),
        paranoid=line_of(machine.proc("sys/kernel/perf_event_paranoid")),
        seccomp=_seccomp(machine),
        kernel=line_of(machine.proc("sys/kernel/osrelease")),
        perf=perf_version(context),
        table=table.name if table else "",
    )


def event_devices(machine: Machine) -> dict[str, int]:
    """What counts on this machine, by name with its type."""
    folder = machine.sys(_DEVICES)
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    types = {name: line_of(os.path.join(folder, name, "type")) for name in names}
    return {name: int(text) for name, text in types.items() if re.fullmatch(r"[0-9]{1,9}", text)}


def uncore_devices(devices: dict[str, int], kind: str) -> list[str]:
    """The devices of one kind that are not the cores': `uncore_imc` is `uncore_imc_0`, `uncore_imc_1` and so on."""
    found = [name for name in devices if re.fullmatch(re.escape(kind) + r"(_[0-9]+)?", name)]
    return sorted(found, key=lambda name: (len(name), name))


def perf_version(context: Context) -> str:
    """The version of the tool perf as it says it, "" where it is not there or says none."""
    run = run_tool(["perf", "--version"], seconds=_VERSION_SECONDS, stop=context.stop)
    context.spending.add("perf stat", run.cpu_seconds)
    found = re.match(r"perf version ([0-9][\w.+~-]{0,60})", run.output)
    return found.group(1) if found else ""


def _opens(context: Context, devices: dict[str, int], open_event: Open) -> dict[str, str]:
    hardware, software = perf_open.HARDWARE, perf_open.SOFTWARE
    clock, cycles = perf_open.TASK_CLOCK, perf_open.CYCLES
    pid = context.target.pid
    # A refusal comes before it is looked whether there is such a counter: only what needs least says that.
    asked = {
        "software_user": open_event(software, clock),
        "software": open_event(software, clock, user_only=False),
        "cycles_user": open_event(hardware, cycles),
        "cycles": open_event(hardware, cycles, user_only=False),
        "instructions_user": open_event(hardware, perf_open.INSTRUCTIONS),
        "precise": open_event(hardware, cycles, precise=True),
        "target_software": open_event(software, clock, pid=pid),
        "target_cycles": open_event(hardware, cycles, pid=pid),
        "host_software": open_event(software, clock, pid=-1, cpu=0, user_only=False),
        "tracepoint": _tracepoint(context.machine, open_event),
    }
    for name in devices:
        if _UNCORE.fullmatch(name):
            cpu = _first_cpu(context.machine, name)
            asked[f"device {name}"] = open_event(devices[name], 0, pid=-1, cpu=cpu, user_only=False)
    return asked


def _tracepoint(machine: Machine, open_event: Open) -> str:
    for root in _TRACEFS:
        reading = read(machine.sys(os.path.join(root, "events/sched/sched_switch/id")))
        number = (reading.body or "").strip()
        if re.fullmatch(r"[0-9]{1,9}", number):
            return open_event(perf_open.TRACEPOINT, int(number), user_only=False)
        if reading.reason == "PTRACE_DENIED":
            return "EACCES"
    return "ENOENT"


def _first_cpu(machine: Machine, device: str) -> int:
    found = re.match(r"[0-9]{1,6}", line_of(machine.sys(os.path.join(_DEVICES, device, "cpumask"))))
    return int(found.group()) if found else 0


def _width(machine: Machine, core: str) -> int:
    text = line_of(machine.sys(os.path.join(_DEVICES, core, "caps/slots"))) if core else ""
    return int(text, 0) if re.fullmatch(r"0x0{0,8}[0-9a-f]{1,4}|[1-9][0-9]{0,3}", text) else 0


def _seccomp(machine: Machine) -> str:
    found = re.search(r"^Seccomp:\s*([0-9])", read(machine.proc("self/status")).body or "", re.MULTILINE)
    return found.group(1) if found else ""


def _count(ranges: str) -> int:
    """How many a list such as `0-3,8` has; 0 where it is none."""
    total = 0
    for part in ranges.split(","):
        low, _, high = part.partition("-")
        if not re.fullmatch(r"[0-9]{1,6}", low) or not re.fullmatch(r"[0-9]{0,6}", high):
            return 0
        total += max(0, int(high or low) - int(low)) + 1
    return total


def probe_answer(machine: Machine, probed: Probed) -> Answer:
    """The finding as an answer, a JSON object of the fields of `Probed`."""
    return machine.answer("perf", "probe", Reading(json.dumps(asdict(probed), sort_keys=True)))


def gone(context: Context) -> bool:
    """Whether the process that was meant is not there any more."""
    target = context.target
    return start_ticks(target.pid, proc_root=context.machine.proc_root) != target.start_ticks


def _run(context: Context) -> list[Answer]:
    return [probe_answer(context.machine, probe(context))]


STEP = Step(
    name="counter probe",
    asks="which counters this kernel, CPU and user have",
    cost="a dozen system calls, under 10 ms",
    run=_run,
)
