"""Counting with `perf stat`: the groups of this CPU's table, a few at a time, and the kernel's own counters always."""

from __future__ import annotations

import json
import os
import re
import time

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.event_tables import table_for
from engram_diagnose.collectors.capture.perf_plan import CLOCK, Asked, Round, rounds
from engram_diagnose.collectors.capture.pmu_probe import Probed, gone, probe, probe_answer
from engram_diagnose.collectors.capture.reading import Reading
from engram_diagnose.collectors.capture.step import Context, Step
from engram_diagnose.collectors.capture.tool import ToolRun, run_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

_TOOL = "perf stat"
_RUN_SECONDS = 0.016
_HANDLE_SECONDS = 20e-6
"""What perf takes to start and end, and for each event of each thread, which is a file to open, read and close."""
_OUTPUT_BYTES = 1 << 20
_TRIAL_SECONDS = 5.0
_GRACE_SECONDS = 10.0
_JSON_SINCE = (6, 0)
"""The first version of perf with -j; before it, lines with semicolons."""


def count(context: Context, probed: Probed) -> Answer:
    """
    What `perf stat` counted of the target while `context.seconds` passed, as an answer whose body is a JSON object.

    `version` and `table` say with what; `rounds` are the runs, each with its seconds, the form of its output, what was
    asked (group, alias, name in the output) and the output as it came; `refused` says by "group.alias" why perf did not
    take an event, `left_out` by group why it was not counted. Without perf, and where the target ended or became
    another, there is no body.
    """
    machine = context.machine
    if not probed.perf and context.stop.is_set():  # it was not asked, or had no time to say
        return machine.answer("perf", "stat", Reading(None, "BUDGET", context.stop.why))
    if not probed.perf:
        return machine.answer("perf", "stat", Reading(None, "NO_TOOL", "perf is not installed, or does not start"))
    if gone(context):
        return _ended(context)
    planned, left_out = _planned(context, probed)
    refused: dict[str, str] = {}
    seconds = context.seconds / max(1, len(planned))
    taken = [_counted(context, each, seconds, probed.perf, refused) for each in planned]
    if gone(context):
        return _ended(context)
    body = {
        "version": probed.perf,
        "table": probed.table,
        "rounds": taken,
        "refused": refused,
        "left_out": left_out,
    }
    return machine.answer("perf", "stat", Reading(json.dumps(body, sort_keys=True)))


def _ended(context: Context) -> Answer:
    detail = f"process {context.target.pid} ended, or another has its number"
    return context.machine.answer("perf", "stat", Reading(None, "TARGET_GONE", detail))


def _planned(context: Context, probed: Probed) -> tuple[list[Round], dict[str, list[str]]]:
    """The rounds that there is time for, and why other groups are left out."""
    table = table_for(probed.cpu, context.events)
    found: list[Round] = []
    if table is not None and not probed.opens.get("target_cycles"):
        of_host = not probed.opens.get("host_software")
        user_only = not probed.kernel_counted
        found = rounds(table, probed.devices, probed.core, user_only=user_only, of_host=of_host)
    kept: list[Round] = []
    left_out: dict[str, list[str]] = {}
    for each in found:  # what only the kernel counts is told by /proc already
        refusal = _too_dear(context, kept, each) or _too_short(context, kept)
        if refusal:
            left_out.update(dict.fromkeys(each.groups, refusal))
        else:
            kept.append(each)
    return kept, left_out


def _too_dear(context: Context, kept: list[Round], each: Round) -> list[str]:
    """The reason, if counting this too would take more of a core than it may."""
    most = context.limits["counting_share"] * context.seconds
    threads = _threads(context)
    own = _cost(each, threads)
    if own > most:
        figures = f"{threads} threads: {own * 1000:.0f} ms of CPU time, and {most * 1000:.0f} ms are allowed"
        return ["TOO_EXPENSIVE", figures]
    if own + sum(_cost(other, threads) for other in kept) > most:
        return ["BUDGET", f"to count it too takes more than {most * 1000:.0f} ms of CPU time in {context.seconds:g} s"]
    return []


def _too_short(context: Context, kept: list[Round]) -> list[str]:
    """The reason, if there is no time for one more round."""
    least = context.limits["least_count"]
    if kept and (len(kept) + 1) * least > context.seconds:
        return ["BUDGET", f"{context.seconds:g} s are too short to count all groups one after another"]
    return []


def _cost(each: Round, threads: int) -> float:
    """Seconds of CPU time that perf takes for a round."""
    followed = 1 if each.of_host else threads
    return _RUN_SECONDS + _HANDLE_SECONDS * followed * (len(each.asked) + 1)


