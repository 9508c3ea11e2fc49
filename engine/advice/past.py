"""
What was changed before, and what that forbids: a value nobody has measured is no base, and no key goes to and fro.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engram_diagnose.engine.advice.decision import Decision, direction, same
from engram_diagnose.engine.advice.record import Application, KeyChange, Realised
from engram_diagnose.engine.facts.fact import Value


@dataclass(frozen=True, slots=True)
class Past:
    """
    The ledger of one instance, oldest first, and what the configuration file says now.

    `in_file` holds the parameters that the file sets otherwise than when the server was measured, with the file's
    value, None where it does not set them any more. `modified` is when the file was changed last, in seconds since
    the epoch; None where that is not known, or the operator says that the server runs with what it holds.
    """

    applications: tuple[Application, ...] = ()
    realised: tuple[Realised, ...] = ()
    in_file: Mapping[str, Value | None] = field(default_factory=dict)
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """
    When the evidence was taken, in seconds since the epoch: its first sample and its last. `started` is when the server
    had read its configuration, None where that is not known.
    """

    since: float
    until: float
    started: float | None = None


def objection(decision: Decision, past: Past, measured: Measured, settled_for: float) -> str:
    """Why a decision must wait; empty when nothing speaks against it."""
    if decision.name in past.in_file:
        return "the file sets it otherwise than when this was measured; measure again with what it says now"
    if _not_read_yet(decision, past, measured):
        return (
            "the file is newer than the running server, so what it says was not measured; restart, then measure; "
            "or say --in-effect where the server does run with it"
        )
    found = _last_change(decision.name, past)
    if found is None or not same(found[1].after, decision.current):
        return ""  # never changed, or undone by hand since
    application, change = found
    if _unmeasured(application, measured, decision):
        return "it was changed already and not measured since; restart the server, let it run, and measure again"
    if measured.until - application.at < settled_for and _turns_back(change, decision):
        return _to_and_fro(application, change, past)
    return ""


def _last_change(parameter: str, past: Past) -> tuple[Application, KeyChange] | None:
    standing = (one for one in reversed(past.applications) if one.state == "applied")
    return next(
        ((one, change) for one in standing for change in one.changes if change.parameter == parameter),
        None,
    )


def _unmeasured(application: Application, measured: Measured, decision: Decision) -> bool:
    if application.at > measured.since:
        return True
    return _read_at_start(decision) and measured.started is not None and measured.started <= application.at


def _not_read_yet(decision: Decision, past: Past, measured: Measured) -> bool:
    if past.modified is None or measured.started is None or decision.key is None:
        return False
    # A file that was touched after the measurement is judged by what it says, not by its time.
    return _read_at_start(decision) and measured.started < past.modified <= measured.until


def _read_at_start(decision: Decision) -> bool:
    return decision.parameter.restart in ("restart", "reindex")


def _turns_back(change: KeyChange, decision: Decision) -> bool:
    moved, moves = direction(change.before, change.after), direction(decision.current, decision.wanted)
    if moved and moves:
        return moved != moves
    return change.before is not None and same(change.before, decision.wanted)


def _to_and_fro(application: Application, change: KeyChange, past: Past) -> str:
    verdicts = [one.verdict for one in past.realised if one.application == application.id]
    if "worse" in verdicts:
        return ""
    return (
        f"{change.rule} had it changed the other way; turning it back would set it to and fro: "
        "verify that change first, and roll it back if it did not help"
    )
