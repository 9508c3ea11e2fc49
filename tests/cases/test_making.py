"""Corpora: made once, whole or not at all, and gone on with."""

from dataclasses import replace
from pathlib import Path

import pytest

from engram_diagnose.cases.corpus import NoCasesError, cases_in, corpus_digest
from engram_diagnose.cases.judging import judge
from engram_diagnose.cases.label import LabelError, Loaded
from engram_diagnose.cases.making import Collected, NotMadeError, Order, Planned, make, parts_of, planned, visibility
from engram_diagnose.cases.scoring import is_admitted
from engram_diagnose.collectors.bundle import write_bundle
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.incidents import example_incident
from engram_diagnose.lab.faults import FAULTS
from engram_diagnose.rulebase import load_rules

FAULT = "fsync-per-write"
LOAD = Loaded({"store": 1.0}, 100.0, 8, 12.0)


class Stage:
    """Gives the example incident for each case, but for those that fail."""

    def __init__(self, *, fails: str = "", ends_at: int = 0, impossible: tuple[str, ...] = ()) -> None:
        self.staged: list[str] = []
        self._fails = fails
        self._ends_at = ends_at
        self._impossible = impossible

    def collected(self, planned: Planned) -> Collected:
        """Staged at once."""
        if len(self.staged) + 1 == self._ends_at:
            raise KeyboardInterrupt
        if planned.name == self._fails:
            raise NotMadeError("the lab did not start")
        self.staged.append(planned.name)
        return Collected(example_incident(), LOAD, impossible=self._impossible)


def order(*faults: str, without: tuple[str, ...] = (), repeat: int = 1) -> Order:
    """Mild and severe on two shapes."""
    return Order(faults or (FAULT, "one-shard"), ("mild", "severe"), (1, 4), repeat, without)


def said(_: str) -> None:
    """Nobody listens."""


def test_each_fault_comes_at_each_severity_on_each_shape(tmp_path: Path) -> None:
    made = make(order(repeat=2), tmp_path, Stage(), say=said)
    assert len(made.made) == 2 * 2 * 2 * 2
    assert {case.label.host.shape for case in cases_in(tmp_path)} == {"1-core", "4-cores"}
    assert f"{FAULT}.severe.1-core.2" in made.made


def test_all_faults_come_once_before_one_comes_again() -> None:
    names = [(one.number, one.fault.name) for one in planned(Order((), (), (4,), 2))]
    half = len(names) // 2
    assert {name for _, name in names[:half]} == set(FAULTS)
    assert all(number == 1 for number, _ in names[:half])


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    make(order(), tmp_path, Stage(), say=said)
    before = corpus_digest(cases_in(tmp_path))
    again = Stage()
    found = make(order(), tmp_path, again, say=said)
    assert (again.staged, len(found.there)) == ([], 8)
    assert corpus_digest(cases_in(tmp_path)) == before


def test_ctrl_c_keeps_what_was_made_and_the_rest_is_made_later(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(order(), tmp_path, Stage(ends_at=4), say=said)
    assert len(cases_in(tmp_path)) == 3
    later = Stage()
    make(order(), tmp_path, later, say=said)
    assert len(later.staged) == 5
    assert len(cases_in(tmp_path)) == 8


def test_a_bundle_without_its_label_is_half_a_case_and_made_again(tmp_path: Path) -> None:
    first = next(planned(order()))
    write_bundle(tmp_path / f"{first.name}.bundle", example_incident())
    assert first.name in make(order(), tmp_path, Stage(), say=said).made


def test_a_case_that_fails_is_told_and_the_others_are_made(tmp_path: Path) -> None:
    lines: list[str] = []
    found = make(order(), tmp_path, Stage(fails=f"{FAULT}.mild.1-core.1"), say=lines.append)
    assert found.failed == [(f"{FAULT}.mild.1-core.1", "the lab did not start")]
    assert len(found.made) == 7
    assert "not made: the lab did not start" in lines[0]


def test_what_could_not_be_planted_is_never_labelled(tmp_path: Path) -> None:
    found = make(order(), tmp_path, Stage(impossible=("a slower disk",)), say=said)
    assert len(found.failed) == 8
    with pytest.raises(NoCasesError):
        cases_in(tmp_path)


@pytest.mark.parametrize("wrong", [Order(("no-such-fault",), (), (1,)), Order((), ("awful",), (1,))])
def test_an_order_for_what_there_is_not_is_refused(wrong: Order, tmp_path: Path) -> None:
    with pytest.raises(NotMadeError, match="there are"):
        make(wrong, tmp_path, Stage(), say=said)


def test_a_bundle_that_is_not_the_labelled_one_is_refused(tmp_path: Path) -> None:
    make(order(FAULT), tmp_path, Stage(), say=said)
    case = cases_in(tmp_path)[0]
    write_bundle(tmp_path / case.label.bundle, replace(example_incident(), time=1.0))
    with pytest.raises(LabelError, match="its checksum differs"):
        case.read()


def test_sources_are_taken_away_once_and_what_is_left_is_admitted_to_be_unknown(tmp_path: Path) -> None:
    sources = ("config", "host", "metrics")
    ready = expert(load_rules(thorough=False))
    made = make(order(FAULT, without=sources), tmp_path, Stage(), say=said)
    assert len(made.made) == 4 * 4
    assert make(order(FAULT, without=sources), tmp_path, Stage(), say=said).made == []
    cases = [case for case in cases_in(tmp_path) if case.label.of]
    assert {case.label.visible for case in cases} == {"untold"}
    judged = {case.label.missing: judge(case, ready) for case in cases}
    assert "storage.wal-write-amplification" in judged[("metrics",)].not_testable
    assert all(one.state != "met" for one in judged.values())
    assert is_admitted(judged[("metrics",)])


def test_two_faults_and_veiled_ones_are_of_the_families_of_what_is_planted() -> None:
    assert [one.family for one in parts_of(FAULTS["fsync-per-write+scalar-similarity"])] == ["log", "simd"]
    assert [one.name for one in parts_of(FAULTS["missing-metrics"])] == [FAULT]
    assert parts_of(FAULTS["healthy-busy"]) == ()
    for fault in FAULTS.values():
        assert len(parts_of(fault)) == len(fault.causes)


def test_what_only_counters_show_cannot_be_seen_where_there_are_none() -> None:
    bundle = example_incident()
    bundle = replace(bundle, answers=tuple(one for one in bundle.answers if one.collector != "perf"))
    assert visibility(FAULTS["false-sharing"], bundle)[0] == "no"
    assert visibility(FAULTS[FAULT], bundle) == ("yes", "")
    assert visibility(FAULTS["missing-permissions"], bundle)[0] == "untold"


def test_every_rule_that_counts_as_right_is_there() -> None:
    rules = load_rules(thorough=False).rules.rules
    assert sorted({rule for fault in FAULTS.values() for rule in fault.right} - rules.keys()) == []
