"""Running the steps of a collection side by side, under a guard, so that all of them end."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field

from engram_diagnose.collectors.capture.reading import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine
    from engram_diagnose.collectors.capture.step import Context, Spending, Step

_LOOK_SECONDS = 0.1


@dataclass
class _Running:
    """One step in a thread of its own, which is still to be begun, and what came of it."""

    step: Step
    context: Context
    answers: list[Answer] = field(default_factory=list)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=self.step.name, daemon=True)

    def start(self) -> None:
        """Begin; where there is no room for one more thread, that is what came of it."""
        try:
            self.thread.start()
        except RuntimeError as error:
            self.answers = [refused(self.context.machine, self.step, "SOURCE_UNREACHABLE", str(error))]

    def _run(self) -> None:
        try:
            self.answers = self.step.run(self.context)
        except Exception as error:
            detail = f"{self.step.name} failed: {type(error).__name__}: {error}"
            self.answers = [refused(self.context.machine, self.step, "SOURCE_UNREACHABLE", detail)]


def refused(machine: Machine, step: Step, reason: str, detail: str) -> Answer:
    """That a step gave nothing, and why."""
    return machine.answer("collection", f"step {step.name}", Reading(None, reason, detail))


def run_steps(
    context: Context,
    steps: Sequence[Step],
    *,
    seconds: float,
    progress: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> list[Answer]:
    """
    The answers of all steps, in the order of the steps, which run at once.

    What is not done after `seconds` is asked to stop. Whatever interrupts the caller stops them too, and is raised once
    they ended: no program is left behind. A step that was to be run after collecting was stopped says so.
    """
    if context.stop.is_set():
        return [refused(context.machine, step, "BUDGET", context.stop.why) for step in steps]
    deadline = clock() + seconds
    running = [_Running(step, context) for step in steps]
    try:
        for one in running:
            one.start()
        _follow(running, context, deadline, seconds, progress, clock)
    except BaseException:
        context.stop.set()
        raise
    finally:
        _wait_for(running)
    return [answer for one in running for answer in one.answers]


def _wait_for(running: Sequence[_Running]) -> None:
    """Until all ended that were begun. Who interrupts again waits as long: a step that was stopped is over soon."""
    again: KeyboardInterrupt | None = None
    for one in running:
        while one.thread.is_alive():
            try:
                one.thread.join()
            except KeyboardInterrupt as interrupted:
                again = interrupted
    if again is not None:
        raise again


def _follow(
    running: list[_Running],
    context: Context,
    deadline: float,
    seconds: float,
    progress: Callable[[str], None],
    clock: Callable[[], float],
) -> None:
    waiting = [one for one in running if one.thread.ident is not None]  # which were begun
    shown: list[str] = []
    while waiting:
        names = [one.step.name for one in waiting]
        if names != shown:
            progress(", ".join(names))
            shown = names
        waiting[0].thread.join(_LOOK_SECONDS)
        waiting = [one for one in waiting if one.thread.is_alive()]
        if waiting and clock() > deadline and not context.stop.is_set():
            context.stop.because(f"it took longer than {seconds:g} s")


def costs(machine: Machine, spending: Spending, own_cpu_seconds: float, seconds: float) -> Answer:
    """What collecting used: seconds of CPU by tool, our own process as `engram-diagnose`, over how long."""
    used = {"engram-diagnose": round(own_cpu_seconds, 4)}
    used.update((tool, round(cpu, 4)) for tool, cpu in spending.by_tool().items())
    body = json.dumps({"seconds": round(seconds, 3), "cpu_seconds": used}, sort_keys=True)
    return machine.answer("collection", "costs", Reading(body))
