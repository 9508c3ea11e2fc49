"""Counting and recording the system calls of one process by the kernel's tracepoints, through perf."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from engram_diagnose.collectors.capture.process import start_ticks
from engram_diagnose.collectors.capture.reading import Reading, entries, failure, read
from engram_diagnose.collectors.capture.tool import find_tool, run_tool, scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine
    from engram_diagnose.collectors.capture.step import Context
    from engram_diagnose.collectors.capture.tool import ToolRun

START_SECONDS = 6.0
"""What a tool may take over the time it watches, to start and to attach on a busy host."""

_TRACEFS = ("kernel/tracing", "kernel/debug/tracing")
_BUFFER_PAGES = "64"
_FORBIDDEN = re.compile(
    r"paranoid|no permission|permission denied|not permitted|access to performance|cap_perfmon|root user|lockdown",
    re.IGNORECASE,
)
_NO_CALL = re.compile(r"not implemented|enosys", re.IGNORECASE)
_NO_EVENT = re.compile(r"unknown tracepoint|event not found|event syntax error|tracepoint not found", re.IGNORECASE)
_NO_TARGET = re.compile(r"no such process|finding threads|esrch", re.IGNORECASE)
_LOST = re.compile(r"lost [1-9][0-9]{0,12} [a-z]{1,20}", re.IGNORECASE)
_LEFT_OUT = re.compile(r"^(?:|.*RLIMIT_MEMLOCK.*|Error:|Attaching .*|\[ perf record: .*)$")


def lacking(machine: Machine, calls: Sequence[str]) -> Reading | None:
    """Why the tracepoints of these system calls cannot be used here; None when they can, as far as files tell."""
    names = [f"sys_enter_{call}" for call in calls]
    return lacking_events(machine, "syscalls", names, "no tracepoints of system calls (CONFIG_FTRACE_SYSCALLS)")


def lacking_events(machine: Machine, group: str, names: Sequence[str], without: str) -> Reading | None:
    """The same for tracepoints of any group; `without` says what a kernel without the group lacks."""
    if find_tool("perf") is None:
        return Reading(None, "NO_TOOL", "perf is not installed")
    root = next((path for path in map(machine.sys, _TRACEFS) if os.path.isdir(path)), machine.sys(_TRACEFS[0]))
    try:
        if "events" not in os.listdir(root):
            return Reading(None, "SOURCE_ABSENT", f"tracefs is not mounted at {root}; mount -t tracefs tracefs {root}")
        present = os.listdir(os.path.join(root, "events", group))
    except PermissionError:
        return Reading(None, "PARANOID", f"{root} is not readable; run as root, or give CAP_PERFMON and read access")
    except FileNotFoundError:
        return Reading(None, "KERNEL_CONFIG", f"{root}: {without}")
    except OSError as error:
        return failure(error, root)
    missing = [name for name in names if name not in present]
    return Reading(None, "KERNEL_CONFIG", f"{root}: no tracepoint {', '.join(missing)}") if missing else None


def count_calls(context: Context, calls: Sequence[str], *, seconds: float) -> Reading:
    """
    How often the target made these system calls in so many seconds.

    The text is what `perf stat -x;` prints, below a line `# watched SECONDS s`.
    """
    return count_events(context, [f"syscalls:sys_enter_{call}" for call in calls], seconds=seconds)


def count_events(context: Context, events: Sequence[str], *, seconds: float) -> Reading:
    """The same for tracepoints of any group."""
    arguments = ["perf", "stat", "--log-fd", "1", "-x", ";", "-e", ",".join(events), "-p", str(context.target.pid)]
    run = run_tool([*arguments, "--", "sleep", f"{seconds:g}"], seconds=seconds + START_SECONDS, stop=context.stop)
    context.spending.add("perf stat", run.cpu_seconds)
    return refusal(run, context.machine) or Reading(f"# watched {seconds:g} s\n{run.output}")


def parse_call_counts(text: str) -> dict[str, int]:
    """
    CountedCalls by name from what `count_calls` gives; what was not counted is left out.

    `1936731;;syscalls:sys_enter_futex;1621497925;100.00;;`; an ordinary user's counts are called `sys_enter_futexu`.
    """
    rows = re.finditer(r"^([0-9]{1,18});[^;\n]*;syscalls:sys_enter_([a-z0-9_]{1,40}?)(?::?u)?;", text, re.MULTILINE)
    return {row.group(2): int(row.group(1)) for row in rows}


def watched_seconds(text: str) -> float:
    """The time that an answer's first line says was watched; 0 where it says none."""
    said = re.match(r"# watched ([0-9]{1,6}(?:\.[0-9]{1,9})?) s\n", text)
    return float(said.group(1)) if said else 0.0


def calls_per_second(text: str, calls: Sequence[str]) -> float | None:
    """The rate of these calls together; None unless all of them were counted."""
    counted, seconds = parse_call_counts(text), watched_seconds(text)
    if seconds <= 0 or not all(call in counted for call in calls):
        return None
    return sum(counted[call] for call in calls) / seconds


@dataclass(frozen=True)
class CountedCalls:
    """
    System calls that are counted first; whether and how they are followed depends on how many there are.

    `answers` are the names of the two answers. Of the `counted` calls the `followed` ones decide; `plural` names those
    where they were not counted, and `none` says that there were none.
    """

    collector: str
    answers: tuple[str, str]
    counted: tuple[str, ...]
    followed: tuple[str, ...]
    plural: str
    none: str


