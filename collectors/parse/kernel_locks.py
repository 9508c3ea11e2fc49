"""What threads wait for in the kernel's own locks, from `perf lock contention`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_lock_kernel import COLLECTOR, CONTENTION
from engram_diagnose.collectors.capture.tracepoints import watched_seconds
from engram_diagnose.collectors.parse.figures import Found, UnparsedError
from engram_diagnose.collectors.parse.tool_answers import facts_of_answer, tool_answer
from engram_diagnose.engine.facts.fact import Fact, Reason

_NAMES: Final = ("lock.kernel_wait_share",)

KERNEL_LOCK_FACTS: Final = frozenset(_NAMES)
"""The names of the facts that `perf lock contention` gives."""

_GET_BY: Final = {
    Reason.NO_TOOL: "install perf (package linux-perf) and collect again as root",
    Reason.KERNEL_CONFIG: "run on a kernel from 5.19 on",
    Reason.PARANOID: "collect as root, or with CAP_PERFMON and readable tracefs",
    Reason.SECCOMP: "collect on the host instead of in the container",
    Reason.TOO_EXPENSIVE: "perf lock contention -b -p PID -- sleep 1 as root, where perf is built with BPF",
}


@dataclass(frozen=True, slots=True)
class Contention:
    """The waits for one kind of lock at one place in the kernel: how many, and their seconds together."""

    calls: int
    seconds: float
    kind: str
    caller: str


def facts_of_kernel_locks(answers: Iterable[Answer]) -> list[Fact]:
    """The facts of `KERNEL_LOCK_FACTS`, each known, or unknown with its reason."""
    mine = [answer for answer in answers if answer.collector == COLLECTOR]
    return facts_of_answer(tool_answer(mine, CONTENTION), _NAMES, _share, _GET_BY)


def _share(text: str) -> Mapping[str, Found]:
    seconds, threads = watched_seconds(text), re.search(r"^# threads ([0-9]{1,7})$", text, re.MULTILINE)
    whole = seconds * int(threads[1]) if threads else 0.0
    if whole <= 0:
        raise UnparsedError("it does not say how long it watched how many threads")
    return {"lock.kernel_wait_share": min(1.0, sum(one.seconds for one in parse_contention(text)) / whole)}


_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_TIME: Final = r"([0-9]{1,9}(?:\.[0-9]{1,3})?) (h|m|s|ms|us|ns)"
_ROW: Final = re.compile(
    rf" {{0,20}}([0-9]{{1,12}}) {{1,20}}{_TIME} {{1,20}}{_TIME} {{1,20}}{_TIME}"
    r" {1,20}(\S{1,20})(?: {1,20}(\S{0,200}) {0,20})?"
)
_HEADER: Final = re.compile(r"^ *contended +total wait +max wait +avg wait +type", re.MULTILINE)


def parse_contention(text: str) -> tuple[Contention, ...]:
    """
    The table's rows; raises `UnparsedError` where there is text and no table.

    `      2303     21.22 ms    437.45 us      9.22 us     spinlock   wake_up_q+0x33`
    """
    said = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if said and not _HEADER.search(text):
        raise UnparsedError("no table of contended locks")
    rows = filter(None, map(_ROW.fullmatch, said))
    return tuple(Contention(int(row[1]), float(row[2]) * _SECONDS[row[3]], row[8], row[9] or "") for row in rows)
