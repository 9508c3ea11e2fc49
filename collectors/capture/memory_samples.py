"""Loads and stores that the CPU samples by address: whether it does so here, and recording those of one process."""

from __future__ import annotations

import os
import re

from engram_diagnose.collectors.capture.reading import Reading, entries
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
    from collections.abc import Callable, Sequence

    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine
    from engram_diagnose.collectors.capture.step import Context
    from engram_diagnose.collectors.capture.tool import ToolRun

_EVENTS_OPENED = 2
"""What perf samples memory accesses by: loads and stores, or loads and what goes with them."""

_DEVICES = "bus/event_source/devices"
_CORE = re.compile(r"(?:cpu|cpu_core|cpu_atom|armv8.*|armv9.*|arm_.*pmu.*)")
_PRECISE = ("cpu/events/mem-loads", "cpu_core/events/mem-loads", "cpu_core/events/mem-loads-aux", "ibs_op")


def sampled(
    context: Context,
    collector: str,
    name: str,
    *,
    tool: str,
    options: Sequence[str] = (),
    report: Callable[[Context, str], Reading],
) -> list[Answer]:
    """
    The one answer: what `report` reads in a recording of the target's accesses, or why there is none.

    `tool` is perf's command that records them, `c2c` or `mem`, and `options` are its own. `report` gets the path of
    the recording, which is gone afterwards.
    """
    refused = gone(context) if not target_is_there(context) else lacking_precise(context.machine)
    refused = refused or too_many_opened(context, _EVENTS_OPENED)
    if refused:
        return [context.machine.answer(collector, name, refused)]
    with scratch() as folder:
        data = os.path.join(folder, "perf.data")
        refused = _refused(_recorded(context, tool, options, data), context.machine)
        return [pinned(context, collector, name, refused or report(context, data))]


def _recorded(context: Context, tool: str, options: Sequence[str], data: str) -> ToolRun:
    watch = f"{context.seconds:g}"
    record = ["perf", tool, *options, "record", "-o", data, "-p", str(context.target.pid), "--", "sleep", watch]
    run = run_tool(record, seconds=context.seconds + START_SECONDS, stop=context.stop)
    context.spending.add(f"perf {tool} record", run.cpu_seconds)
    return run


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


def _refused(run: ToolRun, machine: Machine) -> Reading | None:
    """Why perf sampled no memory accesses; None when it did."""
    refused = refusal(run, machine)
    if refused and "memory events not supported" in run.errors:
        return Reading(None, "EVENT_UNSUPPORTED", "perf: memory events not supported")
    return refused
