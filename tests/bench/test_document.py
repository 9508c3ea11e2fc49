"""The report document: what verdicts come to, what is kept of a diagnosis, and what is refused."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engram_diagnose.bench.document import STATES, ReportError, overall, read_report
from engram_diagnose.engine.facts.catalogue import TARGET_SETS

sys.path.append(str(Path(__file__).parent))
from made_report import RECALL, VERDICTS, Verdict, benchmark, report, run


def written(document: Any) -> bytes:
    return json.dumps(document).encode()


@given(st.lists(st.sampled_from(STATES)))
def test_one_failure_fails_all_and_what_was_not_measured_is_no_pass(states: list[str]) -> None:
    found = overall(states)
    assert (found == "fail") == ("fail" in states)
    assert (found == "pass") == (bool(states) and set(states) == {"pass"})
    if "invalid" in states:
        assert found in ("fail", "invalid")


def test_a_report_is_what_its_schema_says_and_is_read_back_as_it_was(root: Path) -> None:
    schema = json.loads((root / "rules" / "schema" / "bench-report-v1.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    made = report()
    assert read_report("made", written(made)) == made
    assert made["verdict"]["counts"] == dict.fromkeys(STATES, 1)


def test_the_words_beside_figures_are_in_the_unit_of_the_fact() -> None:
    first, _, third, _ = report()["verdicts"]
    assert (first["limit_text"], first["measured_text"]) == ("at most 10 ms", "11.3 ms")
    assert third["limit_text"] == "at least 10,000/s"


def test_the_benchmark_in_it_is_checked_as_a_benchmark_is() -> None:
    made = report()
    made["benchmark"] = benchmark(run(1), run(1))
    with pytest.raises(ReportError, match="same order"):
        read_report("made.json", written(made))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"schema": NaN}', "NaN"),
        (b'{"schema": 1e999}', "1e999"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "is not of type 'object'"),
        (b"{}", "required"),
    ],
)
def test_what_is_no_report_is_refused_with_its_reason(data: bytes, why: str) -> None:
    with pytest.raises(ReportError, match=why):
        read_report("x.json", data)


def test_a_pass_without_a_figure_is_refused() -> None:
    made = copy.deepcopy(report())
    made["verdicts"][1]["measured"] = None
    with pytest.raises(ReportError, match="verdicts/1"):
        read_report("x.json", written(made))


@pytest.mark.parametrize("target_set", TARGET_SETS)
def test_a_report_without_verdicts_says_that_nothing_was_held_against_its_set(target_set: str) -> None:
    from made_report import catalogue, report_document

    made = report_document(benchmark=benchmark(), verdicts=(), target_set=target_set, catalogue=catalogue())
    assert made["verdict"]["state"] == "untested"
    assert target_set in made["verdict"]["sentence"]


def test_a_fact_that_nobody_knows_is_shown_as_a_bare_figure() -> None:
    odd = Verdict("mixed", "site.own_figure", RECALL, "floor", "lower", 3.0, 2.0, "pass")
    assert report(odd)["verdicts"][0]["limit_text"] == "at most 3"
    assert len(VERDICTS) == 4
