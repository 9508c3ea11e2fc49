"""
Faults made on this machine and looked at through the command line: each is named first, and not where it is not.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live import HEAVY, Faulty, at_work, build, confidence, control_group, figure, look, until_named_first

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("disk")]  # with what else keeps the disk busy

CPUS = sorted(os.sched_getaffinity(0))
needs_perf = pytest.mark.skipif(shutil.which("perf") is None, reason="no perf here")

CONCLUDED = 0.5
"""A cause that is surer than this is one that a report puts forward."""

SHARDS = "[storage]\nhot_tier_shards = {}\n"
LOG = '[wal]\nsync_mode = "{}"\nbuffer_size_mb = {}\n'
VECTORS = '[activation]\nsimd_enabled = true\navx_version = "avx2"\nsimd_batch_size = 8\n'

Watched = Callable[..., Any]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def heavy() -> Iterator[tuple[Path, Path]]:
    """Two control groups that outweigh the rest of this machine: the program's, and that of who looks at it."""
    with control_group("cpu", HEAVY, name="program") as one, control_group("cpu", HEAVY, name="looker") as other:
        yield one, other


def test_one_lock_for_all_threads(program: Path, heavy: tuple[Path, Path]) -> None:
    ours, looker = heavy
    with at_work(program, "lock", "faulty", config=SHARDS.format(1), groups=[ours]) as server:
        found = until_named_first(lambda: look(server, "run", groups=[looker]), ["locks.hot-tier-contention"])
    assert confidence(found, "locks.hot-tier-contention") > CONCLUDED
    with at_work(program, "lock", "healthy", config=SHARDS.format(64), groups=[ours]) as server:
        assert confidence(look(server, "run", groups=[looker]), "locks.hot-tier-contention") <= CONCLUDED


@needs_perf
def test_a_profile_sees_that_all_wait_for_one_address(program: Path, heavy: tuple[Path, Path]) -> None:
    ours, looker = heavy
    with at_work(program, "lock", "faulty", config=SHARDS.format(1), groups=[ours]) as server:
        found = until_named_first(lambda: look(server, "profile", groups=[looker]), ["locks.hot-tier-contention"])
    assert figure(found, "lock.hot_addresses") in (None, 1)


def test_a_flush_for_every_record(program: Path, heavy: tuple[Path, Path]) -> None:
    ours, looker = heavy
    with at_work(program, "wal", "faulty", config=LOG.format("immediate", 16), groups=[ours]) as server:
        found = until_named_first(lambda: look(server, "run", groups=[looker]), ["storage.wal-write-amplification"])
    assert figure(found, "wal.amplification") == pytest.approx(16, rel=0.01)
    with at_work(program, "wal", "healthy", config=LOG.format("batch", 64), groups=[ours]) as server:
        found = look(server, "run", groups=[looker])
    assert confidence(found, "storage.wal-write-amplification") <= CONCLUDED


def test_a_cpu_quota(program: Path) -> None:
    limits = {"v1_cpu.cfs_period_us": "100000", "v1_cpu.cfs_quota_us": "50000", "v2_cpu.max": "50000 100000"}
    with control_group("cpu", limits, name="quota") as quota:
        with at_work(program, "busy", "faulty", groups=[quota]) as server:
            found = until_named_first(lambda: look(server, "run"), ["host.cpu-quota-throttling"])
        assert figure(found, "cgroup.cpu_quota") == 0.5
        with at_work(program, "busy", "healthy") as server:
            assert confidence(look(server, "run"), "host.cpu-quota-throttling") <= CONCLUDED


def test_more_threads_than_their_cpus_can_run(program: Path, heavy: tuple[Path, Path]) -> None:
    ours, looker = heavy
    causes = ["host.run-queue-starvation", "cpu.saturated", "cpu.workers-oversubscribed"]
    with at_work(program, "busy", "faulty", groups=[ours], cpus=CPUS[:2]) as server:
        found = until_named_first(lambda: look(server, "run", groups=[looker]), causes)
    waiting = figure(found, "sched.runq_wait_share")
    assert waiting is not None
    assert waiting > 0.5
    with at_work(program, "busy", "healthy", groups=[ours], cpus=CPUS[:2]) as server:
        found = look(server, "run", groups=[looker])
    assert confidence(found, "cpu.saturated") <= CONCLUDED
    assert confidence(found, "cpu.workers-oversubscribed") <= CONCLUDED


