"""The page on labelled cases says what the limits, the commands and the label are."""

import json
import re
from pathlib import Path

import pytest

from engram_diagnose.cases.label import decode_label
from engram_diagnose.cli.cases import command
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.rulebase import load_rules


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page."""
    return (root / "docs" / "howto" / "score-on-labelled-cases.md").read_text(encoding="utf-8")


def test_the_label_on_the_page_is_one(page: str) -> None:
    match = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert match is not None
    document = json.loads(match[1])
    document["bundle"]["sha256"] = "0" * 64  # the page leaves it to the reader
    rules = load_rules(thorough=False).rules.rules
    assert decode_label(json.dumps(document).encode(), where="the page").right <= rules.keys()


def test_figures_of_the_page_are_the_limits(page: str) -> None:
    limits, words = read_limits(load_rules(thorough=False).texts, "cases"), " ".join(page.split())
    assert limits["held_out"] == pytest.approx(2 / 5)
    assert "two fifths of each" in words
    assert limits["least_cases"] == 60
    assert limits["least_families"] == 5
    assert "sixty training cases of five families" in words
    assert f"among the first {limits['top']:.0f}" in words
    assert f"no cause above {limits['healthy_most'] * 100:.0f} %" in words
    assert f"causes above {limits['sure'] * 100:.0f} % that are wrong" in words


def test_every_command_and_option_of_the_page_is_there(page: str) -> None:
    used = re.findall(r"^engram-diagnose cases (\w+) (.*)$", page, re.MULTILINE)
    assert {name for name, _ in used} == set(command.commands)
    for name, rest in used:
        known = {option for one in command.commands[name].params for option in one.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known
