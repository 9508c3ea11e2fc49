"""`collect.pyz`: one text that collects on a host with nothing but Python, as the installed tool does."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts import grow
from web_server import Reply, answering

from engram_diagnose import __version__
from engram_diagnose.bounds import bounds_of
from engram_diagnose.cli import main
from engram_diagnose.collectors.bundle import bundle_lines, read_bundle
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.site import Bounds
from engram_diagnose.collectors.gather import Request, gather
from engram_diagnose.collectors.reading import facts_of_bundle
from engram_diagnose.engine.facts.fact import Reason, Status
from engram_diagnose.rulebase import load_rules, rule_digests
from engram_diagnose.script import collect_script
from engram_diagnose.session import wanted_facts

LOADED = load_rules()
PROGRAM = Path(__file__).parent / "programs" / "standin.py"
NOW = 1_795_000_000.0
HOSTILE = b"a\x1b[2J) S 1\xff\n"
SYSTEM = "/usr/bin/python3"


def _pythons() -> list[str]:
    """The running one, and the oldest and the newest that pyenv has."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    found = [str(one) for number in ("3.8", "3.13") for one in sorted(versions.glob(f"{number}.*/bin/python"))[:1]]
    return [sys.executable, *found]


PYTHONS = _pythons()
OLDEST = PYTHONS[1] if len(PYTHONS) > 1 else PYTHONS[0]


@pytest.fixture
def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "collect.pyz"
    path.write_bytes(collect_script(LOADED))
    return path


class Server:
    """A running stand-in, its log under `folder`."""

    def __init__(self, folder: Path, name: bytes = b"", argv: str = sys.executable) -> None:
        self.folder = folder
        hexed = ["--name-hex", name.hex()] if name else []
        self.process = subprocess.Popen([argv, str(PROGRAM), str(folder), *hexed], executable=sys.executable)
        until = time.monotonic() + 20
        while not (folder / "port").exists() and time.monotonic() < until:
            time.sleep(0.02)
        self.port = int((folder / "port").read_text())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


def piped(python: str, script: Path, *arguments: str, before: tuple[str, ...] = (), **more: Any) -> Any:
    """The script from a pipe, as ssh gives it."""
    command = [python, *before, "-", *arguments]
    return subprocess.run(command, input=script.read_bytes(), capture_output=True, timeout=120, check=False, **more)


# --- The file -------------------------------------------------------------------------------------


def test_it_is_plain_text_and_the_same_for_the_same_sources(script: Path) -> None:
    content = script.read_bytes()
    assert content.isascii()
    assert max(map(len, content.splitlines())) <= 120
    assert content == collect_script(load_rules())


