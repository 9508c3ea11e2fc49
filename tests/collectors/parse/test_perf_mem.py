"""What sampled loads say about the latency of memory."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_mem import LOADS, sum_loads
from engram_diagnose.collectors.parse.perf_mem import facts_of_memory_latency
from engram_diagnose.engine.facts.fact import Fact, Reason

SAMPLES = (Path(__file__).parents[2] / "data/tracing/perf-script.loads.txt").read_text()


def latency(body: str | None, reason: str = "") -> Fact:
    (fact,) = facts_of_memory_latency([Answer("memory latency", LOADS, 9.0, "id", body, reason)])
    return fact


def test_loads_are_summed_by_where_they_were_served_and_stores_left_out():
    assert sum_loads(SAMPLES) == "2 500 Local RAM hit\n1 7 L1 hit\n1 40 L3 hit\n1 700 Remote RAM (1 hop) hit\n"


def test_the_latency_is_that_of_loads_that_missed_every_cache():
    fact = latency("# cycles 2000000000/s\n" + sum_loads(SAMPLES))
    assert fact.value[0] == pytest.approx(1200 / 3 / 2e9)
    assert "experimental" in fact.quality


def test_a_name_before_the_figures_does_not_hide_them():
    assert sum_loads("engram 1/2 [003] " + SAMPLES.splitlines()[1].strip()) == "1 231 Local RAM hit\n"


def test_a_clock_that_nobody_states_leaves_it_unknown():
    assert latency("# cycles 0/s\n3 900 RAM hit\n").unknown.reason is Reason.SOURCE_ABSENT


def test_only_hits_in_caches_are_too_few():
    assert latency("# cycles 2000000000/s\n3 90 L1 hit\n").unknown.reason is Reason.TOO_FEW_SAMPLES


def test_no_counters_are_said_with_what_helps():
    fact = latency(None, "NO_PMU")
    assert fact.unknown.reason is Reason.NO_PMU
    assert "bare metal" in fact.get_by


WORDS = st.sampled_from(["# cycles ", "5/s", "\n", "1 ", "77 ", "RAM hit", "|OP LOAD|LVL ", "|", "0x12345 ", "L3 miss"])


@given(st.one_of(st.lists(WORDS, max_size=30).map("".join), st.binary(max_size=200).map(lambda b: b.decode("latin-1"))))
def test_any_bytes_are_one_fact(text):
    assert latency(text).name == "membw.latency"
    assert latency("# cycles 2000000000/s\n" + sum_loads(text)).name == "membw.latency"


def test_long_lines_are_read_in_time():
    for piece in ("1 ", "1", "a", "|OP LOAD", " "):
        sum_loads(piece * 100_000)
