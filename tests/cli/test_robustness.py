"""What goes wrong around a run is said, with an exit code that is not taken for findings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path("src/engram_diagnose/incidents/wal-write-amplification.bundle")
PROGRAM = (sys.executable, "-c", "from engram_diagnose.cli import main; main()")


@pytest.fixture
def bundle(root: Path) -> str:
    return str(root / EXAMPLE)


def run(*arguments: str, settings: str = "", **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ENGRAM_DIAGNOSE_SETTINGS": settings}
    return subprocess.run([*PROGRAM, *arguments], capture_output="stdout" not in options, text=True, timeout=60,
                          env=environment, check=False, **options)  # type: ignore[call-overload,no-any-return] # fmt: skip


def test_a_full_disk_behind_a_redirect_is_said(bundle: str) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = run("run", "--bundle", bundle, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert "cannot write the output: No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_is_a_pipe_is_written_to_and_stays_a_pipe(bundle: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    assert run("run", "--bundle", bundle, "--output", str(pipe)).returncode == 1
    said, _ = reader.communicate(timeout=30)
    assert "WAL" in said
    assert pipe.is_fifo()


def test_an_output_behind_a_link_is_written_and_the_link_stays(bundle: str, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    assert run("run", "--bundle", bundle, "--output", str(link)).returncode == 1
    assert link.is_symlink()
    assert "WAL" in target.read_text(encoding="utf-8")


@pytest.mark.parametrize("output", [".", "/nonexistent/report", "/dev/full"])
def test_an_output_that_cannot_be_written_is_no_finding(bundle: str, output: str) -> None:
    done = run("run", "--bundle", bundle, "--output", output)
    assert done.returncode == 2
    assert f"cannot write {output}" in done.stderr


def test_options_that_mean_nothing_beside_a_bundle_are_refused(bundle: str) -> None:
    done = run("run", "--bundle", bundle, "--at", "15m", "--save", "x.bundle")
    assert done.returncode == 2
    assert "--at, --save" in done.stderr


def test_settings_may_use_the_types_of_toml(bundle: str, tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text(
        'fail-on = "never"\n[run]\nseconds = 5\nat = 2026-11-22T03:00:00Z\nheader = "a:b"\n', encoding="utf-8"
    )
    done = run("run", "--bundle", bundle, settings=str(settings))
    assert done.returncode == 0, done.stderr


def test_a_header_without_a_colon_is_not_shown_for_it_may_be_a_secret() -> None:
    done = run("--prometheus", "http://127.0.0.1:1", "--header", "Authorization Bearer SECRET")
    assert done.returncode == 2
    assert "SECRET" not in done.stderr


def test_collecting_from_nothing_that_answers_ends_with_three(tmp_path: Path) -> None:
    done = run("collect", "--server", "http://127.0.0.1:1", "--no-local", "-o", str(tmp_path / "x.bundle"))
    assert done.returncode == 3


@pytest.mark.parametrize("value", ["nonsense", "http://[", "ftp://x"])
@pytest.mark.parametrize("option", ["--server", "--metrics"])
def test_an_address_that_is_none_is_refused(option: str, value: str) -> None:
    assert run(option, value).returncode == 2


@pytest.mark.parametrize("value", ["²", "9" * 400, "-1", "5w"])
def test_a_length_of_time_that_is_none_is_refused(value: str) -> None:
    done = run("run", "--seconds", value)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_future_cannot_be_diagnosed() -> None:
    assert run("run", "--at", "2199-01-01").returncode == 2


def test_a_pack_that_is_no_file_is_refused_at_once() -> None:
    done = run("rules", "check", "--rules", "/dev/zero")
    assert done.returncode == 2
    assert "not a file" in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_pack_with_a_folder_that_cannot_be_read_is_refused_whole(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    done = run("rules", "check", "--rules", str(tmp_path))
    assert done.returncode == 2
    assert "closed" in done.stdout + done.stderr
