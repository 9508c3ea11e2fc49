"""One service to one database; the second is told who has it, and the lock goes with the process that held it."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from engram_diagnose.history.incidents import open_incidents
from engram_diagnose.service.holding import HeldError, hold, lock_of

HOLDING = "import sys, time; from pathlib import Path; from engram_diagnose.service.holding import hold\n" \
          "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"  # fmt: skip


def test_a_second_holder_learns_who_has_it_which_file_and_what_to_do(tmp_path: Path) -> None:
    database = tmp_path / "state" / "history.db"
    with hold(database), pytest.raises(HeldError) as raised:
        hold(database, patience_seconds=0)
    said = str(raised.value)
    assert said.startswith(f"{database}: another service runs on it, process {os.getpid()}, ")
    assert str(lock_of(database)) in said
    assert f"kill {os.getpid()}" in said
    assert "--database" in said


def test_what_was_let_go_can_be_held_again(tmp_path: Path) -> None:
    for _ in range(2):
        with hold(tmp_path / "history.db", patience_seconds=0) as held:
            assert held.caution == ""


def test_a_killed_holder_has_let_go(tmp_path: Path) -> None:
    database = tmp_path / "history.db"
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(database)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(HeldError, match=f"process {process.pid},"):
            hold(database, patience_seconds=0)
        process.kill()
    with hold(database):
        assert lock_of(database).read_text().startswith(f"{os.getpid()} ")


def test_one_that_is_just_ending_is_waited_for(tmp_path: Path) -> None:
    database = tmp_path / "history.db"
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(database)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()  # and not waited for
        with hold(database, patience_seconds=30):
            pass


def test_a_database_is_one_by_all_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "history.db")
    with hold(tmp_path / "link.db"), pytest.raises(HeldError):
        hold(tmp_path / "history.db", patience_seconds=0)
    with hold(tmp_path / "other.db", patience_seconds=0), hold(tmp_path / "history.db", patience_seconds=0):
        pass


def test_the_database_is_open_to_everybody_else_meanwhile(tmp_path: Path) -> None:
    database = tmp_path / "history.db"
    with hold(database), open_incidents(database) as store:
        store.seen(1.0)
        store.backup(tmp_path / "copy.db")
    assert lock_of(database).stat().st_mode & 0o077 == 0


def test_a_holder_on_another_host_is_named_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "history.db"
    monkeypatch.setattr(socket, "gethostname", lambda: "pod-1")
    with hold(database):
        monkeypatch.setattr(socket, "gethostname", lambda: "pod-2")
        with pytest.raises(HeldError, match=f"process {os.getpid()} on pod-1,") as raised:
            hold(database, patience_seconds=0)
    assert "(kill" not in str(raised.value)


@pytest.mark.parametrize("written", [b"", b"\xff\x1b[31m 7\n", b"12 " + b"x" * 1000])
def test_a_lock_that_nobody_signed_is_told_without_what_stands_in_it(tmp_path: Path, written: bytes) -> None:
    database = tmp_path / "history.db"
    with hold(database):
        lock_of(database).write_bytes(written)
        with pytest.raises(HeldError, match="another service runs on it, and has locked") as raised:
            hold(database, patience_seconds=0)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_a_caution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with hold(tmp_path / "history.db") as held:
        assert os.strerror(number) in held.caution
        assert "no second service" in held.caution


def test_a_lock_that_cannot_be_opened_is_told_with_its_file(tmp_path: Path) -> None:
    lock_of(tmp_path / "history.db").mkdir()
    with pytest.raises(HeldError, match=r"history\.db-lock: Is a directory"):
        hold(tmp_path / "history.db")


def test_a_disk_without_room_for_a_lock_is_a_caution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with hold(tmp_path / "history.db") as held:
        assert "No space left" in held.caution
