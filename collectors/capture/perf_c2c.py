"""Cache lines that cores fight over: `perf c2c`, which needs a CPU that samples memory accesses by address."""

from __future__ import annotations

import os
import re

from engram_diagnose.collectors.capture.reading import Reading, entries
from engram_diagnose.collectors.capture.step import Step
from engram_diagnose.collectors.capture.tool import find_tool, run_tool, scratch
from engram_diagnose.collectors.capture.tracepoints import (
    START_SECONDS,
    gone,
    pinned,
    refusal,
    target_is_there,
    too_many_opened,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine
    from engram_diagnose.collectors.capture.step import Context
    from engram_diagnose.collectors.capture.tool import ToolRun

COLLECTOR = "c2c"
REPORT = "perf c2c report"
"""The answer with the report."""

LINES_KEPT = 8
"""Cache lines whose accesses are kept: the report's first are the most contended."""

EVENTS_OPENED = 2
"""What perf samples memory accesses by: loads and stores, or loads and what goes with them."""

_DEVICES = "bus/event_source/devices"
_CORE = re.compile(r"(?:cpu|cpu_core|cpu_atom|armv8.*|armv9.*|arm_.*pmu.*)")
_PRECISE = ("cpu/events/mem-loads", "cpu_core/events/mem-loads", "cpu_core/events/mem-loads-aux", "ibs_op")
_REPORT_SECONDS = 20.0


def lacking_precise(machine: Machine) -> Reading | None:
    """
    Why this CPU cannot sample memory accesses by address; None when it can, as far as files tell.

    Intel does it by PEBS (`mem-loads`), AMD by IBS, Arm by SPE; a virtual machine is seldom given any of them.
    """
    if find_tool("perf") is None:
        return Reading(None, "NO_TOOL", "perf is not installed")
    root = machine.sys(_DEVICES)
    devices = entries(root)
    spe = any(device.startswith("arm_spe") for device in devices)
    if spe or any(os.path.exists(os.path.join(root, path)) for path in _PRECISE):
        return None
    if any(_CORE.fullmatch(device) for device in devices):
        return Reading(None, "EVENT_UNSUPPORTED", "no PEBS, IBS or SPE: it does not sample memory accesses by address")
    return Reading(None, "NO_PMU", f"{root} lists no CPU counters, as in most virtual machines")


def refused_precise(run: ToolRun, machine: Machine) -> Reading | None:
    """Why perf sampled no memory accesses; None when it did."""
    refused = refusal(run, machine)
    if refused and "memory events not supported" in run.errors:
        return Reading(None, "EVENT_UNSUPPORTED", "perf: memory events not supported")
    return refused


def look_at_lines(context: Context) -> list[Answer]:
    """The report on shared cache lines, or why there is none."""
    refused = gone(context) if not target_is_there(context) else lacking_precise(context.machine)
    refused = refused or too_many_opened(context, EVENTS_OPENED)
    if refused:
        return [context.machine.answer(COLLECTOR, REPORT, refused)]
    with scratch() as folder:
        return [pinned(context, COLLECTOR, REPORT, _report(context, os.path.join(folder, "perf.data")))]


STEP = Step(
    "false sharing",
    "cache lines that several cores modify",
    "sampled loads and stores for as long as it watches; needs PEBS, IBS or SPE",
    look_at_lines,
)


def _report(context: Context, data: str) -> Reading:
    watch = f"{context.seconds:g}"
    record = ["perf", "c2c", "record", "-o", data, "-p", str(context.target.pid), "--", "sleep", watch]
    recorded = run_tool(record, seconds=context.seconds + START_SECONDS, stop=context.stop)
    context.spending.add("perf c2c record", recorded.cpu_seconds)
    refused = refused_precise(recorded, context.machine)
    if refused:
        return refused
    report = ["perf", "c2c", "report", "-i", data, "--stdio", "-NN", "--full-symbols", "--no-source"]
    printed = run_tool(report, seconds=_REPORT_SECONDS, stop=context.stop)
    context.spending.add("perf c2c report", printed.cpu_seconds)
    return refusal(printed, context.machine) or Reading(first_lines(printed.output))


def first_lines(report: str) -> str:
    """A report with the accesses of its first `LINES_KEPT` cache lines only."""
    rows = report.splitlines(keepends=True)
    rules = [index for index, row in enumerate(rows) if re.fullmatch(r"\s*-{20,}\s*", row)]
    beyond = 2 * LINES_KEPT  # one rule above and one below each cache line's own row
    return "".join(rows[: rules[beyond]] if len(rules) > beyond else rows)
