import os
from pathlib import Path

import pytest

from engram_diagnose.collectors.capture.reading import gather, natural, read


def test_a_file_is_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 1\n")
    assert read(str(tmp_path / "stat")).body == "cpu 1\n"


def test_bytes_that_are_not_utf_8_survive(tmp_path: Path) -> None:
    (tmp_path / "comm").write_bytes(b"caf\xe9")
    body = read(str(tmp_path / "comm")).body
    assert body is not None
    assert body.encode("utf-8", "surrogateescape") == b"caf\xe9"


@pytest.mark.parametrize("path", ["missing", "no/such/folder", "nul\0byte"])
def test_a_missing_file_is_a_reason(tmp_path: Path, path: str) -> None:
    reading = read(str(tmp_path / path))
    assert (reading.body, reading.reason) == (None, "SOURCE_ABSENT")


def test_a_folder_is_not_read(tmp_path: Path) -> None:
    assert read(str(tmp_path)).reason == "SOURCE_ABSENT"


def test_a_pipe_in_the_place_of_a_file_does_not_hold_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    assert read(str(tmp_path / "config.toml")).reason == "SOURCE_ABSENT"


def test_a_file_beyond_the_limit_is_too_expensive(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 101)
    assert read(str(tmp_path / "big"), limit=100).reason == "TOO_EXPENSIVE"
    assert read(str(tmp_path / "big"), limit=101).body == "x" * 101


def test_permission_denied_says_what_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    reading = read(str(tmp_path / "io"))
    assert reading.reason == "PTRACE_DENIED"
    assert "root" in reading.detail


@pytest.mark.parametrize(
    ("number", "reason"),
    [(3, "TARGET_GONE"), (95, "KERNEL_CONFIG"), (22, "SOURCE_ABSENT"), (5, "SOURCE_UNREACHABLE")],
)
def test_the_error_number_decides_the_reason(monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    def fail(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    assert read("/proc/pressure/cpu").reason == reason


def test_a_tree_of_small_files_is_one_text_in_natural_order(tmp_path: Path) -> None:
    for cpu in (10, 2):
        (tmp_path / f"cpu{cpu}").mkdir()
        (tmp_path / f"cpu{cpu}" / "id").write_text(f"{cpu}\n")
    assert gather(str(tmp_path), ("cpu*/id",)).body == "cpu2/id:2\ncpu10/id:10\n"


def test_a_tree_without_files_is_a_reason(tmp_path: Path) -> None:
    assert gather(str(tmp_path), ("*/speed",)).reason == "SOURCE_ABSENT"


def test_numbers_in_names_order_as_numbers() -> None:
    assert sorted(["n10", "n9", "n"], key=natural) == ["n", "n9", "n10"]
