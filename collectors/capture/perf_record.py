"""Where the server spends its CPU time: `perf record` for the window, folded, and the code around the hot places."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

from engram_diagnose.collectors.capture.disassembly import disassembly
from engram_diagnose.collectors.capture.perf_script import FIELDS, Folded, fold, kept
from engram_diagnose.collectors.capture.process import start_ticks
from engram_diagnose.collectors.capture.reading import Reading, entries, line_of
from engram_diagnose.collectors.capture.step import Step
from engram_diagnose.collectors.capture.tool import ToolRun, find_tool, run_tool, scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine
    from engram_diagnose.collectors.capture.step import Context

STACKS = "perf record"
CODE = "objdump"
COLLECTOR = "profile"

_SLOWEST_RATE = 9
_CLOCK = "cpu-clock"
_ANOTHER_WAY = ("EVENT_UNSUPPORTED", "PARANOID", "PTRACE_DENIED", "SECCOMP")
_READ_SECONDS = 25.0
_SPARE_SECONDS = 10.0
_CALL_GRAPH = "fp"
"""Frames are found by frame pointers, which costs least; a server built without them shows its leaf functions."""
_LOST_CHUNKS = re.compile(r"lost ([0-9]{1,12}) chunks")


@dataclass(frozen=True)
class _Plan:
    """
    How to record: the event, its rate, and whether the whole host is sampled.

    Sampling one of many threads by itself misses it while it has run for less than a period; a CPU's own clock misses
    nobody, so the whole host is sampled then where that is allowed, and only the target's samples are kept.
    """

    event: str
    hertz: int
    whole_host: bool
    threads: int


def profile(context: Context) -> list[Answer]:
    """The stacks and the hot code of the target, sampled for the context's seconds."""
    stacks, code = _taken(context)
    machine = context.machine
    return [machine.answer(COLLECTOR, STACKS, stacks), machine.answer(COLLECTOR, CODE, code)]


STEP = Step(
    "profile",
    "in which functions the server spends its CPU time",
    "99 samples a second and CPU: below what could be measured; about a second of one core afterwards to read them",
    profile,
)


def _taken(context: Context) -> tuple[Reading, Reading]:
    if find_tool("perf") is None:
        return _both("NO_TOOL", "perf is not installed")
    if not _lives(context):
        return _gone(context)
    plans = _plans(context)
    if not plans:
        return _both("TOO_EXPENSIVE", "too many threads to sample each, and this user may not sample the whole host")
    stacks, folded = _first_that_tells(context, plans)
    if not _lives(context):
        return _gone(context)
    if folded is None or not folded.samples:
        return stacks, Reading(None, stacks.reason or "TOO_FEW_SAMPLES", stacks.detail or "no samples")
    return stacks, disassembly(context, folded.places)


def _first_that_tells(context: Context, plans: list[_Plan]) -> tuple[Reading, Folded | None]:
    """
    By the first plan that the kernel allows; the last one's refusal where it allows none.

    A counter that never counts, as under some hypervisors, is as good as refused.
    """
    stacks, folded = Reading(None, "SOURCE_ABSENT", "nothing to record by"), None
    for plan in plans:
        with scratch() as folder:
            stacks, folded = _recorded(context, plan, folder)
        told = folded is not None and (folded.samples > 0 or plan.event == _CLOCK)
        if told or stacks.reason not in ("", *_ANOTHER_WAY) or context.stop.is_set() or not _lives(context):
            break
    return stacks, folded


def _both(reason: str, detail: str) -> tuple[Reading, Reading]:
    refusal = Reading(None, reason, detail)
    return refusal, refusal


def _gone(context: Context) -> tuple[Reading, Reading]:
    return _both("TARGET_GONE", f"process {context.target.pid} ended while it was measured")


def _lives(context: Context) -> bool:
    return start_ticks(context.target.pid, proc_root=context.machine.proc_root) == context.target.start_ticks


def _plans(context: Context) -> list[_Plan]:
    """The ways to record, the best first."""
    cpus = _cpus(context.machine)
    threads = len(entries(context.machine.proc(f"{context.target.pid}/task"))) or 1
    ways = [True] if threads > cpus and _may_see_all(context.machine) else []
    ways += [False] if threads * cpus <= context.limits["profile_counters"] else []
    events = ("cycles", _CLOCK) if _has_counters(context.machine) else (_CLOCK,)
    return [
        _Plan(event, _rate(context, cpus if whole else min(threads, cpus)), whole, threads)
        for event in events
        for whole in ways
    ]


def _rate(context: Context, running: int) -> int:
    """Samples a second and CPU: fewer where so many CPUs would give more than are read."""
    most = context.limits["profile_samples"] / (running * max(context.seconds, 1.0))
    return max(_SLOWEST_RATE, int(min(context.limits["sample_rate"], most)))


def _may_see_all(machine: Machine) -> bool:
    level = line_of(machine.proc("sys/kernel/perf_event_paranoid"))
    return os.geteuid() == 0 or level in ("0", "-1")


def _cpus(machine: Machine) -> int:
    return sum(re.fullmatch("cpu[0-9]+", name) is not None for name in entries(machine.sys("devices/system/cpu"))) or 1


