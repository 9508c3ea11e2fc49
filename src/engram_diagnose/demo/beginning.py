"""
What the command begins with: whether this machine can play, who tells, and where.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from engram_diagnose.demo.outcome import Known
from engram_diagnose.demo.pace import USUAL, Pace
from engram_diagnose.demo.stage import CannotPlayError, scene_of
from engram_diagnose.demo.telling import Teller
from engram_diagnose.lab.faults import fault_named
from engram_diagnose.state import StateError, state_folder

_FOLDER: Final = "lab"


def begin(name: str, severity: str, tell: Teller, *, save: Path | None, pace: Pace = USUAL) -> Known:
    """
    Play the fault of that name on this machine.

    Raises `NoSuchFaultError` for a fault or a severity there is not, `CannotPlayError` where this machine cannot.
    """
    scene = scene_of(fault_named(name), severity, pace)
    require_machine()
    from engram_diagnose.demo.clients import clients
    from engram_diagnose.demo.playing import Playing, play

    return play(Playing(tell, folder(), clients, save), scene)


def require_machine() -> None:
    """Raises `CannotPlayError` where the lab cannot run at all."""
    if not sys.platform.startswith("linux"):
        raise CannotPlayError(f"the lab needs Linux, and this is {sys.platform}")
    for module in ("numba", "uvloop", "httptools"):
        if find_spec(module) is None:
            raise CannotPlayError(f"the lab needs {module}, which is not installed beside this Python")


def folder() -> Path:
    """Where the lab's memories are kept; raises `CannotPlayError` where nothing can be written."""
    try:
        found = state_folder() / _FOLDER
        found.mkdir(mode=0o700, exist_ok=True)
    except StateError as error:
        raise CannotPlayError(str(error)) from None
    except OSError as error:
        raise CannotPlayError(f"cannot make {error.filename}: {error.strerror}") from None
    if not os.access(found, os.W_OK):
        raise CannotPlayError(f"{found} cannot be written; set ENGRAM_DIAGNOSE_STATE to a folder that can")
    return found
