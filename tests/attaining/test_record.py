"""The record of a host: what measuring leaves is what the schema says, and nothing else is read back."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from made_record import DAY, HOST, MEASURED, OF, noise, one, part, record, stream, wal, whole

from engram_diagnose.attaining.record import (
    NoRecordError,
    chosen,
    kept_record,
    measured,
    part_entry,
    read_record,
    record_of,
    write_record,
)
from engram_diagnose.kernels.measure.measurement import Measurement, Unmeasured
from engram_diagnose.kernels.measure.suite import Done
from engram_diagnose.state import StateError

Json = dict[str, Any]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def schema(root: Path) -> Draft202012Validator:
    document = json.loads((root / "rules" / "schema" / "attained-v1.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


LABELS = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)
FIGURES = st.floats(-1e15, 1e15)
MEASUREMENTS = st.builds(
    Measurement, st.text(max_size=20), st.sampled_from(["s", "B/s", "/s", ""]),
    st.lists(FIGURES, min_size=1, max_size=9).map(tuple), st.sampled_from(["higher", "lower"]),
    st.sampled_from(["stable", "noisy", "unstable"]), LABELS, st.integers(1, 512), st.integers(0, 9), st.floats(0, 1),
    st.lists(st.text(max_size=9), max_size=2).map(tuple),
)  # fmt: skip
OUTCOMES = st.lists(MEASUREMENTS | st.builds(Unmeasured, st.text(), st.text(), st.text(), LABELS), max_size=5)


@given(OUTCOMES)
def test_whatever_was_measured_is_a_record_by_the_schema(schema: Draft202012Validator, outcomes: list[Any]) -> None:
    entry = part_entry(Done("stream", tuple(outcomes), 1.0), of=OF, measured_at=MEASURED, holds_for=30 * DAY)
    schema.validate(json.loads(json.dumps(record_of(HOST, [entry]), allow_nan=False)))


def test_the_made_up_record_is_one(schema: Draft202012Validator) -> None:
    schema.validate(whole())


def test_a_record_is_read_back_as_it_was_written(state: Path) -> None:
    assert read_record(HOST) is None
    write_record(whole())
    assert read_record(HOST) == whole()


def test_a_part_measured_anew_takes_the_place_of_its_own_figures_alone() -> None:
    anew = part("stream", [one("stream.copy", "B/s", 1e9)])
    later = record_of(HOST, [anew], whole())
    assert {entry["name"] for entry in later["parts"]} == {entry["name"] for entry in whole()["parts"]}
    assert anew in later["parts"]
    assert stream() not in later["parts"]


def test_where_nobody_has_measured_the_next_step_is_said(state: Path) -> None:
    with pytest.raises(NoRecordError, match="run `engram-diagnose kernels`"):
        kept_record(HOST)


def spoiled(**changes: Any) -> str:
    made = record(part("stream", [one("stream.copy", "B/s", 1e9)]))
    made["parts"][0]["measurements"][0] |= changes
    return json.dumps(made)


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "[]", "{}", "\x00", '{"schema": "engram-diagnose/attained/v1"}', spoiled(median=math.nan),
     spoiled(median=math.inf), spoiled(median="much"), spoiled(labels={"level": 3}), spoiled(threads=0),
     spoiled(more=1), spoiled(median=10**400), spoiled(stability="\x1b[31m"), spoiled(labels=["\x1b"]), "[" * 100_000],
)  # fmt: skip
def test_a_file_that_is_no_record_is_refused_with_its_name_and_the_next_step(state: Path, text: str) -> None:
    path = state / "kernels" / f"{HOST}.json"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StateError, match="measure again") as refused:
        read_record(HOST)
    assert str(path) in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < len(str(path)) + 300


def test_of_the_parts_that_are_chosen_the_gate_is_kept_as_well() -> None:
    assert [entry["name"] for entry in chosen(whole(), ("wal",))["parts"]] == ["noise", "wal"]
    assert chosen(whole(), ()) == whole()


def test_what_the_gate_saw_is_no_figure_of_the_host() -> None:
    assert measured(whole())
    assert not measured(record(noise(), wal()))