def _has_counters(machine: Machine) -> bool:
    devices = entries(machine.sys("bus/event_source/devices"))
    return any(name in ("cpu", "cpu_core") or name.startswith("armv") for name in devices)


def _recorded(context: Context, plan: _Plan, folder: str) -> tuple[Reading, Folded | None]:
    """Record, read back and fold; no file outlives this."""
    data = os.path.join(folder, "perf.data")
    run = run_tool(_record(context, plan, data), seconds=context.seconds + _SPARE_SECONDS, stop=context.stop,
                   folder=folder)  # fmt: skip
    context.spending.add("perf record", run.cpu_seconds)
    refusal = refused(run)
    if refusal is not None and not (run.reason == "BUDGET" and not context.stop.is_set() and os.path.exists(data)):
        return refusal, None
    script = _script(context, data, folder)
    if not script.output and script.status != 0:
        return refused(script) or Reading(None, "UNPARSED", "perf script: it printed nothing"), None
    folded = fold(_whole(script), pid=context.target.pid)
    return Reading(_body(context, plan, run, script, folded)), folded


def _record(context: Context, plan: _Plan, data: str) -> list[str]:
    """`-B`: without identities of binaries, nothing is copied into a cache in somebody's home."""
    whom = ["-a"] if plan.whole_host else ["-p", str(context.target.pid)]
    return [
        "perf", "record", "-B", "-F", str(plan.hertz), "-e", plan.event, "--call-graph", _CALL_GRAPH, *whom,
        "-o", data, "--", "sleep", f"{context.seconds:g}",
    ]  # fmt: skip


def _script(context: Context, data: str, folder: str) -> ToolRun:
    """The recording as text; versions of perf that cannot tell of lost samples are asked without."""
    arguments = ["perf", "script", "-i", data, "--no-inline", "--no-demangle", "-F", FIELDS]
    run = _read(context, [*arguments, "--show-lost-events"], folder)
    unknown = run.status not in (0, None) and not run.output and "unknown option" in run.errors
    return _read(context, arguments, folder) if unknown else run


def _read(context: Context, arguments: list[str], folder: str) -> ToolRun:
    run = run_tool(arguments, seconds=_READ_SECONDS, limit=int(context.limits["profile_text"]), stop=context.stop,
                   folder=folder)  # fmt: skip
    context.spending.add("perf script", run.cpu_seconds)
    return run


def _whole(run: ToolRun) -> str:
    """The text up to its last whole sample, where it was cut."""
    return run.output if run.complete else run.output[: run.output.rfind("\n\n") + 2]


def refused(run: ToolRun) -> Reading | None:
    """Why a run of perf gave nothing, as its error says; None when it did its work."""
    if not run.complete:
        return Reading(None, run.reason, run.detail)
    if run.status == 0:
        return None
    if run.status is not None and run.status < 0 and not run.errors.strip():
        return Reading(None, "SOURCE_UNREACHABLE", f"perf was killed (signal {-run.status}); look again")
    said = run.errors.lower()
    lines = (line.strip() for line in run.errors.splitlines())
    line = next((line for line in lines if line not in ("", "Error:", "Warning:")), f"status {run.status}")
    for words, reason in _REFUSALS:
        if any(word in said for word in words):
            return Reading(None, reason, f"perf: {line[:200]}")
    return Reading(None, "SOURCE_UNREACHABLE", f"perf: {line[:200]}")


_REFUSALS = (
    (("perf_event_paranoid", "access to performance monitoring"), "PARANOID"),
    (("no such process", "couldn't create thread/cpu maps"), "TARGET_GONE"),
    (("operation not permitted", "permission denied"), "PTRACE_DENIED"),
    (("function not implemented",), "SECCOMP"),
    (
        ("not supported", "no such file", "event syntax error", "no such device", "invalid argument"),
        "EVENT_UNSUPPORTED",
    ),
    (("too many open files", "cannot allocate memory", "no space left"), "TOO_EXPENSIVE"),
)
"""What perf's errors mean, the more particular first."""


def _body(context: Context, plan: _Plan, run: ToolRun, script: ToolRun, folded: Folded) -> str:
    """A line `# {…}` of what was recorded, then a line `frame;frame;frame count` for each stack."""
    stacks = kept(folded, most=int(context.limits["stacks"]),
                  most_bytes=int(context.limits["profile_stacks_text"]))  # fmt: skip
    lost = folded.lost or _lost_chunks(run.errors)
    head = {
        "call_graph": _CALL_GRAPH,
        "cut": script.detail if not script.complete else "",
        "distinct": len(folded.stacks),
        "event": folded.event or plan.event,
        "hertz": plan.hertz,
        "kept": sum(count for _, count in stacks),
        "lost": lost,
        "others": folded.others,
        "samples": folded.samples,
        "seconds": round(min(run.seconds, context.seconds), 3),
        "threads": plan.threads,
        "unread": folded.unread,
        "whole_host": plan.whole_host,
    }
    lines = "".join(f"{stack} {count}\n" for stack, count in stacks)
    return f"# {json.dumps(head, sort_keys=True)}\n{lines}"


def _lost_chunks(errors: str) -> int:
    """`Processed 1000 events and lost 3 chunks!`: at least one sample each."""
    found = _LOST_CHUNKS.search(errors)
    return int(found.group(1)) if found else 0
