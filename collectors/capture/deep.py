"""Everything a host can tell of the server on it: counters beside /proc, and, for a profile, what costs more."""

from __future__ import annotations

import time
from dataclasses import replace

from engram_diagnose.collectors.capture import (
    perf_c2c,
    perf_lock,
    perf_lock_kernel,
    perf_mem,
    perf_record,
    perf_stat,
    perf_trace,
)
from engram_diagnose.collectors.capture.guard import Guard
from engram_diagnose.collectors.capture.local import capture_local
from engram_diagnose.collectors.capture.running import costs, run_steps
from engram_diagnose.collectors.capture.step import Context, Step, Stop
from engram_diagnose.collectors.capture.target import NoTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine
    from engram_diagnose.collectors.capture.target import LocalTarget

BESIDE = (perf_stat.STEP,)
"""What is counted beside /proc in every collection: it takes the server nothing."""
PROFILE = (perf_record.STEP, perf_trace.STEP)
"""What a profile watches at the same time."""
AFTERWARDS = ((perf_lock.STEP,), (perf_lock_kernel.STEP,), (perf_c2c.STEP, perf_mem.STEP))
"""What a profile looks at once the others are done, one group after another: it would be seen in what they measure."""


def every_step() -> tuple[Step, ...]:
    """All of a profile's steps, in their order."""
    return (*BESIDE, *PROFILE, *(step for group in AFTERWARDS for step in group))


def capture_target(
    machine: Machine,
    target: LocalTarget | NoTarget,
    *,
    limits: Mapping[str, float],
    events: Mapping[str, object],
    seconds: float,
    data_dir: str = "",
    profile: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Answer]:
    """
    What `capture_local` says, beside it what this CPU's counters count, and with `profile` all that needs perf.

    `events` are the tables of `rules/events` by file name. A guard watches the host's pressure meanwhile, and ends
    whatever runs when it rises; what was not done then says so. The last answers tell what the guard saw and what
    collecting cost.
    """
    if isinstance(target, NoTarget):
        return capture_local(machine, target, limits=limits)
    context = Context(machine, target, seconds, Stop(), limits, events)
    began, used = machine.now(), _own_cpu()
    with Guard(machine, limits, context.stop) as guard:
        answers = _watched(context, data_dir, profile=profile, progress=progress)
        if profile:
            answers += _afterwards(context, began, progress)
    seen = [guard.answer()]
    return answers + seen + [costs(machine, context.spending, _own_cpu() - used, machine.now() - began)]


def _own_cpu() -> float:
    return time.process_time()


def _watched(context: Context, data_dir: str, *, profile: bool, progress: Callable[[str], None]) -> list[Answer]:
    def local(of: Context) -> list[Answer]:
        return capture_local(
            of.machine, of.target, limits=of.limits, data_dir=data_dir, seconds=of.seconds, stop=of.stop
        )

    files = Step("process and host", "what /proc and /sys tell", "reads of 12 to 60 µs each", local)
    steps = (files, *BESIDE, *(PROFILE if profile else ()))
    budget = _budget(context, profile=profile)
    return run_steps(context, steps, seconds=budget, progress=_said(progress, context))


def _budget(context: Context, *, profile: bool) -> float:
    """
    Seconds for all of it. Who says that it is to be watched for longer than usual means it: counting and then
    recording takes twice as much more, and a long recording is still to be read back.
    """
    limits, kind = context.limits, "profile_" if profile else ""
    longer = 2 * max(0.0, context.seconds - limits[f"{kind}watch"])
    return max(limits[f"{kind}budget"] + longer, context.seconds + limits["follow_up"])


def _afterwards(context: Context, began: float, progress: Callable[[str], None]) -> list[Answer]:
    answers: list[Answer] = []
    short = replace(context, seconds=min(context.seconds, context.limits["follow_up"]))
    budget = _budget(context, profile=True)
    for group in AFTERWARDS:
        left = began + budget - context.machine.now()
        if left <= 0:
            context.stop.because(f"the {budget:g} s of a profile were over")
        answers += run_steps(short, group, seconds=left, progress=_said(progress, short))
    return answers


def _said(progress: Callable[[str], None], context: Context) -> Callable[[str], None]:
    """Progress with whom it is about and for how long."""
    of = f"process {context.target.pid}"
    return lambda names: progress(f"watching {of} for {context.seconds:g} s: {names}")


def overheads(steps: Sequence[Step]) -> list[tuple[str, str, str]]:
    """Name, what it looks at, and what that costs the server, for the page that says so."""
    return [(step.name, step.asks, step.cost) for step in steps]
