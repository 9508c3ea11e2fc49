"""The device and file system under a data directory."""

import os
from pathlib import Path

import pytest

from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.mounts import mount_of, parse_mounts
from engram_diagnose.collectors.capture.storage import data_directory, storage

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
28 27 8:1 / /data\\040set rw,relatime - xfs /dev/sda1 rw
29 27 0:50 / /tmp rw - tmpfs tmpfs rw
"""


def machine_with(root: Path, *, partition: bool) -> Machine:
    """A machine on which the device of `root` is a disk, or a partition of one."""
    number = root.stat().st_dev
    device = root / "sys/devices/nvme0n1"
    (device / "queue").mkdir(parents=True)
    (device / "queue/rotational").write_text("0\n")
    (device / "queue/scheduler").write_text("[none] mq-deadline\n")
    (device / "nvme0n1p1").mkdir()
    (device / "nvme0n1p1/partition").write_text("1\n")
    link = root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(device / "nvme0n1p1" if partition else device)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text(MOUNTS.replace("/tmp ", f"{root} "))
    return Machine("id", str(root / "proc"), str(root / "sys"), lambda: 1.0)


@pytest.mark.parametrize("partition", [False, True])
def test_a_partition_leads_to_its_disk(tmp_path: Path, partition: bool) -> None:
    system, device = storage(machine_with(tmp_path, partition=partition), str(tmp_path))
    assert system.name == "storage/filesystem"
    assert (system.body or "").startswith("type tmpfs\n")
    lines = (device.body or "").splitlines()
    assert lines[0] == "name:nvme0n1"
    assert "queue/rotational:0" in lines


def test_a_file_system_without_a_device_says_so(tmp_path: Path) -> None:
    machine = Machine("id", str(tmp_path / "proc"), str(tmp_path / "sys"), lambda: 1.0)
    system, device = storage(machine, str(tmp_path))
    assert system.answered
    assert device.reason == "SOURCE_ABSENT"
    assert "block device" in device.detail


@pytest.mark.parametrize("path", ["/no/such/folder", "nul\0"])
def test_a_data_directory_that_is_not_there_is_a_reason(tmp_path: Path, path: str) -> None:
    machine = Machine("id", str(tmp_path), str(tmp_path), lambda: 1.0)
    assert not any(answer.answered for answer in storage(machine, path))


def test_the_longest_mount_point_holds_a_path() -> None:
    mounts = parse_mounts(MOUNTS)
    inside, other = mount_of("/data set/engram", mounts), mount_of("/data settings", mounts)
    assert inside is not None
    assert (inside.type, inside.source) == ("xfs", "/dev/sda1")
    assert other is not None
    assert other.type == "ext4"


def test_lines_that_are_no_mounts_are_left_out() -> None:
    assert parse_mounts("nonsense\n1 2 3 - \n") == []


def test_the_data_directory_is_where_the_open_log_is(tmp_path: Path) -> None:
    fd = tmp_path / "42" / "fd"
    fd.mkdir(parents=True)
    for name, target in {"0": "/dev/null", "3": "socket:[1]", "4": "/srv/engram/wal/0001.log",
                         "5": "/usr/lib/libc.so"}.items():  # fmt: skip
        (fd / name).symlink_to(target)
    assert data_directory(42, proc_root=str(tmp_path)) == "/srv/engram/wal"
    assert data_directory(43, proc_root=str(tmp_path)) == ""
