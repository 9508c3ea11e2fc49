"""What staging a case rests on: who else uses the host, whose cores these are, and when a case is given up."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from engram_diagnose.cases.making import NotMadeError
from engram_diagnose.cases.staging import Others, beside, busy_seconds, process_seconds, shortened, within

STAT = "cpu  300 20 100 5000 77 3 7 60 250 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
TICKS = os.sysconf("SC_CLK_TCK")


def test_waiting_for_a_disk_is_no_use_of_a_core_and_guests_count_once() -> None:
    assert busy_seconds(STAT) == pytest.approx((300 + 20 + 100 + 3 + 7) / TICKS)


def test_a_process_may_be_called_anything() -> None:
    line = "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 1000 0 0 0 250 150 0 0 20 0 9 0 100 0 0"
    assert process_seconds(line) == pytest.approx(400 / TICKS)


def test_what_this_process_computes_is_not_what_others_use() -> None:
    idle = subprocess.Popen(["sleep", "60"])
    try:
        all_before = busy_seconds(Path("/proc/stat").read_text())
        others, began, spent = Others(idle.pid), time.monotonic(), time.process_time()
        while time.process_time() - spent < 0.5:
            sum(range(10_000))
        elapsed = time.monotonic() - began
        by_others = others.cores() * elapsed
        by_all = busy_seconds(Path("/proc/stat").read_text()) - all_before
    finally:
        idle.kill()
        idle.wait()
    assert by_others >= 0
    assert by_all - by_others > 0.4  # what this process used itself, but for the clock's ticks


def test_clients_run_beside_the_server_and_everywhere_afterwards() -> None:
    before = os.sched_getaffinity(0)
    with beside(len(before) - 1):
        assert os.sched_getaffinity(0) == ({max(before)} if len(before) > 1 else before)
    with beside(len(before)):
        assert os.sched_getaffinity(0) == before
    assert os.sched_getaffinity(0) == before


def test_of_what_the_lab_said_the_last_line_is_told() -> None:
    assert shortened("it ended with 1\n  File x\nMemoryError: no room\n") == "it ended with 1: MemoryError: no room"
    assert shortened("one line") == "one line"


def test_a_case_that_hangs_is_given_up() -> None:
    with pytest.raises(NotMadeError, match="it took longer than"), within(0.05):
        time.sleep(5)
    with within(60):
        pass
    time.sleep(0.01)
