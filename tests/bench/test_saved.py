"""Saved runs: whole or not at all, found again, pruned."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.bench.made import benchmark, run

from engram_diagnose.bench.document import ReportError, report_document
from engram_diagnose.bench.saved import check_free, load_run, prune_runs, save_run, saved_runs
from engram_diagnose.bench.verdict import judge
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.state import StateError


@pytest.fixture
def report(catalogue: Catalogue, limits: dict[str, float], tmp_path: Path,
           monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:  # fmt: skip
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "state"))
    made = benchmark(run("store"))
    verdicts = judge(made["runs"], catalogue, limits, targets="floor")
    return report_document(benchmark=made, verdicts=verdicts, target_set="floor", catalogue=catalogue)


def test_a_saved_run_is_found_by_its_name_and_by_its_file(report: dict[str, Any]) -> None:
    path = save_run("before", report)
    assert load_run("before") == load_run(str(path)) == report
    (listed,) = saved_runs()
    assert (listed.name, listed.address, listed.workloads) == ("before", "127.0.0.1:7432", ("store",))
    assert (listed.target_set, listed.state, listed.problem) == ("floor", "pass", "")


@pytest.mark.parametrize("name", ["", "../x", "a b", "a/b", "-x", "x" * 101])
def test_what_is_no_name_is_refused_before_the_load(name: str, report: dict[str, Any]) -> None:
    with pytest.raises(StateError, match="is no name for a saved run"):
        check_free(name, replace=False)


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced(report: dict[str, Any]) -> None:
    save_run("before", report)
    with pytest.raises(StateError, match="--replace"):
        check_free("before", replace=False)
    check_free("before", replace=True)


def test_a_name_that_is_not_there_tells_those_that_are(report: dict[str, Any]) -> None:
    save_run("before", report)
    with pytest.raises(StateError, match="saved are: before"):
        load_run("after")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff\xfe", b'{"schema": "engram-diagnose/bench-report/v1"}', b"[" * 9999]
)
def test_a_damaged_run_is_listed_with_its_problem(content: bytes, report: dict[str, Any]) -> None:
    save_run("before", report).write_bytes(content)
    assert saved_runs()[0].problem
    with pytest.raises(ReportError):
        load_run("before")


def test_a_full_disk_leaves_what_was_there(report: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_run("before", report)
    kept = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left on device"):
        save_run("before", report)
    assert path.read_bytes() == kept
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_pruning_keeps_the_newest(report: dict[str, Any]) -> None:
    for age, name in enumerate(("c", "a", "b")):
        os.utime(save_run(name, report), (1000 - age, 1000 - age))
    assert prune_runs(2) == ["b"]
    assert [one.name for one in saved_runs()] == ["a", "c"]
