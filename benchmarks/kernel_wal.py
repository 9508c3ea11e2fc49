"""
Durable writes, beside fio: both write 4 KiB after 4 KiB to a new file and flush each, in turns, in one folder.

The bar is on the medians of single writes. fio's is the sum of those of its write and of its flush, which it counts
apart; its histogram is exact to 1.6 %. Its first few hundred writes are slower than the
rest: a run outlasts them.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from measure import Timing, timing
from outcome import Outcome

from engram_diagnose.kernels.measure.probe_file import ProbeFile, with_probe_file
from engram_diagnose.kernels.measure.wal import ENTRY, WAYS, Way, cut, entry_page, timed

NAME: Final = "wal"
BAR: Final = 1.10
FOLDER: Final = "/var/tmp"
"""On a disk, where /tmp may lie in memory."""
FOREVER: Final = float("inf")
ROOM: Final = {"wal_least_free": 0.0, "wal_most_file": float(16 << 20)}


@dataclass(frozen=True, slots=True)
class Side:
    """What fio is told so that it does what one of our ways does."""

    way: str
    what: str
    options: tuple[str, ...]
    bar: float | None = BAR


SIDES: Final = (
    Side("wal.preallocated", "preallocated, fdatasync", ("--fallocate=posix", "--fdatasync=1")),
    Side("wal.direct_dsync", "preallocated, O_DIRECT and O_DSYNC", ("--fallocate=posix", "--direct=1", "--sync=dsync")),
    Side("wal.append_fsync", "append, fsync", ("--fallocate=none", "--fsync=1"), bar=None),
)


def outcomes(*, quick: bool) -> list[Outcome]:
    """A line for each way; without fio they have nothing beside them."""
    writes, pairs = (50, 3) if quick else (1500, 9)
    ways = {way.name: way for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="engram-wal-", dir=FOLDER) as folder:
        return [_line(side, ways[side.way], Path(folder), writes, pairs) for side in SIDES]


def _line(side: Side, way: Way, folder: Path, writes: int, pairs: int) -> Outcome:
    if shutil.which("fio") is None:
        ours = timing([_ours(way, folder, writes) for _ in range(pairs)])
        return Outcome(NAME, side.what, ours.median, noise="no fio on PATH; on Debian: apt-get install fio",
                       quartiles=(ours.low, ours.high), repetitions=pairs)  # fmt: skip
    taken = [_pair(side, way, folder, writes, number) for number in range(pairs)]
    ours, theirs = (timing([pair[place] for pair in taken]) for place in (0, 1))
    ratio = timing([mine / its for mine, its in taken])
    return Outcome(
        NAME,
        side.what,
        ours.median,
        "fio",
        theirs.median,
        bar=side.bar,
        noise=_noise(ratio, side.bar),
        quartiles=(ours.low, ours.high),
        yardstick_quartiles=(theirs.low, theirs.high),
        repetitions=pairs,
        paired_ratio=ratio.median,
    )


def _noise(ratio: Timing, bar: float | None) -> str:
    """Why nothing can be said of the bar: disks scatter, which matters where pairs lie on either side of it."""
    if bar is None or not ratio.low <= bar <= ratio.high:
        return ""
    return f"too noisy to say (quartiles of the ratio {ratio.low:.2f}..{ratio.high:.2f})"


def _pair(side: Side, way: Way, folder: Path, writes: int, number: int) -> tuple[float, float]:
    """Both medians, each first in every other pair."""
    if number % 2:
        theirs = _fio(side.options, folder, writes)
        return _ours(way, folder, writes), theirs
    return _ours(way, folder, writes), _fio(side.options, folder, writes)


def _ours(way: Way, folder: Path, writes: int) -> float:
    return median(with_probe_file(str(folder), ROOM, partial(_written, way=way, writes=writes)))


def _written(file: ProbeFile, *, way: Way, writes: int) -> list[float]:
    to = file.again(os.O_DIRECT | os.O_DSYNC if way.direct else 0)
    try:
        cut(way, to, writes)
        return timed(way, to, entry_page(), writes, FOREVER)
    finally:
        os.close(to)


def _fio(options: Sequence[str], folder: Path, writes: int) -> float:
    command = [
        "fio", "--name=wal", f"--filename={folder / 'fio'}", "--rw=write", "--bs=4k", f"--size={writes * ENTRY}",
        "--ioengine=psync", "--unlink=1", "--lat_percentiles=1", "--percentile_list=50", "--output-format=json",
        *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    job: Any = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    sides = [job["write"]["lat_ns"], job["sync"]["lat_ns"]]
    return sum(side["percentile"]["50.000000"] for side in sides if side["N"]) / 1e9
