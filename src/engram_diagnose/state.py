"""
Where the tool keeps what outlives a run: baselines, and the ledger.
"""

from pathlib import Path
from typing import Final

from engram_diagnose.collectors.capture.attained import state_place

VARIABLE: Final = "ENGRAM_DIAGNOSE_STATE"
_ADVICE: Final = f"set {VARIABLE} to a folder that can be written"


class StateError(ValueError):
    """The state folder cannot be used, or not what is asked of it; says why, and what to do."""


def state_folder(*, make: bool = True) -> Path:
    """
    `$ENGRAM_DIAGNOSE_STATE`, else `$XDG_STATE_HOME/engram-diagnose`, else `~/.local/state/engram-diagnose`.

    Made, for this user alone, when it is not there, unless `make` is false. Raises `StateError` when there is no such
    place or it cannot be made.
    """
    folder = _named()
    if make:
        make_folder(folder)
    return folder


def make_folder(folder: Path) -> None:
    """Make a folder of the state; raises `StateError` when that cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StateError(f"cannot make {folder}, where state is kept: {reason}; {_ADVICE}") from None


def _named() -> Path:
    if place := state_place():
        return Path(place)
    raise StateError(f"this user has no home folder to keep state in; {_ADVICE}")
