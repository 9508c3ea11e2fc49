"""The lab as a process: how it starts, what stops it, and what it says when it cannot start."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from fake_engine import make
from fake_front import Client, request

from engram_diagnose.lab.host import Host
from engram_diagnose.lab.main import main, parse_options
from engram_diagnose.lab.process import LabError, LabProcess
from engram_diagnose.lab.settings import key_names, parse_settings
from engram_diagnose.lab.snapshot import SnapshotError

FAKE = Path(__file__).with_name("fake_engine.py")


class FakeLab(LabProcess):
    """A lab process around the fake engine."""

    def _command(self) -> list[str]:
        python, _, _, *options = super()._command()
        return [python, str(FAKE), *options]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeLab]:
    lab = FakeLab("[wal]\nsync_mode = 'batch'\n", tmp_path / "lab")
    yield lab
    lab.kill()


def get(url: str) -> object:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def program(folder: Path, *options: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(FAKE), f"--data-dir={folder}", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def test_it_starts_answers_and_ends_with_zero(fake: FakeLab) -> None:
    fake.start()
    assert get(f"{fake.url}/health/alive") == {"status": "alive", "lab": True}
    assert Path(f"/proc/{fake.pid}/comm").read_text().strip() == "engram-lab"
    assert fake.is_running
    assert fake.stop() == 0
    assert not fake.is_running
    assert fake.stop() == 0
    with pytest.raises(LabError):
        _ = fake.pid


def test_a_restart_keeps_the_port_and_takes_the_new_settings(fake: FakeLab) -> None:
    fake.start()
    before = fake.url, fake.pid
    fake.restart("[wal]\nsync_mode = 'immediate'\n")
    assert fake.url == before[0]
    assert fake.pid != before[1]
    assert "immediate" in fake.config_path.read_text()
    assert get(f"{fake.url}/health/alive")


def test_the_block_ends_the_lab_and_an_error_in_it_does_so_at_once(tmp_path: Path) -> None:
    pids = []
    with FakeLab("", tmp_path / "one") as lab:
        pids.append(lab.pid)
    with pytest.raises(ZeroDivisionError):
        _break_in(FakeLab("", tmp_path / "two"), pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def _break_in(lab: FakeLab, pids: list[int]) -> None:
    with lab:
        pids.append(lab.pid)
        raise ZeroDivisionError


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_in_flight_be_answered(fake: FakeLab, number: signal.Signals) -> None:
    fake.start()
    client = Client(fake.port)
    client.send(request("GET", "/api/v1/memories/recall?query=wait"))
    time.sleep(0.2)
    os.kill(fake.pid, number)
    told = client.answer()
    assert (told.status, told.headers["connection"]) == (200, "close")
    client.close()
    assert fake.stop() == 0


def test_who_presses_ctrl_c_twice_does_not_wait(fake: FakeLab) -> None:
    fake.start()
    client = Client(fake.port).send(request("GET", "/api/v1/memories/recall?query=never"))
    time.sleep(0.2)
    began = time.monotonic()
    os.kill(fake.pid, signal.SIGINT)
    time.sleep(0.2)
    os.kill(fake.pid, signal.SIGINT)
    assert fake.stop() == 1
    assert time.monotonic() - began < 5
    client.close()


def test_a_signal_before_it_listens_ends_it_as_well(tmp_path: Path) -> None:
    started = program(tmp_path / "data", "--port=0", env={"FAKE_ENGINE_SLOW": "30"})
    until(lambda: (tmp_path / "data" / "engram.toml").exists(), "the settings to be written")
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=20)
    assert (started.returncode, said) == (0, "engram-diagnose lab: stopped before it listened\n")


def test_the_lab_ends_with_whoever_started_it(tmp_path: Path) -> None:
    text = (
        "import sys, os, pathlib; sys.path.insert(0, sys.argv[2]); from test_process import FakeLab\n"
        "lab = FakeLab('', pathlib.Path(sys.argv[1])); lab.start(); print(lab.pid, flush=True); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", text, str(tmp_path / "lab"), str(FAKE.parent)],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 9, done.stderr
    until(
        lambda: not Path(f"/proc/{done.stdout.strip()}/cwd").exists() or _is_zombie(int(done.stdout)), "the lab's end"
    )


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except OSError:
        return True


def test_what_is_told_at_the_start_reaches_whoever_wants_it(tmp_path: Path) -> None:
    lines: list[str] = []
    with FakeLab("[extra]\nkey = 1\n", tmp_path / "lab", on_line=lines.append):
        assert any("the lab does not know extra.key" in line for line in lines), lines


def test_a_lab_that_cannot_start_says_why(tmp_path: Path) -> None:
    lab = FakeLab("[wal]\nsync_mode = 3\n", tmp_path / "lab")
    with pytest.raises(LabError, match=r"engram\.toml:2: wal\.sync_mode takes text, not 3"):
        lab.start()
    assert not lab.is_running


def test_a_port_in_use_is_told_before_anything_else_is_done(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, said = program(tmp_path / "data", f"--port={port}", env={"FAKE_ENGINE_SLOW": "60"}).communicate(timeout=20)
    assert said == (
        f"engram-diagnose lab: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another with --port, 0 takes a free one\n"
    )


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SnapshotError("its snapshot is damaged")])
def test_data_that_it_cannot_start_from_are_told(
    error: Exception, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def start(self) -> None:
            raise error

        def stop(self) -> None:
            pass

    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    folder = tmp_path / "data"
    try:
        assert main([f"--data-dir={folder}", "--port=0"], make_engine=lambda *_: cast("Any", Broken())) == 2
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
    assert f"engram-diagnose lab: cannot start from what is in {folder}: {error}" in capfd.readouterr().err


def test_an_address_that_is_nobodys_is_told(tmp_path: Path) -> None:
    started = program(tmp_path / "data", "--host=no.such.host.invalid", "--port=0")
    _, said = started.communicate(timeout=30)
    assert started.returncode == 2
    assert "cannot listen on no.such.host.invalid:0" in said


def test_two_labs_do_not_share_their_data(fake: FakeLab) -> None:
    fake.start()
    second = program(fake.data_dir, "--port=0")
    _, said = second.communicate(timeout=20)
    assert second.returncode == 2
    assert f"another lab uses {fake.data_dir}; stop it, or name another with --data-dir" in said


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _, said = program(tmp_path / "file" / "data").communicate(timeout=20)
    assert "name another with --data-dir" in said


def test_settings_that_are_not_there_are_told(tmp_path: Path) -> None:
    _, said = program(tmp_path / "data", f"--config={tmp_path / 'none.toml'}").communicate(timeout=20)
    assert "none.toml: No such file or directory" in said


def test_without_settings_a_file_that_fits_the_host_is_written_and_kept(tmp_path: Path) -> None:
    started = program(tmp_path / "data", "--port=0", "--ready-file=" + str(tmp_path / "ready"))
    until((tmp_path / "ready").exists, "the lab to be ready")
    started.send_signal(signal.SIGINT)
    out, _ = started.communicate(timeout=20)
    assert started.returncode == 0
    assert out.startswith("A lab, not a product")
    config = tmp_path / "data" / "engram.toml"
    assert "engram-diagnose run --metrics http://127.0.0.1:" in out
    assert f"--config {config}" in out
    text = config.read_text()
    host = Host(cores=1, memory_mb=1024, numa_nodes=1, avx="none", flash=True)
    assert parse_settings(text, where="x", host=host)[1] == ()
    assert all(name.rpartition(".")[2] in text for name in key_names() if not name.startswith("numa.socket"))


@pytest.mark.parametrize("option", ["--port=70000", "--port=x", "--preload=-1", "--nothing"])
def test_options_that_make_no_sense_end_with_two(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_options(["--data-dir=x", option])
    assert caught.value.code == 2
    assert option.split("=")[0] in capsys.readouterr().err


def test_what_prepares_the_child_runs_in_it(tmp_path: Path) -> None:
    def prepare() -> None:
        os.nice(5)

    with FakeLab("", tmp_path / "lab", prepare=prepare) as lab:
        assert os.getpriority(os.PRIO_PROCESS, lab.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5


def test_the_environment_is_laid_over_this_ones(tmp_path: Path) -> None:
    with FakeLab("", tmp_path / "lab", env={"ENGRAM_LAB_WITHOUT_METRICS": "engram_data_bytes"}) as lab:
        with urllib.request.urlopen(f"{lab.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        assert "engram_memory_bytes" in text
        assert "engram_data_bytes" not in text


def test_the_fake_engine_is_made_like_the_real_one(tmp_path: Path) -> None:
    assert make(parse_settings("", where="x", host=Host(1, 1024, 1, "none", True))[0], tmp_path).spaces() == ["default"]
