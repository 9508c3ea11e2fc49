"""The device and file system under a data directory."""

import os
from pathlib import Path

import pytest

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.mounts import mount_of, parse_mounts
from engram_diagnose.collectors.capture.storage import data_directory, storage
from engram_diagnose.collectors.parse.disk import DISK
from engram_diagnose.collectors.parse.recipe import Answers, facts_of
from engram_diagnose.engine.facts.fact import Fact

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
    assert "nvme0n1/queue/rotational:0" in lines


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


# What lies between a file system and its disks


class Stack:
    """A machine whose /sys holds the devices that a test puts there, and a data directory on one of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.data.mkdir()
        (root / "proc/self").mkdir(parents=True)
        self.machine = Machine("id", str(root / "proc"), str(root / "sys"), lambda: 1.0)

    def device(self, place: str, *, on: tuple[str, ...] = (), **files: str) -> Path:
        """A block device below `sys/devices`, with links to those it stands on; `a__b` is the file `a/b`."""
        folder = self.root / "sys/devices" / place
        (folder / "queue").mkdir(parents=True, exist_ok=True)
        (folder / "queue/rotational").write_text("0\n")
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        for below in on:
            (folder / "slaves").mkdir(exist_ok=True)
            (folder / "slaves" / Path(below).name).symlink_to(self.root / "sys/devices" / below)
        link = self.root / "sys/class/block" / folder.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder)
        return folder

    def mounted(self, kind: str, source: str = "/dev/x", options: str = "rw", *, device: Path | None = None) -> None:
        if device is not None:
            number = self.data.stat().st_dev
            link = self.root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
            link.parent.mkdir(parents=True)
            link.symlink_to(device)
        line = f"31 1 0:44 / {self.data} rw,noatime - {kind} {source} {options}\n"
        (self.root / "proc/self/mountinfo").write_text(line)

    def facts(self, before: str = "", after: str = "") -> dict[tuple[str, str], Fact]:
        answers = storage(self.machine, str(self.data))
        answers += [Answer("host", "/proc/diskstats", time, "id", text) for time, text in ((1.0, before), (3.0, after))]
        return {(fact.name, str(fact.scope).strip("{}")): fact for fact in facts_of(DISK, Answers(answers))}


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


def diskstats(name: str, *, writes: int = 0, flushes: int = 0, flush_ms: int = 0) -> str:
    return f"259 0 {name} 0 0 0 0 {writes} 0 {writes * 8} {writes} 0 {writes} {writes} 0 0 0 0 {flushes} {flush_ms}\n"


def test_a_logical_volume_leads_to_the_disk_that_counts_its_flushes(stack: Stack) -> None:
    stack.device("pci0/nvme0n1", queue__scheduler="[none] mq-deadline", queue__write_cache="write back")
    stack.device("pci0/nvme0n1/nvme0n1p3", partition="3")
    stack.device("virtual/block/dm-1", on=("pci0/nvme0n1/nvme0n1p3",), dm__uuid="CRYPT-LUKS2-1")
    top = stack.device("virtual/block/dm-0", on=("virtual/block/dm-1",), dm__uuid="LVM-abc")
    stack.mounted("xfs", "/dev/mapper/vg-data", "rw,attr2,logbsize=32k", device=top)
    after = diskstats("dm-0", writes=9) + diskstats("nvme0n1", writes=20, flushes=10, flush_ms=40)
    found = stack.facts(diskstats("dm-0") + diskstats("nvme0n1"), after)
    assert found["fs.device_path", ""].value == "dm-0 (lvm) > dm-1 (crypt) > nvme0n1"
    assert found["disk.flush_latency", "device=nvme0n1"].value == pytest.approx((4e-3, 4e-3))
    assert found["disk.flush_rate", "device=nvme0n1"].value == (5, 5)
    assert found["disk.write_cache", "device=nvme0n1"].value == "write back"
    assert found["disk.scheduler", "device=nvme0n1"].value == "none"
    assert found["fs.mount_options", ""].value == "rw,noatime,attr2,logbsize=32k"


def test_every_disk_of_a_mirror_has_figures_of_its_own(stack: Stack) -> None:
    disks = tuple(f"pci0/sd{letter}" for letter in "ab")
    for disk, rotates in zip(disks, "10", strict=True):
        stack.device(disk, queue__rotational=rotates)
    top = stack.device("virtual/block/md0", on=disks, md__level="raid1")
    stack.mounted("ext4", "/dev/md0", device=top)
    found = stack.facts(diskstats("sda") + diskstats("sdb"), diskstats("sda", writes=20) + diskstats("sdb", writes=4))
    assert found["fs.device_path", ""].value == "md0 (raid1) > sda + sdb"
    assert [found["disk.iops", f"device={name}"].value for name in ("sda", "sdb")] == [(10, 10), (2, 2)]
    assert [found["disk.rotational", f"device={name}"].value for name in ("sda", "sdb")] == [(1, 1), (0, 0)]


def test_the_paths_to_an_nvme_namespace_count_its_flushes(stack: Stack) -> None:
    top = stack.device("virtual/nvme-subsystem/nvme-subsys0/nvme0n1")
    for controller in ("0", "1"):
        way = stack.device(f"pci{controller}/nvme/nvme{controller}/nvme0c{controller}n1")
        (top.parent / f"nvme{controller}").symlink_to(way.parent)
    stack.mounted("ext4", "/dev/nvme0n1p1", device=top)
    before = "".join(diskstats(name) for name in ("nvme0n1", "nvme0c0n1", "nvme0c1n1"))
    after = diskstats("nvme0n1", writes=50) + diskstats("nvme0c0n1", flushes=6, flush_ms=6)
    found = stack.facts(before, after + diskstats("nvme0c1n1", flushes=2, flush_ms=10))
    assert found["disk.iops", "device=nvme0n1"].value == (25, 25)
    assert found["disk.flush_rate", "device=nvme0n1"].value == (4, 4)
    assert found["disk.flush_latency", "device=nvme0n1"].value == (2e-3, 2e-3)
    assert found["fs.device_path", ""].value == "nvme0n1 (multipath)"
    hidden = stack.facts(diskstats("nvme0n1"), diskstats("nvme0n1", writes=50))["disk.flush_rate", "device=nvme0n1"]
    assert hidden.unknown is not None
    assert "paths" in hidden.unknown.detail


def test_a_btrfs_stands_on_all_its_devices(stack: Stack) -> None:
    folder = stack.root / "sys/fs/btrfs/b5a1/devices"
    folder.mkdir(parents=True)
    for name in ("sdx", "sdy"):
        (folder / name).symlink_to(stack.device(f"pci0/{name}"))
    stack.mounted("btrfs", "/dev/sdx", "rw,compress=zstd:3,subvol=/@data")
    found = stack.facts()
    assert found["fs.device_path", ""].value == "sdx + sdy"
    assert ("disk.rotational", "device=sdy") in found
    assert found["fs.mount_options", ""].value == "rw,noatime"  # no word of what subvolumes are called


def test_an_overlay_leads_to_the_disk_it_writes_to(stack: Stack) -> None:
    upper = stack.root / "upper"
    upper.mkdir()
    stack.mounted("overlay", "overlay", f"rw,lowerdir=/l,upperdir={upper},workdir=/w", device=stack.device("pci0/vdb"))
    found = stack.facts()
    assert found["fs.type", ""].value == "overlay"
    assert found["fs.device_path", ""].value == "overlay > vdb"
    assert str(upper) not in str(found["fs.mount_options", ""].value)


@pytest.mark.parametrize(
    ("kind", "source", "detail"),
    [
        ("zfs", "tank/engram", "ZFS pool tank"),
        ("overlay", "overlay", "look from the host"),
        ("nfs4", "nas:/export", "no block device"),
    ],
)
def test_a_file_system_whose_disks_cannot_be_told_says_why(stack: Stack, kind: str, source: str, detail: str) -> None:
    stack.mounted(kind, source)
    device = storage(stack.machine, str(stack.data))[1]
    assert device.reason == "SOURCE_ABSENT"
    assert detail in device.detail


def test_devices_that_stand_on_each_other_come_to_an_end(stack: Stack) -> None:
    stack.device("virtual/block/dm-1", on=("virtual/block/dm-0",))
    top = stack.device("virtual/block/dm-0", on=("virtual/block/dm-1",))
    stack.mounted("ext4", device=top)
    assert storage(stack.machine, str(stack.data))[1].answered


def test_a_device_that_was_captured_without_its_name_before_each_attribute_is_still_read() -> None:
    tree = "name:sda\nqueue/rotational:1\nqueue/scheduler:none [mq-deadline]\n"
    found = {fact.name: fact for fact in facts_of(DISK, Answers([Answer("storage", "storage/device", 1.0, "", tree)]))}
    assert (found["disk.rotational"].value, found["disk.scheduler"].value) == ((1, 1), "mq-deadline")
    assert found["fs.device_path"].value == "sda"
