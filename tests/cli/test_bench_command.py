"""`bench` as an operator meets it: plan, guard rails, verdicts, exit codes, what is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.bench.conftest import StartServer, limits, start_server  # noqa: F401 -- fixtures

SHORT = ("--workload", "mixed", "--set", "floor", "--rate", "1200", "--seconds", "3", "--memories", "200",
         "--no-warm-up", "--no-quality", "--no-diagnose")  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path):  # type: ignore[no-untyped-def]
    environment = os.environ | {"ENGRAM_DIAGNOSE_STATE": str(tmp_path / "state"), "COLUMNS": "80"}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(Path(sys.executable).with_name("engram-diagnose")), "bench", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)

    run.environment = environment  # type: ignore[attr-defined]
    return run


def until_valid(run: Callable[[], "subprocess.CompletedProcess[str]"]) -> "subprocess.CompletedProcess[str]":
    """A run in which this machine had time for its client; one of three, where others use it as well."""
    for _ in range(3):
        done = run()
        if done.returncode != 4:
            break
    return done


def test_a_sound_server_passes_and_keeps_nothing(bench, start_server: StartServer) -> None:  # noqa: F811
    server = start_server()
    done = until_valid(lambda: bench(server.url, *SHORT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
    assert "against the set floor" in done.stdout
    assert server.left["spaces"] == []
    assert done.stderr.index("Plan for") < done.stderr.index("storing 200 memories")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_slow_server_fails_and_says_by_which_figure(bench, start_server: StartServer) -> None:  # noqa: F811
    server = start_server("healthy", 4000)  # 250 a second, and 1,200 are asked for
    done = until_valid(lambda: bench(server.url, *SHORT, "--format", "json"))
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"]["state"] == "fail"
    assert report["target_set"] == "floor"
    assert server.left["spaces"] == []


@pytest.mark.parametrize("form", ["text", "json", "markdown", "html", "junit"])
def test_a_saved_run_is_shown_again_in_every_format(bench, form: str, start_server: StartServer) -> None:  # noqa: F811
    server = start_server()
    assert until_valid(lambda: bench(server.url, *SHORT, "--save", "first", "--replace")).returncode == 0
    assert "first" in bench("--list").stdout
    shown = bench("--show", "first", "--format", form)
    assert shown.returncode == 0
    assert "floor" in shown.stdout
    assert bench("--prune", "0").returncode == 0
    assert bench("--list").stdout == ""


def test_a_later_run_is_set_beside_a_saved_one_without_a_verdict(bench, start_server: StartServer) -> None:  # noqa: F811
    url = start_server().url
    until_valid(lambda: bench(url, *SHORT, "--save", "before", "--replace"))
    done = until_valid(lambda: bench(url, *SHORT, "--against", "before"))
    told = " ".join(done.stdout.split())
    assert "before to now, one run a side and so no verdict" in told or "was INVALID" in told


def test_two_servers_are_compared_by_turns(bench, start_server: StartServer) -> None:  # noqa: F811
    fast, slow = start_server(), start_server("healthy", 2000)
    done = bench(fast.url, *SHORT, "--seconds", "1", "--against", slow.url, "--runs", "2", "--format", "json")
    assert done.returncode == 4, done.stderr  # two runs a side give no verdict
    assert json.loads(done.stdout)["provisional"]
    assert fast.left["spaces"] == slow.left["spaces"] == []


def test_a_plan_for_two_servers_sends_nothing(bench, start_server: StartServer) -> None:  # noqa: F811
    server = start_server()
    done = bench(server.url, *SHORT, "--against", server.url, "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Plan for before, 8 runs: 127.0.0.1" in done.stderr
    assert server.left["spaces"] == []


def test_a_server_that_dies_ends_the_comparison_with_its_reason(bench, start_server: StartServer) -> None:  # noqa: F811
    server, dying = start_server(), start_server("dies-after", number=1200)
    done = bench(server.url, *SHORT, "--against", dying.url)
    assert done.returncode == 3, done.stdout
    assert "before: mixed at 1,200/s" in done.stderr
    assert "nothing listens there" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_stores_slowly_is_measured_all_the_same(bench, start_server: StartServer) -> None:  # noqa: F811
    server = start_server("healthy", 4000)  # 250 a second
    done = until_valid(lambda: bench(server.url, *SHORT, "--memories", "2000", "--rate", "100"))
    assert done.returncode in (0, 1), done.stderr
    assert "RUN 1  mixed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "name the server to load"),
        (("http://db1.example:7432", "--dry-run"), 0, "Plan for db1.example:7432"),
        (("http://db1.example:7432",), 2, "--confirm db1.example"),
        (("https://127.0.0.1:1",), 2, "plain HTTP"),
        (("http://127.0.0.1:1",), 3, "nothing listens there"),
        (("http://127.0.0.1:1", "--rate", "1e9"), 2, "larger than it may be"),
        (("http://127.0.0.1:1", "--connections", "5000"), 2, "--connections 5,000 is more than 2,000"),
        (("http://127.0.0.1:1", "--output", "/nowhere/x"), 2, "no folder that can be written to"),
        (("http://127.0.0.1:1", "--save", "a/b"), 2, "no name for a saved run"),
        (("http://127.0.0.1:1", "--against", "gone"), 2, "no saved run of that name"),
        (("http://127.0.0.1:1", "--against", "http://127.0.0.1:2"), 2, "name another with --workload"),
        (("http://127.0.0.1:1", "--against", "http://127.0.0.1:2", "--save", "x"), 2, "--output FILE"),
        (("http://db1:1", "--workload", "mixed", "--against", "http://db2:1"), 2, "--confirm db2 --confirm db1"),
        (("--show", "gone"), 2, "no saved run of that name"),
        (("http://127.0.0.1:1", "--rate", "0"), 2, "--rate"),
        (("http://127.0.0.1:1", "--dialect", "x"), 2, "no dialect"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_sent(
    arguments: tuple[str, ...], code: int, told: str, bench
) -> None:
    done = bench(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("mode", "number", "code", "told"),
    [
        ("locked", 0, 3, "--server-token-file"),
        ("busy-after", 1200, 1, "http-429"),
        ("failing-after", 1200, 1, "http-503"),
        ("garbage-after", 1200, 1, "garbage"),
        ("dies-after", 1200, 1, "refused"),
        ("hangs-after", 1200, 1, "no answer at all"),
        ("failing-after", 100, 3, "could not be stored"),
    ],
)
def test_a_server_that_fails_ends_the_load_with_its_reason(
    mode: str, number: int, code: int, told: str, bench, start_server: StartServer  # noqa: F811
) -> None:  # fmt: skip
    done = bench(start_server(mode, 0, number).url, *SHORT, "--seconds", "20", "--memories", "500")
    assert done.returncode == code, done.stdout + done.stderr
    assert told in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("after", ["storing 200 memories", "mixed: 1,200/s"])
def test_ctrl_c_keeps_what_was_measured_and_removes_what_was_stored(
    after: str, bench, start_server: StartServer  # noqa: F811
) -> None:  # fmt: skip
    server = start_server()
    command = [str(Path(sys.executable).with_name("engram-diagnose")), "bench", server.url, *SHORT, "--seconds", "30"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=bench.environment
    )
    assert process.stderr is not None
    while after not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1.5 if "mixed" in after else 0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode in (3, 4)
    assert "stopped by hand" in " ".join((out + err).split())
    assert server.left["spaces"] == []
    assert ("INVALID" in out) == ("mixed" in after)


def test_a_report_that_cannot_be_written_goes_to_stdout(bench, start_server: StartServer, tmp_path: Path) -> None:  # noqa: F811
    done = bench(start_server().url, *SHORT, "--output", str(tmp_path))
    assert done.returncode == 2
    assert "here it is instead" in done.stderr
    assert "VERDICTS" in done.stdout