def test_its_modules_can_be_read_and_are_those_of_the_package(script: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, script, "--sources", tmp_path / "out"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    package = Path(sys.modules["engram_diagnose"].__file__ or "").parent
    modules = [path.relative_to(tmp_path / "out") for path in sorted((tmp_path / "out").rglob("*.py"))]
    assert len(modules) > 20
    for path in modules[1:]:
        ours = package.joinpath(*path.parts[1:])
        assert (tmp_path / "out" / path).read_text() == ours.read_text()
    assert not [path for path in modules if {"prometheus", "engine", "parse"} & set(path.parts)]


@pytest.mark.parametrize("python", PYTHONS)
def test_it_needs_the_standard_library_alone(python: str, script: Path) -> None:
    done = piped(python, script, "--help", before=("-I", "-S"))
    assert done.returncode == 0, done.stderr
    assert b"--redact-label" in done.stdout
    assert piped(python, script, "--version").stdout.decode().startswith("collect.pyz of engram-diagnose ")


def test_the_command_writes_it(script: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    main_code("collect", "--script", "-")
    assert capsysbinary.readouterr().out == script.read_bytes()
    main_code("collect", "--script", str(tmp_path / "c.pyz"))
    assert (tmp_path / "c.pyz").read_bytes() == script.read_bytes()


def main_code(*arguments: str) -> int:
    try:
        main([*arguments])
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 0
    return 0


def test_a_damaged_copy_says_so(script: Path, tmp_path: Path) -> None:
    head, _, tail = script.read_text().partition('PACKED = """\n')
    damaged = tmp_path / "damaged.pyz"
    damaged.write_text(f'{head}PACKED = """\n{tail[100:]}')
    done = subprocess.run([sys.executable, damaged], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"collect.pyz: this copy is damaged \(.*\); copy it again\n", done.stderr)


# --- The same bundle as the installed tool makes ---------------------------------------------------

QUIET = {"look_every": 1000.0, "state_reads": 12.0, "watch": 1.0, "budget": 5.0}
"""The clock stands still, so it is the budget that ends watching: states are all read long before, on any machine."""

DRIVER = f"""
import runpy, sys, time
held = runpy.run_path(sys.argv[1], run_name="held")
packed = held["unpacked"](held["PACKED"])
sys.meta_path.insert(0, held["Held"](packed["modules"]))
from engram_diagnose.collectors import standalone
from engram_diagnose.collectors.bundle import bundle_lines
from engram_diagnose.collectors.capture.machine import HostIdentity, Machine
time.process_time = lambda: 0.0
given = standalone.Given(**packed["given"])
given.limits.update({QUIET})
options = standalone._parser(given).parse_args(sys.argv[4:])
options.seconds = 0.0
machine = Machine("recorded", sys.argv[2] + "/proc", sys.argv[2] + "/sys", lambda: float(sys.argv[3]))
bundle = standalone.collected(options, given, machine, HostIdentity("recorded", "recorded"), now=float(sys.argv[3]))
sys.stdout.buffer.write(b"".join(bundle_lines(bundle)))
"""


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return grow(tmp_path)


@pytest.fixture
def server_url() -> Iterator[str]:
    replies = {"/metrics": Reply("engram_store_operations_total 5\n"), "/health": Reply('{"version": "9"}')}
    with answering(lambda path, _: replies.get(path, Reply(status=404))) as address:
        yield address


def gathered(tree: Path, monkeypatch: pytest.MonkeyPatch, **request: Any) -> bytes:
    """What the installed tool makes of the tree. Programs that measure would look at this host: none is found."""
    monkeypatch.setattr(time, "process_time", lambda: 0.0)
    monkeypatch.setenv("PATH", str(tree))
    bounds = bounds_of(LOADED)
    quiet = Bounds({**bounds.limits, **QUIET}, bounds.events)
    machine = Machine("recorded", str(tree / "proc"), str(tree / "sys"), lambda: NOW)
    order = Request(pid=4242, seconds=0.0, **request)
    tool, digests = f"engram-diagnose {__version__}", rule_digests(LOADED)
    wanted = wanted_facts(LOADED)
    bundle = gather(order, LOADED.catalogue, wanted, now=NOW, tool=tool, rules=digests, bounds=quiet, machine=machine)
    return b"".join(bundle_lines(bundle))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("asked", [False, True], ids=["files alone", "and the server"])
def test_of_one_recorded_tree_both_make_the_same_bundle(
    python: str, asked: bool, script: Path, recorded: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recorded / "engram.toml"
    config.write_text('[wal]\nsync_mode = "immediate"\napi_key = "never kept"\n')
    url = server_url if asked else ""
    given = ["--pid", "4242", "--config", str(config), "--server", url]
    command = [python, "-c", DRIVER, str(script), str(recorded), str(NOW), *given]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False, env={"PATH": str(recorded)})
    assert done.returncode == 0, done.stderr.decode()
    theirs = gathered(recorded, monkeypatch, config_file=str(config), server_url=url)
    assert done.stdout.splitlines() == theirs.splitlines()
    assert b"never kept" not in theirs


def test_a_recorded_tree_replays_to_the_same_bytes(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathered(recorded, monkeypatch) == gathered(recorded, monkeypatch)


def test_a_diagnosis_rests_on_the_same_facts_as_one_made_there(script: Path, server: Server, tmp_path: Path) -> None:
    where = f"http://127.0.0.1:{server.port}"
    from_pipe = piped(OLDEST, script, "--server", where, "--seconds", "1", "--data-dir", str(server.folder))
    assert from_pipe.returncode == 0, from_pipe.stderr
    file = str(tmp_path / "here.bundle")
    main_code("run", "--save", file, "--server", where, "--seconds", "1", "--data-dir", str(server.folder),
              "--output", str(tmp_path / "out"))  # fmt: skip
    there, here = read_bundle(from_pipe.stdout), read_bundle(file)
    assert shape(there) == shape(here)
    told, here_told = known(there), known(here)
    idle = {key for one in (told, here_told) for key, how in one.items() if how[1] is Reason.TOO_FEW_SAMPLES}
    assert {key: told[key] for key in told if key not in idle} == {
        key: how for key, how in here_told.items() if key not in idle
    }
    assert len(idle) < len(told) // 10


def shape(bundle: Bundle) -> tuple[object, ...]:
    """All of a bundle but figures that move."""
    answers = [(one.collector, one.name, one.host, one.reason) for one in bundle.answers]
    return (bundle.tool, bundle.dialect, bundle.instance, bundle.host, bundle.host_name, bundle.targets_set,
            bundle.options, bundle.rules, answers)  # fmt: skip


def known(bundle: Bundle) -> dict[object, tuple[Status, object]]:
    """How each fact is known, or why it is not."""
    facts = facts_of_bundle(bundle, LOADED.catalogue, wanted_facts(LOADED))
    return {fact.key: (fact.status, fact.unknown and fact.unknown.reason) for fact in facts}


# --- Where it runs badly --------------------------------------------------------------------------


def test_only_the_bundle_goes_to_stdout(script: Path, server: Server) -> None:
    done = piped(OLDEST, script, "--port", str(server.port), "--seconds", "0.2")
    bundle = read_bundle(done.stdout)
    said = done.stderr.decode()
    assert f"looking at process {server.process.pid}" in said
    assert re.search(r"^sha256 of what it says: [0-9a-f]{64}$", said, re.MULTILINE)
    assert json.loads(bundle.of("target")[0].body or "")["port"] == server.port
    assert bundle.of("storage")[0].answered, "the folder of the log it holds open"


def test_without_a_server_it_says_so_and_with_what_code(script: Path, unused_port: int) -> None:
    done = piped(OLDEST, script, "--port", str(unused_port), "--seconds", "0.2")
    assert done.returncode == 3
    assert b"give --pid" in done.stderr
    assert read_bundle(done.stdout).of("target")[0].reason == "SOURCE_ABSENT"


def test_a_bundle_that_is_there_is_kept_when_nothing_was_collected(
    script: Path, tmp_path: Path, unused_port: int
) -> None:
    kept = tmp_path / "kept.bundle"
    kept.write_bytes(b"the incident")
    done = piped(OLDEST, script, "--port", str(unused_port), "--seconds", "0.2", "--output", str(kept))
    assert done.returncode == 3
    assert kept.read_bytes() == b"the incident"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "x"], "no length of time"),
        (["--seconds", "-1"], "no length of time"),
        (["--nonsense"], "unrecognized arguments"),
        (["--dialect", "latin"], "there is no dialect 'latin'; known: engram-0.1, guide"),
        (["--config", "/no/such"], "there is no file /no/such"),
        (["--server", "http://user:secret@db1"], "holds a user name"),
        (["--pid", "0"], "is no process id"),
        (["--redact-label", "("], "is no pattern for names of labels"),
    ],
)
def test_wrong_usage_is_one_line_and_no_traceback(script: Path, arguments: list[str], message: str) -> None:
    done = piped(OLDEST, script, "--seconds", "0.1", *arguments)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in said
    assert "Traceback" not in said
    assert "secret" not in said


