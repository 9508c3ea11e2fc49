"""The benchmarks run and compare like with like. How fast anything is depends on the machine, and is not asserted."""

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

NEEDS = {"inference": ["clips"], "webhook": ["flask", "waitress"], "kernels": ["simsimd"], "index": ["hnswlib"]}


@cache
def outcomes_of(root: Path, name: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(root / "benchmarks" / "run.py"), "--quick", "--json", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "engram-diagnose/benchmark/v1"
    outcomes: list[dict[str, Any]] = report["outcomes"]
    return outcomes


PARTS = {"kernels": {"stream", "latency", "peak", "similarity", "walk", "sharing", "cores", "locks", "wal", "kernels"},
         "index": {"hnsw"}}  # fmt: skip
"""What the lines of these are named after."""


@pytest.mark.parametrize(
    "name",
    [
        "inference",
        "loading",
        "process",
        "editing",
        "webhook",
        "metrics",
        "collecting",
        "index",
        pytest.param("kernels", marks=pytest.mark.xdist_group("disk")),
    ],
)
def test_a_benchmark_puts_its_figures_beside_a_yardstick_of_the_same_run(root: Path, name: str) -> None:
    for library in NEEDS.get(name, []):
        pytest.importorskip(library)
    if name == "metrics" and not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.skip("no prometheus on the PATH (Debian: apt-get install prometheus)")
    outcomes = outcomes_of(root, name)
    assert {outcome["benchmark"] for outcome in outcomes} == PARTS.get(name, {name})
    for outcome in outcomes:
        assert outcome["figure"] >= 0
        if outcome["yardstick"] is not None:
            quotient = outcome["figure"] / outcome["yardstick"]
            assert outcome["ratio"] == pytest.approx(outcome["paired_ratio"] or quotient)


def test_what_is_promised_is_printed_with_whether_it_is_kept(root: Path) -> None:
    promised = [outcome for outcome in outcomes_of(root, "loading") if outcome["bar"] is not None]
    assert [outcome["met"] for outcome in promised] == [outcome["ratio"] <= outcome["bar"] for outcome in promised]
    assert promised


def test_no_process_imports_numba(root: Path) -> None:
    (numba,) = [outcome for outcome in outcomes_of(root, "process") if "numba" in outcome["what"]]
    assert numba["figure"] == 0


def test_an_unknown_name_is_a_usage_error(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "benchmarks" / "run.py"), "speed"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "inference, loading, process, editing, webhook, metrics, collecting, soak, kernels, index" in done.stderr
    assert "Traceback" not in done.stderr
