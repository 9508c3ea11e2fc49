"""
What collecting takes: how long, and how much of one core, our own time and that of the programs we run.

The target is a process with so many threads, one of them busy, so that what it costs to look at them shows. The shares
are those that the bundle itself keeps (`costs`), not those of the interpreter's start, which the server does not feel
more than any other command's.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from outcome import Outcome

from engram_diagnose.collectors.bundle import read_bundle

_TARGET = """
import sys, threading
still = threading.Event()
threading.stack_size(65536)
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=still.wait, daemon=True).start()
print(flush=True)
while True:
    sum(range(10000))
"""
TOOL = (sys.executable, "-c", "import sys; from engram_diagnose.cli import main; sys.exit(main())")
THREADS = (8, 500, 5000)
DEFAULT_SECONDS, PROFILE_SECONDS, SHARE = 15.0, 60.0, 0.01


def run(*, quick: bool = False) -> list[Outcome]:
    """Collect and profile targets of several sizes."""
    outcomes: list[Outcome] = []
    for threads in THREADS[:1] if quick else THREADS:
        with _target(threads) as target:
            share = SHARE if threads < THREADS[-1] else None  # thousands of threads are to be survived
            outcomes += _collected(target, threads, ("collect",), "collect", DEFAULT_SECONDS, share=share)
            if threads == THREADS[0]:
                outcomes += _collected(target, threads, ("profile",), "profile", PROFILE_SECONDS, share=None)
    return outcomes


class _target:  # noqa: N801 -- used as a function
    def __init__(self, threads: int) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", _TARGET, str(threads)], stdout=subprocess.PIPE)

    def __enter__(self) -> int:
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def _collected(
    pid: int, threads: int, command: tuple[str, ...], what: str, limit: float, *, share: float | None
) -> list[Outcome]:
    with tempfile.TemporaryDirectory(prefix="engram-collecting-") as made:
        path = Path(made) / "files" / "profile.bundle" if what == "profile" else Path(made) / "out.bundle"
        place = ["-d", str(path.parent)] if what == "profile" else ["-o", str(path)]
        began = time.perf_counter()
        subprocess.run([*TOOL, *command, "--pid", str(pid), *place], check=False, capture_output=True, timeout=300)
        took = time.perf_counter() - began
        costs = _costs(path)
    used = sum(costs["cpu_seconds"].values()) / costs["seconds"]
    name = f"{what}, {threads} threads"
    tools = [
        Outcome("collecting", f"{name}: {tool}", seconds, "of", costs["seconds"])
        for tool, seconds in sorted(costs["cpu_seconds"].items())
    ]
    return [
        Outcome("collecting", name, took, limit=limit),
        Outcome("collecting", f"{name}: share of a core", used, unit="n", limit=share),
        *tools,
    ]


def _costs(path: Path) -> dict[str, dict[str, float]]:
    found = [one for one in read_bundle(path).of("collection") if one.name == "costs"]
    costs: dict[str, dict[str, float]] = json.loads(found[-1].body or "")
    return costs
