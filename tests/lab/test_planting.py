"""What is planted around a process is there, and is gone afterwards, however that comes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.lab.cgroups import Group, Impossible, Limits, Place, group_of, mounted, own_groups, place_of
from engram_diagnose.lab.planting import core_set, planted, scratch_kept_clean

V1 = "4:memory:/system.slice/app\n2:cpu,cpuacct:/app\n1:name=systemd:/\n0::/\n"
V1_MOUNTS = (
    "31 25 0:27 / {sys}/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "32 25 0:28 / {sys}/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
)
V2_MOUNTS = "42 30 0:26 / {sys} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def eventually(holds: Callable[[], bool], *, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.05)
    return False


# Where groups can be made


def test_the_groups_of_both_versions_are_read() -> None:
    assert own_groups(V1) == {"memory": "/system.slice/app", "cpu": "/app", "cpuacct": "/app", "name=systemd": "/",
                              "": "/"}  # fmt: skip
    assert mounted(V1_MOUNTS.format(sys="/g"))["cpuacct"] == ("/", "/g/cpu,cpuacct")
    assert mounted(V2_MOUNTS.format(sys="/g")) == {"": ("/", "/g")}


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    own_groups(text)
    mounted(text)


def test_version_1_makes_a_group_beneath_ones_own(tmp_path: Path) -> None:
    (tmp_path / "memory" / "system.slice" / "app").mkdir(parents=True)
    (tmp_path / "cpu,cpuacct" / "app").mkdir(parents=True)
    mounts = mounted(V1_MOUNTS.format(sys=tmp_path))
    place = place_of("cpu", own_groups(V1), mounts)
    assert place == Place(tmp_path / "cpu,cpuacct" / "app", 1)
    group = group_of("cpu", place, Limits(cpus=1.5), "lab-1")
    assert group == Group(place.folder / "lab-1", (("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "150000")))


def test_version_2_hands_a_controller_on_or_says_that_it_does_not(tmp_path: Path) -> None:
    own = tmp_path / "user"
    own.mkdir()
    for folder, has, hands_on in ((own, "memory\n", ""), (tmp_path, "cpu io\n", "cpu\n")):
        (folder / "cgroup.controllers").write_text(has)
        (folder / "cgroup.subtree_control").write_text(hands_on)
    groups, mounts = own_groups("0::/user\n"), mounted(V2_MOUNTS.format(sys=tmp_path))
    assert place_of("cpu", groups, mounts) == Place(tmp_path, 2)
    (own / "cgroup.subtree_control").write_text("memory\n")
    place = place_of("memory", groups, mounts)
    assert place == Place(own, 2)
    assert group_of("memory", place, Limits(memory=1 << 20), "lab").figures == (
        ("memory.max", "1048576"), ("memory.swap.max", "0"),
    )  # fmt: skip


@pytest.mark.parametrize("controller", ["cpu", "memory", "io"])
def test_where_there_are_no_groups_it_is_not_possible_and_says_so(controller: str) -> None:
    found = place_of(controller, {}, {})
    assert isinstance(found, Impossible)
    assert str(found).startswith("not possible here: ")
    assert controller in str(found)


def test_a_group_that_cannot_be_limited_is_taken_away_again(tmp_path: Path) -> None:
    group = Group(tmp_path / "group", (("no/such/file", "1"),))
    assert isinstance(group.make(), Impossible)
    assert not group.folder.exists()


# For real


def own_cgroup(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def test_a_limit_holds_a_child_and_is_gone_afterwards() -> None:
    with planted(Limits(cpus=0.5)) as ground:
        if ground.impossible:
            pytest.skip(str(ground.impossible[0]))
        child = subprocess.Popen(["sleep", "60"], preexec_fn=ground.prepare)
        try:
            assert f"engram-lab-{os.getpid()}" in own_cgroup(child.pid)
        finally:
            child.kill()
            child.wait()
    assert ground.groups
    assert not any(group.exists() for group in ground.groups)


def test_a_child_stays_on_its_cores() -> None:
    with planted(Limits(), cores=1) as ground:
        told = subprocess.run(
            [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"],
            preexec_fn=ground.prepare, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert told.stdout.strip() == str(sorted(core_set(1)))
    assert len(ground.cores) == 1


def test_neighbours_compute_until_the_end() -> None:
    def children() -> set[str]:
        return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

    before = children()
    with planted(Limits(), neighbours=2):
        assert len(children() - before) == 2
    assert children() <= before


def test_a_folder_is_gone_afterwards(tmp_path: Path) -> None:
    with scratch_kept_clean(tmp_path / "scratch") as folder:
        folder.mkdir()
        (folder / "file").write_text("x")
    assert not folder.exists()


PLANTER = """
import subprocess, sys, time
from pathlib import Path
from engram_diagnose.lab.planting import Limits, planted, scratch_kept_clean
with scratch_kept_clean(Path(sys.argv[1])) as folder, planted(Limits(cpus=0.5), neighbours=1) as ground:
    folder.mkdir()
    child = subprocess.Popen(["sleep", "300"], preexec_fn=ground.prepare)
    print(child.pid, *ground.groups, flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_whoever_planted_may_die_in_any_way(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    planter = subprocess.Popen([sys.executable, "-c", PLANTER, str(folder)], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    assert planter.stdout is not None
    child, *groups = planter.stdout.readline().split()
    planted_pids = Path(f"/proc/{planter.pid}/task/{planter.pid}/children").read_text().split()
    planter.send_signal(number)
    planter.wait(30)
    planter.stdout.close()
    assert eventually(lambda: not folder.exists())
    assert eventually(lambda: not any(Path(group).exists() for group in groups))
    assert eventually(lambda: not any(is_alive(int(pid)) for pid in [child, *planted_pids]))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
