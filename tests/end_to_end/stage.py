"""
The stage of an incident: a planted server, a real Prometheus that scrapes it, and the command line as a user has it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COMMAND = [sys.executable, "-c", "from engram_diagnose.cli import main; main()"]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def folder_on_disk() -> Iterator[Path]:
    """A folder on a file system that has a disk: in memory a flush costs nothing, and a log is never slow."""
    usual = Path(tempfile.gettempdir())
    parent = usual if _has_disk(usual) else ROOT / ".pytest_cache"
    parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix="engram-stage-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _has_disk(folder: Path) -> bool:
    number = folder.stat().st_dev
    return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").exists()


@dataclass(frozen=True)
class Planted:
    """A planted server that runs."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    config: Path

    @property
    def instance(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.instance}"


@contextmanager
def planted(
    folder: Path,
    *,
    fault: str = "wal",
    dialect: str = "guide",
    spaces: Sequence[str] = ("default",),
    clients: int = 64,
    seconds: float = 300,
    home: Path | None = None,
    port: int = 0,
    slower_flush: float = 0.0,
) -> Iterator[Planted]:
    """A planted server with its data and configuration in `folder`, once it answers."""
    data, config, port = folder / "data", folder / "engram.toml", port or free_port()
    if home is not None:
        config = home / "engram" / "config.toml"
    data.mkdir(parents=True)
    options = {"port": port, "data-dir": data, "config": config, "fault": fault, "dialect": dialect,
               "clients": clients, "seconds": seconds, "slower-flush": slower_flush}  # fmt: skip
    pairs = [*options.items(), *(("space", space) for space in spaces)]
    command = [sys.executable, str(HERE / "planted.py"), *(f"--{name}={value}" for name, value in pairs)]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(home or folder)}
    with running(command, environment) as process:
        server = Planted(process, port, data, config)
        until(lambda: _answers(f"{server.url}/health"), "the planted server to answer")
        yield server


@dataclass(frozen=True)
class Scraper:
    """A Prometheus that runs."""

    process: subprocess.Popen[bytes]
    url: str

    def wait_for(self, metric: str, *, instance: str, samples: int) -> None:
        """Wait until it holds so many samples of a metric of an instance."""
        query = f'count_over_time({metric}{{instance="{instance}"}}[10m])'
        until(lambda: (self.value(query) or 0) >= samples, f"{samples} samples of {metric}", seconds=20 + 3 * samples)

    def value(self, query: str, *, at: float = 0.0) -> float | None:
        """What it says itself, now or at an instant; None when it says nothing."""
        form = {"query": query, **({"time": f"{at:.3f}"} if at else {})}
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{urllib.parse.urlencode(form)}", timeout=5) as answer:
            result = json.load(answer)["data"]["result"]
        return min((float(item["value"][1]) for item in result), default=None)


@contextmanager
def prometheus(
    folder: Path,
    targets: Mapping[str, str],
    *,
    interval: str = "1s",
    rules: Sequence[Mapping[str, Any]] = (),
    tells: str = "",
) -> Iterator[Scraper]:
    """
    A real Prometheus that scrapes `targets`: what each is called, and its address.

    The alert `rules` are looked at as often, and what fires goes to the Alertmanager at the address `tells`.
    """
    binary = shutil.which("prometheus")
    assert binary is not None, "no prometheus on PATH"
    folder.mkdir(parents=True)
    jobs = [{"job_name": f"engram-{number}", "static_configs": [{"targets": [address], "labels": {"instance": name}}]}
            for number, (name, address) in enumerate(targets.items())]  # fmt: skip
    paces = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    told = [{"static_configs": [{"targets": [tells]}]}] if tells else []
    settings = {"global": paces, "scrape_configs": jobs, "rule_files": ["rules.yml"],
                "alerting": {"alertmanagers": told}}  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps(settings))  # YAML, too
    (folder / "rules.yml").write_text(json.dumps({"groups": [{"name": "stage", "rules": list(rules)}]}))
    url = f"127.0.0.1:{free_port()}"
    command = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
               f"--web.listen-address={url}", "--log.level=error", "--rules.alert.resend-delay=1s"]  # fmt: skip
    with running(command, dict(os.environ)) as process:
        until(lambda: _answers(f"http://{url}/-/ready"), "Prometheus to be ready")
        yield Scraper(process, f"http://{url}")


@dataclass(frozen=True)
class Router:
    """An Alertmanager that runs."""

    process: subprocess.Popen[bytes]
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def alerts(self, name: str) -> list[dict[str, Any]]:
        """The alerts of that name that fire there."""
        query = urllib.parse.urlencode({"filter": f'alertname="{name}"'})
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts?{query}", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


@contextmanager
def alertmanager(folder: Path, webhook: str) -> Iterator[Router]:
    """A real Alertmanager that tells `webhook` of what fires and what is resolved."""
    binary = shutil.which("prometheus-alertmanager")
    assert binary is not None, "no prometheus-alertmanager on PATH"
    folder.mkdir(parents=True)
    receiver = {"name": "engram-diagnose", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
    route = {"receiver": "engram-diagnose", "group_by": ["instance"], "group_wait": "1s", "group_interval": "1s"}
    (folder / "alertmanager.yml").write_text(json.dumps({"route": route, "receivers": [receiver]}))  # YAML, too
    address = f"127.0.0.1:{free_port()}"
    command = [binary, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data",
               f"--web.listen-address={address}", "--cluster.listen-address="]  # fmt: skip
    with running(command, dict(os.environ)) as process:
        until(lambda: _answers(f"http://{address}/-/ready"), "Alertmanager to be ready")
        yield Router(process, address)


@dataclass(frozen=True)
class Service:
    """`engram-diagnose serve`, as it runs."""

    process: subprocess.Popen[bytes]
    url: str

    def fetch(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def json(self, path: str) -> Any:
        return json.loads(self.fetch(path))

    def notify(self, *alerts: Mapping[str, Any]) -> list[str]:
        """Call it as Alertmanager does; the incidents, once it has acknowledged."""
        body = json.dumps({"version": "4", "receiver": "stage", "alerts": alerts}).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/alerts", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 202
            return list(json.load(answer)["incidents"])


@contextmanager
def serving(folder: Path, *, port: int = 0, settings: str = "") -> Iterator[Service]:
    """The service, with its database in `folder`, once it is ready; `settings` are the tables of its TOML file."""
    folder.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{port or free_port()}"
    (folder / "serve.toml").write_text(f'listen = "{address}"\ndatabase = "history.db"\n{settings}')
    with running([*COMMAND, "serve", "--settings", str(folder / "serve.toml")], environment()) as process:
        until(lambda: process.poll() is not None or _answers(f"http://{address}/-/ready"), "the service to be ready")
        assert process.poll() is None, f"the service ended with {process.returncode}"
        yield Service(process, f"http://{address}")


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(happens: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
    """Wait for something, or raise `TimeoutError` that says what for."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


# The command line


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def has_traceback(self) -> bool:
        return "Traceback" in self.out + self.err


def engram_diagnose(*arguments: str | os.PathLike[str], folder: Path | None = None) -> Said:
    """Run the command line in a process of its own, in `folder`, with nothing of this user's settings."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], cwd=folder or ROOT, env=environment(), capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def environment() -> dict[str, str]:
    """The environment without what would steer the command, but for how long counters are watched: shortly."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_DIAGNOSE_")}
    return {**kept, "ENGRAM_DIAGNOSE_SETTINGS": "", "ENGRAM_DIAGNOSE_SECONDS": "2", "PYTHONWARNINGS": "error"}
