"""
The kernels against equivalent C of the same run, and how long the suite takes.

Every other part is paired by a module of its own; where the machine is too noisy to say, the line says that.
"""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from outcome import Outcome
from reference_c import NoReferenceError

PARTS = ("stream", "latency", "peak", "similarity", "walk", "sharing", "cores", "locks", "wal")
WARM_SECONDS, COLD_SECONDS = 12.0, 25.0
COMMAND = (sys.executable, "-c", "from engram_diagnose.cli import main; main()", "kernels", "--although-busy")


def run(*, quick: bool = False) -> list[Outcome]:
    """Each part in turn, then the whole suite, first with nothing compiled."""
    found: list[Outcome] = []
    for part in PARTS:
        print(f"kernels: {part} …", file=sys.stderr, flush=True)
        try:
            outcomes = importlib.import_module(f"kernel_{part}").outcomes(quick=quick)
        except NoReferenceError as error:
            print(f"kernels: {part}: nothing to hold it against: {error}", file=sys.stderr)
            continue
        found += outcomes
    return found + _suite(quick=quick)


def _suite(*, quick: bool) -> list[Outcome]:
    parts = ("peak",) if quick else ()
    with tempfile.TemporaryDirectory(prefix="engram-kernels-") as made:
        folder = Path(made)
        cold, warm = _seconds(folder, parts), _seconds(folder, parts)
    whole = "the suite" if not parts else "its shortest part"
    return [
        Outcome("kernels", f"{whole}, nothing compiled yet", cold, limit=COLD_SECONDS),
        Outcome("kernels", f"{whole}, compiled before", warm, limit=WARM_SECONDS),
    ]


def _seconds(folder: Path, parts: tuple[str, ...]) -> float:
    """How long the command takes from its start to its end, with machine code and record in `folder`."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder), "ENGRAM_DIAGNOSE_STATE": str(folder / "state")}
    command = [*COMMAND, "--data-dir", str(folder), *parts]
    start = time.monotonic()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - start
