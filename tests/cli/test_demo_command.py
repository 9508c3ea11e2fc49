"""`demo` where it cannot play; its list; the recorded incident, and the files that the pages are followed with."""

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


# Where it cannot play


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_the_list_names_the_faults_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo("--list") == 0
    assert "fsync-per-write" in capsys.readouterr().out


def test_the_recorded_incident_needs_no_lab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("engram_diagnose.demo.beginning.begin", None)
    for arguments in (["--recorded"], ["--format", "markdown"], ["-v"]):
        assert demo(*arguments) == 0
        assert "The WAL writes far more than the clients store" in capsys.readouterr().out


def test_a_fault_that_is_misspelt_is_answered_with_one_that_is_near(
    own_state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo("--fault", "fsync") == 2
    assert "did you mean fsync-per-write" in capsys.readouterr().err
    assert not own_state.exists()


def test_without_numba_it_says_so_and_offers_the_recorded_incident(
    own_state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engram_diagnose.demo import beginning

    monkeypatch.setattr(beginning, "find_spec", lambda name: None if name == "numba" else object())
    assert demo() == 3
    said = capsys.readouterr().err
    assert "the lab needs numba" in said
    assert "engram-diagnose demo --recorded" in said


def test_without_room_it_says_how_much_it_takes(
    own_state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engram_diagnose.demo import stage

    monkeypatch.setattr(stage.shutil, "disk_usage", lambda _: stage.shutil._ntuple_diskusage(1 << 40, 1 << 40, 1 << 20))
    assert demo() == 3
    said = capsys.readouterr().err
    assert "has 1 MiB left, and the lab takes up to 1024" in said
    assert "demo --recorded" in said


def test_a_state_folder_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "file" / "state"))
    assert demo() == 3
    said = capsys.readouterr().err
    assert "ENGRAM_DIAGNOSE_STATE" in said
    assert "demo --recorded" in said


def test_a_lab_that_does_not_start_is_said_and_nothing_is_left(
    own_state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engram_diagnose.lab.process import LabError, LabProcess

    def start(process: LabProcess) -> None:
        raise LabError("the lab ended with 2 as it started\nengram-diagnose lab: cannot listen on 127.0.0.1:7432")

    monkeypatch.setattr(LabProcess, "start", start)
    assert demo() == 3
    said = capsys.readouterr().err
    assert "the lab did not start" in said
    assert "cannot listen" in said
    assert "demo --recorded" in said
    assert list((own_state / "lab").iterdir()) == []


def test_ctrl_c_ends_it_with_130(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engram_diagnose.lab.process import LabProcess

    def start(process: LabProcess) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LabProcess, "start", start)
    assert demo() == 130
    assert list((own_state / "lab").iterdir()) == []
