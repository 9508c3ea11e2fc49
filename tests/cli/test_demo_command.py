"""`demo --save` gives a newcomer the files that the pages are followed with."""

from pathlib import Path

import pytest

from engram_diagnose.cli import main
from engram_diagnose.collectors.bundle import read_bundle
from engram_diagnose.incidents import example_incident


def demo(*arguments: str) -> int:
    try:
        main(["demo", *arguments])
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 0
    return 0


def test_it_writes_the_bundle_and_the_configuration_it_was_made_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "example"
    assert demo("--save", str(folder)) == 0
    assert read_bundle(folder / "incident.bundle") == example_incident()
    assert 'sync_mode = "immediate"' in (folder / "engram.toml").read_text(encoding="utf-8")
    said = capsys.readouterr()
    assert said.err.splitlines() == [f"written: {folder / name}" for name in ("incident.bundle", "engram.toml")]
    assert said.out == ""


def test_done_again_it_changes_nothing_and_never_writes_over_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo("--save", str(tmp_path)) == 0
    assert demo("--save", str(tmp_path)) == 0
    (tmp_path / "engram.toml").write_text("tuned = true\n")
    (tmp_path / "incident.bundle").unlink()
    assert demo("--save", str(tmp_path)) == 2
    assert f"cannot write {tmp_path / 'engram.toml'}: there is something else of that name" in capsys.readouterr().err
    assert (tmp_path / "engram.toml").read_text() == "tuned = true\n"
    assert not (tmp_path / "incident.bundle").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert demo("--save", str(tmp_path / "file" / "below")) == 2
    assert "name another folder" in capsys.readouterr().err
