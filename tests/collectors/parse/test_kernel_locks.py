"""What waiting for the kernel's own locks costs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_lock_kernel import CONTENTION, contentions
from engram_diagnose.collectors.parse.kernel_locks import Contention, facts_of_kernel_locks, parse_contention
from engram_diagnose.engine.facts.fact import Fact, Reason

DATA = Path(__file__).parents[2] / "data/tracing"
RECORDED = Path(__file__).parents[4] / "shared/recordings/perf/perf-6.12.lock-contention.txt"
HEADER = " contended   total wait     max wait     avg wait         type   caller\n\n"


def share(body: str | None, reason: str = "") -> Fact:
    (fact,) = facts_of_kernel_locks([Answer("kernel locks", CONTENTION, 9.0, "id", body, reason)])
    return fact


@pytest.mark.parametrize("name", ["perf-6.1.lock-contention.txt", "perf-6.12.lock-contention.txt"])
def test_every_row_of_real_tables_is_read(name):
    text = (DATA / name).read_text()
    rows = [line for line in text.splitlines() if line.strip() and line.strip()[0].isdigit()]
    assert len(parse_contention(text)) == len(rows) > 5
    assert 0 < share(text).value[0] < 0.1


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are not here")
def test_the_recorded_table_is_read():
    rows = parse_contention(RECORDED.read_text())
    assert rows[0] == Contention(2303, pytest.approx(21.22e-3), "spinlock", "wake_up_q+0x33")
    assert len(rows) == 17


def test_the_share_is_of_all_threads_time():
    rows = "  5   1.50 s   1.00 s   300.00 ms   rwsem:W   mmap\n  1  500 ms  500 ms  500 ms  mutex  x\n"
    assert share(f"# watched 2 s\n# threads 4\n{HEADER}{rows}").value == (0.25, 0.25)


def test_no_contended_lock_is_a_share_of_nothing():
    assert share("# watched 0.5 s\n# threads 4\n").value == (0.0, 0.0)


@pytest.mark.parametrize("body", ["", "perf: error\n", "# watched 2 s\n", "# watched 1 s\n# threads 2\nwhatever\n"])
def test_what_is_no_table_is_unparsed(body):
    assert share(body).unknown.reason is Reason.UNPARSED


def test_an_old_kernel_is_said_with_what_helps():
    assert "5.19" in share(None, "KERNEL_CONFIG").get_by


def test_contentions_are_counted():
    assert contentions("# watched 1 s\n2948;;lock:contention_begin;444759525;100.00;;\n") == 2948
    assert contentions("<not counted>;;lock:contention_begin;0;0.00;;\n") is None
    assert contentions("") is None


@st.composite
def mangled(draw: st.DrawFn) -> str:
    raw = bytearray((DATA / "perf-6.12.lock-contention.txt").read_bytes())
    for _ in range(draw(st.integers(0, 6))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw[: draw(st.integers(0, len(raw)))]).decode("utf-8", "surrogateescape")


@given(st.one_of(mangled(), st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "surrogateescape"))))
def test_any_bytes_are_one_fact(text):
    value = share(text).value
    assert value is None or 0 <= value[0] <= 1
    contentions(text)
