"""
What to do first, and how to take it back: read before anything else, by somebody who was woken.
"""

import shlex
from typing import Final, NamedTuple

from engram_diagnose.render.causes import Step
from engram_diagnose.render.view import Report

_UNREAD: Final = ("", "unknown")
_NOTHING: Final = "No setting of the server is changed. Note what is in place before you change anything beside it."


class FirstStep(NamedTuple):
    """
    One step of the top cause; `lines` are those of the configuration, `undo` how to take it back, in sentences.

    `apply` and `rollback` are commands, empty where there is nothing to write.
    """

    label: str
    step: Step
    lines: tuple[str, ...]
    apply: str
    undo: tuple[str, ...]
    rollback: str


def first_steps(report: Report) -> tuple[FirstStep, ...]:
    """The first step of the top cause and, where that only looks, the first that changes a setting."""
    steps = report.detailed[0].steps if report.detailed else ()
    changing = [step for step in steps[1:] if writable(step)] if steps and not writable(steps[0]) else []
    labels = ("First", "Then")
    return tuple(_first(label, step) for label, step in zip(labels, [*steps[:1], *changing[:1]], strict=False))


def writable(step: Step) -> tuple[str, ...]:
    """The configuration lines of a step: none for a setting without a key, or one that the release ignores."""
    return tuple(change.write for change in step.changes if change.write and not change.note)


def _first(label: str, step: Step) -> FirstStep:
    lines = writable(step)
    keys = [change.key for change in step.changes if change.write and not change.note]
    names = "".join(f" --only {shlex.quote(key)}" for key in keys)
    return FirstStep(
        label=label,
        step=step,
        lines=lines,
        apply=f"engram-diagnose tune --config FILE{names}" if lines else "",
        undo=_undo(step),
        rollback="engram-diagnose tune --rollback --config FILE" if lines else "",
    )


def _undo(step: Step) -> tuple[str, ...]:
    told = [
        f"{change.key}: its present value could not be read, so note it before you change it"
        if change.before in _UNREAD
        else f"{change.key}: back to {change.before}"
        for change in step.changes
    ]
    return tuple(told) or (_NOTHING,)
