"""The server's threads: counters in two snapshots, and sampled states in between."""

from __future__ import annotations

import re
from collections import Counter

from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.reading import Reading, entries, line_of, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engram_diagnose.collectors.capture.answer import Answer

MOST_THREADS = 2048
MOST_READS = 4000
"""Reads that sampling states may cost in one window, about 20 µs each."""

_SWITCHES = re.compile(r"^(?:non)?voluntary_ctxt_switches:.*$", re.MULTILINE)
_MIGRATIONS = re.compile(r"^(?:se\.)?nr_migrations\s*:.*$", re.MULTILINE)


def threads_moving(machine: Machine, pid: int) -> Answer:
    """One snapshot of every thread, as `TID/file:line`, cut to the lines that are used."""
    return machine.answer("process", "/proc/PID/task", _snapshot(machine, pid))


def _snapshot(machine: Machine, pid: int) -> Reading:
    threads = entries(machine.proc(f"{pid}/task"))
    if not threads:
        return Reading(None, "TARGET_GONE", f"process {pid} has no threads any more")
    if len(threads) > MOST_THREADS:
        detail = f"{len(threads)} threads; at most {MOST_THREADS} are read"
        return Reading(None, "TOO_EXPENSIVE", detail)
    return Reading("".join(_thread(machine, f"{pid}/task/{thread}", thread) for thread in threads))


def _thread(machine: Machine, path: str, thread: str) -> str:
    # A thread's name may hold a newline; in `stat` the kernel does not escape it.
    lines = [f"{thread}/stat:{' '.join(_text(machine, path, 'stat').split())}"]
    lines.append(f"{thread}/schedstat:{_text(machine, path, 'schedstat').strip()}")
    status = _SWITCHES.findall(_text(machine, path, "status"))
    moves = _MIGRATIONS.findall(_text(machine, path, "sched"))
    lines += [f"{thread}/status:{line}" for line in status]
    lines += [f"{thread}/sched:{line}" for line in moves]
    return "".join(f"{line}\n" for line in lines if not line.endswith(":"))


def _text(machine: Machine, path: str, name: str) -> str:
    return read(machine.proc(f"{path}/{name}")).body or ""


class StateSamples:
    """Counts of (state, kernel function waited in) over all threads and samples."""

    def __init__(self, machine: Machine, pid: int) -> None:
        self._machine = machine
        self._pid = pid
        self._counts: Counter[tuple[str, str]] = Counter()

    def take(self) -> int:
        """Sample every thread once; the number of reads it took."""
        path = self._machine.proc(f"{self._pid}/task")
        threads = entries(path)[:MOST_THREADS]
        for thread in threads:
            self._sample(f"{path}/{thread}")
        return 2 * len(threads)

    def _sample(self, path: str) -> None:
        state = line_of(f"{path}/stat").rpartition(")")[2].split()[:1]
        if state:
            self._counts[state[0], line_of(f"{path}/wchan", missing="0") or "0"] += 1

    def answer(self) -> Answer:
        """Lines of `state function count`, most frequent first."""
        order = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        body = "".join(f"{state} {place} {count}\n" for (state, place), count in order)
        absent = Reading(None, "TARGET_GONE", f"no thread of process {self._pid} was seen")
        reading = Reading(body) if body else absent
        return self._machine.answer("process", "/proc/PID/task/states", reading)
