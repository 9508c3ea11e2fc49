"""The demo for real: a lab, a fault, clients, a patch, and nothing left behind."""

import io
import os
from pathlib import Path

import pytest

from engram_diagnose.demo.beginning import begin
from engram_diagnose.demo.pace import Pace
from engram_diagnose.demo.telling import Terminal

SHORT = Pace(memories=2000, settle_seconds=0.5, look_seconds=4, run_seconds=0.5, runs=1, probe_seconds=1)


@pytest.mark.slow
def test_a_fault_is_planted_named_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path))
    before, out = os.sched_getaffinity(0), io.StringIO()
    known = begin("fsync-per-write", "severe", Terminal(80, out=out, err=io.StringIO()), save=None, pace=SHORT)
    assert known.before is not None
    assert "storage.wal-write-amplification" in {cause["rule"] for cause in known.before["causes"]}, out.getvalue()
    assert known.applied
    assert known.gone
    assert known.runs
    left = {path.name for path in (tmp_path / "lab").iterdir() if not path.name.startswith(".engram-lab")}
    assert left == {"carried.json"}
    assert os.sched_getaffinity(0) == before
