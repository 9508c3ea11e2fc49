"""`engram-diagnose lab`."""

import os
import sys
from pathlib import Path

import pytest

from engram_diagnose.cli import main


class Replaced(BaseException):
    """What stands for the process that would have been replaced."""


def replaced_by(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    told: list[list[str]] = []

    def execv(program: str, command: list[str]) -> None:
        assert program == command[0] == sys.executable
        told.append(command[1:])
        raise Replaced

    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(Replaced):
        main(["lab", *arguments])
    return told[0]


def test_the_command_becomes_the_labs_own_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = replaced_by(monkeypatch, "--data-dir", str(tmp_path), "--port", "0", "--preload", "500")
    assert command == ["-m", "engram_diagnose.lab", f"--data-dir={tmp_path}", "--port=0", "--preload=500"]


def test_without_a_folder_it_keeps_its_data_in_the_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "state"))
    assert replaced_by(monkeypatch) == ["-m", "engram_diagnose.lab", f"--data-dir={tmp_path / 'state' / 'lab'}"]


def test_settings_that_are_not_there_are_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["lab", "--config", str(tmp_path / "none.toml")])
    assert caught.value.code == 2
    assert "none.toml" in capsys.readouterr().err


def test_asking_for_help_takes_no_compiler(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["lab", "--help"])
    assert "It is no product" in capsys.readouterr().out
