"""
What goes wrong in the middle of a profile: it ends, says what it could not see and why, and leaves nothing behind.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from live import Faulty, at_work, build, descendants, looking, with_this_environment
from stage import Said, engram_diagnose, until

pytestmark = pytest.mark.slow

needs_perf = pytest.mark.skipif(shutil.which("perf") is None, reason="no perf here")

Meanwhile = Callable[["subprocess.Popen[str]"], None]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("faults"))


@dataclass(frozen=True)
class Watcher:
    """Profiles a program with a folder of its own for what is temporary."""

    scratch: Path

    def __call__(self, server: Faulty, meanwhile: Meanwhile = lambda _: None, *, path: str = "") -> Said:
        """A profile, with something that is done in the middle; what it said, once it is sure that nothing is left."""
        told = {"TMPDIR": str(self.scratch), **({"PATH": path} if path else {})}
        with looking(server, "profile", seconds=2, with_environment=told) as process:
            meanwhile(process)
            out, err = process.communicate(timeout=60)
        until(lambda: not with_this_environment("TMPDIR", str(self.scratch)), "all that it started to end", seconds=5)
        assert list(self.scratch.iterdir()) == []
        said = Said(process.returncode, out, err)
        assert not said.has_traceback, err
        return said


@pytest.fixture
def profile(tmp_path: Path) -> Watcher:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Watcher(scratch)


def reasons(said: Said, *names: str) -> set[str]:
    """Why these facts are unknown; `known` for those that are not."""
    facts = [fact for fact in said.document["diagnosis"]["facts"] if fact["name"] in names]
    assert {fact["name"] for fact in facts} == {*names}
    return {fact["unknown"]["reason"] if fact["status"] == "unknown" else "known" for fact in facts}


def at_the_recording(process: "subprocess.Popen[str]") -> int:
    """The recording perf, once it runs."""
    found: list[int] = []

    def runs() -> bool:
        found[:] = [pid for pid, name in descendants(process.pid).items() if name == "perf" and _records(pid)]
        return bool(found) or process.poll() is not None

    until(runs, "perf to record")
    assert found, "it ended before it recorded"
    return found[0]


def _records(pid: int) -> bool:
    try:
        return b"record" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def test_a_target_that_exits_is_gone(program: Path, profile: Watcher) -> None:
    with at_work(program, "busy", "healthy", seconds=2) as server:
        said = profile(server)
    assert said.code == 0, said.err
    assert reasons(said, "sched.runq_wait_share", "lock.wait_mean") <= {"TARGET_GONE", "UNREACHABLE"}


def test_a_pid_that_is_used_again_is_not_taken_for_the_target(program: Path, profile: Watcher) -> None:
    last = Path("/proc/sys/kernel/ns_last_pid")
    heirs: list[subprocess.Popen[bytes]] = []
    with at_work(program, "busy", "healthy") as server:

        def reuse(_: Any) -> None:
            time.sleep(1.5)
            os.kill(server.pid, signal.SIGKILL)
            os.waitpid(server.pid, 0)
            for _ in range(50):
                try:
                    last.write_text(str(server.pid - 1))
                except OSError as error:
                    pytest.skip(f"nobody may choose the next process id here: {error}")
                heirs.append(subprocess.Popen(["sleep", "30"]))
                if heirs[-1].pid == server.pid:
                    return

        try:
            said = profile(server, reuse)
            if heirs[-1].pid != server.pid:
                pytest.skip("others took the process id")
        finally:
            for heir in heirs:
                heir.kill()
                heir.wait()
    assert said.code == 0, said.err
    # On a busy machine it may be gone before it is found.
    assert reasons(said, "sched.runq_wait_share", "lock.wait_mean") <= {"TARGET_GONE", "SOURCE_ABSENT"}


def test_a_target_that_becomes_another_program_ends_no_profile(program: Path, profile: Watcher) -> None:
    with at_work(program, "other", "faulty", seconds=1.5) as server:
        said = profile(server)
    assert said.code == 0, said.err


@needs_perf
def test_perf_that_is_killed_takes_only_what_it_saw_along(program: Path, profile: Watcher) -> None:
    with at_work(program, "busy", "faulty") as server:
        said = profile(server, lambda process: os.kill(at_the_recording(process), signal.SIGKILL))
    assert said.code == 0, said.err
    assert reasons(said, "lock.spin_symbol_share", "sched.runq_wait_share") == {"known", "SOURCE_UNREACHABLE"}
    assert "perf was killed (signal 9)" in said.out


@needs_perf
def test_an_interrupted_profile_leaves_nothing(program: Path, profile: Watcher) -> None:
    with at_work(program, "busy", "faulty") as server:

        def interrupt(process: "subprocess.Popen[str]") -> None:
            at_the_recording(process)
            process.send_signal(signal.SIGINT)

        assert profile(server, interrupt).code != 0


@needs_perf
@pytest.mark.parametrize("length", [0, 300, 20_000])
def test_output_that_is_cut_is_no_profile_or_a_shorter_one(
    program: Path, profile: Watcher, tmp_path: Path, length: int
) -> None:
    real = shutil.which("perf")
    (tmp_path / "bin").mkdir()
    cutting = tmp_path / "bin" / "perf"
    cutting.write_text(
        f'#!/bin/sh\ncase "$1" in script) {real} "$@" | head -c {length} ;; *) exec {real} "$@" ;; esac\n'
    )
    cutting.chmod(0o755)
    with at_work(program, "busy", "faulty") as server:
        said = profile(server, path=f"{cutting.parent}:{os.environ['PATH']}")
    assert said.code == 0, said.err
    if length == 0:
        assert reasons(said, "lock.spin_symbol_share", "simd.hot_code_packed_share") == {"TOO_FEW_SAMPLES"}


def test_without_perf_the_rest_is_there_and_says_what_is_missing(
    program: Path, profile: Watcher, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    with at_work(program, "busy", "faulty") as server:
        said = profile(server, path=str(tmp_path / "bin"))
    assert said.code == 0, said.err
    assert reasons(said, "lock.spin_symbol_share", "lock.wait_mean") == {"NO_TOOL"}
    assert reasons(said, "sched.runq_wait_share", "op.latency.p99") == {"known"}


def test_ten_thousand_threads_are_looked_at_in_part(program: Path, profile: Watcher) -> None:
    with at_work(program, "many", "faulty") as server:
        said = profile(server)
    assert said.code == 0, said.err
    (threads,) = [fact for fact in said.document["diagnosis"]["facts"] if fact["name"] == "sched.threads"]
    assert threads["value"] >= 10_000
    (blocked,) = [fact for fact in said.document["diagnosis"]["facts"] if fact["name"] == "sched.blocked_share"]
    assert re.fullmatch(r"of [\d,]+ of 10,\d{3} threads", blocked["quality"]), "which says of how many"


def test_nobody_sees_what_anybody_may_and_is_told_what_the_rest_takes(program: Path, tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.geteuid() != 0 or python is None:
        pytest.skip("only root may become nobody, and Python has to be where nobody may run it")
    script, bundle = tmp_path / "collect.pyz", tmp_path / "nobody.bundle"
    assert engram_diagnose("collect", "--script", script).code == 0
    with at_work(program, "busy", "faulty") as server, script.open("rb") as given:
        done = subprocess.run([python, "-", "--pid", str(server.pid), "--seconds", "2", "--profile"], stdin=given,
                              cwd="/", env={"PATH": os.defpath}, capture_output=True, timeout=60, check=False,
                              user="nobody", extra_groups=())  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    bundle.write_bytes(done.stdout)
    said = engram_diagnose("profile", "--bundle", bundle, "--format", "json")
    assert said.code == 0, said.err
    assert reasons(said, "sched.runq_wait_share", "mem.rss") == {"known"}
    assert reasons(said, "io.write_rate", "mem.anon_huge_share") == {"PTRACE_DENIED"}
