"""
A patch onto the disk and off it again, with an entry in the ledger.

The ledger remembers; it decides nothing. Where it cannot be opened or written a patch is applied all the same, and the
operator is told what will be missing.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from engram_diagnose.engine.advice.record import Application, State
from engram_diagnose.history import Ledger, LedgerError, ledger_path, open_ledger
from engram_diagnose.history.memo import with_memo
from engram_diagnose.patch.apply import AlreadyApplied, AppliedFile, RolledBack, apply, roll_back
from engram_diagnose.patch.error import CannotApplyError, NothingToRollBackError
from engram_diagnose.patch.file import content_to_apply, read_patch, refuse_expired
from engram_diagnose.tuning import DIGEST, History, digest, file_content, ledger_name

Say = Callable[[str], None]


def ledger_or_none(*, say: Say, make: bool = True) -> Ledger | None:
    """The ledger, made when there is none unless `make` is false; where it cannot be opened, says what that costs."""
    try:
        if not make and not ledger_path().exists():
            return None
        return open_ledger()
    except (LedgerError, OSError, ValueError) as error:
        say(f"engram-diagnose: {error}; going on without the record of earlier changes")
        return None


def history_of(ledger: Ledger | None, file: str, instance: str, *, say: Say) -> History:
    """
    What was applied to this file or this instance, and what became of it and of others like it.

    `file` is empty where the configuration is not on this host: its name alone is that of many servers' files.
    """
    if ledger is None:
        return History()
    try:
        entries, realised = ledger.applications(), ledger.realised()
    except LedgerError as error:
        say(f"engram-diagnose: {error}; going on without the record of earlier changes")
        return History()
    ours = (_as_found(one) for one in entries if (file and one.file == file) or (instance and one.instance == instance))
    return History(tuple(ours), tuple(realised))


def _as_found(entry: Application) -> Application:
    """An intention whose result stands in the file was carried out, and killed before it could say so."""
    if entry.state != "intended":
        return entry
    try:
        done = digest(Path(entry.file).read_bytes()) == entry.result
    except OSError:
        done = False
    return replace(entry, state="applied") if done else entry


def apply_now(application: Application, path: Path, content: bytes, ledger: Ledger | None, *,
              say: Say) -> AppliedFile | AlreadyApplied:  # fmt: skip
    """
    Put a file in place of the one the patch was made for, and record it.

    Raises `CannotApplyError`; then nothing has changed.
    """
    number = _intended(application, ledger, say)
    base = application.base.removeprefix(DIGEST)
    try:
        outcome = apply(path, base=base, content=content, now=datetime.fromtimestamp(application.at, UTC))
    except CannotApplyError:
        _forget(number, ledger, say)
        raise
    if isinstance(outcome, AppliedFile):
        _mark(number, "applied", ledger, say)
    else:
        _forget(number, ledger, say)
    return outcome


def apply_saved(text: str, path: Path | None, ledger: Ledger | None, *, now: float,
                say: Say) -> AppliedFile | AlreadyApplied:  # fmt: skip
    """
    Apply a patch file to the configuration at `path`, else to the one it was made for.

    Raises `PatchError` for one that is damaged or has expired, `CannotApplyError` where the file has moved on.
    """
    patch = read_patch(text)
    refuse_expired(patch, now=datetime.fromtimestamp(now, UTC))
    place = (path or Path(patch.file)).absolute()
    content = content_to_apply(patch, file_content(place))
    base, result = DIGEST + patch.base, DIGEST + patch.result
    application = Application(now, "", ledger_name(place), base, result, "", (), (), "intended", text)
    return apply_now(with_memo(application), place, content, ledger, say=say)


def undo(path: Path, ledger: Ledger | None, *, say: Say) -> RolledBack:
    """
    Put back what was there before the patch that was applied last, byte for byte.

    Raises `CannotApplyError` where there is nothing to put back, or the file was changed since.
    """
    place = path.absolute()
    present = digest(file_content(place))
    try:
        outcome = roll_back(place)
    except NothingToRollBackError:
        _refuse_lost_backup(place, present, ledger, say)
        raise
    for entry in history_of(ledger, ledger_name(place), "", say=say).applications:
        if entry.result == present and entry.file == ledger_name(place) and entry.state != "rolled back":
            _mark(entry.id, "rolled back", ledger, say)
    return outcome


def _refuse_lost_backup(place: Path, present: str, ledger: Ledger | None, say: Say) -> None:
    """Say so where a patch is in effect whose backup is gone."""
    entries = history_of(ledger, ledger_name(place), "", say=say).applications
    if any(entry.result == present and entry.state == "applied" for entry in entries):
        raise CannotApplyError(
            f"{place}: a patch is in effect, and its backup is gone; where you kept the patch, "
            "`patch --reverse FILE PATCH` takes it back"
        )


def _intended(application: Application, ledger: Ledger | None, say: Say) -> int:
    """The number of the ledger's entry; 0 without one."""
    if ledger is None:
        return 0
    try:
        return ledger.intend(application)
    except LedgerError as error:
        say(f"engram-diagnose: {error}; this change will not be in the history")
        return 0


def _forget(number: int, ledger: Ledger | None, say: Say) -> None:
    if ledger is None or not number:
        return
    try:
        ledger.forget(number)
    except LedgerError as error:
        say(f"engram-diagnose: {error}; the history shows a change that came to nothing as intended")


def _mark(number: int, state: State, ledger: Ledger | None, say: Say) -> None:
    if ledger is None or not number:
        return
    try:
        ledger.mark(number, state)
    except LedgerError as error:
        say(f"engram-diagnose: {error}; the history does not show that it was {state}")
