"""The server's flushes to stable storage: how many, and how long each takes."""

from __future__ import annotations

import re
from collections import Counter

from engram_diagnose.collectors.capture.reading import Reading
from engram_diagnose.collectors.capture.step import Step
from engram_diagnose.collectors.capture.tracepoints import CountedCalls, count_then_follow, record_calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.step import Context

COLLECTOR = "flushes"
CALLS = "flush calls"
"""The answer with their counts."""
TIMES = "flush times"
"""The answer with what they took."""
FLUSHES = ("fsync", "fdatasync")

_COUNTED = CountedCalls(COLLECTOR, (CALLS, TIMES), FLUSHES, FLUSHES, plural="flushes", none="no flush was asked for")
_COUNT_SECONDS = 1.0
_ENOUGH = 400
"""Recorded calls of which a 99th percentile has four beyond it: more are worth no more time."""
_SCRIPT_BYTES = 16 << 20


def look_at_flushes(context: Context) -> list[Answer]:
    """How often fsync and fdatasync are called, and how long the calls take."""
    return count_then_follow(context, _COUNTED, seconds=max(_COUNT_SECONDS, context.seconds / 2), follow=_times)


STEP = Step(
    "flushes",
    "fsync and fdatasync calls, and how long they take",
    "a few µs a flush, which itself takes at least tens",
    look_at_flushes,
)


def _times(context: Context, rate: float) -> Reading:
    limit = context.limits["traced_flush_rate"]
    if rate > limit:
        return Reading(None, "TOO_EXPENSIVE", f"{rate:.0f} flushes/s, at most {limit:.0f} are recorded one by one")
    seconds = min(context.seconds, max(context.limits["follow_up"], _ENOUGH / rate))
    recorded = record_calls(context, FLUSHES, seconds=seconds, keep=_SCRIPT_BYTES)
    return recorded if recorded.body is None else Reading(sum_flushes(recorded.body, seconds))


_EVENT = re.compile(
    r"^ {0,40}([0-9]{1,10}) {1,40}([0-9]{1,12})\.([0-9]{9}): {1,40}syscalls:sys_(enter|exit)_(fsync|fdatasync):",
    re.MULTILINE,
)


def sum_flushes(text: str, seconds: float) -> str:
    """
    What a recording of entries and exits says, in a few lines.

    `# watched 2 s`, then for each thread `thread TID CALLS MICROSECONDS`, then `took MICROSECONDS CALLS` with the time
    rounded to three figures, and `open TID MICROSECONDS` for a call that had not returned at the end, or had begun
    before: it took at least that.
    """
    threads: dict[int, list[float]] = {}
    running: dict[int, int] = {}
    seen: set[int] = set()
    ends: list[tuple[int, float]] = []
    events = [(int(e[2] + e[3]), int(e[1]), e[4]) for e in _EVENT.finditer(text)]
    began, now = (events[0][0], max(time for time, _, _ in events)) if events else (0, 0)
    for time, thread, side in events:
        since = running.pop(thread, None)
        if side == "enter":
            running[thread] = time
        elif since is not None:
            threads.setdefault(thread, []).append(max(0, time - since) * 1e-3)
        elif thread not in seen:
            ends.append((thread, max(0, time - began) * 1e-3))
        seen.add(thread)
    ends += [(thread, max(0, now - since) * 1e-3) for thread, since in running.items()]
    return "".join([f"# watched {seconds:g} s\n", *_lines(threads, ends)])


def _lines(threads: dict[int, list[float]], ends: list[tuple[int, float]]) -> list[str]:
    times = Counter(float(f"{took:.3g}") for all_of_one in threads.values() for took in all_of_one)
    lines = [f"thread {thread} {len(took)} {sum(took):.3f}\n" for thread, took in sorted(threads.items())]
    lines += [f"took {took:.3f} {count}\n" for took, count in sorted(times.items())]
    return lines + [f"open {thread} {took:.3f}\n" for thread, took in sorted(ends)]
