"""Programs that measure are bounded, and never left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engram_diagnose.collectors.capture.tool import find_tool, run_tool, scratch


def test_what_a_program_prints_and_costs_is_kept():
    run = run_tool(["sh", "-c", "echo out; echo err >&2; exit 3"], seconds=10)
    assert (run.output, run.errors, run.status, run.reason) == ("out\n", "err\n", 3, "")
    busy = run_tool([sys.executable, "-c", "sum(range(10**7))"], seconds=30)
    assert busy.complete
    assert busy.cpu_seconds > 0.01


def test_a_program_that_is_not_there_is_a_reason():
    run = run_tool(["no-such-program"], seconds=1)
    assert (run.status, run.reason) == (None, "NO_TOOL")
    assert "no-such-program" in run.detail


def test_a_program_that_may_not_be_started_is_a_reason(tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x00\x01")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_tool(["broken"], seconds=1).reason == "SOURCE_UNREACHABLE"
    assert run_tool(["broken", "a\0b"], seconds=1).reason == "SOURCE_UNREACHABLE"


def test_the_deadline_ends_it_and_what_it_printed_is_kept():
    run = run_tool(["sh", "-c", "echo begun; sleep 60"], seconds=0.3)
    assert (run.output, run.reason) == ("begun\n", "BUDGET")
    assert "longer than 0.3 s" in run.detail


def test_one_that_ignores_every_request_is_killed(monkeypatch):
    monkeypatch.setattr("engram_diagnose.collectors.capture.tool._GRACE_SECONDS", 0.2)
    run = run_tool(["sh", "-c", "trap '' TERM INT; while :; do sleep 0.05; done"], seconds=0.2)
    assert (run.status, run.reason) == (-signal.SIGKILL, "BUDGET")


def test_collecting_that_stops_ends_it_at_once():
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    run = run_tool(["sleep", "60"], seconds=60, stop=stop)
    assert run.reason == "BUDGET"
    assert time.monotonic() - began < 30


def test_output_without_end_is_cut():
    run = run_tool(["yes"], seconds=30, limit=1000)
    assert (len(run.output), run.cut, run.reason) == (1000, True, "TOO_EXPENSIVE")


@pytest.mark.parametrize("limit", [1000, 1 << 30])
def test_a_flood_from_somebody_who_left_the_group_ends_with_the_program(limit):
    run = run_tool(["sh", "-c", "setsid timeout 8 yes & setsid timeout 8 yes & sleep 0.3"], seconds=20, limit=limit)
    assert run.seconds < 5
    assert run.reason == ("TOO_EXPENSIVE" if run.cut else "")


def test_once_collecting_was_stopped_nothing_is_started(tmp_path):
    stop = threading.Event()
    stop.set()
    run = run_tool(["touch", str(tmp_path / "begun")], seconds=10, stop=stop)
    assert (run.reason, run.status, list(tmp_path.iterdir())) == ("BUDGET", None, [])


def test_output_of_just_the_limit_is_whole():
    run = run_tool(["sh", "-c", "printf 12345"], seconds=10, limit=5)
    assert (run.output, run.reason) == ("12345", "")


def test_all_output_comes_however_much_at_once():
    run = run_tool([sys.executable, "-c", "import sys; sys.stdout.write('x' * 3_000_000)"], seconds=30)
    assert (len(run.output), run.complete) == (3_000_000, True)


def test_bytes_of_no_encoding_come_back():
    run = run_tool(["printf", r"\377\n"], seconds=10)
    assert run.output.encode("utf-8", "surrogateescape") == b"\xff\n"


def test_there_is_nothing_to_read_for_it():
    assert run_tool(["wc", "-c"], seconds=30).output.strip() == "0"


def test_the_locale_of_the_caller_does_not_matter(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    run = run_tool(["env"], seconds=10)
    assert "LC_ALL=C\n" in run.output
    assert "LD_PRELOAD" not in run.output


def test_what_a_program_leaves_running_is_killed(tmp_path):
    run = run_tool(["sh", "-c", "sleep 61 >/dev/null 2>&1 & echo $!"], seconds=10)
    assert run.complete
    assert _gone(int(run.output))


def test_an_error_in_between_leaves_no_program_behind(tmp_path):
    began = tmp_path / "began"

    class Broken(threading.Event):
        def is_set(self) -> bool:
            if began.exists():
                raise KeyboardInterrupt
            return False

    with pytest.raises(KeyboardInterrupt):
        run_tool(["sh", "-c", f"echo $$ >{began}.part; mv {began}.part {began}; exec sleep 62"],
                 seconds=60, stop=Broken())  # fmt: skip
    assert _gone(int(began.read_text()))


def test_a_killed_collector_takes_its_programs_along(tmp_path):
    began = tmp_path / "began"
    script = f"echo $$ >{began}.part; mv {began}.part {began}; exec sleep 63"
    code = (
        f"from engram_diagnose.collectors.capture.tool import run_tool; run_tool(['sh', '-c', {script!r}], seconds=60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    assert _wait_for(began.exists)
    process.kill()
    process.wait()
    assert _gone(int(began.read_text()))


def test_a_scratch_folder_is_gone_afterwards():
    def fail_in(folder: str):
        Path(folder, "data").write_text("x")
        raise RuntimeError(folder)

    with pytest.raises(RuntimeError) as caught, scratch() as place:
        fail_in(place)
    assert not os.path.exists(str(caught.value))


def test_the_folders_of_root_are_looked_in(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_tool("ldconfig") in ("/usr/sbin/ldconfig", "/sbin/ldconfig")


def _gone(pid: int) -> bool:
    def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return _wait_for(ended)


def _wait_for(true, patience: float = 10) -> bool:
    until = time.monotonic() + patience
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