def test_it_refuses_a_terminal(script: Path) -> None:
    if shutil.which("script") is None:
        pytest.skip("needs script(1), which makes a terminal")
    command = f"{sys.executable} {script} --seconds 0.1; echo code $?"
    done = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=60)  # fmt: skip
    assert "give --output FILE, or redirect stdout" in done.stdout
    assert "code 2" in done.stdout


@pytest.mark.parametrize("python", PYTHONS)
def test_a_closed_stdout_a_full_disk_and_a_reader_that_left(python: str, script: Path, server: Server) -> None:
    call = f"{python} {script} --port {server.port} --seconds 0.1"
    for line, message in (
        (f"{call} >&-", "stdout is closed"),
        (f"{call} >/dev/full", "No space left"),
        (f"{call} --output /dev/full", "No space left"),
        (f"set -o pipefail; {call} | true", "Broken pipe"),
        (f"{call} --output /no/such/folder/x", "No such file or directory"),
    ):
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, (line, done.stderr)
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


def test_a_closed_stderr_puts_no_talk_into_the_bundle(script: Path, server: Server) -> None:
    line = f"{OLDEST} {script} --port {server.port} --seconds 0.1 2>&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    assert read_bundle(done.stdout).of("target")[0].answered


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_no_process_and_no_file(
    number: signal.Signals, script: Path, server: Server, tmp_path: Path
) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    out.mkdir()
    command = [OLDEST, script, "--port", str(server.port), "--seconds", "30", "--profile", "--output", out / "b"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(scratch)}, text=True)
    time.sleep(1.5)
    children = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(number)
    _, said = running.communicate(timeout=20)
    assert running.returncode == 1, said
    assert "interrupted; nothing was written" in said
    assert "Traceback" not in said
    assert list(out.iterdir()) == []
    assert list(scratch.iterdir()) == []
    psutil.wait_procs(children, timeout=5)
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_somebody_without_rights_gets_what_may_be_seen(script: Path, server: Server) -> None:
    if not os.access(SYSTEM, os.X_OK):
        pytest.skip(f"needs {SYSTEM}, which everybody may run")
    where = f"http://127.0.0.1:{server.port}"
    done = piped(SYSTEM, script, "--server", where, "--seconds", "0.2", user=65534, group=65534, extra_groups=[],
                 cwd="/", env={"PATH": os.defpath})  # fmt: skip
    assert done.returncode == 0, done.stderr
    bundle = read_bundle(done.stdout)
    assert bundle.of("target")[0].reason == "PTRACE_DENIED"
    assert [one.name for one in bundle.of("exposition")] == ["/metrics", "/metrics"]
    pinned = piped(SYSTEM, script, "--pid", str(server.process.pid), "--seconds", "0.2", user=65534, group=65534,
                   extra_groups=[], cwd="/", env={"PATH": os.defpath})  # fmt: skip
    assert pinned.returncode == 0, pinned.stderr
    reasons = {one.name: one.reason for one in read_bundle(pinned.stdout).of("process")}
    assert reasons["/proc/PID/io"] == "PTRACE_DENIED"
    assert reasons["/proc/PID/stat"] == ""


@pytest.mark.parametrize("python", PYTHONS)
def test_a_hostile_process_in_a_locale_of_no_use_does_no_harm(python: str, script: Path, tmp_path: Path) -> None:
    long = "x" * 150 + "\x1b[31m é \U0001f600 " + "y" * 50
    running = Server(tmp_path, HOSTILE, argv=long)
    try:
        env = {"PATH": os.environ["PATH"], "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        done = piped(python, script, "--port", str(running.port), "--seconds", "0.2", env=env)
    finally:
        running.stop()
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stderr
    assert b"a\\x1b[2J) S 1" in done.stderr
    bundle = read_bundle(done.stdout)
    assert {one.reason for one in bundle.of("process") if one.name == "/proc/PID/stat"} == {""}
    arguments = next(one for one in bundle.of("process") if one.name == "/proc/PID/cmdline")
    assert "y" * 50 in (arguments.body or "")


def test_redacted_it_names_nobody(script: Path, server: Server) -> None:
    done = piped(OLDEST, script, "--port", str(server.port), "--seconds", "0.2", "--redact")
    bundle = read_bundle(done.stdout)
    assert bundle.options["redacted"] is True
    assert str(server.folder) not in "".join(one.body or "" for one in bundle.answers)
