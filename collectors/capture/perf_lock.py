"""
The server's futex calls: how many, and, for as long as that is cheap, who waits where and how long.

Counting comes first (0.1 to 0.2 µs a call). Only what that allows follows: sums in the kernel by bpftrace (0.5 to 1 µs
a call), over so short a time that the traced calls stay bounded; else, where there is no bpftrace and few calls, a
recording of entries and exits.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from engram_diagnose.collectors.capture.reading import Reading, line_of, read
from engram_diagnose.collectors.capture.step import Step
from engram_diagnose.collectors.capture.tool import find_tool, run_tool
from engram_diagnose.collectors.capture.tracepoints import (
    START_SECONDS,
    CountedCalls,
    count_then_follow,
    record_calls,
    refusal,
    threads_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.step import Context

COLLECTOR = "locks"
CALLS = "futex and yield calls"
"""The answer with their counts."""
WAITS = "futex waits"
"""The answer with what waiting cost, by address."""

_FUTEX = ("futex",)
_COUNTED = CountedCalls(
    COLLECTOR, (CALLS, WAITS), (*_FUTEX, "sched_yield"), _FUTEX, plural="futex calls", none="no futex call was made"
)
_COUNT_SECONDS = 1.0
_LEAST_SECONDS = 0.2
_MOST_THREADS = 4096
"""bpftrace keeps that many entries of a map; beyond, it would lose threads without a word."""
MOST_ADDRESSES = 128
"""Of which the sums are kept, those waited at longest."""
_SCRIPT_BYTES = 32 << 20

KIND_PARKED, KIND_LOCK, KIND_OTHER = 0, 1, 2
"""
What a futex wait is for, as far as the call itself tells.

