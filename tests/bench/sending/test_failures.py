"""When a load is given up."""

import errno
import re

from engram_diagnose.bench.sending.connections import word_of
from engram_diagnose.bench.sending.failures import Failures

SECOND = 1_000_000_000


def failed(count: int, *, at: int = 10 * SECOND) -> Failures:
    failures = Failures(window=0.5, hang=3.0)
    for place in range(count):
        failures.add("http-503" if place else "reset", at + place)
    return failures


def verdict(failures: Failures, now: float, *, last_good: float = 0.0, oldest: float | None = None) -> str:
    at = int(now * SECOND)
    waiting = at if oldest is None else int(oldest * SECOND)
    return failures.verdict(at, last_good=int(last_good * SECOND), last_answer=int(now * SECOND), oldest=waiting)


def test_nothing_but_failures_for_the_whole_window_ends_a_load() -> None:
    assert verdict(failed(20), 10.4, last_good=9.9) == ""
    assert verdict(failed(20), 10.6, last_good=9.9) == "every request failed for 0.6 s (http-503 19, reset 1)"


def test_a_good_answer_in_between_begins_the_window_anew() -> None:
    failures = failed(20)
    assert verdict(failures, 10.6, last_good=10.1) == ""
    assert verdict(failures, 11.5, last_good=10.1) == ""


def test_a_few_failures_say_nothing() -> None:
    assert verdict(failed(4), 20.0) == ""


def test_a_slow_load_is_no_hang() -> None:
    """The last answer is long ago, and so is the request before it: nothing waits."""
    failures = Failures(window=0.5, hang=3.0)
    assert failures.verdict(100 * SECOND, last_good=0, last_answer=0, oldest=99 * SECOND) == ""
    assert "no answer at all for 3 s" in failures.verdict(100 * SECOND, last_good=0, last_answer=0, oldest=96 * SECOND)


def test_every_word_for_a_broken_connection_is_one_that_the_format_takes() -> None:
    words = {word_of(code) for code in (*errno.errorcode, None, 99_999)}
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", word) for word in words)
    assert {"refused", "reset", "no-route", "too-many-open-files"} <= words
