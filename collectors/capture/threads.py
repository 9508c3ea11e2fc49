"""The server's threads: counters in two snapshots, and sampled states in between."""

from __future__ import annotations

import os
import re
from collections import Counter

from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.reading import Reading, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engram_diagnose.collectors.capture.answer import Answer

_SWITCHES = re.compile(r"^(?:non)?voluntary_ctxt_switches:.*$", re.MULTILINE)
_SWITCHES_LEAD = "\nvoluntary_ctxt_switches:"
_MIGRATIONS = re.compile(r"^(?:se\.)?nr_migrations[ \t]{0,60}:.*$", re.MULTILINE)

_READS_A_SAMPLE = 2
_LEAST_TURNS = 20
"""However many threads there are, states are looked at this often: what lasts a second is seen in each of five."""
_SHORTEST_PAUSE = 0.1
_GOLDEN = 0.6180339887498949


def spread(items: Sequence[str], most: int, *, turn: int = 0) -> list[str]:
    """
    At most `most` of `items`, evenly spread, the same ones each time; another `turn` gives others.

    Multiples of the golden ratio rather than every n-th: threads are often started in turns, a worker and a timer, and
    a fixed step would see one kind alone.
    """
    if len(items) <= most:
        return list(items)
    part = most / len(items)
    return [item for index, item in enumerate(items) if (index * _GOLDEN - turn * part) % 1.0 < part][:most]


class ThreadWatch:
    """
    The threads of one process: `snapshot` before and after, `take` in between.

    `limits` say how many threads are read (`threads`) and what sampling states may cost in all (`state_reads`). Of more
    threads an even share is read, in both snapshots the same ones.
    """

    def __init__(self, machine: Machine, pid: int, limits: Mapping[str, float]) -> None:
        self._machine = machine
        self._pid = pid
        self._most = max(1, int(limits["threads"]))
        self._reads = max(_READS_A_SAMPLE, int(limits["state_reads"]))
        self._left = self._reads
        self._chosen: frozenset[str] | None = None
        self._counts: Counter[tuple[str, str]] = Counter()
        self._turn = 0
        self._seen: list[str] = []  # listing thousands of threads in every turn would cost more than looking at some

    def snapshot(self) -> Answer:
        """Every thread that is read, as `TID/file:line`, cut to the lines that are used, after `threads:N` of all."""
        return self._machine.answer("process", "/proc/PID/task", self._snapshot())

    def _threads(self) -> list[str]:
        try:
            names = os.listdir(self._machine.proc(f"{self._pid}/task"))
        except OSError:
            return []
        return sorted((name for name in names if name.isdigit()), key=int)

    def _snapshot(self) -> Reading:
        threads = self._seen = self._threads()
        if not threads:
            return Reading(None, "TARGET_GONE", f"process {self._pid} has no threads any more")
        path = self._machine.proc(f"{self._pid}/task")
        bodies = [_thread(f"{path}/{one}", one) for one in self._read_of(threads)]
        return Reading("".join([f"threads:{len(threads)}\n", *bodies]))

    def _read_of(self, threads: list[str]) -> list[str]:
        """All of them; of too many a share, and in the second snapshot those of the first that are still there."""
        if self._chosen is not None:
            return [one for one in threads if one in self._chosen]
        chosen = spread(threads, self._most)
        if len(chosen) < len(threads):
            self._chosen = frozenset(chosen)
        return chosen

    def take(self) -> int:
        """
        Look at the state of every thread of the last snapshot, or, of many, of some, other ones each time; how many
        reads it took.
        """
        most = min(self._left // _READS_A_SAMPLE, max(1, self._reads // _READS_A_SAMPLE // _LEAST_TURNS))
        sampled = spread(self._seen, most, turn=self._turn)
        self._turn += 1
        path = self._machine.proc(f"{self._pid}/task")
        reads = sum(self._sample(f"{path}/{thread}") for thread in sampled)
        self._left -= reads
        return reads

    def _sample(self, path: str) -> int:
        state = record(f"{path}/stat").rpartition(")")[2].split()[:1]
        if state:
            place = [*record(f"{path}/wchan").split(), "0"][0]
            self._counts[state[0], place] += 1
        return _READS_A_SAMPLE

    def pause(self, reads: int, seconds: float) -> float:
        """How long to wait after a look that took `reads`, so that what may be read lasts for `seconds`."""
        return max(_SHORTEST_PAUSE, seconds * reads / self._reads)

    def states(self) -> Answer:
        """Lines of `state function count`, most frequent first."""
        order = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        body = "".join(f"{state} {place} {count}\n" for (state, place), count in order)
        absent = Reading(None, "TARGET_GONE", f"no thread of process {self._pid} was seen")
        reading = Reading(body) if body else absent
        return self._machine.answer("process", "/proc/PID/task/states", reading)


def _thread(folder: str, thread: str) -> str:
    # A thread's name may hold a newline; in `stat` the kernel does not escape it.
    lines = [f"{thread}/stat:{' '.join(record(f'{folder}/stat').split())}"]
    lines.append(f"{thread}/schedstat:{record(f'{folder}/schedstat').strip()}")
    status = record(f"{folder}/status")
    switches = _SWITCHES.findall(status, max(0, status.rfind(_SWITCHES_LEAD)))
    lines += [f"{thread}/status:{line}" for line in switches]
    lines += [f"{thread}/sched:{line}" for line in _MIGRATIONS.findall(record(f"{folder}/sched"))]
    return "".join(f"{line}\n" for line in lines if not line.endswith(":"))