def test_a_disk_that_is_asked_for_more_than_it_can_do(program: Path, heavy: tuple[Path, Path]) -> None:
    ours, looker = heavy
    with at_work(program, "disk", "faulty", groups=[ours]) as server:
        found = look(server, "run", groups=[looker])
        if (figure(found, "disk.util_share") or 0) < 0.9:
            pytest.skip("the device under the folder for temporary files cannot be kept busy, or counts nothing")
        until_named_first(lambda: look(server, "run", groups=[looker]), ["storage.disk-saturated"])


def test_a_program_that_reads_now_and_then_saturates_no_disk(program: Path) -> None:
    with at_work(program, "disk", "healthy") as server:
        found = look(server, "run")
    if (figure(found, "disk.util_share") or 0) > 0.9:
        pytest.skip("others keep this machine's disk busy")
    assert confidence(found, "storage.disk-saturated") <= CONCLUDED


def test_a_memory_limit_that_makes_pages_be_dropped_and_read_again(program: Path, heavy: tuple[Path, Path]) -> None:
    ours, looker = heavy
    limits = dict.fromkeys(("v1_memory.limit_in_bytes", "v2_memory.max"), str(64 << 20))
    with control_group("memory", limits, name="memory") as small:
        with at_work(program, "memory", "faulty", groups=[ours, small]) as server:
            found = until_named_first(lambda: look(server, "run", groups=[looker]), ["host.memory-limit"])
        assert (figure(found, "mem.refault_rate") or 0) > 100
        assert (figure(found, "mem.major_fault_rate") or 0) > 10
        with at_work(program, "memory", "healthy", groups=[ours, small]) as server:
            assert confidence(look(server, "run", groups=[looker]), "host.memory-limit") <= CONCLUDED


@needs_perf
@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump here: code cannot be looked at")
def test_similarities_one_number_at_a_time(program: Path, heavy: tuple[Path, Path]) -> None:
    ours, looker = heavy
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this CPU has no AVX2")
    with at_work(program, "vectors", "faulty", config=VECTORS, groups=[ours]) as server:
        found = until_named_first(lambda: look(server, "profile", groups=[looker]), ["simd.underutilised"])
    assert confidence(found, "simd.underutilised") > CONCLUDED
    with at_work(program, "vectors", "healthy", config=VECTORS, groups=[ours]) as server:
        found = look(server, "profile", groups=[looker])
    assert confidence(found, "simd.underutilised") <= CONCLUDED


@pytest.mark.parametrize("mode", ["faulty", "healthy"])
def test_false_sharing_without_counters_cannot_be_told_and_says_how_it_could(
    program: Path, heavy: tuple[Path, Path], mode: str
) -> None:
    ours, looker = heavy
    with at_work(program, "sharing", mode, groups=[ours]) as server:
        found = look(server, "profile", groups=[looker])
    if figure(found, "coherence.hitm") is not None:
        pytest.skip("this CPU counts modified lines: nothing is unknown")
    (cause,) = [one for one in found["not_testable"] if one["rule"] in ("cpu.false-sharing", "cpu.cache-line-bouncing")]
    assert {lacking["fact"] for lacking in cause["missing"]} == {"coherence.hitm", "coherence.loads"}
    assert all(lacking["reason"] != "NOT_COLLECTED" and lacking["get_by"] for lacking in cause["missing"])
    assert cause["rule"] not in str(found["ruled_out"])
    if mode == "faulty":
        assert found["verdict"]["state"] != "met", "a server that is slow for it is not well"


def test_the_program_without_a_fault_measures_itself(program: Path) -> None:
    with at_work(program, "busy", "healthy") as server:
        _publishes_what_a_symptom_needs(server)


def _publishes_what_a_symptom_needs(server: Faulty) -> None:
    found = look(server, "run", seconds=1)
    names = {fact["name"] for fact in found["facts"] if fact["status"] == "measured"}
    assert {"op.latency.p99", "op.rate", "ops.rate", "sched.runq_wait_share"} <= names
