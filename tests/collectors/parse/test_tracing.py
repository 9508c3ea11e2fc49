"""What traced flushes say."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_trace import CALLS, TIMES, sum_flushes
from engram_diagnose.collectors.parse.figures import Between
from engram_diagnose.collectors.parse.tracing import FLUSH_FACTS, facts_of_flushes, p99, parse_flushes
from engram_diagnose.engine.facts.fact import Fact, Reason

RECORDED = Path(__file__).parents[2] / "data/tracing/perf-6.1.script-flushes.txt"
COUNTS = "# watched 2 s\n700;;syscalls:sys_enter_fsync;1;100.00;;\n20;;syscalls:sys_enter_fdatasync;1;100.00;;\n"


def facts(calls: str | None = COUNTS, times: str | None = None, reason: str = "") -> dict[str, Fact]:
    answers = [Answer("flushes", CALLS, 9.0, "id", calls, reason), Answer("flushes", TIMES, 9.0, "id", times, reason)]
    return {fact.name: fact for fact in facts_of_flushes(answers)}


def enter(thread: int, microseconds: int) -> str:
    return f"{thread} 5.{microseconds * 1000:09d}:     syscalls:sys_enter_fsync: fd: 0x00000004\n"


def leave(thread: int, microseconds: int) -> str:
    return f"{thread} 5.{microseconds * 1000:09d}:      syscalls:sys_exit_fsync: 0x0\n"


def test_both_kinds_of_flushes_count():
    assert facts()["io.fsync_rate"].value == (360.0, 360.0)


def test_a_kind_that_was_not_counted_leaves_the_rate_open():
    not_counted = COUNTS.replace("20;;syscalls", "<not counted>;;syscalls")
    assert facts(not_counted)["io.fsync_rate"].unknown.reason is Reason.NOT_COUNTED


def test_a_recording_gives_the_slowest_hundredth_and_the_share_of_time():
    """Compared with pairing the same lines one by one."""
    whole, starts, took = [], {}, {}
    for line in RECORDED.read_text().splitlines(keepends=True):
        thread, time, event = line.split()[:3]
        if "enter" in event:
            starts[thread] = line
        elif thread in starts:
            began = starts.pop(thread)
            whole += [began, line]
            took.setdefault(thread, []).append(float(time.rstrip(":")) - float(began.split()[1].rstrip(":")))
    every = sorted(one for of_thread in took.values() for one in of_thread)
    found = facts(times=sum_flushes("".join(whole), 0.08))
    assert len(every) > 100
    assert found["io.fsync_p99"].value[0] == pytest.approx(every[-(-99 * len(every) // 100) - 1], rel=0.006)
    assert found["io.fsync_wait_share"].value[0] == pytest.approx(min(1, sum(every) / (len(took) * 0.08)), rel=0.01)


def test_a_few_flushes_have_no_99th_percentile():
    text = sum_flushes("".join(enter(7, 100 * n) + leave(7, 100 * n + 40) for n in range(1, 30)), 2.0)
    found = facts(times=text)
    assert found["io.fsync_p99"].unknown.reason is Reason.TOO_FEW_SAMPLES
    assert "29 flushes" in found["io.fsync_p99"].unknown.detail
    assert found["io.fsync_wait_share"].value[0] == pytest.approx(29 * 40e-6 / 2)


def test_a_flush_that_never_returned_counts_with_what_it_took_so_far():
    ended = "".join(enter(7, 100 * n) + leave(7, 100 * n + 40) for n in range(1, 200))
    found = parse_flushes(sum_flushes(enter(8, 50) + ended, 0.1))
    assert found.still == pytest.approx((19890e-6,))
    assert found.busy[8] == pytest.approx(19890e-6)
    assert p99(found) == pytest.approx(40e-6)
    stalled = parse_flushes(sum_flushes("".join(enter(thread, 50) for thread in range(8, 12)) + ended, 0.1))
    assert p99(stalled) == Between(pytest.approx(19890e-6), math.inf)


def test_a_flush_that_is_under_way_as_ever_does_not_blur_the_percentile():
    steps = "".join(enter(7, 1000 * n) + leave(7, 1000 * n + n) for n in range(1, 200))
    assert p99(parse_flushes(sum_flushes(steps + enter(8, 199_500), 0.3))) == pytest.approx(198e-6)


def test_a_call_that_had_begun_before_counts_once():
    found = parse_flushes(sum_flushes(leave(7, 500) + enter(7, 600) + leave(7, 700) + leave(7, 800), 1.0))
    assert list(found.took.items()) == [(pytest.approx(100e-6), 1)]
    assert found.still == (0.0,)


def test_a_server_that_never_flushes_waits_for_none():
    found = facts(times="# watched 2 s\n")
    assert found["io.fsync_wait_share"].unknown.reason is Reason.TOO_FEW_SAMPLES


def test_a_missing_answer_says_why_and_what_helps():
    found = facts(None, None, "PARANOID")
    assert set(found) == FLUSH_FACTS
    assert all(fact.unknown.reason is Reason.PARANOID and "root" in fact.get_by for fact in found.values())


WORDS = st.sampled_from(["# watched 2 s\n", "thread 7 ", "took 5 ", "open 7 ", "1", ".5", " 3", "\n", "-1", "9" * 20])
TEXTS = st.one_of(st.lists(WORDS, max_size=20).map("".join),
                  st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "surrogateescape")))  # fmt: skip


@given(TEXTS)
def test_any_bytes_are_facts(text):
    found = facts(text, text)
    assert set(found) == FLUSH_FACTS
    share = found["io.fsync_wait_share"].value
    assert share is None or 0 <= share[0] <= 1
    sum_flushes(text, 1.0)


@given(st.integers(0, 20_000), st.integers(0, 60))
def test_a_recording_cut_or_scrambled_is_still_parsed(cut, start):
    lines = RECORDED.read_text()[:cut].splitlines(keepends=True)
    parse_flushes(sum_flushes("".join(lines[start:] + lines[:start]), 1.0))


def test_blank_lines_without_end_are_no_flushes():
    assert sum_flushes("\n" * 1_000_000, 2.0) == "# watched 2 s\n"
