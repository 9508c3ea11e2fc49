"""A file in a folder of somebody else: there while it is used, gone afterwards."""

import errno
import fcntl
import os
import signal
from pathlib import Path

import pytest

from engram_diagnose.kernels.measure.probe_file import PREFIX, NoProbeError, ProbeFile, with_probe_file

LIMITS = {"wal_least_free": 1e-9, "wal_most_file": 1.0}


def fail(error: BaseException) -> None:
    raise error


def interrupt(file: ProbeFile) -> None:
    os.write(file.file, b"something")
    signal.raise_signal(signal.SIGINT)


def test_the_file_has_a_name_of_ours_while_it_is_used(tmp_path: Path) -> None:
    def look(file: ProbeFile) -> list[str]:
        os.write(file.file, b"something")
        os.close(file.again(0))
        return os.listdir(tmp_path)

    (name,) = with_probe_file(str(tmp_path), LIMITS, look)
    assert name.startswith(PREFIX)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), MemoryError(), KeyboardInterrupt(), SystemExit(3)])
def test_it_is_gone_whatever_happens(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        with_probe_file(str(tmp_path), LIMITS, lambda file: fail(error))
    assert os.listdir(tmp_path) == []


def test_it_is_gone_after_ctrl_c(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        with_probe_file(str(tmp_path), LIMITS, interrupt)
    assert os.listdir(tmp_path) == []


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with_probe_file(str(tmp_path), LIMITS, lambda file: None)
    with pytest.raises(KeyboardInterrupt):
        with_probe_file(str(tmp_path), LIMITS, interrupt)
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize(
    ("folder", "why", "get_by"),
    [
        ("/no/such/folder", "no such file", "data directory as it is on this host"),
        ("/dev/null", "not a directory", "name a folder"),
        ("/sys", "", ""),
        ("a\0b", "null", "name the server's data directory"),
    ],
)
def test_a_folder_that_takes_no_file_says_why(folder: str, why: str, get_by: str) -> None:
    with pytest.raises(NoProbeError, match=f"no file can be made in the folder: .*{why}") as caught:
        with_probe_file(folder, LIMITS, lambda file: None)
    assert get_by in caught.value.get_by


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: fail(OSError(errno.ENOLCK, "No locks available")))
    assert with_probe_file(str(tmp_path), LIMITS, lambda file: 3) == 3
    assert os.listdir(tmp_path) == []


def test_a_read_only_folder_is_called_so_and_not_something_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing from it fails as well, and must not hide why nothing was made."""
    read_only = OSError(errno.EROFS, "Read-only file system")
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **at: fail(read_only) if at else opened(path, *rest))
    monkeypatch.setattr(os, "unlink", lambda *_, **__: fail(read_only))
    with pytest.raises(NoProbeError, match="no file can be made in the folder: read-only file system") as caught:
        with_probe_file(str(tmp_path), LIMITS, lambda file: None)
    assert "same disk" in caught.value.get_by


def test_a_full_disk_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(NoProbeError, match="of its disk is free, under the 200%"):
        with_probe_file(str(tmp_path), {**LIMITS, "wal_least_free": 2.0}, lambda file: None)
    with pytest.raises(NoProbeError, match="MiB of its disk are free"):
        with_probe_file(str(tmp_path), {**LIMITS, "wal_most_file": 2.0**70}, lambda file: None)
    assert os.listdir(tmp_path) == []


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    forgotten, held, linked = (f"{PREFIX}{digit * 16}" for digit in "abc")
    theirs = f"{PREFIX}notes"
    for name in (forgotten, held, theirs):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / linked).symlink_to(tmp_path / theirs)
    with (tmp_path / held).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with_probe_file(str(tmp_path), LIMITS, lambda _: None)
    assert sorted(os.listdir(tmp_path)) == sorted([held, linked, theirs])
