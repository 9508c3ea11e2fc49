"""The page on what a host attains: every command works, and what it says of figures and options holds."""

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from transcript import Shell, steps

from engram_diagnose.cli import group
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.rulebase import load_rules

sys.path.append(str(Path(__file__).parent.parent / "attaining"))
from tiny import tiny_pack

PAGE = "docs/howto/measure-what-a-host-attains.md"


@pytest.fixture
def page(root: Path) -> str:
    return (root / PAGE).read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_command_works_in_order(page: str, tmp_path: Path) -> None:
    """With the limits turned down, on a host on which other tests run."""
    pack = tiny_pack(tmp_path, busy_refused="1000000%")
    shell = Shell(tmp_path, {"ENGRAM_DIAGNOSE_RULES": str(pack)})
    (tmp_path / "data").mkdir()
    found = steps(page)
    assert len(found) > 1
    for step in found:
        code, out = shell.run(step.commands.replace("/var/lib/engram", str(tmp_path / "data")))
        assert code == step.code, f"line {step.line}: {step.commands}\n{out}"
    assert (tmp_path / "attained.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_every_option_that_the_page_explains_is_one(page: str) -> None:
    said = CliRunner().invoke(group, ["kernels", "--help"]).output
    named = re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)
    assert len(named) > 5
    assert [name for name in named if name not in said] == []


def test_the_limits_that_the_page_states_are_those_of_the_catalogue(page: str) -> None:
    limits = read_limits(load_rules(thorough=False).texts, "kernels")
    said = " ".join(page.split())
    assert limits["memory_share"] == limits["busy_refused"] == 0.25
    assert "a quarter of the memory that is available and 1 GiB at most" in said
    assert limits["most_memory"] == 1 << 30
    assert "they use a quarter of the CPUs" in said
    assert f"writes {limits['wal_most_written'] / 2**20:.0f} MiB at most" in said
    assert limits["expiry"] == 30 * 86400
    assert "Figures hold for a month" in said
