"""
Processes that a benchmark of the service needs beside it: the service, Alertmanager, a Prometheus that answers.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOL = (sys.executable, "-c", "from engram_diagnose.cli import main; main()")
REPLAYED = HERE.parent / "tests" / "service" / "replayed.py"
START_SECONDS = 30.0
STOP_SECONDS = 30.0


class ServingError(Exception):
    """A process that was to be called does not answer, or answers wrongly."""


@dataclass(frozen=True, slots=True)
class Served:
    """A process that listens on a port of this host."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def child(self) -> int:
        """Its first child process, 0 while it has none."""
        try:
            return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])
        except (OSError, IndexError):
            return 0


@contextmanager
def service(folder: Path, settings: str = "") -> Iterator[Served]:
    """`engram-diagnose serve` with a database in `folder`; `settings` is TOML, its top level left out."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    top = f'listen = "127.0.0.1:{port}"\ndatabase = "history.db"\n'
    (folder / "serve.toml").write_text(f"{top}{settings}")
    command = (*TOOL, "serve", "--settings", str(folder / "serve.toml"))
    with running(command, port, folder / "serve.log") as served:
        until(lambda: answers(f"{served.url}/-/ready"), "the service")
        until(lambda: b'"up"' in fetched(f"{served.url}/-/ready"), "its worker")
        yield served


@contextmanager
def alertmanager(folder: Path) -> Iterator[Served | None]:
    """Alertmanager, which tells nobody anything; None where there is none on PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    binary = shutil.which("prometheus-alertmanager", path=path) or shutil.which("alertmanager", path=path)
    if binary is None:
        yield None
        return
    folder.mkdir(parents=True)
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    (folder / "alertmanager.yml").write_text(json.dumps(config))  # YAML, too
    port = free_port()
    command = (binary, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=")  # fmt: skip
    with running(command, port, folder / "log") as served:
        until(lambda: answers(f"{served.url}/-/ready"), "Alertmanager")
        yield served


@contextmanager
def prometheus() -> Iterator[str]:
    """The address of a Prometheus that answers with the example incident, whatever the instance."""
    process = subprocess.Popen([sys.executable, str(REPLAYED)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[Served]:
    """A process, ended with SIGTERM at the end; what it says goes to `log`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_DIAGNOSE_")}
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=kept, stdout=said, stderr=said)
        try:
            yield Served(process, port)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def fetched(url: str) -> bytes:
    """What is answered there; raises `OSError`."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def answers(url: str) -> bool:
    """Whether somebody answers there, with whatever status."""
    try:
        fetched(url)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def until(happens: Callable[[], bool], what: str, *, seconds: float = START_SECONDS, pause: float = 0.05) -> None:
    """Wait for something; raises `ServingError` that says what for."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            raise ServingError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)
