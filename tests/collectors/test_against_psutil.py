"""What is read from /proc and /sys agrees with psutil, which reads the same kernel by other code."""

import os
from pathlib import Path

import psutil
import pytest

from engram_diagnose.collectors.capture.local import capture_local
from engram_diagnose.collectors.capture.machine import Machine, host_identity
from engram_diagnose.collectors.capture.target import LocalTarget, local_target
from engram_diagnose.collectors.parse.local import facts_of_local
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.language.limits_reader import read_limits


@pytest.fixture(scope="module")
def own() -> dict[str, Fact]:
    """The facts of this very process and its host."""
    target = local_target(pid=os.getpid())
    assert isinstance(target, LocalTarget)
    text = (Path(__file__).parents[2] / "rules/catalogue/collection.yaml").read_text()
    limits = read_limits({"limits": text}, "collection")
    answers = capture_local(Machine(host=host_identity().id), target, limits=limits, seconds=0.5)
    return {fact.name: fact for fact in facts_of_local(answers)}


def figure(facts: dict[str, Fact], name: str) -> float:
    value = facts[name].value
    assert isinstance(value, tuple), f"{name}: {facts[name].unknown}"
    return value[0]


def test_the_host_has_as_many_cpus_and_as_much_memory(own: dict[str, Fact]) -> None:
    assert figure(own, "host.cores") == psutil.cpu_count()
    assert figure(own, "mem.total") == psutil.virtual_memory().total
    assert figure(own, "host.swap_total") == psutil.swap_memory().total


def test_available_memory_is_about_the_same(own: dict[str, Fact]) -> None:
    assert figure(own, "mem.available") == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_the_process_is_as_large_and_has_as_many_threads(own: dict[str, Fact]) -> None:
    process = psutil.Process()
    assert figure(own, "process.pid") == process.pid
    assert figure(own, "mem.rss") == pytest.approx(process.memory_info().rss, rel=0.2)
    assert figure(own, "sched.threads") == process.num_threads()


def test_it_may_use_as_many_cpus(own: dict[str, Fact]) -> None:
    assert figure(own, "cpu.available_cores") <= len(psutil.Process().cpu_affinity() or [])


def test_the_host_has_run_as_long(own: dict[str, Fact]) -> None:
    import time

    assert figure(own, "host.uptime") == pytest.approx(time.time() - psutil.boot_time(), abs=60)
