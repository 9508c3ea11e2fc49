"""
Whole processes, from the shell's point of view: a bundle to its report or to a patch, `--help`, and what they need of
memory.

Beside them stands a process that only imports the libraries a tool of this kind is made of. All run with bytecode
caches in a folder of their own, as an installed package has them, and once before anything is timed.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from measure import interleaved
from outcome import Outcome, compared

from engram_diagnose import incidents

LIBRARIES = (sys.executable, "-c", "import httpx, yaml, jinja2, rich, click")
NOTHING = (sys.executable, "-c", "pass")
TOOL = (sys.executable, "-c", "import sys; from engram_diagnose.cli import main; sys.exit(main())")
REPORT_SECONDS = 0.4
HELP_SECONDS = 0.2
TUNE_SECONDS = 0.5
REPORT_BYTES = 80e6
FINDINGS = (0, 1)
"""Exit codes of a diagnosis that was made."""

# A small process starts the measured one, because a child's peak begins with that of the process it was forked from.
LAUNCHER = """
import os, sys
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
print(os.wait4(pid, 0)[2].ru_maxrss * 1024)
"""


class ProcessError(Exception):
    """A process that was to be timed did not do its work."""


def run(*, quick: bool = False) -> list[Outcome]:
    """Time the processes in turns, then look at memory and imports once."""
    bundle = str(Path(incidents.__file__).with_name(incidents.EXAMPLE))
    report, help_ = (*TOOL, "run", "--bundle", bundle), (*TOOL, "--help")
    tune = (*TOOL, "tune", "--bundle", bundle)
    commands = {
        "report": report,
        "json": (*report, "--format", "json"),
        "tune": tune,
        "sizing": (*tune, "--size", "--workload", "balanced"),
        "help": help_,
        "libraries": LIBRARIES,
        "nothing": NOTHING,
    }
    with tempfile.TemporaryDirectory() as caches:
        environment = _environment(caches)
        sides: dict[str, Callable[[], object]] = {
            name: partial(_work, command, environment) for name, command in commands.items()
        }
        times = interleaved(sides, repetitions=3 if quick else 21, warm_up=1)
        peak, bare_peak = (_peak(command, environment) for command in (report, NOTHING))
        numba = sum(_numba_modules(command, environment) for command in (report, help_))
    libraries, nothing = "python importing httpx, yaml, jinja2, rich, click", "python -c pass"
    return [
        compared("process", "bundle to report", times["report"], libraries, times["libraries"], limit=REPORT_SECONDS),
        compared("process", "bundle to JSON", times["json"], libraries, times["libraries"]),
        compared("process", "tune preview", times["tune"], libraries, times["libraries"], limit=TUNE_SECONDS),
        compared("process", "tune --size preview", times["sizing"], libraries, times["libraries"], limit=TUNE_SECONDS),
        compared("process", "--help", times["help"], libraries, times["libraries"], limit=HELP_SECONDS),
        compared("process", "--help", times["help"], nothing, times["nothing"]),
        Outcome("process", "peak memory, bundle to report", peak, nothing, bare_peak, unit="B", limit=REPORT_BYTES),
        Outcome("process", "modules of numba imported by either", numba, unit="n", limit=0),
    ]


def _environment(caches: str) -> dict[str, str]:
    """The environment with caches of its own and nothing that changes how Python starts or what is printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_DIAGNOSE_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    # The state of whoever runs it is neither read nor written.
    return kept | {"PYTHONPYCACHEPREFIX": caches, "ENGRAM_DIAGNOSE_STATE": os.path.join(caches, "state")}


def _work(command: Sequence[str], environment: dict[str, str], *, python: Sequence[str] = ()) -> str:
    """Run to the end and give stderr; raise when the work was not done."""
    whole = [command[0], *python, *command[1:]]
    done = subprocess.run(whole, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode not in FINDINGS:
        raise ProcessError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stderr


def _peak(command: Sequence[str], environment: dict[str, str]) -> float:
    """The most memory a process held at any time, in bytes."""
    launcher = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(
        launcher, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def _numba_modules(command: Sequence[str], environment: dict[str, str]) -> int:
    """How many modules of numba a process imports."""
    lines = _work(command, environment, python=("-X", "importtime")).splitlines()
    imported = [line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")]
    if "engram_diagnose.cli" not in imported:
        raise ProcessError("Python's list of imports could not be read")
    return sum(name.split(".")[0] in ("numba", "llvmlite") for name in imported)
