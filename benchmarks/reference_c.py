"""
The same loops in C, compiled for this CPU: what ours are held against.

    gcc -O3 -march=native -shared -fPIC reference/stream.c
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "reference"
COMPILER = os.environ.get("CC", "gcc")
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra")


class NoReferenceError(Exception):
    """The reference cannot be built here; the message says why."""


@cache
def library(name: str, *more_flags: str) -> ctypes.CDLL:
    """`reference/NAME.c`, compiled for this process; raises `NoReferenceError`."""
    if shutil.which(COMPILER) is None:
        raise NoReferenceError(f"no {COMPILER} on PATH; on Debian: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory(prefix="engram-reference-") as folder:
        built = Path(folder) / f"{name}.so"
        command = [COMPILER, *FLAGS, *more_flags, "-o", str(built), str(HERE / f"{name}.c"), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoReferenceError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-1000:]}")
        return ctypes.CDLL(str(built))


def function(name: str, of: ctypes.CDLL, takes: Sequence[Any], gives: Any = None) -> Any:
    """A function of the library; ctypes lets go of the GIL while it runs."""
    found = getattr(of, name)
    found.argtypes, found.restype = list(takes), gives
    return found
