"""Memory of other nodes: measured where there is some, and only when the kernel says that it lies there."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure import numa as module
from engram_diagnose.kernels.measure.bench import Bench, Cache
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.memory import Buffer, buffer
from engram_diagnose.kernels.measure.numa import Node, misplaced, nodes_here, numa
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.rulebase import load_rules

MIB, GIB = 1 << 20, 1 << 30
LIMITS = {
    **read_limits(load_rules((), thorough=False).texts, "kernels"),
    "repeats": 3,
    "numa_seconds": 0.0003,
    "meeting_seconds": 0.05,
}
CPUS = (tuple(sorted(os.sched_getaffinity(0))) * 2)[:2]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Pool(CPUS) as pool:
        yield Bench(LIMITS, CPUS, 8 * MIB, pool, (Cache(1, 32 << 10, 1), Cache(2, MIB, 2)))


def show_nodes(folder: Path, *nodes: tuple[str, int]) -> None:
    """CPUs and free KiB of each node."""
    for number, (cpus, free) in enumerate(nodes):
        own = folder / f"node{number}"
        own.mkdir()
        (own / "cpulist").write_text(cpus + "\n")
        (own / "meminfo").write_text(f"Node {number} MemTotal: 9999999 kB\nNode {number} MemFree: {free} kB\n")


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The CPUs of this process on node 0, of none on node 1, a gibibyte free on each."""
    show_nodes(tmp_path, (",".join(map(str, CPUS)), 1 << 20), ("", 1 << 20))
    (tmp_path / "online").write_text("0-1\n")
    (tmp_path / "node_of_something").mkdir()
    monkeypatch.setattr(module, "_NODES", tmp_path)
    return tmp_path


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Memory is got wherever it is, and said to be on the node that was asked for last."""
    asked: list[int] = []

    def anywhere(size: int, *, byte: int, node: int) -> Buffer:
        asked.append(node)
        return buffer(size, byte=byte)

    monkeypatch.setattr(module, "buffer", anywhere)
    monkeypatch.setattr(module, "nodes_of", lambda addresses: [asked[-1]] * len(addresses))
    return asked


def of(found: list[Outcome], name: str, place: str) -> Outcome:
    (one,) = [one for one in found if one.name == name and one.labels["place"] == place]
    return one


def test_one_node_is_said_once(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show_nodes(tmp_path, ("0-3", 1 << 20))
    monkeypatch.setattr(module, "_NODES", tmp_path)
    assert numa(bench) == [Unmeasured("numa", "one NUMA node has memory: all of it is local", "")]


def test_a_kernel_that_shows_no_nodes_is_no_host_of_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NODES", tmp_path / "none")
    (one,) = numa(bench)
    assert isinstance(one, Unmeasured)
    assert "does not say" in one.reason


def test_local_and_remote_memory_are_read_and_loaded_from(bench: Bench, two_nodes: Path, placed: list[int]) -> None:
    found = numa(bench)
    assert placed == [0, 1]
    for place, node in (("local", "0"), ("remote", "1")):
        read, load = of(found, "numa.read", place), of(found, "numa.load", place)
        assert isinstance(read, Measurement)
        assert isinstance(load, Measurement)
        assert read.labels == load.labels == {"place": place, "cpu_node": "0", "memory_node": node}
        assert (read.unit, read.better, read.threads) == ("B/s", "higher", 2)
        assert (load.unit, load.better, load.threads) == ("s", "lower", 1)
        assert "move_pages found all of 4 MiB on node" in read.notes[0]


def test_node_0_of_this_host_is_bound_to_and_looked_at_for_real(bench: Bench, two_nodes: Path) -> None:
    try:
        misplaced(buffer(4096, node=0), 0)
    except OSError as error:
        pytest.skip(f"no memory can be placed here: {error}")
    found = numa(bench)
    assert isinstance(of(found, "numa.read", "local"), Measurement)
    assert isinstance(of(found, "numa.load", "local"), Measurement)


def test_a_node_that_the_system_refuses_costs_only_itself(
    bench: Bench, two_nodes: Path, placed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    anywhere = module.buffer

    def refuse(size: int, *, byte: int, node: int) -> Buffer:
        if node:
            raise PermissionError(1, "mbind: Operation not permitted")
        return anywhere(size, byte=byte, node=node)

    monkeypatch.setattr(module, "buffer", refuse)
    found = numa(bench)
    assert isinstance(of(found, "numa.read", "local"), Measurement)
    for name in ("numa.read", "numa.load"):
        one = of(found, name, "remote")
        assert isinstance(one, Unmeasured)
        assert one.reason == "the system does not place memory on node 1: mbind: Operation not permitted"
        assert "SYS_NICE" in one.get_by


def test_memory_that_lies_elsewhere_is_not_measured(
    bench: Bench, two_nodes: Path, placed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "nodes_of", lambda addresses: [0] * len(addresses))
    found = numa(bench)
    assert isinstance(of(found, "numa.read", "local"), Measurement)
    one = of(found, "numa.read", "remote")
    assert isinstance(one, Unmeasured)
    assert one.reason == "100% of the memory lies on another node than 1"


def test_where_the_kernel_does_not_tell_where_memory_lies_nothing_is_measured(
    bench: Bench, two_nodes: Path, placed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> NoReturn:
        raise OSError("the number of move_pages on riscv64 is not known")

    monkeypatch.setattr(module, "nodes_of", refuse)
    found = numa(bench)
    assert len(found) == 4
    assert all(isinstance(one, Unmeasured) and "move_pages on riscv64" in one.reason for one in found)


def test_a_node_with_little_free_memory_is_not_filled(bench: Bench, tmp_path: Path, placed: list[int]) -> None:
    """The kernel would end this program, or another one, instead of taking memory of another node."""
    home = Node(0, frozenset(CPUS), GIB)
    share = LIMITS["memory_share"]
    found = module._from(bench, home, Node(1, frozenset(), int(2 * MIB / share)))
    assert isinstance(found[0], Measurement)
    assert "2 MiB" in found[0].notes[0]
    found = module._from(bench, home, Node(1, frozenset(), int(MIB / share)))
    assert all(isinstance(one, Unmeasured) and one.get_by == "free memory on that node" for one in found)


def test_memory_within_the_claimed_cache_is_told(bench: Bench, two_nodes: Path, placed: list[int]) -> None:
    found = numa(replace(bench, caches=(Cache(3, 480 * MIB, 2),)))
    one = of(found, "numa.load", "remote")
    assert isinstance(one, Measurement)
    assert "the last cache is claimed to be 480 MiB" in one.notes[1]


def test_the_first_cpu_decides_what_is_local(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, placed: list[int]
) -> None:
    show_nodes(tmp_path, ("7000", 1 << 20), (str(CPUS[0]), 1 << 20))
    monkeypatch.setattr(module, "_NODES", tmp_path)
    found = numa(bench)
    assert {one.labels["memory_node"]: one.labels["place"] for one in found} == {"0": "remote", "1": "local"}


def test_a_cpu_of_no_node_is_told(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show_nodes(tmp_path, ("7000", 1 << 20), ("7001", 1 << 20))
    monkeypatch.setattr(module, "_NODES", tmp_path)
    (one,) = numa(bench)
    assert isinstance(one, Unmeasured)
    assert f"CPU {CPUS[0]}" in one.reason


def test_nodes_are_read_by_number_and_bad_ones_have_nothing(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        (tmp_path / f"node{number}").mkdir()
    (tmp_path / "node2" / "cpulist").write_text("4-5\n")
    (tmp_path / "node2" / "meminfo").write_text("Node 2 MemFree:   1024 kB\n")
    (tmp_path / "node10" / "meminfo").write_bytes(b"\xff\x00Node 10 MemFree: lots kB")
    assert nodes_here(tmp_path) == (
        Node(0, frozenset(), 0),
        Node(2, frozenset({4, 5}), MIB),
        Node(10, frozenset(), 0),
    )


def test_what_check_raises_ends_it(bench: Bench, two_nodes: Path, placed: list[int]) -> None:
    def stop() -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        numa(replace(bench, check=stop))
    assert placed == []