A lock by the common protocol waits for the word to leave 2 (glibc's mutex, Rust's, Go's), or for Rust's RwLock to lose
its reader and writer bits, or is a priority-inheriting one. A parked thread waits for all bits set (Rust's
`thread::park`), or with a time limit. All others may be a lock or an idle thread: condition variables, semaphores,
parking_lot.
"""

OTHER_WAITER = 1 << 62
"""Set in a key for waits by other threads than the first that was seen at the address."""

_PROGRAM = """
BEGIN {{ @began = nsecs; }}
tracepoint:syscalls:sys_enter_futex /pid == {pid} && @now == 0/ {{
  @enters = count();
  $command = args{field}op & 127;
  if ($command == 0 || $command == 9 || $command == 6 || $command == 13) {{
    $kind = (uint64)2;
    if ((uint64)args{field}utime != 0) {{ $kind = (uint64)0; }}
    if ($command == 6 || $command == 13 || args{field}val == 2) {{ $kind = (uint64)1; }}
    if ($command == 9 && (args{field}op & 256) == 0 && args{field}val >= 1073741824) {{ $kind = (uint64)1; }}
    if ($command == 9 && args{field}val == 4294967295) {{ $kind = (uint64)0; }}
    $address = (uint64)args{field}uaddr;
    if (@owner[$address] == 0) {{ @owner[$address] = (uint64)tid; }}
    $key = $address + $kind;
    if (@owner[$address] != (uint64)tid) {{ $key = $key + (uint64)4611686018427387904; }}
    @key[tid] = $key;
    @since[tid] = nsecs;
  }} else {{
    @since[tid] = (uint64)1;
  }}
}}
tracepoint:syscalls:sys_exit_futex /pid == {pid} && @now == 0/ {{
  if (@since[tid] > 1) {{
    $ns = nsecs - @since[tid];
    @n[@key[tid]] = count();
    @ns[@key[tid]] = sum($ns);
    @longest[@key[tid]] = max($ns);
    @calls[@key[tid] & 3] = count();
    @total[@key[tid] & 3] = sum($ns);
  }}
  if (@since[tid] == 0) {{ @early = sum(nsecs - @began); }}
  @since[tid] = (uint64)1;
}}
interval:ms:{milliseconds} {{ @now = nsecs; exit(); }}
END {{
  print(@n, {most}); print(@ns, {most}); print(@longest, {most});
  clear(@n); clear(@ns); clear(@longest); clear(@owner); clear(@key);
}}
"""
# Addresses of futexes are multiples of 4: the kind stands in the two low bits, and one number is the key. Keys of
# several parts are printed differently from version to version. After `@now` nothing is noted any more: the
# probes go one by one, and waits that only begin, or only end, would be wrong.


def look_at_locks(context: Context) -> list[Answer]:
    """How often futex and sched_yield are called, and what waiting in futexes costs by address."""
    return count_then_follow(context, _COUNTED, seconds=min(_COUNT_SECONDS, context.seconds), follow=_waits)


STEP = Step(
    "locks",
    "futex calls, and the time that threads wait at each futex",
    "0.1 to 0.2 µs a futex call for 1 s; then some 100,000 calls traced at 0.5 to 1 µs each",
    look_at_locks,
)


def _waits(context: Context, rate: float) -> Reading:
    threads = len(threads_of(context))
    if threads > _MOST_THREADS:
        return Reading(None, "TOO_EXPENSIVE", f"{threads} threads; the waits of at most {_MOST_THREADS} are kept apart")
    limit = context.limits["traced_futex_rate"]
    traced = _by_bpftrace(context, seconds=_traced_seconds(context, rate, limit))
    if traced.body is not None or traced.reason in ("TARGET_GONE", "BUDGET"):
        return traced
    if rate > limit:
        return Reading(None, "TOO_EXPENSIVE", f"{rate:.0f} futex calls/s, at most {limit:.0f} are recorded one by one, "
                                              f"and bpftrace cannot sum them here: {traced.detail}")  # fmt: skip
    return _by_recording(context, seconds=_traced_seconds(context, rate, limit))


def _traced_seconds(context: Context, rate: float, limit: float) -> float:
    """As long as a look may take, or as it takes to see as many calls as at the limit."""
    longest = min(context.seconds, context.limits["follow_up"])
    return max(_LEAST_SECONDS, longest * min(1.0, limit / rate))


def _by_bpftrace(context: Context, *, seconds: float) -> Reading:
    program = bpftrace_program(context.target.pid, seconds, version=_version(context))
    run = run_tool(["bpftrace", "-f", "json", "-e", program], seconds=seconds + 2 * START_SECONDS, stop=context.stop)
    context.spending.add("bpftrace", run.cpu_seconds)
    refused = refusal(run, context.machine)
    if refused:
        return refused
    if '"@now"' not in run.output:
        return Reading(None, "SOURCE_UNREACHABLE", "bpftrace ended without its sums")
    if '"@enters"' not in run.output:
        return Reading(None, "SOURCE_ABSENT", "bpftrace saw no call of that process id: another namespace of processes")
    return Reading(run.output + _asleep(context))


def _version(context: Context) -> tuple[int, int]:
    """bpftrace's, 0.0 where it does not say."""
    if find_tool("bpftrace") is None:
        return 0, 0
    run = run_tool(["bpftrace", "--version"], seconds=START_SECONDS, stop=context.stop)
    context.spending.add("bpftrace", run.cpu_seconds)
    said = re.search(r"v([0-9]{1,4})\.([0-9]{1,4})", run.output)
    return (int(said.group(1)), int(said.group(2))) if said else (0, 0)


def bpftrace_program(pid: int, seconds: float, *, version: tuple[int, int]) -> str:
    """The program that sums one process's futex waits in the kernel; arguments are a structure from 0.19 on."""
    field = "." if version >= (0, 19) else "->"
    return _PROGRAM.format(pid=pid, milliseconds=max(1, round(seconds * 1000)), most=MOST_ADDRESSES, field=field)


def _asleep(context: Context) -> str:
    """
    One JSON line more: how many threads there are, and which of them are in a futex now.

    A thread that waits all the time makes no call that could be traced. `hidden` counts those that sleep where the
    kernel does not say.
    """
    threads = threads_of(context)
    places = {thread: line_of(context.machine.proc(f"{context.target.pid}/task/{thread}/wchan")) for thread in threads}
    asleep = [int(thread) for thread, place in places.items() if place.startswith("futex")]
    hidden = sum(place in ("", "0") and _sleeps(context, thread) for thread, place in places.items())
    data = {"threads": len(threads), "asleep": asleep, "hidden": hidden}
    return json.dumps({"type": "threads", "data": data}) + "\n"


def _sleeps(context: Context, thread: str) -> bool:
    stat = read(context.machine.proc(f"{context.target.pid}/task/{thread}/stat")).body or ""
    return stat.rpartition(")")[2].split()[:1] == ["S"]


def _by_recording(context: Context, *, seconds: float) -> Reading:
    recorded = record_calls(context, _FUTEX, seconds=seconds, keep=_SCRIPT_BYTES)
    if recorded.body is None:
        return recorded
    sums = sum_futex_calls(recorded.body, seconds)
    if sums is None:
        return Reading(None, "UNPARSED", "this kernel writes futex calls in a form that is not known")
    return Reading(sums + _asleep(context))


_ENTER = re.compile(
    r"^\s*([0-9]{1,10})\s+([0-9]{1,12})\.([0-9]{9}):\s+syscalls:sys_enter_futex:\s+"
    r"uaddr: 0x([0-9a-f]{1,16}), op: 0x([0-9a-f]{1,16}), val: 0x([0-9a-f]{1,16})"
    r"(?:, utime: 0x([0-9a-f]{1,16}))?"
)
_EXIT = re.compile(r"^\s*([0-9]{1,10})\s+([0-9]{1,12})\.([0-9]{9}):\s+syscalls:sys_exit_futex:")


class _Sums:
    """What bpftrace would have kept of the same calls."""

    def __init__(self) -> None:
        names = ("n", "ns", "longest", "calls", "total", "since")
        self.maps: dict[str, Counter[int]] = {name: Counter() for name in names}
        self.owners: dict[int, int] = {}
        self.keys: dict[int, int] = {}
        self.enters = 0
        self.began = self.now = 0

    def enter(self, thread: int, time: int, address: int, kind: int | None) -> None:
        self._at(time)
        self.enters += 1
        self.maps["since"][thread] = time if kind is not None else 1
        if kind is not None:
            address &= ~3
            other = self.owners.setdefault(address, thread) != thread
            self.keys[thread] = address + kind + (OTHER_WAITER if other else 0)

    def leave(self, thread: int, time: int) -> None:
        self._at(time)
        since = self.maps["since"][thread]
        self.maps["since"][thread] = 1
        if since > 1:
            key, took = self.keys[thread], max(0, time - since)
            self.maps["n"][key] += 1
            self.maps["ns"][key] += took
            self.maps["longest"][key] = max(took, self.maps["longest"][key])
            self.maps["calls"][key & 3] += 1
            self.maps["total"][key & 3] += took

    def _at(self, time: int) -> None:
        self.began = self.began or time
        self.now = max(self.now, time)

    def lines(self, seconds: float) -> Iterator[str]:
        """The maps as bpftrace prints them; the window ends with the last call, or after `seconds`."""
        self.now = max(self.now, self.began + int(seconds * 1e9))
        for name in ("n", "ns", "longest"):
            self.maps[name] = Counter(dict(self.maps[name].most_common(MOST_ADDRESSES)))
        scalars = {"began": self.began, "now": self.now, "enters": self.enters}
        for name, value in (*sorted(self.maps.items()), *scalars.items()):
            yield json.dumps({"type": "map", "data": {f"@{name}": value}}) + "\n"


def kind_of_wait(op: int, value: int, *, timed: bool = False) -> int | None:
    """What a futex call waits for, with a time limit or without, one of the kinds; None for one that does not wait."""
    command = op & 127
    if command not in (0, 6, 9, 13):
        return None
    if command in (6, 13) or value == 2:
        return KIND_LOCK
    if command == 9 and value == 0xFFFFFFFF:
        return KIND_PARKED
    if command == 9 and not op & 256 and value >= 1 << 30:  # Rust's RwLock
        return KIND_LOCK
    return KIND_PARKED if timed else KIND_OTHER


def sum_futex_calls(text: str, seconds: float) -> str | None:
    """
    The sums that bpftrace would have printed, from a recording of entries and exits; None where it has exits only.

    `1390 23541.366358451: syscalls:sys_enter_futex: uaddr: 0x561b, op: 0x00000189, val: 0x00000000, utime: …`
    """
    sums = _Sums()
    exits = 0
    for line in text.splitlines():
        enter = _ENTER.match(line)
        if enter:
            address, op, value, limit = (int(part or "0", 16) for part in enter.groups()[3:])
            kind = kind_of_wait(op, value & 0xFFFFFFFF, timed=limit != 0)
            sums.enter(int(enter[1]), int(enter[2] + enter[3]), address, kind)
            continue
        leave = _EXIT.match(line)
        if leave:
            exits += 1
            sums.leave(int(leave[1]), int(leave[2] + leave[3]))
    return None if exits and not sums.enters else "".join(sums.lines(seconds))