def _threads(context: Context) -> int:
    try:
        return len(os.listdir(context.machine.proc(f"{context.target.pid}/task")))
    except OSError:
        return 1


def _counted(context: Context, each: Round, seconds: float, version: str, refused: dict[str, str]) -> dict[str, object]:
    """One round as it stands in the body; without the events that this perf does not take, if there are any."""
    began = time.monotonic()
    taken = _taken(context, each, seconds, version)
    if not taken["reason"] or taken["reason"] == "BUDGET" or not each.sets:
        return taken
    accepted = _accepted(context, each, refused)
    left = seconds - (time.monotonic() - began)
    if accepted.asked == each.asked or not accepted.sets or left <= 0:
        return taken if accepted.sets else {**taken, "asked": [], "reason": "", "detail": ""}
    return _taken(context, accepted, left, version)


def _accepted(context: Context, each: Round, refused: dict[str, str]) -> Round:
    """The round without the events that this perf does not take: one of them makes it count nothing."""
    complaints = {event.term: _complaint(context, event.term, of_host=each.of_host) for event in each.asked}
    found = {term: complaint for term, complaint in complaints.items() if complaint}
    for event in each.asked:
        if event.term in found:
            refused[f"{event.group}.{event.alias}"] = found[event.term]
    return each.without(found)


def _complaint(context: Context, expression: str, *, of_host: bool) -> str:
    """What perf has against events, "" where it takes them."""
    where = ["-a"] if of_host else []
    run = run_tool(
        # Beside an event that can always be counted, one that this CPU lacks is no error: it is counted as missing.
        ["perf", "stat", "-e", f"{CLOCK},{expression}", *where, "--", "true"],
        seconds=_TRIAL_SECONDS,
        stop=context.stop,
    )
    context.spending.add(_TOOL, run.cpu_seconds)
    if run.status == 0 or run.reason == "BUDGET":  # stopped before it could say: counting will tell
        return ""
    return _first_line(run.errors) or run.detail or f"perf ended with {run.status}"


def _first_line(text: str) -> str:
    """The first line that says something."""
    lines = (line.strip() for line in text.splitlines())
    return next((line[:200] for line in lines if line and line != "Error:"), "")


def _taken(context: Context, each: Round, seconds: float, version: str) -> dict[str, object]:
    """One run of perf, as it stands in the body."""
    form = "json" if _prints_json(version) else "csv"
    began = time.monotonic()
    run = _run_round(context, each, seconds, form)
    context.spending.add(_TOOL, run.cpu_seconds)
    reason, detail = run.reason, run.detail
    if not reason and run.status != 0:
        reason, detail = _refusal(run)
    return {
        "of_host": each.of_host,
        "seconds": round(min(seconds, time.monotonic() - began), 3),
        "form": form,
        "asked": [_said(event) for event in each.asked],
        "output": run.output,
        "reason": reason,
        "detail": detail,
    }


def _said(event: Asked) -> list[str]:
    return [event.group, event.alias, event.printed]


def _run_round(context: Context, each: Round, seconds: float, form: str) -> ToolRun:
    target = ["-a"] if each.of_host else ["-p", str(context.target.pid)]
    events = [CLOCK, *([each.expression()] if each.sets else [])]  # beside the events, how long the server ran
    printed = ["-j"] if form == "json" else ["-x", ";"]
    return run_tool(
        # The counts go to the standard output: nothing else is written there.
        ["perf", "stat", "--log-fd", "1", *printed, "-e", ",".join(events), *target, "--", "sleep", f"{seconds:.3f}"],
        seconds=seconds + _GRACE_SECONDS,
        limit=_OUTPUT_BYTES,
        stop=context.stop,
    )


def _prints_json(version: str) -> bool:
    figures = re.findall(r"[0-9]{1,6}", version)
    return tuple(int(figure) for figure in figures[:2]) >= _JSON_SINCE


def _refusal(run: ToolRun) -> tuple[str, str]:
    """Why perf ended without counting."""
    said = _first_line(run.errors) or f"perf ended with {run.status}"
    denied = re.search(r"permission|not permitted|paranoid|access", run.errors, re.IGNORECASE)
    return ("PARANOID" if denied else "SOURCE_UNREACHABLE"), said


def _run(context: Context) -> list[Answer]:
    probed = probe(context)
    return [probe_answer(context.machine, probed), count(context, probed)]


STEP = Step(
    name="perf stat",
    asks="instructions, cache and TLB misses, stalls and memory traffic",
    cost="counters run beside it; perf takes 10 to 16 ms a round, and 20 µs for each event of each thread",
    run=_run,
)
