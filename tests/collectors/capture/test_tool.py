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


def test_one_that_records_writes_its_data_when_interrupted():
    run = run_tool(["sh", "-c", "trap 'echo written; exit 0' INT; while :; do sleep 0.02; done"],
                   seconds=20, interrupt_after=0.2)  # fmt: skip
    assert (run.output, run.status, run.reason) == ("written\n", 0, "")


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


def test_output_of_just_the_limit_is_whole():
    run = run_tool(["sh", "-c", "printf 12345"], seconds=10, limit=5)
    assert (run.output, run.reason) == ("12345", "")


def test_all_output_comes_however_much_at_once():
    run = run_tool([sys.executable, "-c", "import sys; sys.stdout.write('x' * 3_000_000)"], seconds=30)
    assert (len(run.output), run.complete) == (3_000_000, True)


def test_bytes_of_no_encoding_come_back():
    run = run_tool(["printf", r"\377\n"], seconds=10)
    assert run.output.encode("utf-8", "surrogateescape") == b"\xff\n"


def test_what_it_reads_is_given_to_it():
    text = b"line\n" * 100_000
    assert run_tool(["wc", "-l"], seconds=30, stdin=text).output.strip() == "100000"
    assert run_tool(["true"], seconds=30, stdin=text).complete


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


def test_an_error_in_between_leaves_no_program_behind():
    class Broken(threading.Event):
        def is_set(self) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tool(["sleep", "62"], seconds=60, stop=Broken())
    assert _gone_by_name("sleep 62")


def test_a_killed_collector_takes_its_programs_along():
    code = "from engram_diagnose.collectors.capture.tool import run_tool; run_tool(['sleep', '63'], seconds=60)"
    process = subprocess.Popen([sys.executable, "-c", code])
    _wait_for(lambda: not _gone_by_name("sleep 63", patience=0))
    process.kill()
    process.wait()
    assert _gone_by_name("sleep 63")


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
    return _wait_for(lambda: not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text())


def _gone_by_name(command: str, *, patience: float = 10) -> bool:
    wanted = command.replace(" ", "\0").encode() + b"\0"
    return _wait_for(lambda: wanted not in [_line(path) for path in Path("/proc").glob("[0-9]*")], patience)


def _line(path: Path) -> bytes:
    try:
        return (path / "cmdline").read_bytes()
    except OSError:
        return b""


def _wait_for(true, patience: float = 10) -> bool:
    until = time.monotonic() + patience
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
