"""Vectors as values of a loop: what the CPU is said to have, and that all of it can be used."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from llvmlite import binding

from engram_diagnose.kernels.loops import vectors

SCRIPT = """
import numpy as np
from engram_diagnose.kernels.loops.peak import multiply_add
from engram_diagnose.kernels.loops.similarity import aligned, by_tiles, in_tiles

rows, queries = aligned((8, 768)), aligned((7, 768))
rows[:], queries[:] = np.arange(8)[:, None], np.arange(7)[:, None]
for lanes in (8, 16):
    scores = aligned((7, 8))
    by_tiles(in_tiles(rows), queries, scores, lanes=lanes)
    assert (scores == np.outer(np.arange(7), np.arange(8)) * 768).all(), scores
assert multiply_add(1, lanes=16, sums=12) == 2 * 16 * 12
print("right")
"""


@pytest.mark.parametrize(
    ("features", "lanes"),
    [
        ({"avx": True, "avx512f": True, "avx512dq": True}, 16),
        ({"avx": True, "avx512f": True, "avx512dq": False}, 8),
        ({"avx": True}, 8),
        ({"sse4.2": True, "avx": False}, 4),
        ({"neon": True}, 4),
        ({}, 4),
    ],
)
def test_registers_are_as_wide_as_the_cpu_says(
    monkeypatch: pytest.MonkeyPatch, features: Mapping[str, bool], lanes: int
) -> None:
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: features)
    assert vectors.lanes_here.__wrapped__() == lanes


@pytest.mark.parametrize(("machine", "sums"), [("x86_64", 12), ("aarch64", 24)])
def test_twice_the_registers_hold_twice_the_sums(monkeypatch: pytest.MonkeyPatch, machine: str, sums: int) -> None:
    monkeypatch.setattr(vectors.platform, "machine", lambda: machine)
    assert vectors.accumulators_here() == sums


def test_a_cpu_without_wide_registers_and_without_fused_multiply_adds_computes_the_same(tmp_path: Path) -> None:
    """Its vectors are split, and multiplied and added apart; nothing is looked for that is not there."""
    environment = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "HOME": str(tmp_path), "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "right\n", done.stderr
