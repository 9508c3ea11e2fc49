"""What can be tested never becomes less: per dialect and access, the figures of floor.json may only rise."""

import json
from pathlib import Path

import pytest

from engram_diagnose.reference.testable import ACCESSES, Cell, coverage_matrix
from engram_diagnose.rulebase import load_rules

FLOOR = Path(__file__).with_name("floor.json")


@pytest.fixture(scope="module")
def matrix() -> tuple[Cell, ...]:
    """The matrix of the shipped rules."""
    loaded = load_rules()
    return coverage_matrix(loaded.rules.rules, loaded.catalogue)


def test_no_cell_falls_below_its_floor(matrix: tuple[Cell, ...]) -> None:
    floor = json.loads(FLOOR.read_text())
    fallen = [
        f"{cell.dialect}, {cell.access}: {len(cell.testable)} causes are testable, and {least} were; not: "
        + ", ".join(sorted(cell.lacking))
        for cell in matrix
        if len(cell.testable) < (least := floor[cell.dialect][cell.access])
    ]
    assert fallen == []


def test_the_floor_speaks_of_every_cell(matrix: tuple[Cell, ...]) -> None:
    floor = json.loads(FLOOR.read_text())
    assert {name: tuple(cells) for name, cells in floor.items()} == {cell.dialect: ACCESSES for cell in matrix}


def test_the_page_shows_the_same_figures(root: Path, matrix: tuple[Cell, ...]) -> None:
    page = (root / "docs" / "reference" / "coverage.md").read_text(encoding="utf-8")
    for cell in matrix:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{cell.dialect}` |"))
        assert f"| {len(cell.testable)} of " in row
