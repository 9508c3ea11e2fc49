"""Options of the service stand before its subcommands or behind them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from engram_diagnose.cli import group
from engram_diagnose.history.incidents import open_incidents


@pytest.fixture
def settings(tmp_path: Path) -> str:
    path = tmp_path / "serve.toml"
    path.write_text(f'database = "{tmp_path}/history.db"\n', encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("where", ["before", "behind"])
def test_the_settings_may_be_named_on_either_side(settings: str, where: str) -> None:
    named = ["--settings", settings]
    arguments = ["serve", *named, "check"] if where == "before" else ["serve", "check", *named]
    found = CliRunner().invoke(group, arguments)
    assert found.exit_code == 0, found.output
    assert "the settings can be used" in found.output


def test_what_stands_behind_the_subcommand_counts_for_more(settings: str, tmp_path: Path) -> None:
    found = CliRunner().invoke(
        group, ["serve", "--settings", str(tmp_path / "gone.toml"), "check", "--settings", settings]
    )
    assert found.exit_code == 0, found.output


def test_a_backup_takes_its_settings_behind_it(settings: str, tmp_path: Path) -> None:
    with open_incidents(tmp_path / "history.db"):
        pass
    copy = tmp_path / "copy.db"
    found = CliRunner().invoke(group, ["serve", "backup", "--settings", settings, str(copy)])
    assert found.exit_code == 0, found.output
    assert copy.exists()
