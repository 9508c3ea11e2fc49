"""What the server's threads wait for in the kernel's own locks: `perf lock`, from kernel 5.19 on."""

from __future__ import annotations

import os

from engram_diagnose.collectors.capture.reading import Reading
from engram_diagnose.collectors.capture.step import Step
from engram_diagnose.collectors.capture.tool import run_tool, scratch
from engram_diagnose.collectors.capture.tracepoints import (
    START_SECONDS,
    count_events,
    gone,
    lacking_events,
    lost,
    pinned,
    refusal,
    target_is_there,
    threads_of,
    too_many_opened,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.step import Context

COLLECTOR = "kernel locks"
CONTENTION = "perf lock contention"
"""The answer with what waiting cost, by caller."""

_EVENT = "lock:contention_begin"
_COUNT_SECONDS = 0.5
_WATCH_SECONDS = 1.0


def look_at_kernel_locks(context: Context) -> list[Answer]:
    """The waits for locks in the kernel by caller, or why they are not known."""
    without = "no tracepoints of lock contention (they came with 5.19)"
    names = ("contention_begin", "contention_end")
    refused = gone(context) if not target_is_there(context) else lacking_events(context.machine, "lock", names, without)
    reading = refused or too_many_opened(context, len(names)) or _contention(context)
    return [pinned(context, COLLECTOR, CONTENTION, reading)]


STEP = Step(
    "kernel locks",
    "how long threads wait for locks inside the kernel",
    "0.2 µs a contended lock for 0.5 s, then about 1 µs for 1 s; nothing above 50,000 of them a second",
    look_at_kernel_locks,
)


def _contention(context: Context) -> Reading:
    seconds = min(_COUNT_SECONDS, context.seconds)
    counted = count_events(context, (_EVENT,), seconds=seconds)
    if counted.body is None:
        return counted
    contended = contentions(counted.body)
    if contended is None:
        return Reading(None, "NOT_COUNTED", "contended kernel locks were not counted")
    if not contended:
        return Reading(_head(context, seconds))
    limit = context.limits["traced_futex_rate"]
    if contended / seconds > limit:
        detail = f"{contended / seconds:.0f} contended kernel locks/s, at most {limit:.0f} are recorded one by one"
        return Reading(None, "TOO_EXPENSIVE", detail)
    with scratch() as folder:
        return _recorded(context, os.path.join(folder, "perf.data"))


def contentions(text: str) -> int | None:
    """How many contended locks `perf stat` counted; None where it did not count them."""
    rows = (line.split(";") for line in text.splitlines() if f";{_EVENT};" in line)
    return next((int(row[0]) for row in rows if row[0].isdigit() and len(row[0]) <= 18), None)


def _recorded(context: Context, data: str) -> Reading:
    seconds = min(_WATCH_SECONDS, context.seconds)
    record = ["perf", "lock", "record", "-o", data, "-p", str(context.target.pid), "--", "sleep", f"{seconds:g}"]
    recorded = run_tool(record, seconds=seconds + START_SECONDS, stop=context.stop)
    context.spending.add("perf lock record", recorded.cpu_seconds)
    refused = refusal(recorded, context.machine)
    if refused:
        return refused
    printed = run_tool(["perf", "lock", "contention", "-i", data], seconds=2 * START_SECONDS, stop=context.stop)
    context.spending.add("perf lock contention", printed.cpu_seconds)
    # Versions differ in whether the table goes to stdout or to stderr.
    said = Reading(_head(context, seconds) + printed.output + printed.errors)
    return lost(recorded, printed) or refusal(printed, context.machine) or said


def _head(context: Context, seconds: float) -> str:
    return f"# watched {seconds:g} s\n# threads {len(threads_of(context))}\n"
