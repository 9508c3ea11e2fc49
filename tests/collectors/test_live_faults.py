"""Faults that are made on this machine, as the local collectors see them and the rules name them."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.local import capture_local
from engram_diagnose.collectors.capture.machine import Machine, host_identity
from engram_diagnose.collectors.capture.mounts import parse_mounts
from engram_diagnose.collectors.capture.target import LocalTarget, local_target
from engram_diagnose.collectors.parse.local import facts_of_local
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.rulebase import load_rules
from engram_diagnose.session import diagnose_bundle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here"),
]

PROGRAMS = Path(__file__).parent / "programs"
RULES = load_rules()
EXPERT = expert(RULES)
LIMITS = read_limits(RULES.texts, "collection")
AFFINITY = sorted(os.sched_getaffinity(0))

Run = Callable[..., int]
Group = Callable[..., Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name in ("busy", "flusher", "hungry"):
        source = str(PROGRAMS / f"{name}.c")
        subprocess.run(["cc", "-O2", "-pthread", "-o", str(folder / name), source], check=True)
    return folder


@pytest.fixture
def run(built: Path, group: Group) -> Iterator[Run]:
    """Starts a program, in a control group and on some CPUs where told to, and gives its id once it is at work."""
    with ExitStack() as ends:

        def start(name: str, *arguments: object, group: Path | None = None, cpus: list[int] | None = None) -> int:
            def confine() -> None:
                if group is not None:
                    (group / "cgroup.procs").write_text(str(os.getpid()))
                if cpus is not None:
                    os.sched_setaffinity(0, cpus)

            process = ends.enter_context(
                subprocess.Popen(  # the child has no threads before it is confined
                    [str(built / name), *map(str, arguments)], stdout=subprocess.PIPE, text=True, preexec_fn=confine
                )
            )
            ends.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == f"ready {process.pid}\n"
            return process.pid

        yield start


@pytest.fixture
def group() -> Iterator[Group]:
    """Makes a control group with limits; skips where none may be made."""
    made: list[Path] = []

    def make(controller: str, **limits: str) -> Path:
        mounts = parse_mounts(Path("/proc/self/mountinfo").read_text())
        old = [m.point for m in mounts if m.type == "cgroup" and controller in m.options.split(",")]
        new = [m.point for m in mounts if m.type == "cgroup2"]
        folder = Path((old or new or ["/nowhere"])[0]) / f"engram-diagnose-test-{os.getpid()}"
        try:
            folder.mkdir()
            made.append(folder)
            for name, text in limits.items():
                version, _, file = name.partition("_")
                if version == ("v1" if old else "v2"):
                    (folder / file.replace("__", ".")).write_text(text)
        except OSError as error:
            pytest.skip(f"no control group can be made here: {error}")
        return folder

    yield make
    for folder in made:
        for _ in range(100):  # the kernel takes a moment to see that it is empty
            with suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.02)


def watched(pid: int, *, data_dir: str = "", seconds: float = 2.0) -> list[Answer]:
    target = local_target(pid=pid)
    assert isinstance(target, LocalTarget)
    return capture_local(Machine(host=host_identity().id), target, limits=LIMITS, data_dir=data_dir, seconds=seconds)


def figures(answers: list[Answer]) -> dict[str, tuple[float, float]]:
    facts = facts_of_local(answers)
    return {fact.name: fact.value for fact in facts if isinstance(fact.value, tuple)}


def blame(answers: list[Answer], causes: Iterable[str], *operations: str,
          said: Mapping[str, float | str] | None = None) -> None:  # fmt: skip
    """
    Asserts that one of the causes is named first when these operations are known to be slow, `said` by the server, and
    no more; on a machine that others keep busy, which is named for it rightly, that it is named.
    """
    slow = [Fact("op.latency.p99", (0.2, 0.2), scope=scope_of({"operation": one})) for one in operations]
    slow += [
        Fact(name, stated if isinstance(stated, str) else (stated, stated)) for name, stated in (said or {}).items()
    ]
    bundle = Bundle(answers[-1].time, host=host_identity().id, answers=tuple(answers))
    found = diagnose_bundle(bundle, EXPERT, stated=slow)
    concluded = [cause.rule.id for cause in found.causes]
    masked = [one.cause.rule.id for one in found.masked]
    assert set(causes) & {*concluded, *masked}
    if figures(answers)["cpu.neighbour_cores"][0] < 1:
        assert concluded[0] in causes


def test_a_cpu_quota_is_named_first(run: Run, group: Group) -> None:
    place = group("cpu", v1_cpu__cfs_period_us="100000", v1_cpu__cfs_quota_us="50000", v2_cpu__max="50000 100000")
    answers = watched(run("busy", 4, 3, 30, group=place))
    seen = figures(answers)
    assert seen["cgroup.cpu_quota"] == (0.5, 0.5)
    assert seen["cgroup.cpu_throttled_period_share"][0] > 0.5
    assert seen["cpu.available_cores"] == (0.5, 0.5)
    assert seen["cpu.process_cores"][0] == pytest.approx(0.5, abs=0.2)
    blame(answers, ["host.cpu-quota-throttling"], "recall", "store")


def test_more_busy_threads_than_cpus_are_named_first(run: Run) -> None:
    answers = watched(run("busy", 17, 16, 30, cpus=AFFINITY[:2]))
    seen = figures(answers)
    assert seen["cpu.available_cores"][0] <= 2
    assert seen["sched.runq_wait_share"][0] > 0.5
    assert seen["sched.blocked_share"][0] < 0.3
    blame(answers, ["host.run-queue-starvation", "cpu.saturated"], "recall", "store")


def test_threads_of_others_on_the_same_cpus_are_named_first(run: Run) -> None:
    run("busy", 13, 12, 30, cpus=AFFINITY[:2])
    answers = watched(run("busy", 5, 4, 30, cpus=AFFINITY[:2]))
    seen = figures(answers)
    assert seen["sched.runq_wait_share"][0] > 0.5
    assert seen["cpu.neighbour_cores"][0] > seen["cpu.process_cores"][0]
    blame(answers, ["host.noisy-neighbour", "host.run-queue-starvation"], "recall", "store")


def test_one_busy_thread_among_idle_ones_is_an_imbalance(run: Run) -> None:
    seen = figures(watched(run("busy", 8, 1, 30)))
    cpus = len(AFFINITY)
    if cpus < 2:
        pytest.skip("one CPU here: there is nothing to be uneven about")
    assert seen["sched.thread_cpu_imbalance"][0] > 0.8 * min(cpus, 8)
    assert seen["sched.blocked_share"][0] > 0.7


def as_its_log_says(seen: dict[str, tuple[float, float]]) -> dict[str, float | str]:
    """What a server that flushes every store of 256 bytes publishes of its log."""
    stores = seen["io.write_calls_rate"][0]
    return {"store.rate": stores, "store.bytes@rate_5m": 256 * stores, "wal.entries_per_flush": 1.0,
            "wal.bytes_written@rate_5m": seen["io.write_rate"][0], "wal.flush.p99": 0.01,
            "config.wal.sync_mode": "immediate"}  # fmt: skip


def test_a_flush_for_every_write_shows_at_the_device_and_in_the_threads(run: Run, tmp_path: Path) -> None:
    answers = watched(run("flusher", tmp_path, 4, 30), data_dir=str(tmp_path), seconds=3.0)
    seen = figures(answers)
    assert seen["io.bytes_per_write"][0] == pytest.approx(256, abs=2)
    assert seen["io.write_calls_rate"][0] > 100
    if "disk.flush_rate" not in seen:
        pytest.skip("the device under this folder counts no flushes")
    assert seen["disk.flush_rate"][0] > 50
    assert seen["sched.d_state_share"][0] > 0.05
    assert seen["sched.blocked_share"][0] > 0.2
    blame(answers, ["storage.wal-write-amplification"], "store", said=as_its_log_says(seen))


def test_a_memory_limit_that_is_run_into_is_named_first(run: Run, group: Group, tmp_path: Path) -> None:
    limit = str(64 << 20)
    place = group("memory", v1_memory__limit_in_bytes=limit, v2_memory__max=limit)
    answers = watched(run("hungry", tmp_path / "file", 256, 30, group=place))
    seen = figures(answers)
    assert seen["cgroup.mem_limit"] == (64 << 20, 64 << 20)
    assert seen["cgroup.mem_used_share"][0] > 0.5
    assert seen["cgroup.mem_high_event_rate"][0] > 1
    assert seen["mem.refault_rate"][0] > 100
    assert seen.get("cgroup.mem_direct_reclaim_rate", (101, 101))[0] > 100  # version 1 has none
    blame(answers, ["host.memory-limit"], "recall", "store")


def test_thousands_of_threads_are_told_from_a_share_of_them(run: Run) -> None:
    pid = run("busy", 3000, 0, 60)
    facts = {fact.name: fact for fact in facts_of_local(watched(pid, seconds=1.0))}
    assert facts["sched.threads"].value == (3000, 3000)
    assert facts["sched.blocked_share"].quality == f"of {LIMITS['threads']:.0f} of 3,000 threads"
    blocked = facts["sched.blocked_share"].value
    assert isinstance(blocked, tuple)
    assert blocked[0] > 0.9
