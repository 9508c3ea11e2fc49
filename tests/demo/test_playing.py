"""The demo's course, on a stage that only pretends."""

import json
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.collectors.bundle import read_bundle
from engram_diagnose.incidents import example_incident
from engram_diagnose.lab.planting import Impossible

Stage = Any
"""The fixture of conftest.py."""


def test_it_tells_what_was_planted_found_changed_and_measured(stage: Stage) -> None:
    known = stage.play()
    told = " ".join(stage.told.split())
    assert "planted Every store is flushed to the disk by itself" in told
    assert 'by wal.sync_mode = "immediate"' in told
    assert "cause 1 The WAL writes far more than the clients store near-certain, over 99 %" in told
    assert "That is what was planted." in told
    assert 'wal.sync_mode = "batch" was immediate' in told
    assert "price " in told
    assert "More worker threads than the cores can run" not in told, "11 %, whatever is unknown"
    assert known.named_first
    assert known.applied
    assert known.comparison is not None
    assert known.comparison["provisional"]
    assert "op.latency.p99{operation=store}: 200 ms before, 2 ms after (-99 %)" in told
    assert "provisional: so few runs a side" in told


def test_no_line_is_wider_than_the_terminal(stage: Stage) -> None:
    stage.play()
    assert max(map(len, stage.told.splitlines())) <= 80
    assert "\x1b" not in stage.told


def test_the_patch_is_applied_to_the_labs_file_and_both_sides_take_turns(stage: Stage) -> None:
    stage.play()
    lab = stage.labs[-1]
    sides = ['"immediate"' in config for config in lab.started_with]
    assert sides[0] is False, "the mended configuration comes first"
    assert {True, False} == set(sides[1:])


def test_what_the_machine_carries_is_found_once(stage: Stage, tmp_path: Path) -> None:
    stage.play()
    assert len(stage.labs) == 2
    stage.play()
    assert len(stage.labs) == 3
    kept = json.loads((tmp_path / "base" / "carried.json").read_text())
    assert 5000.0 in kept.values()


@pytest.mark.parametrize("garbage", [b"", b"[1]", b"\xff\x00", b'{"a": "b"}', b"[" * 100_000])
def test_a_spoilt_note_of_it_is_as_good_as_none(stage: Stage, tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "carried.json").write_bytes(garbage)
    stage.play()
    assert len(stage.labs) == 2


def test_the_bundle_is_kept_where_it_was_asked_for(stage: Stage, tmp_path: Path) -> None:
    stage.play()
    assert read_bundle(tmp_path / "kept.bundle") == example_incident()


def test_nothing_of_the_run_is_left(stage: Stage, tmp_path: Path) -> None:
    stage.play()
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["carried.json"]


def test_what_cannot_be_planted_here_is_said(stage: Stage, impossible: list[Impossible]) -> None:
    impossible.append(Impossible("a CPU limit", "no control groups with the controller cpu are mounted"))
    known = stage.play("cpu-quota")
    assert "not possible here: a CPU limit" in " ".join(stage.told.split())
    assert known.impossible == (
        "not possible here: a CPU limit (no control groups with the controller cpu are mounted)",
    )


@pytest.mark.parametrize("at", range(1, 14))
def test_interrupted_anywhere_it_says_what_is_known_and_cleans_up(stage: Stage, tmp_path: Path, at: int) -> None:
    offers = 0

    def interrupt() -> None:
        nonlocal offers
        offers += 1
        if offers == at:
            raise KeyboardInterrupt

    stage.on_offer[0] = interrupt
    with pytest.raises(KeyboardInterrupt):
        stage.play()
    assert "Stopped" in stage.told
    assert "All that was started has been ended." in " ".join(stage.told.split())
    left = {path.name for path in (tmp_path / "base").iterdir()}
    assert left <= {"carried.json"}
