"""
A few recalls of our own, timed: what a client waits for, where the server does not record it.

Never asked for by default: a recall is work for the server, and may make memories count as used.
"""

from __future__ import annotations

import json
import time

from engram_diagnose.collectors.capture.reading import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine

PATH = "/api/v1/memories/recall"
QUERY = "?query=engram-diagnose&max_results=10&include_metadata=true"
COLLECTOR = "recalls"

MOST = 200
"""More would be a load test; at the pace below it takes 100 s."""
PACE_SECONDS = 0.5
"""From the start of one recall to that of the next, at least: two in a second are lost in any load worth diagnosing."""
MOST_FAILURES = 2
"""In a row; whoever answers wrongly twice is left alone."""
LONGEST_SECONDS = 5.0


def timed_recalls(
    machine: Machine,
    base_url: str,
    *,
    count: int,
    token: str = "",
    context: ssl.SSLContext | None = None,
    pace_seconds: float = PACE_SECONDS,
) -> Answer:
    """
    At most `count` recalls, one after the other, as one answer of the collector `recalls`.

    Its body is JSON, `{"asked": 20, "seconds": [0.0031, …], "processing_ms": [2, …], "failed": ["HTTP 500"]}`: what
    each took from here, over a connection of its own, and what the server says it took. The memories themselves are
    not kept: they are nobody's business. Without a single answer the body is None, with the last failure's reason.
    """
    from engram_diagnose.collectors.capture.http import get  # whoever reads a bundle has no need of it

    url = base_url.rstrip("/") + PATH + QUERY
    seconds: list[float] = []
    processing: list[float] = []
    failed: list[Reading] = []
    in_a_row = asked = 0
    while asked < min(count, MOST) and in_a_row < MOST_FAILURES:
        start = time.perf_counter()
        reading = get(url, token=token, timeout_seconds=LONGEST_SECONDS, context=context)
        took = time.perf_counter() - start
        asked += 1
        said = _processing_ms(reading.body)
        if reading.body is None or said is _NO_ANSWER:
            failed.append(reading if reading.body is None else _foreign())
            in_a_row += 1
        else:
            in_a_row = 0
            seconds.append(took)
            processing += [said] if isinstance(said, float) else []
        if asked < count:
            time.sleep(max(0.0, pace_seconds - (time.perf_counter() - start)))
    if not seconds:
        return machine.answer(COLLECTOR, PATH, failed[-1] if failed else Reading(None, "NOT_COLLECTED", "none asked"))
    body = {
        "asked": asked,
        "seconds": [round(one, 6) for one in seconds],
        "processing_ms": processing,
        "failed": [one.detail for one in failed],
    }
    return machine.answer(COLLECTOR, PATH, Reading(json.dumps(body)))


def _foreign() -> Reading:
    return Reading(None, "UNPARSED", "the answer is no JSON object: another server stands there")


_NO_ANSWER = object()


def _processing_ms(body: str | None) -> object:
    """`metadata.processing_time_ms` of an answer, None where it has none; `_NO_ANSWER` for what is no recall."""
    try:
        document = json.loads(body or "")
    except (ValueError, RecursionError):
        return _NO_ANSWER
    if not isinstance(document, dict):
        return _NO_ANSWER
    metadata = document.get("metadata")
    value = metadata.get("processing_time_ms") if isinstance(metadata, dict) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < 1e9 else None
