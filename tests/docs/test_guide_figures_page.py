"""The page of the guide's figures, measured: each has a measurement, a consequence, and rules that exist."""

import re
from pathlib import Path

import pytest

from engram_diagnose.rulebase import load_rules

PAGE = "docs/reference/guide-figures-measured.md"
ROW = re.compile(r"^\| (?P<first>[^|]+?) \| (?P<rest>.+) \|$", re.MULTILINE)
RULE = re.compile(r"\(rules\.md#([\w-]+)\)")


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / PAGE).read_text(encoding="utf-8")


@pytest.mark.parametrize("figure", ["100 GB/s", "resident in L1", "4 to 16 nodes", "15 ms", "More shards"])
def test_each_hard_figure_of_the_guide_is_measured_and_has_rules_that_go_by_it(page: str, figure: str) -> None:
    measured, follows = (match["rest"] for match in ROW.finditer(page) if figure in match["first"] and match["rest"])
    assert len(measured.split(" | ")) == 3
    assert all(cell.strip() for cell in measured.split(" | "))
    assert RULE.search(follows)


def test_every_rule_that_it_names_exists(page: str) -> None:
    anchors = {name.replace(".", "") for name in load_rules().rules.rules}
    named = set(RULE.findall(page))
    assert len(named) > 10
    assert named - anchors == set()


def test_the_knowledge_map_leads_to_it(root: Path) -> None:
    assert "(guide-figures-measured.md)" in (root / "docs/reference/knowledge-map.md").read_text(encoding="utf-8")
