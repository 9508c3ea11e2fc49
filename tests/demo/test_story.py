"""What is said of a diagnosis fits what was planted."""

import io
from typing import Any

import pytest

from engram_diagnose.demo import story
from engram_diagnose.demo.outcome import Known
from engram_diagnose.demo.telling import Terminal
from engram_diagnose.lab.faults import FAULTS, fault_named

LOG = "storage.wal-write-amplification"
QUOTA = "host.cpu-quota-throttling"
SIMD = "simd.underutilised"


def document(*rules: tuple[str, float], not_testable: tuple[str, ...] = ()) -> dict[str, Any]:
    causes = [{"rule": rule, "title": rule, "confidence": {"probability": sure}} for rule, sure in rules]
    return {"causes": causes, "not_testable": [{"rule": rule} for rule in not_testable]}


def judged(name: str, before: dict[str, Any]) -> str:
    terminal = Terminal(80, out=io.StringIO(), err=io.StringIO())
    story.judged(terminal, Known(fault_named(name), before=before))
    return " ".join(terminal.out.getvalue().split())


def test_the_planted_cause_first_is_right() -> None:
    assert "That is what was planted." in judged("fsync-per-write", document((LOG, 0.99)))


def test_further_down_it_says_where() -> None:
    assert "number 2 of the list" in judged("fsync-per-write", document((SIMD, 0.8), (LOG, 0.6)))


def test_a_busy_machine_is_not_called_a_wrong_answer() -> None:
    said = judged("fsync-per-write", document(("host.noisy-neighbour", 0.97), (LOG, 0.94)))
    assert "number 2 of the list" in said
    assert "try again when it is quiet" in said


def test_one_of_two_is_not_both() -> None:
    both = "cpu-quota+fsync-per-write"
    assert "That is what was planted." not in judged(both, document((QUOTA, 0.9)))
    assert "That is what was planted." in judged(both, document((QUOTA, 0.9), (SIMD, 0.6), (LOG, 0.6)))


def test_what_cannot_be_tested_is_not_called_wrong() -> None:
    said = judged("false-sharing", document(not_testable=("cpu.false-sharing",)))
    assert "could not be tested here (cpu.false-sharing)" in said
    assert "not among them" in judged("false-sharing", document())


def test_a_healthy_server_that_is_blamed_is_said() -> None:
    assert "nothing is blamed: rightly" in judged("healthy-busy", document((SIMD, 0.3)))
    assert "which nobody planted" in judged("healthy-busy", document((SIMD, 0.7)))


@pytest.mark.parametrize(
    ("name", "words"),
    [("healthy-busy", "nothing: nothing was planted"), ("cpu-quota", "no setting of the server mends this"),
     ("fsync-per-write", "none is advised")],
)  # fmt: skip
def test_where_no_change_is_advised_it_says_why(name: str, words: str) -> None:
    terminal = Terminal(80, out=io.StringIO(), err=io.StringIO())
    story.advised(terminal, {"groups": [], "file": {"changed": False}}, fault_named(name))
    assert words in " ".join(terminal.out.getvalue().split())


def test_the_cause_is_gone_when_nobody_believes_in_it_any_more() -> None:
    known = Known(fault_named("fsync-per-write"), before=document((LOG, 0.9)))
    assert known.gone is None
    known.after = document((LOG, 0.2))
    assert known.gone
    known.after = document((LOG, 0.6))
    assert known.gone is False
    known.after = document((LOG, 0.1), ("storage.store-waits-for-wal", 0.9))
    assert known.gone, "that the disk is slow is another matter"


def test_the_list_names_every_fault() -> None:
    terminal = Terminal(80, out=io.StringIO(), err=io.StringIO())
    story.listed(terminal)
    told = terminal.out.getvalue()
    assert all(name in told for name in FAULTS)
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_every_introduction_fits_the_window(fault: Any, columns: int) -> None:
    terminal = Terminal(columns, out=io.StringIO(), err=io.StringIO())
    story.introduce(terminal, fault, cores=4, memories=12_000)
    for severity in fault.severities:
        story.planted(terminal, dict.fromkeys(severity.settings, 1), severity.environment, severity.around)
    assert max(map(len, terminal.out.getvalue().splitlines())) <= columns


def test_a_pipe_gets_a_line_for_each_wait() -> None:
    terminal = Terminal(80, out=io.StringIO(), err=io.StringIO())
    with terminal.waiting("starting the lab") as say:
        say("something else")
    assert terminal.err.getvalue() == "… starting the lab\n"


def test_a_terminal_shows_how_long_and_leaves_nothing() -> None:
    err = io.StringIO()
    with Terminal(80, live=True, out=io.StringIO(), err=err).waiting("starting") as say:
        say("still starting")