def count_then_follow(
    context: Context, calls: CountedCalls, *, seconds: float, follow: Callable[[Context, float], Reading]
) -> list[Answer]:
    """
    Two answers: how often the target made the calls in so many seconds, then what `follow` says of their cost.

    `follow` gets the rate, which is above 0, and itself refuses where that makes it too expensive.
    """
    refused = gone(context) if not target_is_there(context) else lacking(context.machine, calls.counted)
    if refused:
        return [context.machine.answer(calls.collector, name, refused) for name in calls.answers]
    how_many, at_what_cost = calls.answers
    counted = count_calls(context, calls.counted, seconds=seconds)
    first = pinned(context, calls.collector, how_many, counted)
    rate = calls_per_second(counted.body or "", calls.followed)
    cost = follow(context, rate) if rate else _not_followed(calls, counted, rate)
    return [first, pinned(context, calls.collector, at_what_cost, cost)]


def _not_followed(calls: CountedCalls, counted: Reading, rate: float | None) -> Reading:
    if rate is not None:
        return Reading(None, "TOO_FEW_SAMPLES", f"{calls.none} while they were counted")
    return counted if counted.body is None else Reading(None, "NOT_COUNTED", f"{calls.plural} were not counted")


def record_calls(context: Context, calls: Sequence[str], *, seconds: float, keep: int) -> Reading:
    """
    When each of these system calls began and ended, as `perf script -F tid,time,event,trace --ns` prints them.

    At most `keep` bytes are read. Without stacks, and by thread, since entry and exit are matched on the thread.
    """
    too_many = too_many_opened(context, 2 * len(calls))
    if too_many:
        return too_many
    events = ",".join(f"syscalls:sys_{side}_{call}" for call in calls for side in ("enter", "exit"))
    with scratch() as folder:
        data = os.path.join(folder, "perf.data")
        arguments = ["perf", "record", "-q", "-m", _BUFFER_PAGES, "-o", data, "-e", events]
        arguments += ["-p", str(context.target.pid), "--", "sleep", f"{seconds:g}"]
        run = run_tool(arguments, seconds=seconds + START_SECONDS, stop=context.stop)
        context.spending.add("perf record", run.cpu_seconds)
        refused = refusal(run, context.machine)
        if refused:
            return refused
        printed = run_tool(["perf", "script", "-i", data, "-F", "tid,time,event,trace", "--ns"],
                           seconds=2 * START_SECONDS, stop=context.stop, limit=keep)  # fmt: skip
        context.spending.add("perf script", printed.cpu_seconds)
    return lost(run, printed) or refusal(printed, context.machine) or Reading(printed.output)


def lost(*runs: ToolRun) -> Reading | None:
    """That perf dropped some of what it recorded, if it says so: sums of the rest would look like sums of all."""
    said = _LOST.search("\n".join(run.errors for run in runs))
    return Reading(None, "TOO_EXPENSIVE", f"perf could not keep up: {said[0].strip()}") if said else None


def too_many_opened(context: Context, events: int) -> Reading | None:
    """Why so many events of all threads are not recorded: perf opens each on each CPU for each thread."""
    opened, most = events * len(threads_of(context)) * (os.cpu_count() or 1), int(context.limits["profile_counters"])
    if opened <= most:
        return None
    return Reading(None, "TOO_EXPENSIVE", f"perf would open {opened} events, at most {most}")


def refusal(run: ToolRun, machine: Machine) -> Reading | None:
    """Why a tool that measures gave nothing, as far as it says; None when it did its work."""
    if run.reason:
        return Reading(None, run.reason, run.detail)
    if run.status == 0:
        return None
    said = _said(run.errors) or _said(run.output) or f"it ended with status {run.status}"
    return Reading(None, _reason(f"{run.errors}\n{run.output[:4000]}", machine), said)


def _reason(text: str, machine: Machine) -> str:
    filtered = _seccomp(machine)
    if _NO_TARGET.search(text):
        return "TARGET_GONE"
    if _NO_CALL.search(text):
        return "SECCOMP" if filtered else "KERNEL_CONFIG"
    if _FORBIDDEN.search(text):
        return "SECCOMP" if filtered and os.geteuid() == 0 else "PARANOID"
    return "KERNEL_CONFIG" if _NO_EVENT.search(text) else "SOURCE_UNREACHABLE"


def _seccomp(machine: Machine) -> bool:
    return "\nSeccomp:\t2" in (read(machine.proc("self/status")).body or "")


def _said(errors: str) -> str:
    """The first telling line of what a tool complained of, short and without what could move a terminal."""
    lines = (line.strip() for line in errors.splitlines())
    line = next((line for line in lines if not _LEFT_OUT.match(line)), "")
    return "".join(character if character.isprintable() else "?" for character in line[:200])


def threads_of(context: Context) -> list[str]:
    """The ids of the target's threads, as they are now."""
    return entries(context.machine.proc(f"{context.target.pid}/task"))


def target_is_there(context: Context) -> bool:
    """Whether the process id is still the process that was meant."""
    return start_ticks(context.target.pid, proc_root=context.machine.proc_root) == context.target.start_ticks


def gone(context: Context) -> Reading:
    """That the process is not there any more."""
    return Reading(None, "TARGET_GONE", f"process {context.target.pid} ended while it was measured")


def pinned(context: Context, collector: str, name: str, reading: Reading) -> Answer:
    """A reading as an answer, or that the process meanwhile ended or was replaced."""
    return context.machine.answer(collector, name, reading if target_is_there(context) else gone(context))
