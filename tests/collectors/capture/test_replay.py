"""A recorded tree of /proc and /sys gives the facts that the machine gave; and any bytes in it give some."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hosts import LIMITS, captured, plain, thread, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engram_diagnose.collectors.capture import reading
from engram_diagnose.collectors.capture.local import capture_local
from engram_diagnose.collectors.capture.machine import Machine, steady_clock
from engram_diagnose.collectors.capture.target import LocalTarget, local_target
from engram_diagnose.collectors.parse.local import LOCAL_FACTS, facts_of_local
from engram_diagnose.engine.facts.fact import Fact


class Recorder:
    """Every file that capture reads, as it was when the first snapshot was taken and when the second was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {})
        self.folders: set[str] = set()
        self.second = False
        content, record, listdir = reading._content, reading._record, os.listdir

        def read(path: str, limit: int) -> bytes | None:
            found = content(path, limit)
            if found is not None:
                self.files[self.second][path] = found
            return found

        def one(path: str) -> bytes:
            self.files[self.second][path] = found = record(path)
            return found

        def names(path: str = ".") -> list[str]:
            found = listdir(path)
            self.folders.update(os.path.join(path, name) for name in found)
            return found

        monkeypatch.setattr(reading, "_content", read)
        monkeypatch.setattr(reading, "_record", one)
        monkeypatch.setattr(os, "listdir", names)

    def write(self, root: Path) -> None:
        """The tree of the first snapshot; names that were only listed are empty files."""
        for path, content in self.files[0].items():
            place(root, path).write_bytes(content)
        for path in sorted(self.folders):
            if path.startswith(("/proc/", "/sys/")) and not (root / path[1:]).exists():
                place(root, path).touch()

    def move(self, root: Path) -> None:
        """The tree of the second snapshot."""
        for path, content in self.files[1].items():
            place(root, path).write_bytes(content)


def place(root: Path, path: str) -> Path:
    found = root / path[1:]
    found.parent.mkdir(parents=True, exist_ok=True)
    return found


WORKER = """
import signal, sys, threading
def work(*_):
    sum(range(2_000_000))
    open(sys.argv[1], "wb").write(bytes(8192))
signal.signal(signal.SIGUSR1, work)
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Works when told to, and changes nothing of itself while it is looked at."""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-c", WORKER, str(tmp_path / "written")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="this kernel keeps no run times")
def test_the_recorded_tree_of_this_machine_gives_the_same_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: subprocess.Popen[str]
) -> None:
    target = local_target(pid=worker.pid)
    assert isinstance(target, LocalTarget)
    clock, told = steady_clock(), []

    def now() -> float:
        told.append(clock())
        return told[-1]

    with monkeypatch.context() as patched:
        recorder = Recorder(patched)

        def sleep(seconds: float) -> None:
            worker.send_signal(signal.SIGUSR1)
            time.sleep(seconds + 0.4)  # one look at the states, so that they are of the first tree
            recorder.second = True

        machine = Machine("id", now=now)
        live = capture_local(machine, target, limits=LIMITS, data_dir=str(tmp_path), seconds=0.1, sleep=sleep)
    root = tmp_path / "tree"
    recorder.write(root)
    number = os.stat(tmp_path).st_dev
    link = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    if os.path.islink(link):
        place(root, link).symlink_to(os.readlink(link))
    for mark in (".dockerenv", "run/.containerenv", "run/systemd/container"):
        if os.path.exists(f"/{mark}"):
            place(root, os.path.join("/proc/self", "root", mark)).touch()
    replayed = iter(told)
    machine = Machine("id", str(root / "proc"), str(root / "sys"), lambda: next(replayed))
    again = capture_local(
        machine, target, limits=LIMITS, data_dir=str(tmp_path), seconds=0.1, sleep=lambda _: recorder.move(root)
    )
    assert said(facts_of_local(again)) == said(facts_of_local(live))
    assert sum(fact.known for fact in facts_of_local(again)) > 60


#: What statvfs says is of the folder itself, which the recording writes to.
NOT_OF_THE_TREE = frozenset({"fs.free_share"})


def said(facts: list[Fact]) -> dict[tuple[str, str], object]:
    """What each fact states, or the reason for which it states nothing."""
    return {
        (fact.name, str(fact.scope)): (fact.value, fact.status, fact.unknown and fact.unknown.reason, fact.window)
        for fact in facts
        if fact.name not in NOT_OF_THE_TREE
    }


TREE = {**plain(), **thread(43, run=5), "proc/42/io": "syscw: 9\nwchar: 900\n", "proc/42/smaps_rollup": "Pss:  9 kB\n",
        "proc/42/maps": "7f00-7f01 rw-p 0 0:0 0\n", "proc/42/mountinfo": "27 1 254:0 / / rw - ext4 /dev/vda rw\n",
        "proc/diskstats": "8 0 sda 1 1 8 5 2 2 16 4 0 3 4 0 0 0 0 1 3\n", "proc/vmstat": "pswpin 1\n",
        "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=20\n", "proc/42/net/dev": "eth0: 1 2\n",
        "sys/firmware/dmi/tables/DMI": "\x11\x20", "sys/devices/system/node/node0/cpulist": "0-3\n"}  # fmt: skip
BYTES = st.one_of(
    st.binary(max_size=300).map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.sampled_from(
        ["", "\0", "-1", "9" * 40, "0", ":", "max", "a:b\nc:d\n", "\udcff", "cpu " + "1 " * 50, "0-99999999"]
    ),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(first=st.dictionaries(st.sampled_from(sorted(TREE)), BYTES, max_size=6),
       later=st.dictionaries(st.sampled_from(sorted(TREE)), BYTES, max_size=6))  # fmt: skip
def test_any_bytes_in_any_file_are_survived(
    tmp_path_factory: pytest.TempPathFactory, first: Mapping[str, str], later: Mapping[str, str]
) -> None:
    root = write(tmp_path_factory.mktemp("host"), {**TREE, **first})
    found = facts_of_local(captured(root, later))
    assert {fact.name for fact in found} == set(LOCAL_FACTS)


@pytest.mark.parametrize("name", sorted(TREE))
def test_a_folder_or_nothing_in_the_place_of_any_file_is_survived(tmp_path: Path, name: str) -> None:
    root = write(tmp_path, TREE)
    (root / name).unlink()
    assert {fact.name for fact in facts_of_local(captured(root))} == set(LOCAL_FACTS)
    (root / name).mkdir()
    assert {fact.name for fact in facts_of_local(captured(root))} == set(LOCAL_FACTS)
