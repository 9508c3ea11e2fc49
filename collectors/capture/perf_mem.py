"""How long loads from memory take: `perf mem`, which needs a CPU that samples memory accesses by address."""

from __future__ import annotations

import re

from engram_diagnose.collectors.capture.memory_samples import sampled
from engram_diagnose.collectors.capture.reading import Reading, read
from engram_diagnose.collectors.capture.step import Step
from engram_diagnose.collectors.capture.tool import run_tool
from engram_diagnose.collectors.capture.tracepoints import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine
    from engram_diagnose.collectors.capture.step import Context

COLLECTOR = "memory latency"
LOADS = "sampled loads"
"""The answer with them, by where they were served."""

_SCRIPT_SECONDS = 15.0


def look_at_loads(context: Context) -> list[Answer]:
    """The latency of sampled loads by where they were served, or why it is not known."""
    return sampled(context, COLLECTOR, LOADS, tool="mem", options=("-t", "load"), report=_loads)


STEP = Step(
    "memory latency",
    "how long loads take that miss every cache",
    "sampled loads for as long as it watches; needs PEBS, IBS or SPE",
    look_at_loads,
)


def _loads(context: Context, data: str) -> Reading:
    script = ["perf", "script", "-i", data, "-F", "weight,data_src"]
    printed = run_tool(script, seconds=_SCRIPT_SECONDS, stop=context.stop, limit=64 << 20)
    context.spending.add("perf script", printed.cpu_seconds)
    if not (printed.cut and printed.output):
        refused = refusal(printed, context.machine)
        if refused:
            return refused
    return Reading(f"# cycles {_clock(context.machine):.0f}/s\n{sum_loads(printed.output)}")


def _clock(machine: Machine) -> float:
    """Cycles a second, the mean of the cores as `/proc/cpuinfo` has it now; 0 where it does not say (Arm)."""
    said = re.findall(r"^cpu MHz\s*:\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)$", read(machine.proc("cpuinfo")).body or "", re.M)
    return sum(map(float, said)) * 1e6 / len(said) if said else 0.0


_LOAD = re.compile(
    r"^[^\n|]{0,200}?(?<![0-9a-f])([0-9]{1,9})[ \t]+(?:0x)?[0-9a-f]{4,20}[ \t]+"
    r"\|OP [^|\n]{0,40}LOAD[^|\n]{0,40}\|LVL ([^|\n]{1,60})\|",
    re.MULTILINE,
)


def sum_loads(text: str) -> str:
    """
    Samples by where they were served: `CALLS CYCLES LEVEL`, the most first.

    `   231   68100142 |OP LOAD|LVL Local RAM hit|SNP None|TLB L1 or L2 hit|LCK No` in; `1 231 Local RAM hit` out.
    """
    sums: dict[str, list[int]] = {}
    for load in _LOAD.finditer(text):
        level = sums.setdefault(load[2].strip(), [0, 0])
        level[0] += 1
        level[1] += int(load[1])
    order = sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))
    return "".join(f"{count} {cycles} {level}\n" for level, (count, cycles) in order)
