"""An hour or two of alerts, replayed: nothing is lost, nothing is diagnosed twice, nothing grows without end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_short_day_of_storms_loses_nothing_and_diagnoses_each_incident_once(root: Path) -> None:
    command = [sys.executable, str(root / "benchmarks" / "run.py"), "soak", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = {outcome["what"]: outcome for outcome in json.loads(done.stdout)["outcomes"]}
    promised = [outcome for outcome in outcomes.values() if outcome["met"] is not None]
    assert len(promised) >= 7
    assert [outcome for outcome in promised if not outcome["met"]] == []
