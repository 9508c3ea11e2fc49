"""Applying a patch and taking it back, on a real disk."""

import datetime
import fcntl
import os
import pickle
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engram_diagnose.patch import disk
from engram_diagnose.patch.apply import (
    AlreadyApplied,
    AppliedFile,
    CannotApplyError,
    NothingToRollBackError,
    apply,
    roll_back,
)
from engram_diagnose.patch.file import digest

OLD, NEW, NEWER = b"[wal]\r\nsync_mode = 'immediate'\r\n", b"[wal]\r\nsync_mode = 'batch'\r\n", b"\xef\xbb\xbf# third"
NOW = datetime.datetime(2026, 3, 1, 9, 30, tzinfo=datetime.UTC)
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "engram.toml"
    path.write_bytes(OLD)
    return path


def put(path: Path, old: bytes, new: bytes, *, minutes: int = 0) -> AppliedFile | AlreadyApplied:
    return apply(path, base=digest(old), content=new, now=NOW + datetime.timedelta(minutes=minutes))


def backup_name(old: bytes, new: bytes, *, name: str = "engram.toml", time: str = "20260301T093000Z") -> str:
    return f"{name}.backup-{time}-{digest(old)[:12]}-{digest(new)[:12]}"


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_new_configuration_is_put_in_place_beside_its_backup(config: Path) -> None:
    config.chmod(0o640)
    done = put(config, OLD, NEW)
    backup = config.parent / backup_name(OLD, NEW)
    assert done == AppliedFile(config, backup, digest(OLD), digest(NEW))
    assert config.read_bytes() == NEW
    assert backup.read_bytes() == OLD
    assert [stat.S_IMODE(path.stat().st_mode) for path in (config, backup)] == [0o640, 0o640]
    assert names(config) == ["engram.toml", backup.name]


def test_it_is_taken_back_byte_for_byte(config: Path) -> None:
    config.chmod(0o604)
    put(config, OLD, NEW)
    done = roll_back(config)
    assert (done.path, done.restored_from.name, done.result) == (config, backup_name(OLD, NEW), digest(OLD))
    assert config.read_bytes() == OLD
    assert stat.S_IMODE(config.stat().st_mode) == 0o604
    assert names(config) == ["engram.toml"]


def test_applying_again_does_nothing(config: Path) -> None:
    put(config, OLD, NEW)
    before = config.stat()
    assert put(config, OLD, NEW) == AlreadyApplied(config, digest(NEW))
    assert config.stat() == before
    assert put(config, NEW, NEW) == AlreadyApplied(config, digest(NEW))


def test_a_file_that_moved_on_is_left_alone(config: Path) -> None:
    config.write_bytes(OLD + b"# mine")
    with pytest.raises(
        CannotApplyError, match=r"engram\.toml moved on since the patch was made; .*make the patch again"
    ):
        put(config, OLD, NEW)
    assert config.read_bytes() == OLD + b"# mine"
    assert names(config) == ["engram.toml"]


def test_a_chain_of_patches_is_walked_back(config: Path) -> None:
    put(config, OLD, NEW)
    put(config, NEW, NEWER, minutes=1)
    assert roll_back(config).result == digest(NEW)
    assert roll_back(config).result == digest(OLD)
    with pytest.raises(NothingToRollBackError, match="nothing to roll back: no patch is in effect"):
        roll_back(config)
    assert config.read_bytes() == OLD


def test_a_patch_and_its_opposite_are_walked_back_too(config: Path) -> None:
    for minutes in (1, 0):  # the second chain within one second
        put(config, OLD, NEW)
        put(config, NEW, OLD, minutes=minutes)
        assert roll_back(config).result == digest(NEW)
        assert roll_back(config).result == digest(OLD)
        with pytest.raises(NothingToRollBackError):
            roll_back(config)


def test_a_change_by_hand_is_not_rolled_over(config: Path) -> None:
    put(config, OLD, NEW)
    config.write_bytes(NEW + b"# mine")
    with pytest.raises(CannotApplyError, match="changed since the last patch; nothing was rolled back") as refused:
        roll_back(config)
    assert backup_name(OLD, NEW) in str(refused.value)
    assert config.read_bytes() == NEW + b"# mine"


