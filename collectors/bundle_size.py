"""Keeping a bundle small enough to be mailed: what measures most loses its answers first, and the bundle says so."""

from __future__ import annotations

import zlib
from dataclasses import replace

from engram_diagnose.collectors.bundle import bundle_lines, packed
from engram_diagnose.collectors.bundle_format import LIMITS, Bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engram_diagnose.collectors.bundle_format import Limits
    from engram_diagnose.collectors.capture.answer import Answer

KEPT = frozenset({"target", "collection", "config"})
"""Without them the rest cannot be read: who the server is, what collecting saw and cost, what it is set to."""
PLAIN = frozenset({"bench", "cgroup", "exposition", "host", "http", "process", "prometheus", "recalls", "storage"})
"""Answers a diagnosis begins with; every other collector's are of programs that measure, and go before them."""
_QUICK = 1


def fitted(bundle: Bundle, *, most: float, limits: Limits = LIMITS) -> Bundle:
    """
    The bundle as it is when its file has at most `most` bytes and can be read again; else without its largest answers.

    An answer that is left out keeps its place, with TOO_EXPENSIVE as its reason and its size in the detail. Answers of
    programs that measure go first, the largest before the others; then what else is large. What says who was looked at
    is never left out, so that a bundle of that alone may be larger.
    """
    if _fits(bundle, most, limits):
        return bundle
    sizes = {place: len(_packed(answer)) for place, answer in enumerate(bundle.answers) if _may_go(answer)}
    order = sorted(sizes, key=lambda place: (bundle.answers[place].collector in PLAIN, -sizes[place], place))
    for count in _steps(len(order)):
        smaller = _without(bundle, frozenset(order[:count]), most)
        if _fits(smaller, most, limits):
            return smaller
    return _without(bundle, frozenset(order), most)


def _steps(count: int) -> list[int]:
    """One, two, three …, in larger steps once many are gone: each try packs the whole bundle."""
    found = []
    step = 1
    while step <= count:
        found.append(step)
        step += 1 + step // 8
    return found


def _may_go(answer: Answer) -> bool:
    return answer.body is not None and answer.collector not in KEPT


def _packed(answer: Answer) -> bytes:
    return zlib.compress((answer.body or "").encode("utf-8", "surrogateescape"), _QUICK)


def _fits(bundle: Bundle, most: float, limits: Limits) -> bool:
    lines = bundle_lines(bundle)
    readable = sum(map(len, lines)) <= limits.bytes and max(map(len, lines)) <= limits.line_bytes
    return readable and len(packed(lines)) <= most


def _without(bundle: Bundle, gone: frozenset[int], most: float) -> Bundle:
    answers = (_left_out(one, most) if place in gone else one for place, one in enumerate(bundle.answers))
    return replace(bundle, answers=tuple(answers))


def _left_out(answer: Answer, most: float) -> Answer:
    size = len((answer.body or "").encode("utf-8", "surrogateescape"))
    detail = f"left out of the bundle: {size} bytes of text, and a bundle is to have at most {most:.0f} bytes"
    return replace(answer, body=None, reason="TOO_EXPENSIVE", detail=detail)
