"""`serve files`: what is shipped lands in a folder, and nothing that differs is lost."""

from pathlib import Path

import pytest

from engram_diagnose.cli import main
from engram_diagnose.service.deployment import DeploymentError, shipped_files, write_files


def below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_shipped_file_is_written(deploy: Path, tmp_path: Path) -> None:
    written = write_files(tmp_path / "new" / "folder")
    assert all(new for _, new in written)
    assert below(tmp_path / "new" / "folder") == below(deploy) == shipped_files()


def test_a_second_time_nothing_changes_and_what_is_missing_is_added(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "service.toml").unlink()
    (tmp_path / "mine.txt").write_text("mine")
    assert [path.name for path, new in write_files(tmp_path) if new] == ["service.toml"]
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_file_that_says_something_else_stays_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "service.toml").write_text("# mine\n")
    with pytest.raises(DeploymentError, match=r"service\.toml; nothing was written"):
        write_files(tmp_path)
    assert below(tmp_path) == {"service.toml": b"# mine\n"}


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "service.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeploymentError, match="cannot write"):
        write_files(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_the_command_says_what_it_did_and_what_is_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def code() -> object:
        with pytest.raises(SystemExit) as left:
            main(["serve", "files", str(tmp_path / "deploy")])
        return left.value.code

    assert code() == 0
    assert f"written: {tmp_path / 'deploy' / 'kubernetes.yaml'}" in capsys.readouterr().err
    (tmp_path / "deploy" / "kubernetes.yaml").write_text("kind: Mine\n")
    assert code() == 2
    assert "there and say something else" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeploymentError, match=r"cannot write .*; name another folder"):
        write_files(tmp_path / "file" / "deploy")