def test_a_damaged_backup_is_not_restored(config: Path) -> None:
    put(config, OLD, NEW)
    (config.parent / backup_name(OLD, NEW)).write_bytes(b"damaged")
    with pytest.raises(CannotApplyError, match="backup does not hold what its name says"):
        roll_back(config)
    assert config.read_bytes() == NEW


def test_backups_of_other_files_and_links_are_no_backups(config: Path) -> None:
    config.write_bytes(NEW)
    (config.parent / "real").write_bytes(OLD)
    (config.parent / backup_name(OLD, NEW)).symlink_to("real")
    (config.parent / backup_name(OLD, NEW, name="other.toml")).write_bytes(OLD)
    with pytest.raises(CannotApplyError):
        roll_back(config)
    assert config.read_bytes() == NEW


def test_a_link_to_elsewhere_is_refused_and_says_where_to(config: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    link = tmp_path / "etc" / "engram.toml"
    link.symlink_to(config)
    for act in (lambda: put(link, OLD, NEW), lambda: roll_back(link)):
        with pytest.raises(CannotApplyError, match=f"in another folder; .*give the file itself: {config}"):
            act()
    assert link.is_symlink()
    assert config.read_bytes() == OLD


def test_a_link_within_the_folder_is_followed(config: Path) -> None:
    link = config.parent / "current.toml"
    link.symlink_to("engram.toml")
    done = put(link, OLD, NEW)
    assert done.path == config
    assert link.is_symlink()
    assert config.read_bytes() == NEW
    assert roll_back(link).path == config


def test_a_link_to_the_folder_is_no_obstacle(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "by-another-way"
    other.symlink_to(config.parent, target_is_directory=True)
    assert put(other / "engram.toml", OLD, NEW).path == other / "engram.toml"


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "nothing", "dangling", "no folder"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "engram.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to("engram.toml")
    elif kind == "dangling":
        path.symlink_to("nowhere.toml")
    elif kind == "no folder":
        path = tmp_path / "none" / "engram.toml"
    for act in (lambda: put(path, OLD, NEW), lambda: roll_back(path)):
        with pytest.raises(CannotApplyError, match=r"give the (server's )?configuration file"):
            act()


def test_hard_links_are_not_parted(config: Path) -> None:
    os.link(config, config.parent / "second.toml")
    with pytest.raises(CannotApplyError, match=r"has 2 names \(hard links\)"):
        put(config, OLD, NEW)


def test_two_runs_never_interleave(config: Path) -> None:
    folder = os.open(config.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        for act in (lambda: put(config, OLD, NEW), lambda: roll_back(config)):
            with pytest.raises(CannotApplyError, match="another run is at work in this folder"):
                act()
    finally:
        os.close(folder)
    assert put(config, OLD, NEW).path == config


def test_of_many_runs_at_once_one_wins(config: Path) -> None:
    program = (
        "import datetime, pathlib, sys\n"
        "from engram_diagnose.patch.apply import CannotApplyError, apply\n"
        "path, base, content = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3].encode() * 1000\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "    apply(path, base=base, content=content, now=datetime.datetime.now(datetime.UTC))\n"
        "except CannotApplyError:\n"
        "    sys.exit(9)\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program, config, digest(OLD), word], stdin=subprocess.PIPE)
        for word in ("one", "two", "three", "four", "five")
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write(b"\n")
        run.stdin.flush()
    codes = [run.wait(60) for run in runs]
    for run in runs:
        assert run.stdin is not None
        run.stdin.close()
    assert sorted(codes) == [0, 9, 9, 9, 9]
    assert config.read_bytes() == (b"one", b"two", b"three", b"four", b"five")[codes.index(0)] * 1000
    assert len(names(config)) == 2
    assert roll_back(config).result == digest(OLD)


def test_a_relative_path_is_one_too(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    assert put(Path("engram.toml"), OLD, NEW).path == Path("engram.toml")
    assert roll_back(Path("engram.toml")).restored_from == Path(backup_name(OLD, NEW))


def test_a_change_while_the_new_file_is_written_is_noticed(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = disk.fsync_folder

    def and_somebody_edits(folder: int) -> None:
        fsync(folder)
        config.write_bytes(b"edited")

    monkeypatch.setattr(disk, "fsync_folder", and_somebody_edits)
    with pytest.raises(CannotApplyError, match="changed by somebody else just now"):
        put(config, OLD, NEW)
    assert config.read_bytes() == b"edited"
    assert [name for name in names(config) if "unfinished" in name] == []


def test_short_writes_are_continued(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = disk.write
    monkeypatch.setattr(disk, "write", lambda descriptor, content: write(descriptor, content[:3]))
    put(config, OLD, NEW)
    assert config.read_bytes() == NEW
    assert roll_back(config).result == digest(OLD)


def test_a_name_that_is_taken_is_not_overwritten(config: Path) -> None:
    taken = config.parent / backup_name(OLD, NEW)
    taken.write_bytes(b"precious")
    with pytest.raises(CannotApplyError, match="move it away"):
        put(config, OLD, NEW)
    assert taken.read_bytes() == b"precious"
    assert config.read_bytes() == OLD


def test_extended_attributes_are_kept(config: Path) -> None:
    try:
        os.setxattr(config, "user.origin", b"by hand")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error.strerror}")
    put(config, OLD, NEW)
    assert os.getxattr(config, "user.origin") == b"by hand"
    assert os.getxattr(config.parent / backup_name(OLD, NEW), "user.origin") == b"by hand"


def access_list(*, nobody: int) -> bytes:
    """As the kernel keeps it: the owner reads and writes, the group reads, user 65534 has `nobody`."""
    everyone = 0xFFFFFFFF
    entries = (
        (0x01, 6, everyone),
        (0x02, nobody, NOBODY),
        (0x04, 4, everyone),
        (0x10, 6, everyone),
        (0x20, 0, everyone),
    )
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_the_access_list_is_kept_and_none_inherited(config: Path) -> None:
    try:
        os.setxattr(config.parent, "system.posix_acl_default", access_list(nobody=2))
    except OSError as error:
        pytest.skip(f"no access control lists here: {error.strerror}")
    config.chmod(0o640)
    put(config, OLD, NEW)
    assert "system.posix_acl_access" not in os.listxattr(config)
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    os.setxattr(config, "system.posix_acl_access", access_list(nobody=4))
    put(config, NEW, NEWER, minutes=1)
    assert os.getxattr(config, "system.posix_acl_access") == access_list(nobody=4)
    roll_back(config)
    assert os.getxattr(config, "system.posix_acl_access") == access_list(nobody=4)
    assert config.read_bytes() == NEW


def test_an_access_list_that_cannot_be_kept_stops_the_run(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(disk, "attribute_names", lambda _: ["system.posix_acl_access", "security.x"])
    monkeypatch.setattr(disk, "attribute", lambda *_: b"")
    monkeypatch.setattr(disk, "set_attribute", refuse)
    with pytest.raises(CannotApplyError, match="access control list cannot be kept"):
        put(config, OLD, NEW)
    assert names(config) == ["engram.toml"]


def test_a_name_at_the_limit_of_the_file_system_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("e" * 250)
    path.write_bytes(OLD)
    with pytest.raises(CannotApplyError, match="shorten the file's name"):
        put(path, OLD, NEW)
    assert names(path) == [path.name]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach, too."""
    folder = Path(tempfile.mkdtemp(prefix="engram-diagnose-test-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def as_nobody(act: Callable[[], object]) -> str:
    """What `act` says of itself when another user does it."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # threads of the test runner; the child does next to nothing
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            try:
                said = type(act()).__name__
            except CannotApplyError as error:
                said = str(error)
            os.write(writing, pickle.dumps(said))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = pickle.loads(stream.read())
    os.waitpid(child, 0)
    assert isinstance(said, str)
    return said


@as_root
def test_another_user_may_not_change_what_is_not_theirs(open_folder: Path) -> None:
    config = open_folder / "engram.toml"
    config.write_bytes(OLD)
    config.chmod(0o644)
    assert "engram.toml is not writable by this user; nothing was changed" in as_nobody(lambda: put(config, OLD, NEW))
    config.chmod(0o666)
    said = as_nobody(lambda: put(config, OLD, NEW))
    assert "belongs to user 0 and group 0, and this user cannot give files to them; nothing was changed" in said
    open_folder.chmod(0o755)
    assert "the folder" in as_nobody(lambda: put(config, OLD, NEW))
    config.chmod(0o600)
    os.chown(config, NOBODY, NOBODY)
    assert "is not writable by this user" in as_nobody(lambda: roll_back(config))
    open_folder.chmod(0o700)
    assert "Permission denied; it is as it was" in as_nobody(lambda: put(config, OLD, NEW))
    assert config.read_bytes() == OLD
    assert names(config) == ["engram.toml"]


@as_root
def test_the_owner_applies_and_root_keeps_the_owner(open_folder: Path) -> None:
    config = open_folder / "engram.toml"
    config.write_bytes(OLD)
    os.chown(config, NOBODY, NOBODY)
    assert as_nobody(lambda: put(config, OLD, NEW)) == "AppliedFile"
    put(config, NEW, NEWER, minutes=1)
    for path in open_folder.iterdir():
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
    assert roll_back(config).result == digest(NEW)
    assert (config.stat().st_uid, config.stat().st_gid) == (NOBODY, NOBODY)
    assert as_nobody(lambda: roll_back(config)) == "RolledBack"
    assert config.read_bytes() == OLD


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or unmount is None:
        pytest.skip("needs root, mount and umount")
    command = [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False, timeout=60).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run([unmount, str(folder)], check=True, timeout=60)


def test_on_a_full_disk_nothing_is_lost(small_disk: Path) -> None:
    config = small_disk / "engram.toml"
    old, new = b"# " + b"x" * 20_000, b"# " + b"y" * 20_000
    config.write_bytes(old)
    (small_disk / "ballast").write_bytes(b"z" * 16_384)
    for filled in (8_192, 16_384, 20_480):  # the backup fits, and then not even that
        (small_disk / "more").write_bytes(b"z" * min(filled, 4_096))
        with pytest.raises(CannotApplyError, match="No space left on device; it is as it was; free some space"):
            put(config, old, new)
        assert config.read_bytes() == old
        assert names(config) == ["ballast", "engram.toml", "more"]
    (small_disk / "ballast").unlink()
    put(config, old, new)
    (small_disk / "more").write_bytes(b"z" * 8_192)
    with pytest.raises(CannotApplyError, match="No space left on device"):
        roll_back(config)
    assert config.read_bytes() == new
    (small_disk / "more").unlink()
    assert roll_back(config).result == digest(old)


def test_a_file_system_mounted_read_only_is_named_as_such(small_disk: Path) -> None:
    config = small_disk / "engram.toml"
    config.write_bytes(OLD)
    mount = shutil.which("mount")
    assert mount is not None
    subprocess.run([mount, "-o", "remount,ro", str(small_disk)], check=True, timeout=60)
    for act in (lambda: put(config, OLD, NEW), lambda: roll_back(config)):
        with pytest.raises(CannotApplyError, match="mounted read-only; nothing was changed; mount it writable"):
            act()


def test_a_file_mounted_by_itself_is_named_as_such(small_disk: Path) -> None:
    config, source = small_disk / "engram.toml", small_disk / "source"
    config.write_bytes(b"")
    source.write_bytes(OLD)
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    assert mount is not None
    assert unmount is not None
    subprocess.run([mount, "--bind", str(source), str(config)], check=True, timeout=60)
    try:
        with pytest.raises(CannotApplyError, match="mounted by itself, as into a container"):
            put(config, OLD, NEW)
        assert config.read_bytes() == OLD
        assert names(config) == ["engram.toml", "source"]
    finally:
        subprocess.run([unmount, str(config)], check=True, timeout=60)
