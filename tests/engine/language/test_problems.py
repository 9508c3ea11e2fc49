"""
Every kind of mistake in a rule file, as a pair: the file as it should be and as it should not, and what is said of it.

`UPDATE_TRANSCRIPTS=1 pytest tests/engine/language/test_problems.py` writes the transcripts anew; read them before they
are committed.
"""

import os
from pathlib import Path

import pytest

from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.language.problem import RuleBaseError, excerpt
from engram_diagnose.rulebase import builtin_files

FIXTURES = Path(__file__).parent / "fixtures"
GOOD = sorted(FIXTURES.glob("*.good.yaml"))
BAD = sorted(FIXTURES.glob("*.bad.yaml"))
TODAY = "2026-11-22"
CATALOGUE = {name: data for name, data in builtin_files().items() if "/catalogue/" in name or "/dialects/" in name}
BASE = {"base.yaml": (FIXTURES / "base.yaml").read_bytes()}


def transcript(path: Path) -> str:
    """What a person who loads this file is told."""
    files = {path.name: path.read_bytes()}
    texts = {path.name: path.read_text(encoding="utf-8")}
    try:
        problems = load(CATALOGUE, [BASE, files], today=TODAY).warnings
    except RuleBaseError as error:
        problems = error.problems
    return "".join(f"{excerpt(problem, texts)}\n" for problem in problems)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name.removesuffix(".good.yaml"))
def test_nothing_is_said_of_a_file_as_it_should_be(path: Path) -> None:
    assert transcript(path) == ""


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name.removesuffix(".bad.yaml"))
def test_a_mistake_is_shown_at_its_place_with_what_to_do(path: Path) -> None:
    expected = path.with_suffix(".txt")
    said = transcript(path)
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        expected.write_text(said, encoding="utf-8")
    assert said == expected.read_text(encoding="utf-8")


def test_each_mistake_has_its_counterpart() -> None:
    assert [path.name.removesuffix(".bad.yaml") for path in BAD] == [
        name for path in GOOD if (name := path.name.removesuffix(".good.yaml")) != "site-example"
    ]
